"""r over images against SciPy and by hand."""

import numpy as np
import pytest
from scipy import stats

from helpers.scores import mean_pearson
from img2eeg_jax.evaluation.correlation import correlate_over_images


def test_correlation_of_hand_computed_numbers():
    # Deviations (-1, 0, 1) and (-1, 1, 0): r = 1 / 2.
    assert correlate_over_images([1, 2, 3], [10, 30, 20]) == pytest.approx(0.5)


def test_correlation_equals_scipy(rng):
    a, b = rng.standard_normal((2, 9, 3, 4)).astype(np.float32)
    r = correlate_over_images(a, b)
    assert r.dtype == np.float64
    np.testing.assert_allclose(r, mean_pearson([(a, b)]), atol=1e-6)


def test_correlation_of_tiny_values_on_a_large_offset(rng):
    a, b = rng.standard_normal((2, 30))
    expected = stats.pearsonr(a, b)[0]
    r = correlate_over_images(1e-6 * a + 1, 1e-6 * b - 3)
    assert r == pytest.approx(expected, abs=1e-8)


@pytest.mark.parametrize("constant", [0.0, 0.1, -1e6 / 3])
def test_constant_column_is_nan_and_leaves_the_others(rng, constant):
    a, b = rng.standard_normal((2, 7, 2))
    a[:, 0] = constant
    r = correlate_over_images(a, b)
    assert np.isnan(r[0])
    assert r[1] == pytest.approx(stats.pearsonr(a[:, 1], b[:, 1])[0])


def test_correlation_refuses_other_numbers_of_images():
    with pytest.raises(ValueError, match=r"\(1, 2\) and \(3, 2\)"):
        correlate_over_images(np.ones((1, 2)), np.ones((3, 2)))
