"""Similarities of RDMs in which each pair of images counts as often as it is drawn.

Arrays are f[pair, draw] while values are ranked: a draw is then a column, and whatever
depends on the order of values alone is done for all draws at once.
"""

import itertools
import math

import numpy as np
from numpy.typing import NDArray

# Measured RDMs that are ranked before they are multiplied. What they take with 16 draws
# of 200 images is below the 32 MB from which the system clears all memory anew.
_AT_A_TIME = 8


class Ranking:
    """The order of an RDM's values, of which it makes ranks among those drawn.

    The mean rank of pairs with equal values is in the middle between how many drawn
    pairs have smaller values and how many have no larger ones. Running sums count them:
    in `n_columns` columns side by side, so that a step adds a whole row, below which
    the columns' totals are added.
    """

    def __init__(self, values: NDArray):
        n = len(values)
        self._is_known = bool(np.isfinite(values).all())
        order = np.argsort(values, kind="stable")
        in_order = values[order]
        self._n_columns = math.isqrt(n - 1) + 1
        self._n_steps = -(-n // self._n_columns)
        # Row n of the weights is 0.
        padded = np.full(self._n_columns * self._n_steps, n)
        padded[:n] = order
        self._places = padded.reshape(self._n_columns, self._n_steps).T
        # Where each run of equal values starts, and behind the last one.
        starts = np.append(np.flatnonzero(np.diff(in_order, prepend=np.nan)), n)
        run = np.empty(n, np.int64)
        run[order] = np.repeat(np.arange(len(starts) - 1), np.diff(starts))
        self._smaller, self._no_larger = map(self._rows, (starts[run], starts[run + 1]))

    def ranks(self, weights: NDArray) -> NDArray:
        """Returns twice the mean rank of each pair, f[pair, draw].

        Args:
          weights: f[pair + 1, draw], how often each pair comes; the last row is 0.
        """
        n_draws = weights.shape[1]
        if not self._is_known:
            return np.full((len(weights) - 1, n_draws), np.nan, weights.dtype)
        sums = np.zeros((self._n_columns * self._n_steps + 1, n_draws), weights.dtype)
        running = sums[:-1].reshape(self._n_steps, -1, n_draws)
        np.take(weights, self._places, axis=0, out=running, mode="clip")
        for before, row in itertools.pairwise(running):
            row += before
        running[:, 1:] += np.cumsum(running[-1, :-1], axis=0)
        return sums.take(self._smaller, axis=0) + sums.take(self._no_larger, axis=0)

    def _rows(self, n_before: NDArray[np.int64]) -> NDArray[np.int64]:
        """Returns the rows of running sums that are over so many of the first pairs."""
        column, step = np.divmod(n_before - 1, self._n_steps)
        return np.where(n_before > 0, step * self._n_columns + column, -1)


def rank_correlation(
    models: list[Ranking], targets: list[Ranking], counts: NDArray[np.int64]
) -> NDArray[np.float64]:
    """Returns Spearman's correlations of drawn pairs, f64[draw, model, target].

    Within 1e-5: ranks are whole numbers in float32, which are exact up to 2²⁴ and are
    so where it is needed, of up to 4,000 images; their products are rounded.

    Args:
      models: orders of RDMs.
      targets: orders of others, of the same pairs.
      counts: i64[draw, pair], how often each pair comes.
    """
    n_draws, n_pairs = counts.shape
    weights = np.zeros((n_pairs + 1, n_draws), np.float32)
    weights[:-1] = counts.T
    middle = weights.sum(0)

    def ranks(some: list[Ranking]) -> NDArray[np.float32]:
        result = np.empty((n_draws, len(some), n_pairs), np.float32)
        for number, one in enumerate(some):
            result[:, number] = (one.ranks(weights) - middle).T
        return result

    of_models, rows = ranks(models), counts.astype(np.float32)
    parts = [
        weighted_cosine(of_models, ranks(targets[start : start + _AT_A_TIME]), rows)
        for start in range(0, len(targets), _AT_A_TIME)
    ]
    return np.concatenate(parts, axis=2)


def weighted_cosine(
    models: NDArray, targets: NDArray, weights: NDArray
) -> NDArray[np.float64]:
    """Returns weighted cosines, f64[draw, model, target]; of centred values, r.

    Args:
      models: f[draw, model, pair].
      targets: f[draw, target, pair].
      weights: f[draw, pair].
    """
    result = np.empty((len(models), models.shape[1], targets.shape[1]))
    for of_draw, model, target, weight in zip(
        result, models, targets, weights, strict=True
    ):
        weighted = model * weight
        of_models = np.einsum("ij,ij->i", weighted, model)
        of_targets = (target * target) @ weight
        sizes = np.sqrt(np.outer(of_models, of_targets))
        of_draw[:] = weighted @ target.T / np.where(sizes > 0, sizes, np.nan)
    return np.clip(result, -1, 1)
