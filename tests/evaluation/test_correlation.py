"""r over images against SciPy and by hand."""

from fractions import Fraction

import hypothesis
import numpy as np
import pytest
from hypothesis import strategies as st
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


@hypothesis.given(
    numbers=st.lists(
        st.tuples(st.integers(-30, 30), st.integers(-30, 30)), min_size=2, max_size=12
    ),
    scale=st.sampled_from([1.0, 1e-6, 1e9, 2.0**-60]),
    offset=st.sampled_from([0.0, 1.0, -1e6]),
    multiple=st.sampled_from([None, 3, -7]),
)
def test_correlation_equals_that_of_fractions(numbers, scale, offset, multiple):
    """Fractions do not round, so that only the last steps of the oracle do."""
    a, b = np.array(numbers).T
    if multiple is not None:
        # Where r is 1 or -1, rounding must not bring it beyond.
        b = multiple * a
    a, b = a * scale + offset, b * scale + offset
    x, y = ([Fraction(value) for value in side] for side in (a, b))
    n = len(numbers)
    xx, yy, xy = (
        sum(p * q for p, q in zip(first, second, strict=True))
        - sum(first) * sum(second) / n
        for first, second in ((x, x), (y, y), (x, y))
    )
    r = float(correlate_over_images(a, b))
    assert np.isnan(r) or abs(r) <= 1
    # What is lost of a spread far below the offset is 1e-16 of the offset.
    spread = np.sqrt(float(min(xx, yy)) / n)
    if spread > 1e-6 * abs(offset):
        assert r == pytest.approx(float(xy / xx) * np.sqrt(float(xx / yy)), abs=1e-9)
    elif min(xx, yy) == 0:
        assert np.isnan(r)
