"""Dicts in ``.npy`` files, read so that a stranger's file can do no harm."""

import _compat_pickle
import collections
import datetime
import os
import pathlib
import pickle
import warnings
import zipfile
from collections.abc import Callable
from typing import IO, Any

import numpy as np

from img2eeg_jax import file_kinds
from img2eeg_jax.errors import InputError, expecting, first_line, unexpected
from img2eeg_jax.files import replacing


def read_npy_dict(path: str | os.PathLike) -> dict[str, Any]:
    """Reads a dict of arrays and plain values.

    It may be pickled in an ``.npy`` file, as `numpy.save` does with a dict; plainly
    pickled, by Python 2 or 3; or an archive of `numpy.savez`: whatever the name.

    Args:
      path: the file.

    Returns:
      The dict. Unpickling can build NumPy arrays and plain Python values only. What
      Python 2 wrote as bytes is text here, of UTF-8 or else of Latin-1.

    Raises:
      InputError: the file is missing or truncated, holds something else than a dict,
        or names a class or function that is not NumPy's own.
    """
    with expecting(path, "a .npy file", OSError):
        kind = file_kinds.kind_of(path)
        with open(path, "rb") as file:
            if kind == file_kinds.NPZ:
                return _read_npz(file, path)
            if kind in (file_kinds.NUMPY, file_kinds.PICKLE, ""):
                content = _as_text(_read_npy(file, path))
            else:
                raise unexpected(path, "a pickled dict", kind)
    if not isinstance(content, dict):
        is_array = isinstance(content, np.ndarray)
        raise unexpected(
            path,
            "a pickled dict",
            f"{type(content).__name__} of {content.dtype} and shape {content.shape}"
            if is_array
            else type(content).__name__,
        )
    return content


def write_npy_dict(path: str | os.PathLike, content: dict[str, Any]) -> None:
    """Writes a dict pickled in an ``.npy`` file, atomically.

    Args:
      path: the file; missing parent folders are made.
      content: NumPy arrays and plain Python values.
    """
    path = pathlib.Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as temporary, open(temporary, "wb") as file:
        np.save(file, np.array(content, dtype=object), allow_pickle=True)


def entry(content: dict[str, Any], key: str, path: str | os.PathLike) -> Any:
    """Returns the value of a key that a file's dict must have.

    Raises:
      InputError: it lacks the key.
    """
    if key not in content:
        found = ", ".join(sorted(map(str, content))) or "none"
        raise unexpected(path, f"the key {key!r}", f"the keys {found}")
    return content[key]


def as_names(values: Any, key: str, path: str | os.PathLike) -> tuple[str, ...]:
    """Returns the names that a file's dict holds under a key.

    Raises:
      InputError: they are no list of str.
    """
    names = values.tolist() if isinstance(values, np.ndarray) else values
    if not isinstance(names, list | tuple) or not all(
        isinstance(name, str) for name in names
    ):
        raise unexpected(path, f"{key} to be a list of str", shortened(values))
    return tuple(str(name) for name in names)


def shortened(value: Any) -> str:
    """Returns the beginning of a value's `repr`, for messages."""
    return " ".join(repr(value).split())[:60]


def _read_npz(file: IO[bytes], path: str | os.PathLike) -> dict[str, Any]:
    """Reads an archive's arrays; if one dict is all that it holds, its entries."""
    content = {}
    with zipfile.ZipFile(file) as archive:
        for member in archive.namelist():
            name = member.removesuffix(".npy")
            with archive.open(member) as data:
                content[name] = _as_text(_read_npy(data, f"{path}: {name}"))
    values = list(content.values())
    return values[0] if len(values) == 1 and isinstance(values[0], dict) else content


def _read_npy(file: IO[bytes], path: str | os.PathLike) -> Any:
    """Reads an array, or what is pickled in an object array, or plainly pickled."""
    try:
        # NumPy warns of headers of Python 2.
        with warnings.catch_warnings(action="ignore"):
            if _has_pickle(file):
                content = _NumpyUnpickler(file, path).load()
            else:
                content = np.lib.format.read_array(file, allow_pickle=False)
    except InputError:
        raise
    # A damaged pickle can raise nearly any exception.
    except Exception as error:
        raise unexpected(
            path,
            "a complete pickled dict",
            f"damaged or truncated data ({first_line(error)})",
        ) from error
    is_boxed = isinstance(content, np.ndarray) and content.shape == ()
    return content[()] if is_boxed else content


