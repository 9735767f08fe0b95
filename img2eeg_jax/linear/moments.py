"""Sums over images that a regression needs, and the basis in which they are simple."""

import dataclasses
from collections.abc import Iterator

import numpy as np

from img2eeg_jax.linear.design import Rows
from img2eeg_jax.linear.pca import largest
from img2eeg_jax.linear.products import block_rows, cross_product, gram


@dataclasses.dataclass(frozen=True, eq=False)
class Moments:
    """Weighted sums over some images' rows of a design matrix.

    Attributes:
      weight: of these images.
      total: f64[column], the sum of rows.
      gram: f64[column, column], the sum of products of columns.
    """

    weight: float
    total: np.ndarray
    gram: np.ndarray

    @classmethod
    def of(cls, rows: Rows, index: np.ndarray, weights: np.ndarray) -> "Moments":
        """Sums over the images i64[row] of `index`; `weights` are of all images."""
        n = rows.shape[1]
        total, products = np.zeros(n), np.zeros((n, n))
        for part, block in blocks(rows, index):
            total += weights[part] @ block
            products += gram(weighted(block, weights[part]))
        return cls(float(weights[index].sum()), total, products)

    @property
    def mean(self) -> np.ndarray:
        """f64[column]."""
        return self.total / self.weight

    @property
    def covariance(self) -> np.ndarray:
        """f64[column, column], the sum of products of centred columns."""
        return self.gram - self.weight * np.outer(self.mean, self.mean)

    def __add__(self, other: "Moments") -> "Moments":
        return Moments(
            self.weight + other.weight,
            self.total + other.total,
            self.gram + other.gram,
        )

    def __sub__(self, other: "Moments") -> "Moments":
        return Moments(
            self.weight - other.weight,
            self.total - other.total,
            self.gram - other.gram,
        )


@dataclasses.dataclass(frozen=True, eq=False)
class Basis:
    """Directions in which the columns of a design matrix are uncorrelated.

    Attributes:
      mean: f64[column], over images.
      values: f64[direction], sums of squares along them, descending; none is rounding.
      vectors: f32[column, direction], orthonormal.
    """

    mean: np.ndarray
    values: np.ndarray
    vectors: np.ndarray

    @classmethod
    def of(cls, moments: Moments) -> "Basis":
        """Finds the directions."""
        values, vectors = largest(moments.covariance)
        return cls(moments.mean, values, vectors.astype(np.float32))


def blocks(rows: Rows, index: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yields (i64[row], f32[row, column]), the images of `index` in order."""
    size = block_rows(rows.shape[1])
    for start in range(0, len(index), size):
        part = index[start : start + size]
        is_run = part[-1] - part[0] == len(part) - 1 and (np.diff(part) == 1).all()
        yield part, rows.block(slice(part[0], part[-1] + 1) if is_run else part)


def cross_moments(
    rows: Rows, responses: np.ndarray, index: np.ndarray, weights: np.ndarray
) -> np.ndarray:
    """Returns f64[column, target], sums of products with f32[image, target]."""
    total = np.zeros((rows.shape[1], responses.shape[1]))
    for part, block in blocks(rows, index):
        total += cross_product(weighted(block, weights[part] ** 2), responses[part])
    return total


def weighted(block: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Returns f32[row, column] times the roots of f64[row]; as it is if all are 1."""
    if (weights == 1).all():
        return block
    return block * np.sqrt(weights).astype(np.float32)[:, np.newaxis]
