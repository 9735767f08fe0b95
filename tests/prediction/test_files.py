"""Predictions in files: what other libraries read of them."""

import dataclasses

import numpy as np

from img2eeg_jax.axes import Axes
from img2eeg_jax.data.unwhitening import Unwhitening
from img2eeg_jax.data.zscore import ZScore
from img2eeg_jax.prediction.files import write_npz
from img2eeg_jax.prediction.prediction import Prediction

AXES = Axes(("O1", "O2"), (0.1, 0.2, 0.3), "µV")
NAMES = ("pictures/a.jpg", "b.png")
DATA = np.arange(12, dtype=np.float32).reshape(2, 2, 3)


def read(path):
    with np.load(path) as arrays:
        return dict(arrays)


def test_npz_of_eeg(tmp_path):
    zscore = ZScore(DATA[0] + 1, DATA[1])
    path = tmp_path / "eeg.npz"
    prediction = Prediction(DATA, AXES, NAMES, 1, zscore)
    write_npz(prediction, path)
    arrays = read(path)
    assert set(arrays) == {
        *("images", "eeg", "ch_names", "times_s", "zscore_mean", "zscore_std"),
        *("unit", "subject", "simulated"),
    }
    assert arrays["images"].tolist() == list(NAMES)
    assert arrays["ch_names"].tolist() == ["O1", "O2"]
    assert arrays["eeg"].dtype == np.float32
    np.testing.assert_array_equal(arrays["eeg"], DATA)
    np.testing.assert_array_equal(arrays["times_s"], [0.1, 0.2, 0.3])
    np.testing.assert_array_equal(arrays["zscore_mean"], zscore.mean)
    np.testing.assert_array_equal(arrays["zscore_std"], zscore.std)
    assert (arrays["unit"], arrays["subject"], arrays["simulated"]) == ("µV", 1, False)
    back = Unwhitening(("O2", "O1"), np.eye(2))
    write_npz(dataclasses.replace(prediction, unwhitening=back, subject="mean"), path)
    arrays = read(path)
    np.testing.assert_array_equal(arrays["unwhitening_v"], np.eye(2))
    assert arrays["unwhitening_ch_names"].tolist() == ["O2", "O1"]
    assert arrays["subject"] == "mean"


def test_npz_of_features_replaces_another(tmp_path):
    path = tmp_path / "features.npz"
    path.write_bytes(b"old")
    write_npz(Prediction(DATA.reshape(2, 6), None, NAMES), path)
    arrays = read(path)
    assert set(arrays) == {"images", "signal", "unit", "simulated"}
    assert arrays["signal"].shape == (2, 6)
    assert [file.name for file in tmp_path.iterdir()] == ["features.npz"]
