"""Inference against SciPy, naive loops, and its own claims."""

import itertools

import numpy as np
import pytest
from scipy import stats

from img2eeg_jax.evaluation import statistics


def test_draws_are_samples_with_replacement_and_a_function_of_the_seed():
    draws = statistics.image_draws(5, 4000, seed=3)
    np.testing.assert_array_equal(draws, statistics.image_draws(5, 4000, seed=3))
    assert (draws != statistics.image_draws(5, 4000, seed=4)).any()
    np.testing.assert_array_equal(draws.sum(axis=1), 5)
    # How often one image comes is binomial: 5 tries of 1/5.
    counts = np.bincount(draws[:, 0].astype(int), minlength=6)
    expected = 4000 * stats.binom(5, 0.2).pmf(range(6))
    assert (
        stats.chisquare(
            counts[:4], expected[:4] * counts[:4].sum() / sum(expected[:4])
        ).pvalue
        > 1e-3
    )
    with pytest.raises(ValueError, match="`n_draws`: expected at least 1, found 0"):
        statistics.image_draws(5, 0, seed=0)


def test_interval_is_that_of_student_and_of_percentiles(rng):
    """Of the mean of normal values it is Student's, as Hesterberg shows."""
    values = rng.standard_normal(12)
    picked = rng.integers(0, 12, (200_000, 12))
    low, high = statistics.interval(values[picked].mean(axis=1), 12)
    expected = stats.t.interval(0.95, 11, values.mean(), stats.sem(values))
    assert (low, high) == pytest.approx(expected, abs=0.08)
    # Of many images it is the percentile interval.
    draws = rng.standard_normal((999, 2))
    np.testing.assert_allclose(
        statistics.interval(draws, 10**7),
        np.quantile(draws, (0.025, 0.975), axis=0),
        atol=1e-5,
    )
    draws[3, 1] = np.nan
    assert np.isnan(statistics.interval(draws, 9)).tolist() == [[False, True]] * 2


def test_p_of_draws_by_hand():
    # 9 draws and the sample: 2 draws are not above 0, so (2 + 1) / 10 on that side.
    draws = np.array([-1, 0, 1, 2, 3, 4, 5, 6, 7.0])
    assert statistics.p_of_draws(draws) == pytest.approx(0.6)
    assert statistics.p_of_draws(-draws) == pytest.approx(0.6)
    assert statistics.p_of_draws(draws + 5) == pytest.approx(0.2)
    assert statistics.p_of_draws(np.zeros(9)) == 1
    assert np.isnan(statistics.p_of_draws([1, np.nan]))


def test_false_discovery_equals_scipy(rng):
    p = rng.uniform(size=(4, 7)) ** 3
    p[1, 2] = p[0, 0]
    expected = stats.false_discovery_control(p.ravel()).reshape(p.shape)
    np.testing.assert_allclose(statistics.false_discovery(p), expected, atol=1e-12)
    with_gap = np.append(p.ravel(), np.nan)
    found = statistics.false_discovery(with_gap)
    np.testing.assert_allclose(found[:-1], expected.ravel(), atol=1e-12)
    assert np.isnan(found[-1])


@pytest.mark.parametrize("is_two_sided", [False, True])
def test_sign_flips_equal_scipy(rng, is_two_sided):
    values = rng.standard_normal((7, 2, 3)) + 0.4
    found = statistics.sign_flip_p(values, is_two_sided=is_two_sided)
    for cell in itertools.product(range(2), range(3)):
        result = stats.permutation_test(
            (values[:, *cell],),
            lambda x, axis: np.mean(x, axis=axis),
            permutation_type="samples",
            alternative="two-sided" if is_two_sided else "greater",
            n_resamples=np.inf,
            vectorized=True,
        )
        assert found[cell] == pytest.approx(result.pvalue, abs=1e-12)


def test_sign_flips_of_many_subjects_are_drawn(rng):
    values = rng.standard_normal((30, 1)) + 0.3
    found = statistics.sign_flip_p(values)
    # Nearly that of the t test.
    expected = stats.ttest_1samp(values, 0, alternative="greater").pvalue
    np.testing.assert_allclose(found, expected, atol=0.01)
    assert statistics.sign_flips(30, 10).shape == (11, 30)


@pytest.mark.parametrize("n", [3, 6])
def test_sign_flip_p_is_uniform_under_the_null(rng, n):
    p = statistics.sign_flip_p(rng.standard_normal((n, 500)))
    # Multiples of 2^-n; jitter makes them continuous.
    p = p - rng.uniform(size=p.shape) / 2**n
    assert stats.kstest(p, stats.uniform.cdf).pvalue > 1e-3


def test_undefined_values_have_no_p():
    values = np.ones((4, 2))
    values[2, 1] = np.nan
    found = statistics.sign_flip_p(values)
    assert found[0] == 1 / 16
    assert np.isnan(found[1])
