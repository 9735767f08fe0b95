"""Pearson's r over images, column by column: the package's one NumPy implementation.

A column is one channel at one time, or whatever else follows the axis of images.
`objectives` has JAX's, over channels and times, to be differentiated.
"""

import numpy as np
from numpy.typing import ArrayLike, NDArray

# A column whose spread is below this fraction of its mean is rounding, not signal.
_CONSTANT_RTOL = 1e-13


def correlate_over_images(a: ArrayLike, b: ArrayLike) -> NDArray[np.float64]:
    """Correlates two arrays over their first axis.

    Args:
      a: f[image, ...], any unit.
      b: f[image, ...], any unit; the axes after the first broadcast against those of
        `a`.

    Returns:
      f64[...], Pearson r; nan, without a warning, where a column of `a` or `b` is
      constant over images.

    Raises:
      ValueError: the numbers of images differ.
    """
    a, b = np.asarray(a, np.float64), np.asarray(b, np.float64)
    if a.shape[0] != b.shape[0]:
        raise ValueError(f"expected equally many images, found {a.shape} and {b.shape}")
    return correlate_units(unit_columns(a), unit_columns(b))


def unit_columns(
    a: NDArray[np.float64], constant: float = np.nan
) -> NDArray[np.float64]:
    """Centres columns over images and scales them to length 1.

    `correlate_units` of what this makes of columns is their r.

    Args:
      a: f64[image, ...], any unit.
      constant: what a column that is constant over images becomes.

    Returns:
      f64[image, ...], unitless.
    """
    centred = centre_columns(a)
    length = np.sqrt(_dot(centred, centred))
    unit = centred / np.where(length == 0, np.nan, length)
    if not np.isnan(constant):
        unit = np.nan_to_num(unit, copy=False, nan=constant)
    return unit


def centre_columns(a: NDArray[np.float64]) -> NDArray[np.float64]:
    """Subtracts each column's mean over images; a constant column becomes exactly 0.

    Args:
      a: f64[image, ...], any unit.
    """
    mean = a.mean(axis=0)
    centred = a - mean
    length = np.sqrt(_dot(centred, centred))
    is_constant = length <= _CONSTANT_RTOL * np.sqrt(len(a)) * np.abs(mean)
    centred[:, is_constant] = 0
    return centred


def correlate_units(
    a: NDArray[np.float64], b: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Returns f64[...], r of columns f64[image, ...] of `unit_columns`.

    Rounding does not bring it outside of -1 to 1.
    """
    return np.clip(_dot(a, b), -1, 1)


def _dot(a: NDArray[np.float64], b: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.einsum("i...,i...->...", a, b)
