"""How alike two RDMs are.

But for Kendall's τ-a, every method is the product of two vectors of length 1 that are
each made of one RDM (`units`): all RDMs compare with all others by one multiplication.
"""

import itertools
import os
from concurrent import futures

import numpy as np
import scipy.stats
from numpy.typing import ArrayLike, NDArray

from img2eeg_jax.errors import unexpected
from img2eeg_jax.evaluation.rsa.rdms import condensed, n_images_of, square

METHODS = ("spearman", "pearson", "cosine", "whitened_cosine", "tau_a")

# Dissimilarities whose range is below this fraction of the largest are all the same.
_CONSTANT_RTOL = 1e-12


def compare(
    rdms: ArrayLike, others: ArrayLike, method: str = "spearman"
) -> NDArray[np.float64] | np.float64:
    """Compares RDMs with others, all with all.

    Args:
      rdms: f[..., image, image] or f[..., pair], any unit.
      others: the same of the same images, in the same order.
      method: "spearman", mean ranks where there are ties; "pearson"; "cosine";
        "tau_a": Kendall's, of which ties are no agreement (Nili et al. 2014, PLoS
        Comput Biol 10:e1003553); "whitened_cosine": of RDMs whose pairs are made
        independent of each other as far as two share an image (Diedrichsen et al. 2021,
        Neurons, Behavior, Data Analysis, and Theory 5(3)), for "crossnobis".

    Returns:
      f64[..., ...], the axes of `rdms` before those of an RDM and then those of
      `others`; a number for one and one. nan, without a warning, where an RDM holds
      nan, or dissimilarities that are all the same (of the cosines: 0), which a
      constant predictor has.

    Raises:
      InputError: they are no RDMs, or of different numbers of images.
      ValueError: there is no such method.
    """
    check_method(method)
    rdms, others = condensed(rdms), condensed(others)
    if rdms.shape[-1] != others.shape[-1]:
        expected = f"one of {n_images_of(rdms.shape[-1])} images as the other"
        raise unexpected("RDM", expected, f"one of {n_images_of(others.shape[-1])}")
    shape = rdms.shape[:-1] + others.shape[:-1]
    rdms, others = (x.reshape(-1, x.shape[-1]) for x in (rdms, others))
    if method == "tau_a":
        # SciPy lets other threads work while it sorts.
        with futures.ThreadPoolExecutor(os.cpu_count()) as threads:
            pairs = zip(*itertools.product(rdms, others), strict=True)
            values = np.array(list(threads.map(tau_a, *pairs)))
    else:
        values = np.clip(units(rdms, method) @ units(others, method).T, -1, 1)
    return values.reshape(shape)[()]


def check_method(method: str, known: tuple[str, ...] = METHODS) -> None:
    """Refuses a method that there is not.

    Raises:
      ValueError: it is none of those known.
    """
    if method not in known:
        raise ValueError(f"`method`: expected one of {known}, found {method!r}")


def units(rdms: NDArray, method: str) -> NDArray[np.float64]:
    """Returns vectors of length 1 whose products are the similarities of RDMs.

    Args:
      rdms: f[rdm, pair].
      method: any but "tau_a".

    Returns:
      f64[rdm, pair] or, of "whitened_cosine", f64[rdm, pair + image]: the products of
      the images, each with each and with itself. nan where it is undefined.
    """
    vectors = np.asarray(rdms, np.float64)
    size = np.abs(vectors).max(axis=-1, keepdims=True)
    is_undefined = ~(size > 0)
    if method in ("spearman", "pearson"):
        is_undefined |= ~(np.ptp(vectors, -1, keepdims=True) > _CONSTANT_RTOL * size)
        if method == "spearman":
            # nan stays in `is_undefined`: its ranks mean nothing.
            vectors = scipy.stats.rankdata(np.nan_to_num(vectors), axis=-1)
        vectors = vectors - vectors.mean(axis=-1, keepdims=True)
    elif method == "whitened_cosine":
        vectors = _products(vectors)
    lengths = np.sqrt(np.einsum("...i,...i->...", vectors, vectors))[..., np.newaxis]
    return vectors / np.where(is_undefined, np.nan, lengths)


def tau_a(a: NDArray, b: NDArray) -> float:
    """Returns Kendall's τ-a of two RDMs f[pair]; nan where one is nan or constant."""
    if _is_constant(a) or _is_constant(b):
        return np.nan
    # SciPy has τ-b, which divides by the number of pairs (of pairs) without ties.
    tau_b = scipy.stats.kendalltau(a, b, method="asymptotic").statistic
    n = len(a) * (len(a) - 1) / 2
    untied = [n - _tied(x) for x in (a, b)]
    return float(tau_b * np.sqrt(untied[0] * untied[1]) / n)


def _is_constant(rdm: NDArray) -> bool:
    """Tells whether dissimilarities are all the same, or one is nan."""
    return not np.ptp(rdm) > _CONSTANT_RTOL * np.abs(rdm).max()


def _tied(values: NDArray) -> float:
    """Counts how many twos of values are equal."""
    _, counts = np.unique(values, return_counts=True)
    return float((counts * (counts - 1) / 2).sum())


def _products(rdms: NDArray[np.float64]) -> NDArray[np.float64]:
    """Returns f64[rdm, pair + image]: products of centred images.

    Of squared distances, -1/2 of them without the means of rows and columns are the
    products of patterns, whose cosine is that of the whitened distances. Each pair is
    in a symmetric matrix twice, hence the root of 2.
    """
    matrices = -square(rdms) / 2
    means = matrices.mean(axis=-1, keepdims=True)
    matrices += means.mean(axis=-2, keepdims=True) - means - np.swapaxes(means, -1, -2)
    above = np.triu_indices(matrices.shape[-1], 1)
    diagonal = np.diagonal(matrices, axis1=-2, axis2=-1)
    return np.concatenate([2**0.5 * matrices[(..., *above)], diagonal], axis=-1)
