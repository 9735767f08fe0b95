"""How well each penalty predicts responses to images that a fit did not see."""

import dataclasses
import functools
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import ArrayLike

from img2eeg_jax.errors import unexpected
from img2eeg_jax.linear.design import Rows
from img2eeg_jax.linear.moments import Basis, Moments, blocks, weighted
from img2eeg_jax.linear.products import block_rows, cross_product, product

_HIGHEST = jax.lax.Precision.HIGHEST


@dataclasses.dataclass(frozen=True, eq=False)
class Fold:
    """Images that are held out of a fit.

    Attributes:
      index: i64[row], which.
      basis: of the other images.
      held_out: Moments of these.
    """

    index: np.ndarray
    basis: Basis
    held_out: Moments

    @functools.cached_property
    def gram(self) -> np.ndarray:
        """f32[direction, direction], products of these images, centred by the others'.

        In the basis of the others.
        """
        mean, mine = self.basis.mean, self.held_out
        centred = mine.gram - np.outer(mine.total, mean) - np.outer(mean, mine.total)
        centred += mine.weight * np.outer(mean, mean)
        vectors = self.basis.vectors
        return cross_product(vectors, product(centred, vectors))


@dataclasses.dataclass(frozen=True, eq=False)
class Errors:
    """What is left of responses when they are predicted, over held-out images.

    Attributes:
      squares: f64[alpha, target], weighted sum of squared errors.
      total: f64[target], the same of predicting the mean.
    """

    squares: np.ndarray
    total: np.ndarray

    @property
    def r2(self) -> np.ndarray:
        """f64[alpha, target]; 0 where there was nothing to predict."""
        total = np.where(self.total > 0, self.total, np.inf)
        return np.where(self.total > 0, 1 - self.squares / total, 0.0)


@dataclasses.dataclass(frozen=True, eq=False)
class HeldOut:
    """What is predicted of images that are held out, by fits of the others.

    Attributes:
      index: i64[image], which images.
      predicted: f32[image, ...], their responses.
    """

    index: np.ndarray
    predicted: np.ndarray

    def shifted(self, mean: np.ndarray, shape: tuple[int, ...]) -> "HeldOut":
        """Adds f64[target] to each image's responses, and gives them a shape."""
        predicted = self.predicted + mean.astype(np.float32)
        return HeldOut(self.index, predicted.reshape(-1, *shape))


def make_folds(
    groups: ArrayLike | None, folds: int | Sequence[ArrayLike], n_images: int, seed: int
) -> tuple[np.ndarray, ...] | None:
    """Divides images into parts that are held out in turn.

    Args:
      groups: of each image, such as its concept; whole groups are held out. None
        holds out single images, which needs no folds, unless `folds` lists them.
      folds: how many, or the rows of each. Images in none are never held out.
      n_images: how many images there are.
      seed: of the order of groups.

    Returns:
      i64[row] of each, ascending; None for leave-one-out.

    Raises:
      InputError: there are too few groups, or rows that are not there or twice.
    """
    if not isinstance(folds, int):
        return _check_folds(
            [np.sort(np.asarray(fold, int)) for fold in folds], n_images
        )
    if groups is None:
        return None
    groups = np.asarray(groups)
    if groups.shape != (n_images,):
        raise unexpected("groups", f"one of each of {n_images} images", groups.shape)
    names, group_of = np.unique(groups, return_inverse=True)
    if not 2 <= folds <= len(names):
        expected = f"2 to {len(names)}, as there are groups"
        raise unexpected("`folds`", expected, folds)
    order = np.random.default_rng(seed).permutation(len(names))
    fold_of = np.empty(len(names), int)
    fold_of[order] = np.arange(len(names)) * folds // len(names)
    return tuple(np.flatnonzero(fold_of[group_of] == fold) for fold in range(folds))


def _check_folds(folds: list[np.ndarray], n_images: int) -> tuple[np.ndarray, ...]:
    rows = np.concatenate(folds) if folds else np.zeros(0, int)
    if not rows.size or rows.min() < 0 or rows.max() >= n_images:
        raise unexpected("folds", f"rows of {n_images} images", "others or none")
    if len(np.unique(rows)) != len(rows):
        raise unexpected("folds", "each row in one of them", "rows in several")
    if any(not 0 < len(fold) < n_images for fold in folds):
        raise unexpected("folds", "some images, and others to fit", "none or all")
    return tuple(folds)


def held_out(
    fold: Fold,
    rows: Rows,
    responses: np.ndarray,
    cross: np.ndarray,
    cross_of_others: np.ndarray,
    alphas: np.ndarray,
    weights: np.ndarray,
) -> Errors:
    """Predicts the images of a fold from a fit of the others.

    Many images are as good as their moments: the sum of squared errors is a quadratic
    form of the coefficients. Of few, it is cheaper to predict each.

    Args:
      fold: the images.
      rows: the design matrix of all images.
      responses: f32[image, target] of all images, centred.
      cross: f64[column, target], `cross_moments` of the fold.
      cross_of_others: the same of the other images.
      alphas: f64[alpha], penalties.
      weights: f64[image] of all images.
    """
    basis, index = fold.basis, fold.index
    own = weights[index]
    sums, mean, toward = _of_others(fold, responses, cross_of_others, weights)
    nothing = np.zeros(len(index), np.float32)
    response = weighted(responses[index] - mean.astype(np.float32), own)
    total = np.asarray(_squares_of_means(response, nothing), np.float64)
    values = jnp.asarray(basis.values, jnp.float32)
    penalties = jnp.asarray(alphas, jnp.float32)
    if len(index) > len(basis.values):
        mine = cross - np.outer(basis.mean, sums)
        mine -= np.outer(fold.held_out.total - fold.held_out.weight * basis.mean, mean)
        mine = cross_product(basis.vectors, mine)
        explained = _quadratic(toward, mine, fold.gram, values, penalties)
        return Errors(total - np.asarray(explained, np.float64), total)
    squares = np.zeros((len(alphas), responses.shape[1]))
    for start in range(0, len(index), block_rows(rows.shape[1])):
        part = slice(start, start + block_rows(rows.shape[1]))
        block = rows.block(index[part]) - basis.mean.astype(np.float32)
        block = weighted(product(block, basis.vectors), own[part])
        squares += _squared_errors(
            block,
            response[part],
            nothing[part],
            toward,
            values,
            penalties,
            is_left_out=False,
        )
    return Errors(squares, total)


