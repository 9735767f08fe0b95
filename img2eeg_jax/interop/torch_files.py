"""Files of PyTorch weights, read and written as dicts of NumPy arrays.

`.pt` and `.pth`, in the zip and in the older format, through PyTorch, which builds
tensors, plain Python values and NumPy's arrays and nothing else; `.safetensors`, and
arrays that NumPy wrote, without PyTorch.
"""

import contextlib
import dataclasses
import os
import pathlib
import pickle
import pickletools
import re
import struct
import types
import warnings
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import ml_dtypes
import numpy as np
import safetensors.numpy

from img2eeg_jax import file_kinds
from img2eeg_jax.data.layout import read_npy_dict, unpickle
from img2eeg_jax.errors import expecting, first_line, unexpected
from img2eeg_jax.files import replacing
from img2eeg_jax.interop.names import LEAVES

SAFETENSORS = ".safetensors"
SUFFIXES = (".pt", ".pth", SAFETENSORS)

# Suffixes of files that may hold weights: Lightning's and the hub's among them.
READ_SUFFIXES = (*SUFFIXES, ".ckpt", ".bin")

_BY_NUMPY = (file_kinds.NPZ, file_kinds.NUMPY, file_kinds.PICKLE)

# Keys of training checkpoints that hold no weights, though maybe tensors.
_EXTRAS = re.compile(r"(optim|sched|scaler|rng).*|.*_?(optimizer|scheduler)s?")


@dataclasses.dataclass(frozen=True)
class Weights:
    """What a file holds.

    Attributes:
      tensors: names in the file to arrays, in the file's order.
      container: the key that they lay under, or None; a/b for b under a.
      ignored: what lay beside them: an optimizer's state, scores, other networks.
    """

    tensors: dict[str, np.ndarray]
    container: str | None = None
    ignored: tuple[str, ...] = ()


def read(path: str | os.PathLike, part: str = "") -> Weights:
    """Reads a file of weights; what is in it decides the format, not its name.

    Args:
      path: the file.
      part: which of several networks: the key, or the beginning of the names, that its
        tensors lie under; "" for all that the file holds.

    Returns:
      Its tensors, in the dtypes they are stored in.

    Raises:
      InputError: it is missing, damaged, holds something other than tensors and plain
        values, or needs PyTorch, which is not installed; or there is no such part.
    """
    path = pathlib.Path(path)
    if not path.is_file():
        raise unexpected(path, "a file of weights", "none")
    if _is_safetensors(path):
        content = _read_safetensors(path)
    elif file_kinds.kind_of(path) in _BY_NUMPY:
        content = read_npy_dict(path)
    else:
        content = _load(path)
    if not isinstance(content, Mapping):
        raise unexpected(path, "a dict of tensors", type(content).__name__)
    return _weights(path, content, part)


def write(
    path: str | os.PathLike,
    tensors: Mapping[str, np.ndarray],
    container: str | None = None,
) -> None:
    """Writes a file of weights, as a whole or not at all.

    Args:
      path: `.pt` or `.pth` for PyTorch's format, `.safetensors` for the other.
      tensors: names to arrays.
      container: key to put them under, a/b for b under a; safetensors files have
        none.

    Raises:
      InputError: another suffix, or PyTorch is needed and not installed.
    """
    path = pathlib.Path(path)
    check_name(path)
    arrays = {name: np.asarray(array, order="C") for name, array in tensors.items()}
    torch = None if path.suffix == SAFETENSORS else _import_torch(path)
    errors = (RuntimeError, safetensors.SafetensorError)
    with (
        expecting(path, "a file that can be written", *errors),
        replacing(path) as temporary,
    ):
        if torch is None:
            # The library's own files are for nobody else to read.
            temporary.write_bytes(safetensors.numpy.save(arrays))
        else:
            content: Any = {name: _to_torch(torch, a) for name, a in arrays.items()}
            for key in reversed(container.split("/") if container else []):
                content = {key: content}
            torch.save(content, temporary)


def check_name(path: pathlib.Path) -> None:
    """Refuses a name that tells no format.

    Raises:
      InputError: it ends in none of `SUFFIXES`.
    """
    if path.suffix not in SUFFIXES:
        raise unexpected(
            path,
            f"a file name that ends in {', '.join(SUFFIXES)}",
            path.suffix or "none",
        )


