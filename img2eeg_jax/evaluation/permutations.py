"""The permutation control: predictions that are assigned to wrong images."""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from img2eeg_jax.errors import unexpected
from img2eeg_jax.evaluation.correlation import dot_over_images, unit_columns
from img2eeg_jax.evaluation.encoding import checked_pair
from img2eeg_jax.evaluation.halvings import half_split_means


def permutation_r(
    prediction: ArrayLike,
    eeg: ArrayLike,
    *,
    n_permutations: int = 200,
    n_splits: int = 100,
    seed: int,
) -> NDArray[np.float64]:
    """Scores predictions that are assigned to wrong images.

    This is the mean of `encoding_r` over random derangements of the images, each
    scored against every halving. Its expected value is not 0 but
    -encoding_r / (number of images - 1), because the true assignment is left out.

    Args:
      prediction: f[image, channel, time], the predicted EEG.
      eeg: f[image, repetition, channel, time], the measured EEG. A single repetition,
        which has no halves, is scored against as it is.
      n_permutations: number of derangements.
      n_splits: number of random halvings, the same as in `encoding_scores`.
      seed: of the halvings and of the derangements.

    Returns:
      f64[channel, time], mean r; 0 where the prediction is constant over images, nan
      where the measured EEG is.

    Raises:
      InputError: shapes do not agree, there are fewer than 2 images, or a value is not
        finite.
      ValueError: `n_permutations` or `n_splits` is below 1.
    """
    prediction, eeg = checked_pair(prediction, eeg, min_images=2)
    n_images = len(prediction)
    # The halvings use `seed` itself; a second word gives an independent stream.
    rng = np.random.default_rng((seed, 1))
    orders = random_derangements(n_images, n_permutations, rng)
    # r is linear in each standardised side and standardising ignores order, so the
    # mean over all (derangement, halving) pairs is one product of the two means.
    assigned = np.zeros((n_images, n_images))
    np.add.at(assigned, (np.arange(n_images), orders), 1 / n_permutations)
    permuted = assigned @ unit_columns(prediction, constant=0.0).reshape(n_images, -1)
    target = _mean_unit_half(eeg, n_splits, seed)
    return dot_over_images(permuted, target).reshape(eeg.shape[2:])


def random_derangements(
    n_images: int, n_permutations: int, rng: np.random.Generator
) -> NDArray[np.int64]:
    """Draws permutations that leave no image in its place, all equally likely.

    Args:
      n_images: number of images to permute.
      n_permutations: number of permutations.
      rng: source of randomness.

    Returns:
      i64[n_permutations, n_images]; `result[p, i] != i` everywhere.

    Raises:
      InputError: there are fewer than 2 images, so that there is no derangement.
      ValueError: `n_permutations` is below 1.
    """
    if n_images < 2:
        raise unexpected("permutation control", "at least 2 images", n_images)
    if n_permutations < 1:
        raise ValueError(
            f"`n_permutations`: expected at least 1, found {n_permutations}"
        )
    identity = np.arange(n_images)
    found = np.empty((0, n_images), np.int64)
    while len(found) < n_permutations:
        # A random permutation is a derangement with a chance of 1/e to 1/2.
        drawn = rng.permuted(np.tile(identity, (3 * n_permutations, 1)), axis=1)
        found = np.concatenate([found, drawn[(drawn != identity).all(axis=1)]])
    return found[:n_permutations]


def _mean_unit_half(eeg: NDArray, n_splits: int, seed: int) -> NDArray[np.float64]:
    """Returns f64[image, channel-time]: standardised half, mean over halvings."""
    n_images, n_repetitions = eeg.shape[:2]
    if n_repetitions == 1:
        return unit_columns(eeg.reshape(n_images, -1).astype(np.float64))
    mean = np.empty((n_images, eeg[0, 0].size))
    for columns, half, _ in half_split_means(eeg, n_splits, seed):
        mean[:, columns] = unit_columns(half).mean(axis=1)
    return mean
