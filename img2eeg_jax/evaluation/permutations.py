"""The permutation test: scores of predictions that are given to images at random."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from img2eeg_jax.evaluation.correlation import unit_columns
from img2eeg_jax.evaluation.encoding import checked_pair
from img2eeg_jax.evaluation.halvings import halves
from img2eeg_jax.evaluation.statistics import TIE

# Float64 values that one block of products may hold: 16 MiB.
_BLOCK_VALUES = 2**21


@dataclass(frozen=True, eq=False)
class PermutationTest:
    """Whether predictions fit their images better than images at random.

    If a prediction tells nothing about its image, any assignment of predictions to
    images scores as high as the true one. r is linear in each standardised side, and
    standardising ignores order, so that a score is a sum of products of two arrays,
    whatever the assignment.

    Attributes:
      prediction: f64[image, channel, time], standardised over images; 0 where constant.
      target: f64[image, channel, time], the standardised mean of a half, averaged over
        halvings; of a single repetition, which has no halves, that one. nan where the
        EEG is constant over images.
      orders: i64[1 + permutation, image], for each image whose prediction it is given;
        the first row is the true assignment.
    """

    prediction: NDArray[np.float64]
    target: NDArray[np.float64]
    orders: NDArray[np.int64]

    @property
    def n_permutations(self) -> int:
        """How many random assignments there are."""
        return len(self.orders) - 1

    def scores(
        self,
        channels: slice | NDArray[np.int64] = slice(None),
        times: slice | NDArray[np.int64] = slice(None),
    ) -> NDArray[np.float64]:
        """Returns f64[1 + permutation], r averaged over channels and times.

        Args:
          channels: numbers of the channels; all by default.
          times: numbers of the times; all by default.

        Returns:
          Of each row of `orders`; nan where r is of one of the channels and times.
        """
        n_images = len(self.target)
        prediction, target = (
            side[:, channels][:, :, times].reshape(n_images, -1)
            for side in (self.prediction, self.target)
        )
        scores = np.zeros(len(self.orders))
        step = max(1, _BLOCK_VALUES // n_images)
        for start in range(0, n_images, step):
            images = slice(start, start + step)
            products = target[images] @ prediction.T
            given = self.orders[:, images]
            scores += products[np.arange(given.shape[1]), given].sum(axis=1)
        return scores / prediction.shape[1]

    def summary(
        self,
        channels: slice | NDArray[np.int64] = slice(None),
        times: slice | NDArray[np.int64] = slice(None),
    ) -> dict[str, float]:
        """Returns what `metrics.json` holds of the null distribution; see `scores`.

        Returns:
          `permutation_p`, the share of the assignments, the true one among them, that
          score at least as high as the true one: of one side and for these channels and
          times alone. Of the random ones `permutation_r_mean`, `permutation_r_sd` and
          the 95th percentile, `permutation_r_95`.
        """
        null = describe_null(self.scores(channels, times))
        return {name: float(value) for name, value in null.items()}

    def cells(self) -> NDArray[np.float64]:
        """Returns f64[1 + permutation, channel, time], r of each channel and time."""
        cells = np.empty((len(self.orders), *self.target.shape[1:]))
        for row, order in zip(cells, self.orders, strict=True):
            np.einsum("i...,i...->...", self.target, self.prediction[order], out=row)
        return cells


def describe_null(scores: NDArray[np.float64]) -> dict[str, NDArray[np.float64]]:
    """Describes the null distribution of a score; see `PermutationTest.summary`.

    Args:
      scores: f64[1 + permutation, ...], the true one first.

    Returns:
      Name in `metrics.METRICS` → f64[...], nan where a score is.
    """
    random = scores[1:]
    p = np.mean(scores >= scores[0] - TIE, axis=0)
    return {
        "permutation_p": np.where(np.isnan(scores).any(axis=0), np.nan, p),
        "permutation_r_mean": random.mean(axis=0),
        "permutation_r_sd": random.std(axis=0),
        "permutation_r_95": np.quantile(random, 0.95, axis=0),
    }


def permutation_test(
    prediction: ArrayLike,
    eeg: ArrayLike,
    *,
    n_permutations: int = 1000,
    n_splits: int = 100,
    seed: int,
) -> PermutationTest:
    """Prepares the permutation test of `encoding_r`, or of its stand-in.

    Args:
      prediction: f[image, channel, time], the predicted EEG; r ignores its unit.
      eeg: f[image, repetition, channel, time], the measured EEG. A single repetition is
        scored against as it is.
      n_permutations: number of random assignments; any is as likely as any other.
      n_splits: number of random halvings, the same as in `encoding_scores`.
      seed: of the halvings and of the assignments.

    Raises:
      InputError: shapes do not agree, there are fewer than 2 images, or a value is not
        finite.
      ValueError: `n_permutations` or `n_splits` is below 1.
    """
    if n_permutations < 1:
        raise ValueError(
            f"`n_permutations`: expected at least 1, found {n_permutations}"
        )
    prediction, eeg = checked_pair(prediction, eeg, min_images=2)
    # The halvings use `seed` itself; a second word gives an independent stream.
    rng = np.random.default_rng((seed, 1))
    true = np.arange(len(prediction))
    random = rng.permuted(np.tile(true, (n_permutations, 1)), axis=1)
    return PermutationTest(
        prediction=unit_columns(prediction, constant=0.0),
        target=_mean_unit_half(eeg, n_splits, seed),
        orders=np.concatenate([true[np.newaxis], random]),
    )


def _mean_unit_half(eeg: NDArray, n_splits: int, seed: int) -> NDArray[np.float64]:
    """Returns f64[image, channel, time]: standardised half, mean over halvings."""
    n_images, n_repetitions, *shape = eeg.shape
    if n_repetitions == 1:
        return unit_columns(eeg[:, 0].astype(np.float64))
    mean = np.empty((n_images, int(np.prod(shape))))
    for part in halves(eeg, n_splits, seed):
        mean[:, part.columns] = part.mean_unit()
    return mean.reshape(n_images, *shape)
