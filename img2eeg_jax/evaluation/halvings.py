"""Random halvings of the repetitions, and the means of both halves."""

from collections.abc import Iterator

import numpy as np
from numpy.typing import ArrayLike, NDArray

# Float64 values that one block of half means may hold: 16 MiB.
_BLOCK_VALUES = 2**21


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
    eeg = np.asarray(eeg)
    if eeg.ndim != 4 or eeg.shape[1] < 2:
        raise ValueError(
            "EEG to be halved: expected [image, repetition, channel, time] with at "
            f"least 2 repetitions, found shape {eeg.shape}"
        )
    weights = _half_weights(eeg.shape[1], n_splits, seed)
    flat = eeg.reshape(*eeg.shape[:2], -1)
    step = max(1, _BLOCK_VALUES // (2 * n_splits * len(flat)))
    for start in range(0, flat.shape[2], step):
        columns = slice(start, start + step)
        means = weights @ flat[:, :, columns].astype(np.float64)
        yield columns, means[:, :n_splits], means[:, n_splits:]


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