def _is_safetensors(path: pathlib.Path) -> bool:
    """Tells by the start: the length of a JSON header, and its first brace."""
    with open(path, "rb") as file:
        start = file.read(9)
    if len(start) < 9:
        return path.suffix == SAFETENSORS
    return start[8:] == b"{" and struct.unpack("<Q", start[:8])[0] < 1 << 32


def _read_safetensors(path: pathlib.Path) -> dict[str, np.ndarray]:
    try:
        return safetensors.numpy.load_file(path)
    except (safetensors.SafetensorError, KeyError, ValueError, OSError) as error:
        raise unexpected(
            path,
            "a whole safetensors file",
            f"one that cannot be read ({first_line(error)})",
        ) from error


def _import_torch(path: pathlib.Path) -> types.ModuleType:
    try:
        import torch
    except ImportError as error:
        raise unexpected(
            path,
            "PyTorch to be installed",
            "none; pip install 'img2eeg_jax[torch]', or use a .safetensors file",
        ) from error
    return torch


def _load(path: pathlib.Path) -> Any:
    torch = _import_torch(path)
    try:
        with (
            warnings.catch_warnings(action="ignore"),
            torch.serialization.safe_globals(_numpy_globals()),
        ):
            return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        asked_for = re.findall(r"GLOBAL ([\w.]+)", str(error)) or _classes_in(path)
        if asked_for:
            reason = f"one that asks for {', '.join(asked_for)}"
        elif kind := _other_kind(path):
            raise unexpected(path, "a file of PyTorch weights", kind) from error
        else:
            reason = "one that PyTorch refuses to load with weights_only=True"
        raise unexpected(
            path,
            "tensors and plain values, as torch.save(model.state_dict(), …) writes",
            f"{reason}; nothing of it was run",
        ) from error
    except Exception as error:
        # torch.load raises almost anything when a file is damaged.
        kind = _other_kind(path)
        raise unexpected(
            path,
            "a file of PyTorch weights" if kind else "a whole file of PyTorch weights",
            kind or f"one that cannot be read ({first_line(error)})",
        ) from error


def _other_kind(path: pathlib.Path) -> str:
    """Tells what a file is, if it is known to be none of PyTorch's."""
    kind = file_kinds.kind_of(path)
    return "" if kind == file_kinds.TORCH else kind


def _numpy_globals() -> list[tuple[Any, str]]:
    """Returns what may be built besides tensors: NumPy's arrays and numbers."""
    named = [
        (admitted, f"{module.replace('numpy.core', core)}.{name}")
        for (module, name), admitted in unpickle.ADMITTED.items()
        for core in ("numpy.core", "numpy._core")
    ]
    # Pickles name these with a dot, so that none can ask for them: objects of these
    # types, once they are built by what is above, may have their state set.
    types_built = [np.ndarray, *(getattr(np.dtypes, n) for n in np.dtypes.__all__)]
    return named + [(kind, kind.__name__) for kind in types_built]


def _classes_in(path: pathlib.Path) -> list[str]:
    """Names the classes and functions that a pickle asks for, besides tensors'.

    Reads the pickle's opcodes; nothing is built or run.
    """
    names: set[str] = set()
    strings: list[str] = []
    # genops raises where the pickle is damaged; what came before it counts.
    with open(path, "rb") as file, contextlib.suppress(Exception):
        for opcode, argument, _ in pickletools.genops(file):
            if isinstance(argument, str):
                strings.append(argument)
            if opcode.name == "GLOBAL":
                names.add(str(argument).replace(" ", "."))
            elif opcode.name == "STACK_GLOBAL":
                names.add(".".join(strings[-2:]))
    harmless = ("torch.", "collections.OrderedDict")
    known = {name for _, name in _numpy_globals()}
    return sorted(name for name in names - known if not name.startswith(harmless))


