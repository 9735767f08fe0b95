"""Whether a model's RDM fits a measured one by chance, and how well it would in others.

The pairs of an RDM are not independent: each image is in many. So it is images that are
permuted or drawn, never pairs.
"""

import os
from collections.abc import Callable, Iterator
from concurrent import futures
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from img2eeg_jax.errors import unexpected
from img2eeg_jax.evaluation.rsa.comparison import (
    METHODS,
    check_method,
    compare,
    tau_a,
    units,
)
from img2eeg_jax.evaluation.rsa.drawn_pairs import (
    Ranking,
    rank_correlation,
    weighted_cosine,
)
from img2eeg_jax.evaluation.rsa.rdms import condensed, n_images_of, square
from img2eeg_jax.evaluation.statistics import expanded_tail

BOOTSTRAP_METHODS = ("spearman", "pearson", "cosine", "tau_a")

# Float64 values of permuted RDMs that are held at a time: 32 MiB.
_BLOCK_VALUES = 2**22

# Draws whose pairs are ranked side by side.
_DRAWS_AT_A_TIME = 16

# Similarities that differ by less are ties, which rounding must not decide.
_TIE = 1e-12


@dataclass(frozen=True, eq=False)
class PermutedImages:
    """Similarities with measured RDMs of a model whose images are given at random.

    If a model tells nothing about the images, any of them may stand for any.

    Attributes:
      values: f64[1 + permutation, model, target]; the first are the true ones.
    """

    values: NDArray[np.float64]

    @property
    def p(self) -> NDArray[np.float64]:
        """Share of the assignments that fit as well, f64[model, target].

        The true one is among them: of one side, and for each target alone.
        """
        return _share(self.values, self.values[0])

    @property
    def p_max(self) -> NDArray[np.float64]:
        """As `p`, but for how well an assignment fits any of the targets.

        It is below .05 by chance for one of the targets in one of 20 studies, however
        many targets (times) there are.
        """
        return _share(self.values.max(axis=2, keepdims=True), self.values[0])

    @property
    def mean_p(self) -> NDArray[np.float64]:
        """As `p`, of the mean over targets, f64[model]."""
        means = self.values.mean(axis=2)
        return _share(means, means[0])

    def of_targets(self, targets: slice | NDArray[np.int64]) -> "PermutedImages":
        """Returns the same of some of the targets."""
        return PermutedImages(self.values[:, :, targets])


def permute_images(
    models: ArrayLike,
    targets: ArrayLike,
    method: str = "spearman",
    *,
    n_permutations: int = 1000,
    seed: int,
) -> PermutedImages:
    """Compares models with targets for random permutations of the models' images.

    Args:
      models: f[model, image, image] or f[model, pair], or one of them alone.
      targets: f[target, image, image] or f[target, pair], measured; one a time, say.
        Or one alone.
      method: see `comparison.compare`. "tau_a" takes minutes where others take seconds.
      n_permutations: how many; any is as likely as any other.
      seed: of the permutations.

    Raises:
      InputError: they are no RDMs, or of different numbers of images.
      ValueError: there is no such method, or `n_permutations` is below 1.
    """
    check_method(method, METHODS)
    _check_count("n_permutations", n_permutations)
    models, targets = _stacks(models, targets)
    n_images = n_images_of(models.shape[-1])
    orders = np.random.default_rng(seed).permuted(
        np.tile(np.arange(n_images), (n_permutations, 1)), axis=1
    )
    orders = np.concatenate([np.arange(n_images)[np.newaxis], orders])
    if method == "tau_a":
        above = np.triu_indices(n_images, 1)
        blocks = _permuted(square(models), above, orders)
        values = [compare(block, targets, method) for block in blocks]
    else:
        matrices, places = _as_matrices(units(models, method), n_images)
        measured = units(targets, method).T
        values = [block @ measured for block in _permuted(matrices, places, orders)]
    return PermutedImages(np.clip(np.concatenate(values), -1, 1))


