"""Cross-validated distances of EEG: noise adds nothing to them, on average.

The distance of two responses, each with its own noise, is never 0. The product of their
differences in two repetitions, whose noise is independent, is 0 on average where the
images evoke the same (Walther et al. 2016, NeuroImage 137:188).
"""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from img2eeg_jax.data.preprocessing.whitening import whitener
from img2eeg_jax.errors import naming, unexpected


def crossnobis(
    eeg: ArrayLike, covariance: ArrayLike | None = None
) -> NDArray[np.float64]:
    """Computes the RDM of each time by squared distances between repetitions.

    Mean over all pairs of different repetitions (r, s) of (a_r - b_r) Σ⁻¹ (a_s - b_s) /
    number of channels, for images a and b: leaving out one repetition in turn gives the
    same. The sum over pairs is that over all of them, without those of a repetition
    with itself: two products of matrices.

    Args:
      eeg: f[image, repetition, channel, time], at least 2 repetitions.
      covariance: f[channel, channel], Σ, see `residual_covariance`; None for the
        identity, of whitened EEG: these are cross-validated Euclidean distances.

    Returns:
      f64[time, pair], negative as often as positive where there is no difference; in
      the squared unit of the EEG, or, with Σ, unitless.

    Raises:
      InputError: shapes do not fit, there are fewer than 2 images or repetitions, or
        the covariance has no inverse.
    """
    eeg = _checked(eeg, "cross-validated distances")
    n_images, n_repetitions, n_channels, n_times = eeg.shape
    root = None
    if covariance is not None:
        covariance = np.asarray(covariance, np.float64)
        if covariance.shape != (n_channels, n_channels):
            expected = f"shape {(n_channels, n_channels)}"
            raise unexpected("noise covariance", expected, covariance.shape)
        with naming("noise covariance"):
            root = whitener(covariance)
    pairs = np.triu_indices(n_images, 1)
    scale = n_repetitions * (n_repetitions - 1) * n_channels
    result = np.empty((n_times, len(pairs[0])))
    for time in range(n_times):
        trials = eeg[..., time].astype(np.float64)
        # The mean over images changes no distance, but takes digits of rounding.
        trials -= trials.mean(axis=0)
        if root is not None:
            trials = trials @ root
        of_sums = _squared_distances(trials.sum(axis=1))
        of_one = _squared_distances(trials.reshape(n_images, -1))
        result[time] = (of_sums - of_one)[pairs] / scale
    return result


def residual_covariance(eeg: ArrayLike) -> NDArray[np.float64]:
    """Estimates the noise's covariance over channels from what repetitions differ by.

    At each time, Ledoit and Wolf's estimate (2004, J. Multivariate Analysis 88:365) of
    the trials' differences from the mean of their image, scaled for the means that
    were taken away; averaged over times, so that distances at all times compare.

    Args:
      eeg: f[image, repetition, channel, time], at least 2 repetitions.

    Returns:
      f64[channel, channel], in the squared unit of the EEG.

    Raises:
      InputError: see `crossnobis`.
    """
    eeg = _checked(eeg, "noise covariance")
    n_repetitions, n_channels, n_times = eeg.shape[1:]
    total = np.zeros((n_channels, n_channels))
    for time in range(n_times):
        trials = eeg[..., time].astype(np.float64)
        residuals = trials - trials.mean(axis=1, keepdims=True)
        total += _ledoit_wolf(residuals.reshape(-1, n_channels))
    return total / n_times * n_repetitions / (n_repetitions - 1)


def _checked(eeg: ArrayLike, where: str) -> NDArray:
    eeg = np.asarray(eeg)
    if eeg.ndim != 4 or min(eeg.shape[:2]) < 2 or 0 in eeg.shape:
        expected = "[image, repetition, channel, time], 2 or more images, repetitions"
        raise unexpected(where, expected, eeg.shape)
    if not np.isfinite(eeg).all():
        raise unexpected(where, "finite values", "NaN or infinite ones")
    return eeg


def _squared_distances(patterns: NDArray[np.float64]) -> NDArray[np.float64]:
    gram = patterns @ patterns.T
    squares = np.diagonal(gram)
    return squares[:, np.newaxis] + squares - 2 * gram


def _ledoit_wolf(x: NDArray[np.float64]) -> NDArray[np.float64]:
    """Returns f64[channel, channel] of centred f64[observation, channel]."""
    n, p = x.shape
    sample = x.T @ x / n
    mu = np.trace(sample) / p
    distance = np.square(sample).sum() - p * mu**2
    fourth = np.square(np.einsum("ij,ij->i", x, x)).sum() / n
    spread = min((fourth - np.square(sample).sum()) / n, distance)
    shrinkage = spread / distance if distance > 0 else 0.0
    return (1 - shrinkage) * sample + shrinkage * mu * np.eye(p)
