"""Pairwise decoding: which of two images was seen, by a line between its responses.

For each pair of images and each time, a linear support vector machine over channels is
trained on measured responses and tested on predicted ones, as in the evaluation of
Gifford et al. 2022 (NeuroImage 264:119754). How well it does on measured responses that
it was not trained on, and on the mean of all, bounds what predictions can score.

The classifiers of a time are an object, `PairClassifiers`; `decoding_scores` has those
of all times and halvings, a time to each thread.
"""

import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from tqdm import tqdm

from img2eeg_jax.errors import unexpected
from img2eeg_jax.evaluation import svm
from img2eeg_jax.evaluation.encoding import checked_pair
from img2eeg_jax.evaluation.halvings import half_orders

# The means of repetitions that a classifier is trained on, of each image: at most.
N_PSEUDO_TRIALS = 10

# Float64 values of the kernels of one block of pairs: 1.5 MB, which caches hold.
_BLOCK_VALUES = 200_000

# A bar is shown of what takes longer.
_BAR_AFTER_S = 1.0


def pairs_of(n_images: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Returns the numbers of the first and second image of each pair, as `triu`."""
    first, second = np.triu_indices(n_images, 1)
    return first, second


@dataclass(frozen=True, eq=False)
class PairClassifiers:
    """A line for each pair of images: decisions above 0 say the first.

    Attributes:
      weights: f64[pair, channel].
      intercepts: f64[pair].
    """

    weights: NDArray[np.float64]
    intercepts: NDArray[np.float64]

    def accuracy(self, responses: ArrayLike) -> NDArray[np.float64]:
        """Tests on responses to the images that each classifier tells apart.

        Args:
          responses: f[image, item, channel], in the unit of training.

        Returns:
          f64[pair], share of the 2 * item that are right; a decision of 0, where both
          are as likely, counts half.
        """
        responses = np.asarray(responses, np.float64)
        first, second = pairs_of(len(responses))
        right = np.empty(len(first))
        for block in _blocks(len(first), responses[0].size):
            weights = self.weights[block, :, np.newaxis]
            intercepts = self.intercepts[block, np.newaxis]
            decisions = [
                (responses[images[block]] @ weights)[..., 0] + intercepts
                for images in (first, second)
            ]
            right[block] = (_is_first(decisions[0]) - _is_first(decisions[1])).mean(1)
        return (right + 1) / 2

    def wins(self, responses: ArrayLike) -> NDArray[np.float64]:
        """Counts for which images any response would pass.

        The accuracy on responses that are given to images in any order is the mean over
        images of what is at (image, image whose response it is given), by n - 1: a
        permutation test needs no more.

        Args:
          responses: f[image, channel], in the unit of training.

        Returns:
          f64[image, image]: of the n - 1 classifiers of the first image, how many say
          that the second's response is the first's; ties count half.
        """
        responses = np.asarray(responses, np.float64)
        n_images = len(responses)
        first, second = pairs_of(n_images)
        won = np.zeros((n_images, n_images))
        for block in _blocks(len(first), n_images):
            decisions = self.weights[block] @ responses.T
            decisions += self.intercepts[block, np.newaxis]
            says_first = _is_first(decisions)
            np.add.at(won, first[block], says_first)
            np.add.at(won, second[block], 1 - says_first)
        return won


def fit_pairs(trials: ArrayLike, cost: float = 1.0) -> PairClassifiers:
    """Trains a classifier for each pair of images.

    Args:
      trials: f[image, trial, channel], any unit. It matters: what is 1 in it weighs
        against `cost`.
      cost: C of the support vector machines.
    """
    trials = np.asarray(trials, np.float64)
    n_images, n_trials, n_channels = trials.shape
    first, second = pairs_of(n_images)
    labels = np.repeat([1.0, -1.0], n_trials)
    weights = np.empty((len(first), n_channels))
    intercepts = np.empty(len(first))
    for block in _blocks(len(first), (2 * n_trials) ** 2):
        examples = np.concatenate([trials[first[block]], trials[second[block]]], 1)
        kernels = examples @ examples.swapaxes(1, 2)
        kernels = np.ascontiguousarray(kernels.transpose(1, 2, 0))
        directions, intercepts[block] = svm.fit(kernels, labels, cost)
        weights[block] = np.einsum("eb,bec->bc", directions, examples)
    return PairClassifiers(weights, intercepts)


@dataclass(frozen=True, eq=False)
class DecodingScores:
    """Accuracies of pairwise decoding, means over halvings; chance is 0.5.

    The names are those of the table in `metrics`. Pairs are in the order of `pairs_of`.

    Attributes:
      decoding_accuracy: f64[pair, time], tested on predictions.
      decoding_ceiling_lower: f64[pair, time], tested on the other half's mean.
      decoding_ceiling_upper: f64[pair, time], tested on the mean of all repetitions,
        which contains the half that was trained on.
      wins: f64[image, image, time], of predictions; see `PairClassifiers.wins`.
      n_pseudo_trials: of each image in training.
      n_splits: number of halvings.
    """

    decoding_accuracy: NDArray[np.float64]
    decoding_ceiling_lower: NDArray[np.float64]
    decoding_ceiling_upper: NDArray[np.float64]
    wins: NDArray[np.float64]
    n_pseudo_trials: int
    n_splits: int


def decoding_scores(
    prediction: ArrayLike,
    eeg: ArrayLike,
    *,
    n_splits: int = 1,
    seed: int,
    cost: float = 1.0,
    progress: bool | None = None,
) -> DecodingScores:
    """Decodes predictions, and measured EEG, with classifiers of measured EEG.

    Args:
      prediction: f[image, channel, time], in the unit of `eeg`.
      eeg: f[image, repetition, channel, time], the measured EEG.
      n_splits: number of random halvings of the repetitions; 100 are official, and take
        100 times as long.
      seed: of the halvings.
      cost: C of the support vector machines.
      progress: whether to show a bar; None shows one in a terminal, of what takes long.

    Returns:
      The scores.

    Raises:
      InputError: shapes do not agree, there are fewer than 2 images or repetitions, or
        a value is not finite.
      ValueError: `n_splits` is below 1.
    """
    prediction, eeg = checked_pair(prediction, eeg, min_images=2)
    orders = _orders(eeg, n_splits, seed)
    n_images, n_repetitions, _, n_times = eeg.shape
    n_half = n_repetitions // 2

    def at(split: int, time: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        responses = eeg[..., time].astype(np.float64)
        order, predicted = orders[split], prediction[..., time]
        fitted = fit_pairs(pseudo_trials(responses, order[:n_half]), cost)
        tests = (predicted, responses[:, order[n_half:]].mean(1), responses.mean(1))
        accuracies = [fitted.accuracy(test[:, np.newaxis]) for test in tests]
        return np.stack(accuracies), fitted.wins(predicted)

    sums = np.zeros((3, len(pairs_of(n_images)[0]), n_times))
    wins = np.zeros((n_images, n_images, n_times))
    for time, (accuracies, won) in _each(at, n_splits, n_times, progress):
        sums[..., time] += accuracies
        wins[..., time] += won
    n_trials = min(N_PSEUDO_TRIALS, n_half)
    predicted, lower, upper = sums / n_splits
    return DecodingScores(predicted, lower, upper, wins / n_splits, n_trials, n_splits)


def pairwise_accuracy(
    eeg: ArrayLike,
    *,
    n_splits: int = 1,
    seed: int,
    cost: float = 1.0,
    progress: bool | None = None,
) -> NDArray[np.float64]:
    """Tells how well each two images' measured responses can be told apart.

    Classifiers are trained on the pseudo-trials of one half of the repetitions and
    tested on each of those of the other half, so that the accuracy of a pair is finer
    than the ceilings of `decoding_scores`, which are tested on means. As a measure of
    dissimilarity it is a column of condensed RDMs.

    Args:
      eeg: f[image, repetition, channel, time], any unit, but see `fit_pairs`.
      n_splits: see `decoding_scores`.
      seed: see `decoding_scores`.
      cost: see `decoding_scores`.
      progress: see `decoding_scores`.

    Returns:
      f64[pair, time], from 0 to 1, pairs in the order of `pairs_of`.

    Raises:
      InputError: see `decoding_scores`.
      ValueError: see `decoding_scores`.
    """
    _, eeg = checked_pair(np.asarray(eeg)[:, 0], eeg, min_images=2)
    orders = _orders(eeg, n_splits, seed)
    n_half = eeg.shape[1] // 2

    def at(split: int, time: int) -> NDArray[np.float64]:
        responses = eeg[..., time].astype(np.float64)
        halves = orders[split, :n_half], orders[split, n_half:]
        trained, tested = (pseudo_trials(responses, half) for half in halves)
        return fit_pairs(trained, cost).accuracy(tested)

    sums = np.zeros((len(pairs_of(len(eeg))[0]), eeg.shape[3]))
    for time, accuracies in _each(at, n_splits, eeg.shape[3], progress):
        sums[:, time] += accuracies
    return sums / n_splits


def pseudo_trials(
    responses: NDArray[np.float64], repetitions: NDArray[np.int64]
) -> NDArray[np.float64]:
    """Averages repetitions in groups as equal as can be, `N_PSEUDO_TRIALS` at most.

    Args:
      responses: f64[image, repetition, ...].
      repetitions: i64[n], which of them, in the order in which they are grouped.

    Returns:
      f64[image, pseudo-trial, ...].
    """
    groups = np.array_split(repetitions, min(N_PSEUDO_TRIALS, len(repetitions)))
    return np.stack([responses[:, group].mean(1) for group in groups], 1)


def _orders(eeg: NDArray, n_splits: int, seed: int) -> NDArray[np.int64]:
    if eeg.shape[1] < 2:
        raise unexpected("decoding", "at least 2 repetitions", eeg.shape[1])
    return half_orders(eeg.shape[1], n_splits, seed)


def _each(
    at: Callable, n_splits: int, n_times: int, progress: bool | None
) -> Iterator[tuple[int, NDArray]]:
    """Yields (time, what `at` returns of it), halving after halving, by all cores."""
    jobs = [(split, time) for split in range(n_splits) for time in range(n_times)]
    bar = tqdm(
        total=len(jobs),
        desc="decoding",
        dynamic_ncols=True,
        delay=_BAR_AFTER_S if progress is None else 0,
        # None asks whether there is a terminal.
        disable=None if progress is None else not progress,
    )
    pool = ThreadPoolExecutor(os.cpu_count(), "decoding")
    try:
        with bar:
            # In the order of the jobs, so that sums do not depend on the threads.
            results = pool.map(at, *zip(*jobs, strict=True))
            for (_, time), result in zip(jobs, results, strict=True):
                bar.update()
                yield time, result
    finally:
        pool.shutdown(cancel_futures=True)


def _blocks(n_pairs: int, values_of_pair: int) -> Iterator[slice]:
    step = max(1, _BLOCK_VALUES // values_of_pair)
    for start in range(0, n_pairs, step):
        yield slice(start, start + step)


def _is_first(decisions: NDArray[np.float64]) -> NDArray[np.float64]:
    """Returns 1 where a decision is for the first image, 0.5 for neither, 0 else."""
    return (np.sign(decisions) + 1) / 2
