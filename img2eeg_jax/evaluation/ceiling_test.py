"""Whether repetitions agree at all: the noise ceiling's own test against chance."""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from img2eeg_jax.errors import unexpected
from img2eeg_jax.evaluation.correlation import unit_columns

# Means of this many groups of repetitions are shuffled, rather than each repetition:
# as valid, a little less sensitive, and ten times as fast of 80 repetitions.
_N_GROUPS = 8

# Single precision: r that differ by less are ties, which rounding must not decide.
_TIE = 1e-6


def agreement(
    eeg: ArrayLike, *, n_permutations: int = 1000, seed: int
) -> NDArray[np.float32]:
    """Correlates repetitions with each other, as they are and with images shuffled.

    If responses tell nothing about images, any order of the images within a repetition
    is as likely as another, whatever channels and times have in common. The repetitions
    go round 8 groups, whose means are correlated pairwise; of each random assignment,
    every group but one has its images shuffled by an order of its own.

    Args:
      eeg: f[image, repetition, channel, time], any unit.
      n_permutations: how many random assignments.
      seed: of them.

    Returns:
      f32[1 + permutation, channel, time], mean r of pairs of groups, the true one
      first; nan where EEG is constant over images, and of a single repetition.

    Raises:
      InputError: `eeg` has another rank.
      ValueError: `n_permutations` is below 1.
    """
    eeg = np.asarray(eeg)
    if eeg.ndim != 4 or 0 in eeg.shape:
        expected = "a filled array [image, repetition, channel, time]"
        raise unexpected("EEG", expected, f"shape {eeg.shape}")
    if n_permutations < 1:
        expected = f"expected at least 1, found {n_permutations}"
        raise ValueError(f"`n_permutations`: {expected}")
    n_images, n_repetitions, *shape = eeg.shape
    if n_repetitions == 1:
        return np.full((1 + n_permutations, *shape), np.nan, np.float32)
    n = min(_N_GROUPS, n_repetitions)
    means = [eeg[:, k::n].mean(axis=1, dtype=np.float64) for k in range(n)]
    units = [unit_columns(mean).reshape(n_images, -1) for mean in means]
    groups = np.array(units, np.float32)
    # The halvings, the permutations of the score and the draws have other streams.
    rng = np.random.default_rng((seed, 4))
    r = np.empty((1 + n_permutations, groups.shape[2]), np.float32)
    for row in range(len(r)):
        total = groups[0].copy()
        for group in groups[1:]:
            total += group[rng.permutation(n_images)] if row else group
        r[row] = (np.einsum("ic,ic->c", total, total) - n) / (n * (n - 1))
    return r.reshape(-1, *shape)


def ceiling_p(r: ArrayLike) -> NDArray[np.float64]:
    """Returns f64[...], the share of assignments that agree as much as the true one.

    Args:
      r: f[1 + permutation, ...], of `agreement` or its mean over channels or times.
    """
    r = np.asarray(r, np.float64)
    p = np.mean(r >= r[0] - _TIE, axis=0)
    return np.where(np.isnan(r).any(axis=0), np.nan, p)
