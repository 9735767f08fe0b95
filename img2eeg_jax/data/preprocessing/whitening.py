"""Multivariate noise normalisation (MVNN): whitening EEG by its noise covariance.

The covariance of one session is a mean of Ledoit-Wolf estimates: one for each
condition and time over repetitions (``time``), or one for each condition and repetition
over times (``epochs``). That is about 850,000 estimates a session of THINGS-EEG2;
here they are computed by the array. Each agrees with scikit-learn's estimator on
standardised features, scaled back, as the official preprocessing uses it.

Guggenmos, Sterzer, Cichy 2018, NeuroImage 173:434; Ledoit, Wolf 2004, J. Multivariate
Analysis 88:365.
"""

from collections.abc import Sequence

import numpy as np
import scipy.linalg

from img2eeg_jax.errors import unexpected

VARIANTS = ("time", "epochs")

# Arrays of a block's size that `_sum_of_estimates` holds at a time, at most.
_ARRAYS_A_BLOCK = 6
# Blocks that stay in a core's cache are several times faster than ones that do not.
_CACHE_BYTES = 2**18


def noise_covariance(
    groups: Sequence[np.ndarray], variant: str, max_bytes: float = 1e9
) -> np.ndarray:
    """Averages Ledoit-Wolf covariances over the conditions of a session's partition.

    Args:
      groups: f64[condition, repetition, channel, time] each; conditions with the same
        number of repetitions form a group. Every condition counts alike.
      variant: "time": estimates over repetitions, averaged over times; "epochs": over
        times, averaged over repetitions.
      max_bytes: memory that the computation may take beside its input.

    Returns:
      f64[channel, channel], in the squared units of the input.

    Raises:
      InputError: an unknown variant, or fewer than two observations an estimate.
    """
    if variant not in VARIANTS:
        raise unexpected("variant", f"one of {VARIANTS}", f"{variant!r}")
    total, n_conditions = np.zeros(()), 0
    for epochs in groups:
        # An estimate's features come third, its observations last.
        axes = (0, 3, 2, 1) if variant == "time" else (0, 1, 2, 3)
        observations = epochs.transpose(axes)
        n_each, n_features, n_observations = observations.shape[1:]
        if n_observations < 2:
            raise unexpected(
                variant, "at least 2 observations an estimate", n_observations
            )
        # An estimate's covariance may be larger than its observations.
        n_bytes = n_each * n_features * max(n_features, n_observations) * 8
        step = max(1, int(min(max_bytes / _ARRAYS_A_BLOCK, _CACHE_BYTES) // n_bytes))
        for start in range(0, len(epochs), step):
            block = observations[start : start + step]
            total = total + _sum_of_estimates(block) / n_each
        n_conditions += len(epochs)
    return total / n_conditions


def whitener(covariance: np.ndarray) -> np.ndarray:
    """Returns the symmetric covariance^(-1/2), f64[channel, channel].

    Raises:
      InputError: the covariance is not positive definite.
    """
    smallest = np.linalg.eigvalsh(covariance)[0]
    if not smallest > np.finfo(np.float64).eps * np.trace(covariance):
        raise unexpected(
            "",
            "channels of which none is constant or a sum of others",
            "a noise covariance that is not positive definite",
        )
    return scipy.linalg.fractional_matrix_power(covariance, -0.5)


def whiten(epochs: np.ndarray, whitener: np.ndarray) -> None:
    """Whitens f64[..., channel, time] in place."""
    for index in np.ndindex(epochs.shape[:-3]):
        epochs[index] = whitener @ epochs[index]


def _sum_of_estimates(x: np.ndarray) -> np.ndarray:
    """Sums Ledoit-Wolf covariances.

    Args:
      x: f64[..., feature, observation], one estimate for each of the other axes.

    Returns:
      f64[feature, feature].
    """
    p, n = x.shape[-2:]
    mean = x.mean(-1)
    x = np.subtract(x, mean[..., None], order="C").reshape(-1, p, n)
    mean = mean.reshape(-1, p)
    gram = x @ x.transpose(0, 2, 1)
    variance = np.diagonal(gram, axis1=1, axis2=2) / n
    # Rounding leaves constant features a variance; scikit-learn draws this line.
    eps = np.finfo(np.float64).eps
    is_constant = variance <= n * eps * variance + (n * mean * eps) ** 2
    # Of the standardised features: mean variance, squared lengths of the observations,
    # squared norm of the covariance.
    weights = 1 / np.where(is_constant, 1.0, variance)
    mu = np.mean(weights * variance, 1)
    lengths = (weights[:, None] @ np.square(x, out=x))[:, 0]
    weighted = np.square(gram) @ weights[:, :, None]
    squared_norm = np.sum(weights * weighted[:, :, 0], 1) / n**2
    distance = (squared_norm - p * mu**2) / p
    spread = np.sum(lengths**2, 1) / n - squared_norm
    spread = np.minimum(spread / (n * p), distance)
    shrinkage = np.divide(
        spread, distance, out=np.zeros_like(spread), where=spread != 0
    )
    return np.tensordot((1 - shrinkage) / n, gram, 1) + np.diag(
        (shrinkage * mu) @ (1 / weights)
    )
