"""Inference that any score can use: bootstrap, sign flips, false discoveries.

Pure functions of arrays; all that is random is a function of a seed.
"""

import itertools

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special

# Scores that differ by less are ties, which rounding must not decide.
TIE = 1e-12

# Groups up to this size are tested with all their sign flips: at most 4,096.
_MAX_EXACT = 12


def image_draws(n_images: int, n_draws: int, seed: int) -> NDArray[np.float64]:
    """Draws images with replacement, as often as there are images.

    They are a function of the three arguments: two networks that are scored on the same
    images with the same seed have the same draws, and differences of theirs are paired.

    Args:
      n_images: how many there are.
      n_draws: how many bootstrap samples.
      seed: of the draws.

    Returns:
      f64[draw, image], how often each image is in each sample.
    """
    if n_draws < 1:
        raise ValueError(f"`n_draws`: expected at least 1, found {n_draws}")
    # The halvings use `seed` itself, and permutations a second word 1.
    rng = np.random.default_rng((seed, 2))
    chances = np.full(n_images, 1 / n_images)
    return rng.multinomial(n_images, chances, size=n_draws).astype(np.float64)


def interval(
    draws: ArrayLike, n: int, level: float = 0.95
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Returns the bootstrap interval: its lower and its upper end.

    The percentile interval of few images is too narrow, as one of a mean would be that
    took the normal distribution for Student's t. Its percentiles go as much further out
    as t does (the expanded percentile interval of Hesterberg 2015, Am Stat 69:371).

    Args:
      draws: f[draw, ...], a score of each bootstrap sample.
      n: of how many images a sample is, at least 2.
      level: how often the interval should hold the truth.

    Returns:
      Two f64[...], nan where a draw is undefined.
    """
    tail = expanded_tail(n, level)
    low, high = np.quantile(np.asarray(draws, np.float64), (tail, 1 - tail), axis=0)
    return low, high


def expanded_tail(n: int, level: float = 0.95) -> float:
    """Returns which share of the draws lies below an interval; see `interval`."""
    t = special.stdtrit(n - 1, (1 + level) / 2)
    return float(special.ndtr(-np.sqrt(n / (n - 1)) * t))


def p_of_draws(draws: ArrayLike) -> NDArray[np.float64]:
    """Returns the two-sided bootstrap p that a score is 0.

    Twice the share of draws on the rarer side of 0, the observed sample counted among
    them, so that p is never 0.

    Args:
      draws: f[draw, ...].

    Returns:
      f64[...], at most 1; nan where a draw is undefined.
    """
    draws = np.asarray(draws, np.float64)
    n = len(draws) + 1
    sides = [(np.count_nonzero(s * draws <= 0, axis=0) + 1) / n for s in (1, -1)]
    p = np.minimum(1, 2 * np.minimum(*sides))
    return np.where(np.isnan(draws).any(axis=0), np.nan, p)


def false_discovery(p: ArrayLike) -> NDArray[np.float64]:
    """Adjusts p for how many are tested, by Benjamini and Hochberg (1995).

    Of the tests whose adjusted p is at most 0.05, no more than 5 % are expected to be
    true nulls, if tests are independent or positively dependent.

    Args:
      p: f[...]; undefined ones are no tests.

    Returns:
      f64[...], as `p`.
    """
    p = np.asarray(p, np.float64)
    is_test = ~np.isnan(p)
    tested = p[is_test]
    order = np.argsort(tested)
    scaled = tested[order] * len(tested) / np.arange(1, len(tested) + 1)
    # Not above what a larger p is adjusted to.
    monotone = np.minimum.accumulate(scaled[::-1])[::-1]
    adjusted = np.full(p.shape, np.nan)
    values = np.empty_like(tested)
    values[order] = np.minimum(monotone, 1)
    adjusted[is_test] = values
    return adjusted


def sign_flips(n: int, n_random: int = 10_000, seed: int = 0) -> NDArray[np.float64]:
    """Returns f64[flip, n] of 1 and -1, the first row all 1.

    All of them for up to 12 subjects, else `n_random` random ones besides the first.
    """
    if n <= _MAX_EXACT:
        return np.array([*itertools.product((1.0, -1.0), repeat=n)])
    rng = np.random.default_rng((seed, 3))
    random = rng.choice((1.0, -1.0), size=(n_random, n))
    return np.concatenate([np.ones((1, n)), random])


def sign_flip_p(
    values: ArrayLike, *, is_two_sided: bool = False, seed: int = 0
) -> NDArray[np.float64]:
    """Tests whether a score is 0 in the population of subjects.

    If a subject's score is as likely as its negative, flipping signs changes nothing.
    Of n subjects p is at least 2^-n: of four, nothing is below 0.05 on both sides.

    Args:
      values: f[subject, ...], score minus chance.
      is_two_sided: whether a negative score counts as much as a positive one.
      seed: of the flips of more than 12 subjects.

    Returns:
      f64[...], the share of sign flips, the observed one among them, whose mean is at
      least as high, or as far from 0; nan where a value is.
    """
    values = np.asarray(values, np.float64)
    flips = sign_flips(len(values), seed=seed)
    p = np.empty(values[0].size)
    flat = values.reshape(len(values), -1)
    # A block of columns at a time bounds the memory.
    for start in range(0, flat.shape[1], 512):
        means = flips @ flat[:, start : start + 512] / len(flips[0])
        means = np.abs(means) if is_two_sided else means
        p[start : start + 512] = np.mean(means >= means[0] - TIE, axis=0)
    p = p.reshape(values.shape[1:])
    return np.where(np.isnan(values).any(axis=0), np.nan, p)
