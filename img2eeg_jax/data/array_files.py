"""Arrays in the files of other programs: MATLAB's ``.mat`` and HDF5."""

import pathlib
from typing import Any

import numpy as np

from img2eeg_jax.errors import expecting, unexpected

# Exceptions by which SciPy and h5py tell of a damaged file.
_DAMAGE = (OSError, ValueError, KeyError, TypeError, EOFError, NotImplementedError)


def read_mat_or_hdf5(path: pathlib.Path, expected: str) -> dict[str, np.ndarray]:
    """Reads the arrays of numbers and of texts in a file.

    Args:
      path: a ``.mat`` file of any version, or an HDF5 file by any other ending.
      expected: what it should be, for the message.

    Returns:
      Name → array, with the axes in MATLAB's order where it is MATLAB's; in groups of
      HDF5 a name is ``GROUP/NAME``. Texts of HDF5 are bytes.

    Raises:
      InputError: it is none of these, or damaged.
    """
    # Imported here: few files are of this kind.
    import h5py

    is_mat = path.suffix.lower() == ".mat"
    with expecting(path, expected, *_DAMAGE):
        # `is_hdf5` says no of a file that is not there, too.
        path.stat()
        if h5py.is_hdf5(path):
            return _read_hdf5(path, is_mat)
        if is_mat:
            return _read_mat(path, expected)
    raise unexpected(path, expected, "no HDF5")


def _read_mat(path: pathlib.Path, expected: str) -> dict[str, np.ndarray]:
    # Imported here: few files are of this kind.
    import scipy.io

    with expecting(path, expected, scipy.io.matlab.MatReadError):
        found = scipy.io.loadmat(path)
    return {
        name: np.array([str(np.squeeze(one)) for one in value.ravel()])
        if value.dtype == object
        else value
        for name, value in found.items()
        if isinstance(value, np.ndarray)
    }


def _read_hdf5(path: pathlib.Path, is_mat: bool) -> dict[str, np.ndarray]:
    # Imported here: few files are of this kind.
    import h5py

    entries: dict[str, np.ndarray] = {}

    def keep(name: str, item: Any) -> None:
        # MATLAB's own entries, such as the references of its cells.
        if isinstance(item, h5py.Dataset) and item.shape and not name.startswith("#"):
            if item.dtype.kind in "fiu":
                # MATLAB counts axes from the other end.
                entries[name] = item[()].T if is_mat else item[()]
            elif h5py.check_string_dtype(item.dtype):
                entries[name] = item[()]

    with h5py.File(path, "r") as file:
        file.visititems(keep)
    return entries