def predict(
    fold: Fold,
    rows: Rows,
    responses: np.ndarray,
    cross_of_others: np.ndarray,
    alpha: np.ndarray,
    weights: np.ndarray,
) -> np.ndarray:
    """Returns f32[image, target], a fold's images predicted by a fit of the others.

    Arguments are those of `held_out`, but `alpha`, f64[target].
    """
    basis = fold.basis
    _, mean, toward = _of_others(fold, responses, cross_of_others, weights)
    coefficients = product(
        basis.vectors, toward / (basis.values[:, np.newaxis] + alpha)
    )
    offset = (mean - basis.mean @ coefficients).astype(np.float32)
    parts = [product(block, coefficients) for _, block in blocks(rows, fold.index)]
    return np.concatenate(parts) + offset


def _of_others(
    fold: Fold,
    responses: np.ndarray,
    cross_of_others: np.ndarray,
    weights: np.ndarray,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Sums over the images that are not in a fold.

    Returns:
      (f64[target] sum of the fold's responses, f64[target] mean of the others', f32[
      direction, target] products of centred columns, in the basis, and responses).
    """
    own = weights[fold.index]
    sums = own @ responses[fold.index]
    weight = weights.sum() - own.sum()
    # The sum over all images is 0.
    mean = -sums / weight
    toward = cross_of_others - weight * np.outer(fold.basis.mean, mean)
    return sums, mean, cross_product(fold.basis.vectors, toward)


def leave_one_out(
    basis: Basis,
    rows: Rows,
    responses: np.ndarray,
    toward: np.ndarray,
    alphas: np.ndarray,
    weights: np.ndarray,
) -> Errors:
    """Predicts each image from a fit of all others, by the exact formula.

    The error of an image left out is that of the fit of all, over 1 less its leverage.

    Args:
      basis: of all images.
      rows: their design matrix.
      responses: f32[image, target], centred.
      toward: f32[direction, target], products of centred columns, in the basis, and
        responses.
      alphas: f64[alpha], penalties.
      weights: f64[image].
    """
    values = jnp.asarray(basis.values, jnp.float32)
    penalties = jnp.asarray(alphas, jnp.float32)
    squares = np.zeros((len(alphas), responses.shape[1]))
    total = np.zeros(responses.shape[1])
    share = (weights / weights.sum()).astype(np.float32)
    mean = basis.mean.astype(np.float32)
    for part, block in blocks(rows, np.arange(len(responses))):
        along = block - mean
        if basis.vectors is not None:
            along = product(along, basis.vectors)
        along = weighted(along, weights[part])
        response = weighted(responses[part], weights[part])
        squares += _squared_errors(
            along, response, share[part], toward, values, penalties
        )
        total += np.asarray(_squares_of_means(response, share[part]), np.float64)
    return Errors(squares, total)


def _squared_errors(*block: Any, **options: Any) -> np.ndarray:
    """Returns f64[alpha, target], see `_squares_of_block`."""
    return np.asarray(_squares_of_block(*block, **options), np.float64)


@functools.partial(jax.jit, static_argnames=("is_left_out",))
def _squares_of_block(
    along: jax.Array,
    responses: jax.Array,
    share: jax.Array,
    toward: jax.Array,
    values: jax.Array,
    alphas: jax.Array,
    is_left_out: bool = True,
) -> jax.Array:
    """Returns f32[alpha, target], sums of squared errors over a block of images."""

    def of(alpha: jax.Array) -> jax.Array:
        shrunk = 1 / (values + alpha)
        fitted = jnp.matmul(along, shrunk[:, None] * toward, precision=_HIGHEST)
        errors = responses - fitted
        if is_left_out:
            leverage = share + jnp.matmul(along**2, shrunk, precision=_HIGHEST)
            least = jnp.finfo(jnp.float32).eps
            errors /= jnp.maximum(1 - leverage, least)[:, None]
        return jnp.square(errors).sum(0)

    return jax.lax.map(of, alphas)


@jax.jit
def _squares_of_means(responses: jax.Array, share: jax.Array) -> jax.Array:
    """Returns f32[target], sums of squared errors of means over the other images."""
    return jnp.square(responses / (1 - share)[:, None]).sum(0)


@jax.jit
def _quadratic(
    toward: jax.Array,
    mine: jax.Array,
    gram: jax.Array,
    values: jax.Array,
    alphas: jax.Array,
) -> jax.Array:
    """Returns f32[alpha, target], by how much predictions lower the squared errors."""

    def of(alpha: jax.Array) -> jax.Array:
        coefficients = toward / (values + alpha)[:, None]
        fitted = jnp.matmul(gram, coefficients, precision=_HIGHEST)
        return (coefficients * (2 * mine - fitted)).sum(0)

    return jax.lax.map(of, alphas)
