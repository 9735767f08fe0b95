"""Arrays that TensorFlow and JAX take over without a copy: they start at 64 bytes."""

import math
from typing import Protocol

import numpy as np

_ALIGNMENT = 64


def empty(shape: tuple[int, ...], dtype: np.dtype | type) -> np.ndarray:
    """Returns an aligned array that is not initialised."""
    dtype = np.dtype(dtype)
    n_bytes = math.prod(shape) * dtype.itemsize
    buffer = np.empty(n_bytes + _ALIGNMENT, np.uint8)
    start = -buffer.ctypes.data % _ALIGNMENT
    return buffer[start : start + n_bytes].view(dtype).reshape(shape)


class Rows(Protocol):
    """Rows in memory, or in files that are read when asked."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of all rows."""

    def __len__(self) -> int: ...

    def __getitem__(self, rows: np.ndarray, /) -> np.ndarray: ...


def take(values: Rows, rows: np.ndarray) -> np.ndarray:
    """Returns `values[rows]`, aligned.

    Args:
      values: an array in memory, or what reads rows by itself.
      rows: i64[n], from 0.
    """
    # Of an array with gaps, `np.take` would copy everything first.
    if not isinstance(values, np.ndarray) or not values.flags.c_contiguous:
        return values[rows]
    result = empty((len(rows), *values.shape[1:]), values.dtype)
    # With mode="raise" it would take into a copy of the result.
    return np.take(values, rows, axis=0, out=result, mode="clip")
