"""How alike a perfect model's RDM could be to those that were measured."""

import os
from collections.abc import Callable
from concurrent import futures

import numpy as np
import scipy.stats
from numpy.typing import ArrayLike, NDArray

from img2eeg_jax.errors import unexpected
from img2eeg_jax.evaluation.halvings import half_split_means
from img2eeg_jax.evaluation.rsa.comparison import check_method, compare
from img2eeg_jax.evaluation.rsa.rdms import condensed, rdm_over_time


def subject_ceilings(rdms: ArrayLike, method: str = "spearman") -> tuple[float, float]:
    """Bounds the mean similarity of any model with several subjects' RDMs.

    The upper bound is the mean similarity of each subject's RDM with the mean over
    all, which fits them best but contains each; the lower one is that with the mean
    over the others (Nili et al. 2014, PLoS Comput Biol 10:e1003553). What is averaged
    is what the method compares: ranks, or RDMs of one length.

    Args:
      rdms: f[subject, image, image] or f[subject, pair], at least 2 subjects.
      method: see `comparison.compare`.

    Returns:
      (lower, upper).

    Raises:
      InputError: they are no RDMs, or of one subject.
    """
    check_method(method)
    rdms = condensed(rdms)
    if rdms.ndim != 2 or len(rdms) < 2:
        raise unexpected("ceilings", "RDMs of 2 or more subjects", rdms.shape)
    scaled = _pooled_as(rdms, method)
    total = scaled.sum(axis=0)
    lower = [compare(total - s, s, method) for s in scaled]
    upper = [compare(total, s, method) for s in scaled]
    return float(np.mean(lower)), float(np.mean(upper))


def split_half_reliability(
    eeg: ArrayLike,
    n_splits: int = 10,
    *,
    seed: int,
    method: str = "spearman",
    make_rdms: Callable[[NDArray], NDArray] = rdm_over_time,
) -> NDArray[np.float64]:
    """Compares the RDMs of both halves of the repetitions, at each time.

    It tells where one subject's RDMs hold more than noise. It is no ceiling: a model
    is compared with the RDM of all repetitions, which is less noisy.

    Args:
      eeg: f[image, repetition, channel, time], at least 2 repetitions.
      n_splits: number of random halvings, over which is averaged.
      seed: of the halvings.
      method: see `comparison.compare`.
      make_rdms: makes f[time, pair] of responses f[image, channel, time].

    Returns:
      f64[time].

    Raises:
      ValueError: see `halvings.half_split_means`.
    """
    eeg = np.asarray(eeg)
    shape = (len(eeg), n_splits, *eeg.shape[2:])
    halves = np.empty((2, len(eeg), n_splits, int(np.prod(eeg.shape[2:]))))
    for columns, *means in half_split_means(eeg, n_splits, seed):
        halves[..., columns] = means
    halves = halves.reshape(2, *shape)

    def of_split(split: int) -> NDArray[np.float64]:
        one, other = (make_rdms(half[:, split]) for half in halves)
        both = zip(one, other, strict=True)
        return np.array([compare(a, b, method) for a, b in both])

    # NumPy lets other threads work while it sorts dissimilarities into ranks.
    with futures.ThreadPoolExecutor(os.cpu_count()) as threads:
        return np.mean(list(threads.map(of_split, range(n_splits))), axis=0)


def _pooled_as(rdms: NDArray, method: str) -> NDArray[np.float64]:
    """Returns f64[subject, pair], whose mean fits all subjects best."""
    if method in ("spearman", "tau_a"):
        return scipy.stats.rankdata(rdms, axis=-1, nan_policy="propagate")
    rdms = np.asarray(rdms, np.float64)
    if method == "pearson":
        rdms = rdms - rdms.mean(axis=-1, keepdims=True)
    lengths = np.linalg.norm(rdms, axis=-1, keepdims=True)
    return rdms / np.where(lengths > 0, lengths, np.nan)
