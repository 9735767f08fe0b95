"""RDMs in files, of whatever was measured: fMRI, MEG, monkeys, behaviour.

Arrays of NumPy (``.npy``), MATLAB's ``.mat`` up to version 7.3, and what rsatoolbox
saves (HDF5): one RDM, or one of each subject, region or time, square or condensed.
"""

import os
import pathlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from img2eeg_jax.data.array_files import read_mat_or_hdf5
from img2eeg_jax.errors import expecting, naming, unexpected
from img2eeg_jax.evaluation.rsa.rdms import condensed, n_images_of

_NPY = ".npy"
_MAT = ".mat"
_HDF5 = (".h5", ".hdf5", ".hdf")
SUFFIXES = (_NPY, _MAT, *_HDF5)

# The name under which rsatoolbox saves dissimilarities.
_DISSIMILARITIES = "dissimilarities"
# The group in which it describes images.
_PATTERNS = "pattern_descriptors"

# Exceptions by which NumPy tells of a damaged file.
_BROKEN = (OSError, ValueError, EOFError)


@dataclass(frozen=True, eq=False)
class RDMs:
    """RDMs of the same images that a file holds.

    Attributes:
      name: of the file, without ending.
      values: f64[rdm, pair].
      images: the name of each image, if the file knows; None if not.
    """

    name: str
    values: NDArray[np.float64]
    images: tuple[str, ...] | None = None

    @property
    def n_images(self) -> int:
        """How many images they are of."""
        return n_images_of(self.values.shape[1])


def read_rdms(path: str | os.PathLike) -> RDMs:
    """Reads the RDMs of a file.

    Args:
      path: ``.npy``: f[..., image, image] or f[..., pair]; ``.mat``: the same under the
        only name of such an array, MATLAB's last axis counting RDMs; ``.h5`` or
        ``.hdf5``: by rsatoolbox's ``RDMs.save``, or a file with one such array.

    Raises:
      InputError: there is no such file, it is none of these, it holds several arrays
        that may be RDMs or none, or dissimilarities that are not finite.
    """
    path = pathlib.Path(path)
    suffix = path.suffix.lower()
    expected = f"RDMs, {', '.join(SUFFIXES)}"
    if suffix not in SUFFIXES:
        raise unexpected(path, expected, suffix or "no ending")
    if suffix == _NPY:
        with expecting(path, expected, *_BROKEN):
            arrays, images = {path.stem: np.load(path, allow_pickle=False)}, None
    else:
        arrays = read_mat_or_hdf5(path, expected)
        images = _names(arrays)
        arrays = {
            name: of
            for name, of in arrays.items()
            if of.dtype.kind in "fiu" and "/" not in name
        }
    with naming(path):
        values = _only_rdms(arrays, is_matlab=suffix == _MAT)
        if not np.isfinite(values).all():
            found = f"{np.count_nonzero(~np.isfinite(values))} that are NaN or infinite"
            raise unexpected("", "finite dissimilarities", found)
        rdms = RDMs(path.stem, values, images)
        if images is not None and len(images) != rdms.n_images:
            raise unexpected("names", f"{rdms.n_images}, one an image", len(images))
    return rdms


def read_order(path: str | os.PathLike) -> tuple[str, ...]:
    """Reads which image each row of an RDM is: a name, or a number from 0, a line.

    Raises:
      InputError: it is no text, or names an image twice or none.
    """
    with expecting(path, "a text file, an image a line", OSError, UnicodeDecodeError):
        text = pathlib.Path(path).read_text(encoding="utf-8-sig")
    names = tuple(line.strip() for line in text.splitlines() if line.strip())
    if not names or len(set(names)) < len(names):
        twice = next((name for name in names if names.count(name) > 1), "none")
        raise unexpected(path, "different images, one a line", twice)
    return names


def places(order: Sequence[str], images: Sequence[str]) -> NDArray[np.int64]:
    """Returns which image each row of an RDM is, i64[row].

    Args:
      order: names of images, with folder and ending or without; or numbers from 0.
      images: paths of the images.

    Raises:
      InputError: a name is of no image, or of several.
    """
    known: dict[str, set[int]] = {}
    for row, image in enumerate(images):
        path = pathlib.PurePath(image)
        for name in {str(path), path.name, path.stem, str(path.with_suffix(""))}:
            known.setdefault(name, set()).add(row)
    found: list[int] = []
    for name in order:
        rows = known.get(name, set())
        if not rows and name.isdecimal() and int(name) < len(images):
            rows = {int(name)}
        if len(rows) != 1:
            expected = f"names of one of {len(images)} images each"
            raise unexpected("", expected, f"{name}, of {len(rows)}")
        found.extend(rows)
    return np.array(found)


def _only_rdms(arrays: Mapping[str, NDArray], is_matlab: bool) -> NDArray[np.float64]:
    """Returns f64[rdm, pair] of the only array that can be RDMs."""
    if _DISSIMILARITIES in arrays:
        arrays = {_DISSIMILARITIES: arrays[_DISSIMILARITIES]}
    arrays = {name: of for name, of in arrays.items() if of.size > 1}
    if len(arrays) != 1:
        found = ", ".join(arrays) or "none"
        raise unexpected("", "one array of dissimilarities", found)
    ((name, values),) = arrays.items()
    if is_matlab and values.ndim == 3 and values.shape[0] == values.shape[1]:
        values = np.moveaxis(values, -1, 0)
    elif is_matlab and values.ndim == 2 and values.shape[1] == 1:
        values = values.T
    values = condensed(values, name).astype(np.float64)
    return values.reshape(-1, values.shape[-1])


def _names(arrays: Mapping[str, NDArray]) -> tuple[str, ...] | None:
    """Returns the first descriptor of rsatoolbox's patterns that is text."""
    for name, of in arrays.items():
        if name.startswith(f"{_PATTERNS}/") and of.dtype.kind in "SO":
            return tuple(
                text.decode() if isinstance(text, bytes) else str(text) for text in of
            )
    return None
