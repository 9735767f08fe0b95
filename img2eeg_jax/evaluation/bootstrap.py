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
    weights = image_draws(n_images, n_draws, seed).astype(np.float32) / n_images
    predicted = _drawn(weights, prediction.reshape(n_images, 1, -1), constant=0.0)
    mean = eeg.mean(axis=1, dtype=np.float64).reshape(n_images, 1, -1)
    of_all = _r(weights, predicted, _drawn(weights, mean))
    of_half, lower = np.full((2, *of_all.shape), np.nan, np.float32)
    if n_repetitions > 1:
        n_splits = min(n_splits, _N_SPLITS)
        width = max(1, _BLOCK_COLUMNS // n_splits)
        for columns, *halves in half_split_means(eeg, n_splits, seed):
            for start in range(0, halves[0].shape[2], width):
                half, other = (
                    _drawn(weights, means[..., start : start + width])
                    for means in halves
                )
                first = columns.start + start
                at = slice(first, first + half.unit.shape[-1])
                of_half[:, at] = _r(weights, predicted.at(at), half)
                lower[:, at] = _r(weights, other, half)
    parts = (values.reshape(-1, *shape) for values in (of_half, of_all, lower))
    return EncodingDraws(*parts)


@dataclass(frozen=True, eq=False)
class _Drawn:
    """One side of r, with its means and variances within each draw.

    Attributes:
      unit: f32[image, split, column], standardised over all images.
      mean: f32[draw, split, column].
      variance: f32[draw, split, column].
    """

    unit: NDArray[np.float32]
    mean: NDArray[np.float32]
    variance: NDArray[np.float32]

    def at(self, columns: slice) -> "_Drawn":
        """Returns the same of some columns."""
        return _Drawn(*(of[..., columns] for of in vars(self).values()))


def _drawn(weights: NDArray, side: NDArray, constant: float = np.nan) -> _Drawn:
    """Prepares a side, f64[image, split, column]; see `_r` for what is constant."""
    # Unit columns times sqrt(n) have variance 1: single precision is enough.
    unit = (np.sqrt(len(side)) * unit_columns(side, constant)).astype(np.float32)
    mean = _averages(weights, unit)
    return _Drawn(unit, mean, _averages(weights, unit * unit) - mean**2)


def _averages(weights: NDArray, values: NDArray) -> NDArray[np.float32]:
    """Returns f32[draw, ...], the weighted means of f32[image, ...]."""
    return (weights @ values.reshape(len(values), -1)).reshape(-1, *values.shape[1:])


def _r(weights: NDArray, a: _Drawn, b: _Drawn) -> NDArray[np.float32]:
    """Returns f32[draw, column], r within each draw, mean over splits.

    0 where `a` is 0 throughout, nan where a side is constant within a draw.
    """
    products = _averages(weights, a.unit * b.unit)
    covariance = products - a.mean * b.mean
    variance = a.variance * b.variance
    is_undefined = (variance <= 0) & a.unit.any(axis=0)
    scale = np.where(is_undefined, np.nan, np.maximum(variance, np.float32(1e-30)))
    return np.clip(covariance / np.sqrt(scale), -1, 1).mean(axis=1)