def bootstrap_images(
    models: ArrayLike,
    targets: ArrayLike,
    method: str = "spearman",
    *,
    n_bootstraps: int = 1000,
    seed: int,
) -> NDArray[np.float64]:
    """Compares models with targets for images that are drawn with replacement.

    An image that is drawn k times is in each of its pairs k times; the pairs of an
    image with itself, which measure nothing, are left out. Intervals of these samples
    are for other images of the same kind, and rather too wide than too narrow: pairs
    are drawn from fewer images than there are.

    Args:
      models: see `permute_images`.
      targets: see `permute_images`.
      method: one of `BOOTSTRAP_METHODS`.
      n_bootstraps: number of draws.
      seed: of the draws.

    Returns:
      f64[bootstrap, model, target]; nan where a draw is of too few images.

    Raises:
      InputError: they are no RDMs, or of different numbers of images.
      ValueError: there is no such method, or `n_bootstraps` is below 1.
    """
    check_method(method, BOOTSTRAP_METHODS)
    _check_count("n_bootstraps", n_bootstraps)
    models, targets = _stacks(models, targets)
    n_images = n_images_of(models.shape[-1])
    rng = np.random.default_rng(seed)
    drawn = rng.integers(n_images, size=(n_bootstraps, n_images))
    similarity = _similarity_of_drawn(models, targets, method)
    blocks = np.array_split(drawn, -(-n_bootstraps // _DRAWS_AT_A_TIME))
    with futures.ThreadPoolExecutor(os.cpu_count()) as threads:
        return np.concatenate(list(threads.map(similarity, blocks)))


def _similarity_of_drawn(
    models: NDArray, targets: NDArray, method: str
) -> Callable[[NDArray[np.int64]], NDArray[np.float64]]:
    """Returns (i64[draw, image], images that are drawn) → f64[draw, model, target]."""
    n_images = n_images_of(models.shape[1])
    first, second = np.triu_indices(n_images, 1)
    ranked = None
    if method == "spearman":
        ranked = [Ranking(one) for one in models], [Ranking(one) for one in targets]

    def similarity(drawn: NDArray[np.int64]) -> NDArray[np.float64]:
        images = np.stack([np.bincount(one, minlength=n_images) for one in drawn])
        counts = images[:, first] * images[:, second]
        if method == "tau_a":
            pairs = [np.repeat(np.arange(len(first)), one) for one in counts]
            return np.stack(
                [_tau_a_of_pairs(models[:, some], targets[:, some]) for some in pairs]
            )
        if ranked is not None:
            return rank_correlation(ranked[0], ranked[1], counts)
        mine, theirs = (np.stack([of] * len(counts)) for of in (models, targets))
        if method == "pearson":
            mine -= _weighted_mean(mine, counts)
            theirs -= _weighted_mean(theirs, counts)
        return weighted_cosine(mine, theirs, counts)

    return similarity


def interval(
    samples: NDArray[np.float64], n_images: int, level: float = 0.95
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Returns the ends of `statistics.interval` over the first axis.

    Draws of too few images, which are nan, are left out; nan where all are.

    Args:
      samples: f64[draw, ...].
      n_images: of a draw.
      level: how often the interval should hold the truth.
    """
    tail = expanded_tail(n_images, level)
    ends = tail, 1 - tail
    flat = samples.reshape(len(samples), -1)
    result = np.full((2, flat.shape[1]), np.nan)
    # One call for all where each draw is defined, which is nearly always.
    has_all = ~np.isnan(flat).any(axis=0)
    result[:, has_all] = np.quantile(flat[:, has_all], ends, axis=0)
    for column in np.flatnonzero(~has_all & ~np.isnan(flat).all(axis=0)):
        result[:, column] = np.nanquantile(flat[:, column], ends)
    lower, upper = result.reshape(2, *samples.shape[1:])
    return lower, upper


def _weighted_mean(values: NDArray, weights: NDArray) -> NDArray:
    """Returns means over pairs, f[draw, rdm, 1]."""
    total = weights.sum(1)[:, np.newaxis, np.newaxis]
    return values @ weights[..., np.newaxis] / total


def _tau_a_of_pairs(models: NDArray, targets: NDArray) -> NDArray[np.float64]:
    return np.array([[tau_a(a, b) for b in targets] for a in models])


def _as_matrices(
    vectors: NDArray[np.float64], n_images: int
) -> tuple[NDArray[np.float64], tuple[NDArray, NDArray]]:
    """Returns vectors of `units` as f64[model, image, image], and where each value is.

    Those of "whitened_cosine" have a value of each image, too: the diagonal.
    """
    above = np.triu_indices(n_images, 1)
    n_pairs = len(above[0])
    matrices = square(vectors[:, :n_pairs])
    if vectors.shape[1] == n_pairs:
        return matrices, above
    images = np.arange(n_images)
    matrices[:, images, images] = vectors[:, n_pairs:]
    rows, columns = (np.concatenate([side, images]) for side in above)
    return matrices, (rows, columns)


def _permuted(
    matrices: NDArray[np.float64],
    places: tuple[NDArray, NDArray],
    orders: NDArray[np.int64],
) -> Iterator[NDArray[np.float64]]:
    """Yields blocks f64[order, model, value] of matrices of images in other orders."""
    n_models, n_images, _ = matrices.shape
    flat = matrices.reshape(n_models, -1)
    rows, columns = places
    step = max(1, _BLOCK_VALUES // (n_models * len(rows)))
    for start in range(0, len(orders), step):
        some = orders[start : start + step]
        block = np.empty((len(some), n_models, len(rows)))
        for order, values in zip(some, block, strict=True):
            np.take(flat, order[rows] * n_images + order[columns], axis=1, out=values)
        yield block


def _share(values: NDArray, true: NDArray) -> NDArray[np.float64]:
    """Returns the share of values that are at least the true ones, over the first axis.

    nan where one of them is.
    """
    share = np.mean(values >= true - _TIE, axis=0)
    return np.where(np.isnan(values).any(axis=0) | np.isnan(true), np.nan, share)


def _stacks(models: ArrayLike, targets: ArrayLike) -> tuple[NDArray, NDArray]:
    """Returns both as f[rdm, pair]."""
    stacks = []
    for rdms, where in ((models, "model RDMs"), (targets, "measured RDMs")):
        rdms = condensed(rdms, where)
        if rdms.ndim > 2:
            raise unexpected(where, "[rdm, pair] or [rdm, image, image]", rdms.shape)
        stacks.append(np.atleast_2d(rdms))
    counts = [stack.shape[1] for stack in stacks]
    if counts[0] != counts[1]:
        models, targets = map(n_images_of, counts)
        raise unexpected("model RDMs", f"of {targets} images as measured", models)
    return stacks[0], stacks[1]


def _check_count(name: str, count: int) -> None:
    if count < 1:
        raise ValueError(f"`{name}`: expected at least 1, found {count}")