def _weights(path: pathlib.Path, content: Mapping, part: str) -> Weights:
    """Picks the weights out of what a file holds."""
    leaves = list(_leaves(content))
    has_names = any(_is_weight(name, value) for _, name, value in leaves)
    found, ignored = [], []
    for keys, name, value in leaves:
        full = ".".join((*keys, name))
        # A file without names of weights is none of ours; the caller tells so.
        is_weight = _is_weight(name, value) if has_names else _holds_arrays(value)
        if is_weight and (not part or _is_under(part, full) or _is_under(part, name)):
            found.append((keys, name, _to_numpy(path, full, value)))
        else:
            ignored.append(full)
    if part and not found:
        others = ", ".join(dict.fromkeys(name.split(".")[0] for name in ignored))
        raise unexpected(path, f"weights under {part!r}", f"others under {others}")
    places = {keys for keys, *_ in found}
    container = "/".join(places.pop()) if len(places) == 1 else ""
    tensors = {
        name if container else ".".join((*keys, name)): array
        for keys, name, array in found
    }
    taken = [".".join((*keys, name)) for keys, name, _ in found]
    return Weights(tensors, container or None, _summed_up(ignored, taken))


def _is_under(part: str, name: str) -> bool:
    return f"{name}.".startswith(f"{part}.")


def _leaves(
    content: Mapping, keys: tuple[str, ...] = ()
) -> Iterator[tuple[tuple[str, ...], str, Any]]:
    """Yields (keys, name, value) of what lies in a dict of dicts.

    A dict without tensors is one value, and one of an optimizer and the like None.
    """
    for name, value in content.items():
        if not isinstance(value, Mapping) or not _holds_arrays(value):
            yield keys, str(name), value
        elif _EXTRAS.fullmatch(str(name)):
            yield keys, str(name), None
        else:
            yield from _leaves(value, (*keys, str(name)))


def _is_weight(name: str, value: Any) -> bool:
    """Tells whether it is a tensor under the name of a module's."""
    is_named = "." in name or name in LEAVES
    return is_named and (_holds_arrays(value) or isinstance(value, np.generic))


def _holds_arrays(value: Any) -> bool:
    if isinstance(value, Mapping):
        return any(map(_holds_arrays, value.values()))
    if isinstance(value, list | tuple):
        return any(map(_holds_arrays, value))
    return isinstance(value, np.ndarray) or hasattr(value, "numel")


def _summed_up(ignored: Sequence[str], taken: Sequence[str]) -> tuple[str, ...]:
    """Shortens names to the first parts by which they differ from all others."""
    parts = [name.split(".") for name in taken]
    used = {tuple(name[:n]) for name in parts for n in range(1, len(name))}
    roots: dict[str, None] = {}
    for name in (name.split(".") for name in ignored):
        lengths = range(1, len(name))
        n = next((n for n in lengths if tuple(name[:n]) not in used), len(name))
        roots[".".join(name[:n])] = None
    return tuple(roots)


def _to_numpy(path: pathlib.Path, name: str, tensor: Any) -> np.ndarray:
    if isinstance(tensor, np.ndarray | np.generic) and tensor.dtype.kind != "O":
        return np.asarray(tensor)
    torch = _import_torch(path)
    if not isinstance(tensor, torch.Tensor) or tensor.layout != torch.strided:
        raise unexpected(f"{path}: {name}", "a dense tensor", type(tensor).__name__)
    tensor = tensor.detach()
    n_bytes = tensor.numel() * tensor.element_size()
    if tensor.device.type != "cpu" or n_bytes > tensor.untyped_storage().nbytes():
        raise unexpected(
            f"{path}: {name}",
            "a tensor that holds its values",
            f"one of shape {tuple(tensor.shape)} that does not",
        )
    if tensor.dtype == torch.bfloat16:
        # NumPy has no bfloat16 of its own.
        return tensor.view(torch.int16).numpy().view(ml_dtypes.bfloat16)
    try:
        return tensor.numpy()
    except (TypeError, RuntimeError) as error:
        raise unexpected(
            f"{path}: {name}", "a dense tensor of numbers", tensor.dtype
        ) from error


def _to_torch(torch: types.ModuleType, array: np.ndarray) -> Any:
    is_bfloat16 = array.dtype == ml_dtypes.bfloat16
    with warnings.catch_warnings(action="ignore"):
        # PyTorch warns of arrays that may not be written to; nobody writes to them.
        tensor = torch.from_numpy(array.view(np.int16) if is_bfloat16 else array)
    return tensor.view(torch.bfloat16) if is_bfloat16 else tensor
