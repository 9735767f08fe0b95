"""Kernel PCA with a polynomial kernel, as Gifford et al. 2022 project features."""

import dataclasses
import functools

import numpy as np

from img2eeg_jax.linear.design import Design, Features, slices
from img2eeg_jax.linear.pca import EXACT_SIDE, Projection, largest, sketch
from img2eeg_jax.linear.products import product

# Directions with less of the largest one's variance are rounding of float32 kernels.
LEAST_OF_KERNEL = 1e-7


@dataclasses.dataclass(frozen=True, eq=False)
class KernelProjection:
    """Projects features on principal components in the space of a polynomial kernel.

    The kernel of two images is (x · y / n_features + 1) ** degree of their standardised
    features. The components are combinations of training images, whose features it
    needs: as many bytes as `n_bytes`.

    Attributes:
      standardised: what standardises features.
      training: features of the training images.
      vectors: f32[training image, component], weights of centred kernels.
      means: f32[training image], the kernel's mean over the other argument.
      degree: of the polynomial.
    """

    standardised: Projection
    training: Design
    vectors: np.ndarray
    means: np.ndarray
    degree: int

    @property
    def n_bytes(self) -> int:
        """Size of the training images' features in float32."""
        n_images, n_features = self.training.shape
        return 4 * n_images * n_features

    def __call__(self, features: Features) -> np.ndarray:
        """Returns f32[image, component] of f[image, feature] or of layers by name."""
        design = self.design(features)
        return np.concatenate([self.project(block) for _, block in design.blocks()])

    def design(self, features: Features) -> Design:
        """Returns features standardised as those that it was made from."""
        return self.standardised.design(features)

    def project(self, block: np.ndarray) -> np.ndarray:
        """Returns f32[image, component] of standardised f32[image, feature]."""
        scores = [
            self._of_rows(block[rows]) for rows in slices(len(block), len(self.means))
        ]
        return np.concatenate(scores)

    def _of_rows(self, block: np.ndarray) -> np.ndarray:
        kernel = np.empty((len(block), len(self.means)), np.float32)
        for rows, other in self.training.blocks():
            kernel[:, rows] = polynomial(product(block, other.T), self.degree, block)
        kernel -= self.means
        # Changes nothing but rounding: each component's weights add up to 0.
        kernel -= kernel.mean(1, keepdims=True)
        return product(kernel, self.vectors)


@dataclasses.dataclass(frozen=True, eq=False)
class KernelPCA:
    """Principal components of some images in the space of a kernel.

    Attributes:
      projection: features → scores.
      scores: f32[image, component] of these images.
      squares: f64[component], sums of squares of the scores, descending.
    """

    projection: KernelProjection
    scores: np.ndarray
    squares: np.ndarray


def fit(
    features: Features | Design,
    n_components: int,
    degree: int = 4,
    *,
    standardise: bool = True,
    seed: int = 0,
) -> KernelPCA:
    """Finds principal components in the space of a polynomial kernel.

    Exact, in float64, of at most `EXACT_SIDE` images; of more by a random sketch of the
    kernel in float32, which takes 4 bytes for each pair of images.

    Args:
      features: f[image, feature], or layers by their names, side by side.
      n_components: how many. There may be fewer.
      degree: of the polynomial.
      standardise: whether features are divided by their standard deviation.
      seed: of the sketch.

    Raises:
      InputError: features are not finite.
    """
    if not isinstance(features, Design):
        features = Design.of(features, standardise)
    n_images = features.shape[0]
    is_exact = n_images <= EXACT_SIDE
    kernel = _kernel(features, degree, np.float64 if is_exact else np.float32)
    means = kernel.mean(1, dtype=np.float64)
    kernel -= means.astype(kernel.dtype)[:, np.newaxis]
    kernel -= (means - means.mean()).astype(kernel.dtype)
    if is_exact:
        squares, vectors = largest(kernel, n_components, LEAST_OF_KERNEL)
    else:
        squares, vectors = _sketched(kernel, n_components, seed)
    vectors = (vectors / np.sqrt(squares)).astype(np.float32)
    # A sketch's vectors are eigenvectors nearly: scores are what the projection makes.
    scores = _apply(kernel, vectors)
    del kernel
    projection = KernelProjection(
        standardised=Projection(features.mean, features.scale),
        training=features,
        vectors=vectors,
        means=means.astype(np.float32),
        degree=degree,
    )
    return KernelPCA(projection, scores, squares)


def polynomial(products: np.ndarray, degree: int, block: np.ndarray) -> np.ndarray:
    """Returns the kernel of products of rows with the rows of `block`."""
    return (products / block.shape[1] + 1) ** degree


def _kernel(design: Design, degree: int, dtype: type) -> np.ndarray:
    """Returns f[image, image]."""
    n_images = design.shape[0]
    kernel: np.ndarray = np.empty((n_images, n_images), dtype)
    for rows, block in design.blocks():
        for others, other in design.blocks():
            if others.start > rows.start:
                break
            if dtype is np.float64:
                products = block.astype(np.float64) @ other.T
            else:
                products = product(block, other.T)
            kernel[rows, others] = polynomial(products, degree, block)
            kernel[others, rows] = kernel[rows, others].T
    return kernel


def _sketched(
    kernel: np.ndarray, n_components: int, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """Returns f64[component] eigenvalues of f32[image, image], and their vectors."""
    basis = sketch(functools.partial(_apply, kernel), len(kernel), n_components, seed)
    small = basis.T.astype(np.float64) @ _apply(kernel, basis)
    squares, vectors = largest((small + small.T) / 2, n_components, LEAST_OF_KERNEL)
    return squares, product(basis, vectors)


def _apply(kernel: np.ndarray, basis: np.ndarray) -> np.ndarray:
    """Returns f32[image, column], the product of f[image, image] with a basis."""
    return np.concatenate(
        [product(kernel[rows], basis) for rows in slices(*kernel.shape)]
    )
