import numpy as np
import pytest

from img2eeg_jax.axes import Axes
from img2eeg_jax.data.zscore import ZScore
from img2eeg_jax.prediction.prediction import Prediction


@pytest.fixture
def eeg():
    """Two images with odd names, four channels of which one has no position, in µV."""
    data = np.random.default_rng(3).standard_normal((2, 4, 6)).astype(np.float32) * 5
    axes = Axes(("Oz", "FPZ", "mean", "T7"), np.arange(-1, 5) / 100 + 0.1, "µV")
    zscore = ZScore(data[0] * 1e-6, np.abs(data[1]) * 1e-6)
    return Prediction(data, axes, ("a b/dög;.jpg", "日本.png"), 3, zscore)
