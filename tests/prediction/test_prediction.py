"""Predictions in files: what np.load gives."""

import numpy as np
import pytest

from img2eeg_jax.axes import Axes
from img2eeg_jax.data.zscore import ZScore
from img2eeg_jax.errors import InputError
from img2eeg_jax.prediction.prediction import Prediction

AXES = Axes(("O1", "O2"), (0.1, 0.2, 0.3), "z")
NAMES = ("pictures/a.jpg", "b.png")
DATA = np.arange(12, dtype=np.float32).reshape(2, 2, 3)


def read(path):
    with np.load(path) as arrays:
        return dict(arrays)


def test_file_of_eeg(tmp_path):
    zscore = ZScore(DATA[0] + 1, DATA[1])
    path = tmp_path / "eeg.npz"
    Prediction(DATA, AXES, NAMES, 1, zscore).write_npz(path)
    arrays = read(path)
    assert set(arrays) == {
        *("images", "eeg", "ch_names", "times_s", "zscore_mean", "zscore_std")
    }
    assert arrays["images"].tolist() == list(NAMES)
    assert arrays["ch_names"].tolist() == ["O1", "O2"]
    assert arrays["eeg"].dtype == np.float32
    np.testing.assert_array_equal(arrays["eeg"], DATA)
    np.testing.assert_array_equal(arrays["times_s"], [0.1, 0.2, 0.3])
    np.testing.assert_array_equal(arrays["zscore_mean"], zscore.mean)
    np.testing.assert_array_equal(arrays["zscore_std"], zscore.std)


def test_file_of_features_replaces_another(tmp_path):
    path = tmp_path / "features.npz"
    path.write_bytes(b"old")
    Prediction(DATA.reshape(2, 6), None, NAMES).write_npz(path)
    arrays = read(path)
    assert set(arrays) == {"images", "signal"}
    assert arrays["signal"].shape == (2, 6)
    assert [file.name for file in tmp_path.iterdir()] == ["features.npz"]


@pytest.mark.parametrize(
    ("data", "axes", "names"),
    [(DATA, AXES, NAMES[:1]), (DATA[:, :1], AXES, NAMES), (DATA, None, NAMES * 2)],
)
def test_what_does_not_fit_is_refused(data, axes, names):
    with pytest.raises(InputError, match=r"prediction: expected shape .*, found \(2"):
        Prediction(data, axes, names)
