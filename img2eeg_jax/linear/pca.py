"""Principal components of features, exact or randomised, in bounded memory."""

import dataclasses
from collections.abc import Callable

import jax.numpy as jnp
import numpy as np

from img2eeg_jax.errors import unexpected
from img2eeg_jax.linear.design import Design, Features, as_parts, slices
from img2eeg_jax.linear.products import add_applied, cross_product, gram, product

# Where images and features are more than this, components are found by a random sketch.
EXACT_SIDE = 4000
# Directions with less of the largest one's variance are rounding.
LEAST_VARIANCE = 1e-10

_POWER_ITERATIONS = 5
_OVERSAMPLING = 0.1


@dataclasses.dataclass(frozen=True, eq=False)
class Projection:
    """Standardises features, and projects them on components.

    Attributes:
      mean: f32[feature], subtracted from features.
      scale: f32[feature], by which they are divided then.
      components: f32[feature, component], orthonormal columns; None leaves them.
    """

    mean: np.ndarray
    scale: np.ndarray
    components: np.ndarray | None = None

    def __call__(self, features: Features) -> np.ndarray:
        """Returns f32[image, component] of f[image, feature] or of layers by name.

        Raises:
          InputError: another number of features than it was made from.
        """
        return self.scores(self.design(features))

    def design(self, features: Features) -> Design:
        """Returns features standardised as those that it was made from."""
        parts = as_parts(features)
        found = sum(part.shape[1] for part in parts.values())
        if found != len(self.mean):
            raise unexpected("features", f"{len(self.mean)} columns", f"{found}")
        return Design(parts, self.mean, self.scale)

    def scores(self, design: Design) -> np.ndarray:
        """Returns f32[image, component] of a design."""
        return np.concatenate([self.project(block) for _, block in design.blocks()])

    def project(self, block: np.ndarray) -> np.ndarray:
        """Returns f32[image, component] of standardised f32[image, feature]."""
        return block if self.components is None else product(block, self.components)


@dataclasses.dataclass(frozen=True, eq=False)
class PCA:
    """Principal components of some images' features.

    Attributes:
      projection: features → scores.
      scores: f32[image, component] of these images.
      squares: f64[component], sums of squares of the scores over these images,
        descending.
      total: sum of squares of all standardised features.
    """

    projection: Projection
    scores: np.ndarray
    squares: np.ndarray
    total: float

    @property
    def explained(self) -> np.ndarray:
        """f64[component], the share of the features' variance."""
        return self.squares / self.total


def fit(
    features: Features | Design,
    n_components: int | None = None,
    *,
    standardise: bool = True,
    seed: int = 0,
) -> PCA:
    """Finds principal components of features.

    Exact through the smaller Gram matrix, in float64, where there are at most
    `EXACT_SIDE` images or features; else by a random sketch with power iterations
    (Halko, Martinsson & Tropp 2011, doi:10.1137/090771806).

    Args:
      features: f[image, feature], or layers by their names, side by side.
      n_components: how many; None for all that are not rounding. There may be fewer.
      standardise: whether features are divided by their standard deviation.
      seed: of the sketch.

    Raises:
      InputError: features are not finite, or `n_components` is no number above 0.
    """
    design = (
        features if isinstance(features, Design) else Design.of(features, standardise)
    )
    if n_components is not None and n_components < 1:
        raise unexpected("n_components", "a number above 0", n_components)
    n_images, n_features = design.shape
    if min(design.shape) > EXACT_SIDE and n_components is not None:
        found = _randomised(design, n_components, seed)
    elif n_features <= n_images:
        found = _of_features(design, n_components)
    else:
        found = _of_images(design, n_components)
    components, squares, total = found
    projection = Projection(design.mean, design.scale, components)
    return PCA(projection, projection.scores(design), squares, total)


def largest(
    matrix: np.ndarray, n: int | None = None, least: float = LEAST_VARIANCE
) -> tuple[np.ndarray, np.ndarray]:
    """Returns the largest eigenvalues of f64[m, m], descending, and their vectors.

    Args:
      matrix: symmetric, positive but for rounding.
      n: how many; None for all that are not rounding.
      least: what is rounding, as a share of the largest.

    Returns:
      (f64[k] values, f64[m, k] vectors), without those that are rounding.
    """
    values, vectors = np.linalg.eigh(matrix)
    n_real = int(np.sum(values > max(values[-1], 0) * least))
    n = n_real if n is None else min(n, n_real)
    kept = slice(None, -n - 1, -1) if n else slice(0, 0)
    return values[kept], vectors[:, kept]


def _of_features(design: Design, n: int | None) -> tuple[np.ndarray, np.ndarray, float]:
    total = sum((gram(block) for _, block in design.blocks()), start=np.zeros(()))
    squares, vectors = largest(total, n)
    return vectors.astype(np.float32), squares, float(np.trace(total))


def _of_images(design: Design, n: int | None) -> tuple[np.ndarray, np.ndarray, float]:
    grams = (gram(block.T) for _, block in design.column_blocks())
    kernel = sum(grams, start=np.zeros(()))
    squares, vectors = largest(kernel, n)
    units = (vectors / np.sqrt(squares)).astype(np.float32)
    components = np.empty((design.shape[1], len(squares)), np.float32)
    for columns, block in design.column_blocks():
        components[columns] = cross_product(block, units)
    return components, squares, float(np.trace(kernel))


def _randomised(
    design: Design, n: int, seed: int
) -> tuple[np.ndarray, np.ndarray, float]:
    def apply(basis: np.ndarray) -> np.ndarray:
        # On the device for all blocks: of many features it is large.
        held, applied = jnp.asarray(basis), jnp.zeros_like(basis)
        for _, block in design.blocks():
            # Waits, or blocks that are read meanwhile would fill the memory.
            applied = add_applied(applied, block, held).block_until_ready()
        return np.asarray(applied)

    basis = sketch(apply, design.shape[1], min(n, *design.shape), seed)
    held, small, total = jnp.asarray(basis), np.zeros(()), 0.0
    for _, block in design.blocks():
        small = small + gram(product(block, held))
        total += float(np.square(block, dtype=np.float64).sum())
    squares, vectors = largest(small, n)
    return product(basis, vectors), squares, total


def sketch(
    apply: Callable[[np.ndarray], np.ndarray], n_rows: int, n: int, seed: int
) -> np.ndarray:
    """Finds a space that holds the largest eigenvectors of a symmetric matrix.

    Args:
      apply: f32[n_rows, k] → f32[n_rows, k], the product with the matrix.
      n_rows: of the matrix.
      n: how many eigenvectors are wanted.
      seed: of the random start.

    Returns:
      f32[n_rows, n and some more], orthonormal columns.
    """
    size = min(n + max(10, round(_OVERSAMPLING * n)), n_rows)
    basis = np.random.default_rng(seed).standard_normal((n_rows, size), np.float32)
    for _ in range(_POWER_ITERATIONS):
        basis = _orthonormal(apply(basis))
    return basis


def _orthonormal(basis: np.ndarray) -> np.ndarray:
    """Returns orthonormal f32[row, column] that span the same, without rounding.

    Twice, because float32 keeps the first result from being orthonormal.
    """
    for _ in range(2):
        grams = (gram(basis[rows]) for rows in slices(*basis.shape))
        products = sum(grams, start=np.zeros(()))
        values, vectors = largest(products)
        basis = product(basis, vectors / np.sqrt(values))
    return basis