def _has_pickle(file: IO[bytes]) -> bool:
    """Tells what follows; moves to it if it is a pickle, and stays if an array."""
    magic = file.read(len(np.lib.format.MAGIC_PREFIX))
    file.seek(0)
    if magic != np.lib.format.MAGIC_PREFIX:
        return True
    version = np.lib.format.read_magic(file)
    readers: dict[tuple[int, int], Callable] = {
        (1, 0): np.lib.format.read_array_header_1_0,
        (2, 0): np.lib.format.read_array_header_2_0,
    }
    _, _, dtype = readers[version](file)
    if not dtype.hasobject:
        file.seek(0)
    return dtype.hasobject


def _as_text(content: Any) -> Any:
    """Decodes the bytes that stand for text in what Python 2 wrote."""
    if isinstance(content, bytes):
        try:
            return content.decode("utf-8")
        except UnicodeDecodeError:
            return content.decode("latin-1")
    if isinstance(content, dict):
        return {_as_text(key): _as_text(value) for key, value in content.items()}
    if isinstance(content, list | tuple):
        return type(content)(map(_as_text, content))
    if isinstance(content, np.ndarray) and content.dtype.kind in "SO":
        texts = np.empty(content.size, object)
        texts[:] = list(map(_as_text, content.ravel().tolist()))
        return texts.reshape(content.shape)
    return content


class _NumpyUnpickler(pickle.Unpickler):
    """Unpickles NumPy arrays and plain Python values, nothing else."""

    def __init__(self, file: IO[bytes], path: str | os.PathLike):
        # Python 2's text comes as bytes, which arrays' data are, too.
        super().__init__(file, encoding="bytes")
        self._path = path

    def find_class(self, module: str, name: str) -> Any:
        # NumPy 2 renamed numpy.core to numpy._core.
        spelling = module.replace("numpy._core", "numpy.core", 1)
        asked_for = _compat_pickle.NAME_MAPPING.get(
            (module, name), (_compat_pickle.IMPORT_MAPPING.get(module, spelling), name)
        )
        try:
            return ADMITTED[asked_for]
        except KeyError:
            raise unexpected(
                self._path,
                "pickled NumPy arrays and plain values only",
                f"a reference to {module}.{name}, which is refused",
            ) from None


class _NdarrayName:
    """Stands for numpy.ndarray as an argument: pickles may name it, not call it.

    Called with a buffer and an object dtype, the real one reads arbitrary memory.
    """

    def __new__(cls, *args: Any, **kwargs: Any) -> Any:
        raise ValueError("a call of numpy.ndarray")


def _reconstruct(subtype: Any, shape: Any, kind: Any) -> np.ndarray:
    """Makes the empty array that the pickle's state then fills."""
    if subtype is not _NdarrayName:
        raise ValueError(f"an array of type {subtype!r}")
    return np.empty(0, np.int8)


def _encode(text: str, encoding: str) -> bytes:
    """Stands for _codecs.encode, by which pickle protocols 0-2 store bytes."""
    if encoding != "latin1":
        raise ValueError(f"bytes encoded as {encoding!r}")
    return text.encode("latin1")


# (module, name) that a pickle may ask for → the object that it is given instead.
ADMITTED: dict[tuple[str, str], Any] = {
    ("numpy.core.multiarray", "_reconstruct"): _reconstruct,
    ("numpy.core.multiarray", "scalar"): np._core.multiarray.scalar,
    # NumPy's stubs leave it out.
    ("numpy.core.numeric", "_frombuffer"): vars(np._core.numeric)["_frombuffer"],
    ("numpy", "ndarray"): _NdarrayName,
    ("numpy", "dtype"): np.dtype,
    ("_codecs", "encode"): _encode,
    ("collections", "OrderedDict"): collections.OrderedDict,
    ("builtins", "set"): set,
    ("builtins", "frozenset"): frozenset,
    ("builtins", "complex"): complex,
    # When a recording was made.
    ("datetime", "datetime"): datetime.datetime,
    ("datetime", "date"): datetime.date,
    ("datetime", "timedelta"): datetime.timedelta,
    ("datetime", "timezone"): datetime.timezone,
}
