"""Random halvings of the repetitions: the means of both halves, and their r.

The means of the halves are linear in the repetitions. r of all halvings follows from
the products of each two repetitions, a small matrix for each channel and time, so that
no mean of a half need be made: `halves`. Who needs the means has `half_split_means`.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from img2eeg_jax.evaluation.correlation import centre_columns

# Float64 values that one block of half means, or of EEG, may hold: 4 MiB.
_BLOCK_VALUES = 2**19

# A half whose variance is below this fraction of its repetitions' is rounding.
_CONSTANT_RTOL = 1e-13


@dataclass(frozen=True, eq=False)
class Halves:
    """Both halves of all halvings, at some of the channels and times.

    Attributes:
      columns: which of the flattened channel-time axis these are.
      repetitions: f64[column, repetition, image], centred over images.
      weights: f64[2, split, repetition]: sums of repetitions by these are the means of
        the halves, and of the others.
      products: f64[2, column, split], of the halves, and of the others, with the half,
        summed over images.
      lengths: f64[2, column, split], of halves and others centred over images; nan
        where one is constant.
    """

    columns: slice
    repetitions: NDArray[np.float64]
    weights: NDArray[np.float64]
    products: NDArray[np.float64]
    lengths: NDArray[np.float64]

    def mean_r(self, unit: NDArray[np.float64]) -> NDArray[np.float64]:
        """Returns r with the half, mean over halvings.

        Args:
          unit: f64[image, column], of `correlation.unit_columns`.
        """
        of_repetitions = self.repetitions @ unit.T[..., np.newaxis]
        products = of_repetitions[..., 0] @ self.weights[0].T
        return np.clip(products / self.lengths[0], -1, 1).mean(axis=1)

    def mean_r_of_others(self) -> NDArray[np.float64]:
        """Returns f64[column], r of the other half with the half, mean of halvings."""
        r = self.products[1] / (self.lengths[0] * self.lengths[1])
        return np.clip(r, -1, 1).mean(axis=1)

    def mean_unit(self) -> NDArray[np.float64]:
        """Returns f64[image, column], the half's `unit_columns`, mean over halvings."""
        by_repetition = (1 / self.lengths[0]) @ self.weights[0] / len(self.weights[0])
        return np.einsum("cri,cr->ic", self.repetitions, by_repetition)


def halves(eeg: ArrayLike, n_splits: int, seed: int) -> Iterator[Halves]:
    """Halves the repetitions at random; see `half_split_means`, whose halves these are.

    Args:
      eeg: f[image, repetition, channel, time], any unit.
      n_splits: number of halvings.
      seed: of the halvings.

    Yields:
      All columns, in blocks.

    Raises:
      ValueError: see `half_split_means`.
    """
    flat = _flat(eeg)
    n_images, n_repetitions, n_columns = flat.shape
    both = _half_weights(n_repetitions, n_splits, seed).reshape(2, n_splits, -1)
    step = max(1, _BLOCK_VALUES // (n_images * n_repetitions))
    for start in range(0, n_columns, step):
        columns = slice(start, start + step)
        block = centre_columns(flat[:, :, columns].astype(np.float64))
        repetitions = np.ascontiguousarray(block.transpose(2, 1, 0))
        gram = repetitions @ repetitions.transpose(0, 2, 1)
        of_half = gram @ both[0].T
        products = np.einsum("hsr,crs->hcs", both, of_half)
        squares = [products[0], np.einsum("sr,crs->cs", both[1], gram @ both[1].T)]
        floor = _CONSTANT_RTOL * np.einsum("hsr,crr->hcs", both**2, gram)
        lengths = np.where(squares <= floor, np.nan, np.sqrt(np.maximum(squares, 0)))
        yield Halves(columns, repetitions, both, products, lengths)


def half_split_means(
    eeg: ArrayLike, n_splits: int, seed: int
) -> Iterator[tuple[slice, NDArray[np.float64], NDArray[np.float64]]]:
    """Averages both halves of random halvings of the repetitions.

    One halving serves all images, channels and times. The halvings are a function of
    (number of repetitions, `n_splits`, `seed`) only. Results come in blocks of
    columns, a column being one channel at one time, so that memory stays bounded.

    Args:
      eeg: f[image, repetition, channel, time], any unit.
      n_splits: number of halvings.
      seed: of the halvings.

    Yields:
      (columns, half, other): a slice of the flattened channel-time axis and the
      means f64[image, split, column] of both halves, in the unit of `eeg`. For an odd
      number of repetitions `half` has one repetition fewer than `other`.

    Raises:
      ValueError: `eeg` has another rank, fewer than two repetitions, or `n_splits` is
        below 1.
    """
    flat = _flat(eeg)
    weights = _half_weights(flat.shape[1], n_splits, seed)
    step = max(1, _BLOCK_VALUES // (2 * n_splits * len(flat)))
    for start in range(0, flat.shape[2], step):
        columns = slice(start, start + step)
        means = weights @ flat[:, :, columns].astype(np.float64)
        yield columns, means[:, :n_splits], means[:, n_splits:]


def _flat(eeg: ArrayLike) -> NDArray:
    """Returns f[image, repetition, column] of EEG that can be halved."""
    eeg = np.asarray(eeg)
    if eeg.ndim != 4 or eeg.shape[1] < 2:
        raise ValueError(
            "EEG to be halved: expected [image, repetition, channel, time] with at "
            f"least 2 repetitions, found shape {eeg.shape}"
        )
    return eeg.reshape(*eeg.shape[:2], -1)


def _half_weights(n_repetitions: int, n_splits: int, seed: int) -> NDArray[np.float64]:
    """Returns f64[2 * n_splits, repetition]: rows that average one half, then other."""
    orders = half_orders(n_repetitions, n_splits, seed)
    n_half = n_repetitions // 2
    in_half = np.zeros((n_splits, n_repetitions), bool)
    np.put_along_axis(in_half, orders[:, :n_half], True, axis=1)
    return np.concatenate([in_half / n_half, ~in_half / (n_repetitions - n_half)])


def half_orders(n_repetitions: int, n_splits: int, seed: int) -> NDArray[np.int64]:
    """Returns the halvings of `half_split_means` by the repetitions' numbers.

    Returns:
      i64[split, repetition]: each row holds all repetitions in random order, of which
      the first n_repetitions // 2 are the half.

    Raises:
      ValueError: `n_splits` is below 1.
    """
    if n_splits < 1:
        raise ValueError(f"`n_splits`: expected at least 1, found {n_splits}")
    rng = np.random.default_rng(seed)
    return rng.permuted(np.tile(np.arange(n_repetitions), (n_splits, 1)), axis=1)
