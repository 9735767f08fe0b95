"""The ceiling from halves of the repetitions, by hand and of a known noise."""

import math

import numpy as np
import pytest

from img2eeg_jax.evaluation.ceilings import spearman_brown_ceiling


def halves_of(*columns):
    """Returns f64[2, image, 1, time] of pairs of columns, one pair a time."""
    return np.moveaxis(np.array(columns, float), 0, -1)[:, :, np.newaxis]


def test_hand_computed():
    # Deviations (-1, 0, 1) and (-1, 1, 0): r = 1/2, reliability 2/3.
    half = [1, 2, 3], [10, 30, 20]
    assert spearman_brown_ceiling(halves_of(half)) == pytest.approx(math.sqrt(2 / 3))
    # r = 1, r = -1 (which counts as 0), and a constant response (0).
    same, opposite, flat = ([1, 2, 4], [3, 4, 6]), ([1, 2], [2, 1]), ([5, 5, 5],) * 2
    assert spearman_brown_ceiling(halves_of(same)) == pytest.approx(1)
    assert spearman_brown_ceiling(halves_of(opposite)) == 0
    assert spearman_brown_ceiling(halves_of(flat)) == 0
    mean = (math.sqrt(2 / 3) + 1 + 0) / 3
    assert spearman_brown_ceiling(halves_of(half, same, flat)) == pytest.approx(mean)


def test_each_subject_has_its_own():
    first, second = ([1, 2, 3], [10, 30, 20]), ([1, 2, 4], [3, 4, 6])
    halves = np.stack([halves_of(first), halves_of(second)], axis=2)
    expected = [math.sqrt(2 / 3), 1]
    np.testing.assert_allclose(spearman_brown_ceiling(halves), expected)


def test_unknown_of_a_single_repetition():
    halves = np.stack([halves_of(([1, 2, 3], [1, 2, 3]))] * 2, axis=2)
    halves[1, :, 1] = np.nan
    np.testing.assert_array_equal(
        np.isnan(spearman_brown_ceiling(halves)), [False, True]
    )


def test_is_what_the_true_response_reaches():
    rng = np.random.default_rng(3)
    signal = rng.standard_normal((4000, 2, 3))
    halves = signal + rng.standard_normal((2, *signal.shape))
    # Each half has variance 1 + 1, their mean 1 + 1/2: r = sqrt(1 / 1.5).
    expected = math.sqrt(1 / 1.5)
    assert spearman_brown_ceiling(halves) == pytest.approx(expected, abs=0.01)
