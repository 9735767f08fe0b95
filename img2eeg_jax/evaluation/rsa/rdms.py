"""Representational dissimilarity matrices (RDMs) of features or responses.

An RDM holds how unlike two images are, for each pair of them: as a vector of the pairs
above the diagonal, row by row ("condensed", as in SciPy), or as a symmetric matrix
("square") whose diagonal is 0. Functions take both, and return the first.
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike, DTypeLike, NDArray

from img2eeg_jax.errors import unexpected

METRICS = ("correlation", "euclidean", "cosine")

# Images whose rows are computed together, and float64 values of the features of all
# images that are held for it: 8 MiB.
_ROWS, _BLOCK_VALUES = 1024, 2**20

# Dissimilarities that are smaller are rounding: the images are the same.
_SAME_COSINE, _SAME_SQUARE = 1e-12, 1e-14
# A pattern whose spread is below this fraction of its mean is constant.
_CONSTANT_RTOL = 1e-13


def rdm(
    features: ArrayLike, metric: str = "correlation", dtype: DTypeLike = np.float64
) -> NDArray:
    """Computes how unlike images are in their features.

    The features are read and multiplied in blocks, in float64, so that beside the
    result there is less than 500 MB in memory; that of 16,540 images takes 1.1 GB, or
    half of it in float32. Features may be a memory map.

    Args:
      features: f[image, ...], any unit; what follows the images is one pattern.
      metric: "correlation": 1 minus Pearson's r over the pattern; "cosine": 1 minus the
        cosine of the angle between patterns; "euclidean": the length of the difference.
      dtype: of the result.

    Returns:
      f[pair], condensed. Images that are the same have 0, without rounding. nan where
      "correlation" meets a pattern that is constant, of one value for example, or
      "cosine" one that is 0.

    Raises:
      InputError: there are fewer than 2 images, no features, or values that are not
        finite.
      ValueError: there is no such metric.
    """
    if metric not in METRICS:
        raise ValueError(f"`metric`: expected one of {METRICS}, found {metric!r}")
    flat = _checked(features)
    n_images = len(flat)
    means = _means(flat)
    prepared = _preparation(flat, means, metric)
    # Squared lengths up to which a pattern is 0, or its spread that of rounding.
    floors = np.zeros(n_images)
    if metric == "correlation":
        floors = flat.shape[1] * np.square(_CONSTANT_RTOL * means)
    result, squares = (
        np.empty(n_images * (n_images - 1) // 2, dtype),
        np.empty(n_images),
    )
    end = len(result)
    # From the last row on, so that the lengths of all later images are known.
    for start in reversed(range(0, n_images, _ROWS)):
        gram = _gram(flat, prepared, start)
        squares[start : start + len(gram)] = np.diagonal(gram)
        block = _dissimilarities(gram, squares[start:], floors[start:], metric)
        for row in reversed(range(len(block))):
            above = block[row, row + 1 :]
            result[end - len(above) : end] = above
            end -= len(above)
    return result


def rdm_over_time(response: ArrayLike, metric: str = "correlation") -> NDArray:
    """Computes the RDM of each time: patterns are over channels.

    Args:
      response: f[image, channel, time], any unit.
      metric: see `rdm`. With fewer than 3 channels "correlation" tells nothing.

    Returns:
      f64[time, pair].

    Raises:
      InputError, ValueError: see `rdm`.
    """
    response = np.asarray(response)
    if response.ndim != 3:
        raise unexpected("response", "[image, channel, time]", response.shape)
    return np.stack([rdm(at, metric) for at in np.moveaxis(response, -1, 0)])


def square(condensed: ArrayLike) -> NDArray:
    """Returns f[..., image, image] of f[..., pair].

    Raises:
      InputError: no number of images has so many pairs.
    """
    condensed = np.asarray(condensed)
    n_images = n_images_of(condensed.shape[-1])
    matrix = np.zeros((*condensed.shape[:-1], n_images, n_images), condensed.dtype)
    rows, columns = np.triu_indices(n_images, 1)
    matrix[..., rows, columns] = matrix[..., columns, rows] = condensed
    return matrix


def condensed(rdms: ArrayLike, where: str = "RDM") -> NDArray:
    """Returns f[..., pair] of RDMs that may be square or condensed.

    Args:
      rdms: f[..., image, image] or f[..., pair].
      where: what an error calls it.

    Raises:
      InputError: it is neither: a square is not symmetric, its diagonal is not 0 (nan
        counts as 0), or no number of images has so many pairs.
    """
    rdms = np.asarray(rdms)
    if rdms.ndim == 0 or rdms.dtype.kind not in "fiu":
        expected = "numbers, [image, image] or [pair]"
        raise unexpected(where, expected, f"{rdms.dtype} {list(rdms.shape)}")
    if rdms.ndim > 1 and rdms.shape[-1] == rdms.shape[-2]:
        if found := _asymmetry(rdms):
            # A stack of as many RDMs as each has pairs looks like a square.
            if not _is_triangular(rdms.shape[-1]):
                raise unexpected(where, "a symmetric RDM with a diagonal of 0", found)
        else:
            return rdms[(..., *np.triu_indices(rdms.shape[-1], 1))]
    if not _is_triangular(rdms.shape[-1]):
        expected = "[image, image] or [pair], n (n - 1) / 2 pairs"
        raise unexpected(where, expected, f"shape {rdms.shape}")
    return rdms


def n_images_of(n_pairs: int) -> int:
    """Returns how many images have so many pairs.

    Raises:
      InputError: no number of images has.
    """
    n_images = round((1 + (1 + 8 * n_pairs) ** 0.5) / 2)
    if n_pairs < 1 or n_images * (n_images - 1) // 2 != n_pairs:
        raise unexpected("RDM", "n (n - 1) / 2 pairs of n images", n_pairs)
    return n_images


def _is_triangular(n_pairs: int) -> bool:
    n_images = round((1 + (1 + 8 * n_pairs) ** 0.5) / 2)
    return n_pairs > 0 and n_images * (n_images - 1) // 2 == n_pairs


def _asymmetry(rdms: NDArray) -> str:
    """Returns why squares are no RDMs, or nothing."""
    diagonal = np.diagonal(rdms, axis1=-2, axis2=-1)
    largest = np.max(np.abs(rdms), initial=0, where=np.isfinite(rdms))
    if (np.abs(diagonal) > 1e-6 * largest).any():
        return f"{np.nanmax(np.abs(diagonal)):g} on the diagonal"
    difference = np.abs(rdms - np.swapaxes(rdms, -1, -2))
    if (difference > 1e-6 * largest).any():
        return f"halves that differ by up to {np.nanmax(difference):g}"
    return ""


def _checked(features: ArrayLike) -> NDArray:
    """Returns f[image, feature] if there is an RDM of it."""
    features = np.asanyarray(features)
    if features.ndim < 2 or len(features) < 2 or not features.size:
        raise unexpected("features", "[image, ...], 2 or more images", features.shape)
    return features.reshape(len(features), -1)


def _means(flat: NDArray) -> NDArray[np.float64]:
    """Returns f64[image], the mean over each pattern.

    Raises:
      InputError: a value is NaN or infinite, which the mean then is.
    """
    with np.errstate(invalid="ignore"):
        means = flat.mean(axis=1, dtype=np.float64)
    if not np.isfinite(means).all():
        raise unexpected("features", "finite values", "NaN or infinite ones")
    return means


def _feature_blocks(flat: NDArray) -> list[slice]:
    n_images, n_features = flat.shape
    step = max(1, _BLOCK_VALUES // n_images)
    return [slice(start, start + step) for start in range(0, n_features, step)]


def _preparation(
    flat: NDArray, means: NDArray[np.float64], metric: str
) -> Callable[[slice], NDArray]:
    """Returns what makes f64[image, feature] of a block of features.

    Takes away what does not change the metric: rounding is of its size.
    """
    if metric == "correlation":
        return lambda block: flat[:, block] - means[:, np.newaxis]
    if metric == "euclidean":
        # Images that are the same differ from the first in nothing, but from a mean in
        # its rounding.
        return lambda block: flat[:, block].astype(np.float64) - flat[0, block]
    return lambda block: flat[:, block].astype(np.float64)


def _gram(
    flat: NDArray, prepared: Callable[[slice], NDArray], start: int
) -> NDArray[np.float64]:
    """Returns f64[row, image], products of rows from `start` with images from there."""
    n_rows = min(_ROWS, len(flat) - start)
    gram = np.zeros((n_rows, len(flat) - start))
    for block in _feature_blocks(flat):
        values = prepared(block)[start:]
        gram += values[:n_rows] @ values.T
    return gram


def _dissimilarities(
    gram: NDArray[np.float64],
    squares: NDArray[np.float64],
    floors: NDArray[np.float64],
    metric: str,
) -> NDArray[np.float64]:
    """Returns f64[row, image] of products of rows and images, and squared lengths."""
    rows = squares[: len(gram), np.newaxis]
    if metric == "euclidean":
        sums = rows + squares
        distances = sums - 2 * gram
        distances[distances < _SAME_SQUARE * sums] = 0
        return np.sqrt(distances)
    lengths = np.sqrt(np.where(squares > floors, squares, np.nan))
    dissimilarities = 1 - gram / lengths[: len(gram), np.newaxis] / lengths
    dissimilarities[np.abs(dissimilarities) < _SAME_COSINE] = 0
    return np.minimum(dissimilarities, 2)
