"""The ceiling from halves of the repetitions, by hand and of a known noise."""

import math

import numpy as np
import pytest

from img2eeg_jax.evaluation.ceilings import spearman_brown_ceiling


def halves_of(*columns):
    """Returns f64[2, image, 1, time] of pairs of columns, one pair a time, 8 times."""
    halves = np.moveaxis(np.array(columns, float), 0, -1)[:, :, np.newaxis]
    return np.tile(halves, (1, 8, 1, 1))


def halves_of_noise(rng, n_images, n_repetitions, signal=0.0, shape=(17, 100)):
    """Returns the means over even and odd places of signal and noise of variance 1."""
    places = (n_repetitions, n_images, *shape)
    repetitions = signal + rng.standard_normal(places, np.float32)
    return np.stack([repetitions[place::2].mean(0) for place in (0, 1)])


def test_hand_computed():
    # Deviations (-1, 0, 1) and (-1, 1, 0): r = 1/2, reliability 2/3.
    half = [1, 2, 3], [1, 3, 2]
    assert spearman_brown_ceiling(halves_of(half)) == pytest.approx(math.sqrt(2 / 3))
    # r = 1; r = -1 and a constant response, which count as 0.
    same, opposite, flat = ([1, 2, 4], [3, 4, 6]), ([1, 2], [2, 1]), ([5, 5, 5],) * 2
    assert spearman_brown_ceiling(halves_of(same)) == pytest.approx(1)
    assert spearman_brown_ceiling(halves_of(opposite)) == 0
    assert spearman_brown_ceiling(halves_of(flat)) == 0
    # Variances of the mean response (0, 1.5, 1.5): the deviations are (-1, .5, .5);
    # of the halves' difference (0, -1, 1) / 2. With (-7, 2, 5) / 3 and no noise:
    # 1 - (1/2) / (3/2 + 78/9).
    pair = halves_of(half, ([0, 9 / 3, 12 / 3],) * 2, flat)
    expected = 2 / 3 * math.sqrt(1 - 0.5 / (1.5 + 78 / 9))
    assert spearman_brown_ceiling(pair) == pytest.approx(expected)


def test_each_subject_has_its_own():
    first, second = ([1, 2, 3], [1, 3, 2]), ([1, 2, 4], [3, 4, 6])
    halves = np.stack([halves_of(first), halves_of(second)], axis=2)
    expected = [math.sqrt(2 / 3), 1]
    np.testing.assert_allclose(spearman_brown_ceiling(halves), expected)
    # Of 3 repetitions 2 are in the first half: means (1, 7/3, 8/3), differences
    # (0, -1, 1) · sqrt(2) / 3.
    found = spearman_brown_ceiling(halves, [2, 3])
    np.testing.assert_allclose(found, expected)
    halves = np.stack([halves_of(first)] * 2, axis=2)
    of_mean = np.var([1, 7 / 3, 8 / 3])
    of_noise = np.var([0, -1, 1]) * 2 / 9
    expected = [math.sqrt(2 / 3), math.sqrt(1 - of_noise / of_mean)]
    np.testing.assert_allclose(spearman_brown_ceiling(halves, [2, 3]), expected)


def test_unknown_of_a_single_repetition():
    halves = np.stack([halves_of(([1, 2, 3], [1, 2, 3]))] * 2, axis=2)
    halves[1, :, 1] = np.nan
    found = spearman_brown_ceiling(halves, [2, 1])
    np.testing.assert_array_equal(np.isnan(found), [False, True])


@pytest.mark.parametrize("n_repetitions", [2, 3, 4, 9])
@pytest.mark.parametrize(
    ("n_images", "shape"), [(6, (17, 20)), (6, (1, 1)), (24, (17, 20)), (1000, (2, 5))]
)
def test_noise_has_none(n_images, shape, n_repetitions):
    """Also where all is one channel at one time, of which 6 images tell nothing.

    Of so little the jackknife's error is too small: a tenth of the draws are above 2.
    """
    rng = np.random.default_rng(n_images)
    found = [
        spearman_brown_ceiling(
            halves_of_noise(rng, n_images, n_repetitions, shape=shape), n_repetitions
        )
        for _ in range(100)
    ]
    assert abs(np.mean(found)) < (0.15 if shape == (1, 1) else 0.05)


def test_noise_that_channels_share_has_none():
    """Many channels and times that are one column count as one."""
    rng = np.random.default_rng(7)
    found = [
        spearman_brown_ceiling(np.tile(halves_of_noise(rng, 24, 4, shape=(1, 2)), 50))
        for _ in range(100)
    ]
    assert np.mean(found) < 0.05


@pytest.mark.parametrize("n_repetitions", [2, 3, 4, 5, 9])
@pytest.mark.parametrize(("n_images", "spread"), [(24, 1.0), (200, 0.5), (1000, 0.3)])
def test_is_what_the_true_response_reaches(n_images, spread, n_repetitions):
    rng = np.random.default_rng(3)
    signal = spread * rng.standard_normal((n_images, 17, 20), np.float32)
    halves = halves_of_noise(rng, n_images, n_repetitions, signal, (17, 20))
    # The mean over repetitions has the variance spread² + 1 / n_repetitions.
    expected = math.sqrt(spread**2 / (spread**2 + 1 / n_repetitions))
    found = spearman_brown_ceiling(halves, n_repetitions)
    assert found == pytest.approx(expected, abs=0.02)
