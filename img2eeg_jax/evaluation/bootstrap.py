"""Encoding scores of images drawn with replacement: how far they would vary.

The images are a sample of those that might have been shown. Drawing as many of them
with replacement, again and again, shows how far a score depends on which they were.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from img2eeg_jax.evaluation.correlation import unit_columns
from img2eeg_jax.evaluation.encoding import checked_pair
from img2eeg_jax.evaluation.halvings import half_split_means
from img2eeg_jax.evaluation.statistics import image_draws

# Halvings of which a draw's score is the mean. Images vary scores far more than
# halvings do, of which a few are enough to know the spread.
_N_SPLITS = 20

# Columns of half means that are drawn at a time: bounds the memory.
_BLOCK_COLUMNS = 400


@dataclass(frozen=True, eq=False)
class EncodingDraws:
    """Scores of bootstrap samples; f32[draw, channel, time], as in `EncodingScores`.

    They spread as scores over samples of images do, and around the scores of all images
    with 20 halvings, which those of more halvings differ from by little.

    Attributes:
      encoding_r: nan of a single repetition.
      encoding_r_all_repetitions: with the mean of all repetitions.
      noise_ceiling_lower: nan of a single repetition.
    """

    encoding_r: NDArray[np.float32]
    encoding_r_all_repetitions: NDArray[np.float32]
    noise_ceiling_lower: NDArray[np.float32]


def encoding_draws(
    prediction: ArrayLike,
    eeg: ArrayLike,
    *,
    n_draws: int = 1000,
    n_splits: int = 100,
    seed: int,
) -> EncodingDraws:
    """Scores bootstrap samples of the images.

    Args:
      prediction: f[image, channel, time], the predicted EEG; r ignores its unit.
      eeg: f[image, repetition, channel, time], the measured EEG.
      n_draws: how many samples.
      n_splits: of `encoding_scores`; more than 20 are not needed here.
      seed: of the draws and the halvings.

    Raises:
      InputError: shapes do not agree, there are fewer than 3 images, or a value is not
        finite.
      ValueError: `n_draws` or `n_splits` is below 1.
    """
    prediction, eeg = checked_pair(prediction, eeg, min_images=3)
    n_images, n_repetitions, *shape = eeg.shape
    draws = image_draws(n_images, n_draws, seed).astype(np.float32)
    predicted = prediction.reshape(n_images, -1)
    mean = eeg.mean(axis=1, dtype=np.float64).reshape(n_images, -1)
    of_all = _drawn_r(draws, predicted, mean)
    of_half, lower = np.full((2, *of_all.shape), np.nan, np.float32)
    if n_repetitions > 1:
        n_splits = min(n_splits, _N_SPLITS)
        for columns, half, other in half_split_means(eeg, n_splits, seed):
            width = max(1, _BLOCK_COLUMNS // n_splits)
            for start in range(0, half.shape[2], width):
                part = slice(start, start + width)
                at = slice(columns.start + start, columns.start + start + width)
                same = np.repeat(predicted[:, np.newaxis, at], n_splits, axis=1)
                r = _drawn_r(draws, same, half[..., part])
                of_half[:, at] = r.mean(axis=1)
                r = _drawn_r(draws, other[..., part], half[..., part])
                lower[:, at] = r.mean(axis=1)
    parts = (values.reshape(-1, *shape) for values in (of_half, of_all, lower))
    return EncodingDraws(*parts)


def _drawn_r(draws: NDArray, a: NDArray, b: NDArray) -> NDArray[np.float32]:
    """Returns f32[draw, ...], r of f64[image, ...] within each draw.

    0 where `a` is constant over all images, nan where `b` is, or either in the draw.
    """
    shape = a.shape[1:]
    sides = (unit_columns(a, constant=0.0), unit_columns(b))
    # Unit columns times sqrt(n) have variance 1: single precision is enough.
    a, b = (
        (np.sqrt(len(side)) * side).reshape(len(side), -1).astype(np.float32)
        for side in sides
    )
    weights = draws / np.float32(draws.shape[1])
    mean_a, mean_b = weights @ a, weights @ b
    variance = (weights @ (a * a) - mean_a**2) * (weights @ (b * b) - mean_b**2)
    covariance = weights @ (a * b) - mean_a * mean_b
    is_constant = ~a.any(axis=0)
    with np.errstate(divide="ignore", invalid="ignore"):
        r = covariance / np.sqrt(np.where(variance > 0, variance, np.nan))
    r[:, is_constant] = np.where(np.isnan(b[:, is_constant]).any(0), np.nan, 0)
    return np.clip(r, -1, 1).reshape(-1, *shape)
