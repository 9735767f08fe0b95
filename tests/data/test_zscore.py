import numpy as np
import pytest
import scipy.stats

from img2eeg_jax.axes import Axes
from img2eeg_jax.data import zscore
from img2eeg_jax.errors import InputError


@pytest.fixture
def mean_eeg():
    """12 images, 4 channels, 100 times, in volts."""
    values = np.random.default_rng(0).normal(2e-6, 5e-6, size=(12, 4, 100))
    return values.astype(np.float32)


def test_zscore_equals_scipy(mean_eeg):
    statistics = zscore.fit_zscore(mean_eeg)
    expected = scipy.stats.zscore(mean_eeg.astype(np.float64), axis=0, ddof=0)
    result = statistics.apply(mean_eeg)
    np.testing.assert_allclose(result, expected, rtol=1e-4, atol=1e-5)
    assert {result.dtype, statistics.mean.dtype, statistics.std.dtype} == {
        np.dtype(np.float32)
    }


def test_zscore_in_place(mean_eeg):
    statistics = zscore.fit_zscore(mean_eeg)
    out = np.empty((12, 2, 4, 100), np.float32)
    statistics.apply(mean_eeg, out=out[:, 1])
    np.testing.assert_array_equal(out[:, 1], statistics.apply(mean_eeg))


def test_zscore_of_equal_values():
    mean_eeg = np.random.default_rng(0).normal(size=(7, 2, 5)).astype(np.float32)
    mean_eeg[:, 1, 3] = 0.1
    with pytest.raises(InputError, match="channel number 1, sample 3"):
        zscore.fit_zscore(mean_eeg)
    with pytest.raises(InputError, match=r"channel Oz, 0.300 s"):
        zscore.fit_zscore(mean_eeg, Axes(["Pz", "Oz"], np.arange(5) / 10))


def test_pooled_zscore_averages_the_statistics():
    one = zscore.ZScore(np.float32([[1.0]]), np.float32([[2.0]]))
    two = zscore.ZScore(np.float32([[4.0]]), np.float32([[6.0]]))
    pooled = zscore.pooled_zscore(one, two)
    assert (pooled.mean.item(), pooled.std.item()) == (2.5, 4.0)
