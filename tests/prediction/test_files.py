"""Predictions in files: what other libraries read of them."""

import dataclasses
import warnings

import mne
import numpy as np
import pandas
import pytest
import xarray

from img2eeg_jax.axes import Axes
from img2eeg_jax.data.unwhitening import Unwhitening
from img2eeg_jax.errors import InputError
from img2eeg_jax.prediction.prediction import Prediction

ENDINGS = (".npz", "-epo.fif", "-ave.fif", ".csv", ".nc")


def read(path):
    with np.load(path) as arrays:
        return dict(arrays)


def read_epochs(path):
    with warnings.catch_warnings():
        # MNE 1.13 with pandas 3.1.
        warnings.filterwarnings("ignore", "The inplace keyword")
        return mne.read_epochs(path, verbose="error")


def test_npz_of_eeg(eeg, tmp_path):
    path = tmp_path / "new" / "eeg.npz"
    eeg.save(path)
    arrays = read(path)
    assert set(arrays) == {
        *("images", "eeg", "ch_names", "times_s", "zscore_mean", "zscore_std"),
        *("unit", "subject", "simulated"),
    }
    assert arrays["images"].tolist() == list(eeg.images)
    assert arrays["ch_names"].tolist() == list(eeg.ch_names)
    assert arrays["eeg"].dtype == np.float32
    np.testing.assert_array_equal(arrays["eeg"], eeg.data)
    np.testing.assert_array_equal(arrays["times_s"], eeg.times_s)
    np.testing.assert_array_equal(arrays["zscore_mean"], eeg.zscore.mean)
    np.testing.assert_array_equal(arrays["zscore_std"], eeg.zscore.std)
    assert (arrays["unit"], arrays["subject"], arrays["simulated"]) == ("µV", 3, False)
    back = Unwhitening(("O2", "O1"), np.eye(2))
    whitened = dataclasses.replace(eeg, unwhitening=back, subject="mean")
    whitened.save(path, overwrite=True)
    arrays = read(path)
    np.testing.assert_array_equal(arrays["unwhitening_v"], np.eye(2))
    assert arrays["unwhitening_ch_names"].tolist() == ["O2", "O1"]
    assert arrays["subject"] == "mean"


def test_features_in_files(eeg, tmp_path):
    names = [f"voxel {n}" for n in range(24)]
    axes = Axes.of_features(names, "beta")
    features = Prediction(eeg.data.reshape(2, -1), axes, eeg.images)
    features.save(tmp_path / "x.npz")
    arrays = read(tmp_path / "x.npz")
    assert set(arrays) == {"images", "signal", "feature_names", "unit", "simulated"}
    assert arrays["feature_names"].tolist() == names
    assert arrays["unit"] == "beta"
    features.save(tmp_path / "x.csv")
    table = pandas.read_csv(tmp_path / "x.csv")
    assert table.columns.tolist()[:3] == ["image", "feature", "value"]
    np.testing.assert_array_equal(np.float32(table["value"]), features.data.ravel())
    assert table["feature"].tolist() == names * 2
    assert set(table["unit"]) == {"beta"}
    features.save(tmp_path / "x.nc")
    with xarray.open_dataset(tmp_path / "x.nc") as dataset:
        np.testing.assert_array_equal(dataset["features"], features.data)
        assert dataset["feature"].values.tolist() == names
    with pytest.raises(InputError, match="expected EEG for MNE, found features"):
        features.save(tmp_path / "x-epo.fif")


def test_epochs_come_back(eeg, tmp_path):
    eeg.save(tmp_path / "x-epo.fif")
    epochs = read_epochs(tmp_path / "x-epo.fif")
    np.testing.assert_allclose(epochs.get_data(), eeg.data * 1e-6, rtol=1e-6)
    np.testing.assert_allclose(epochs.times, eeg.times_s, atol=1e-9)
    assert tuple(epochs.ch_names) == eeg.ch_names
    assert epochs.metadata["image"].tolist() == list(eeg.images)
    assert [file.name for file in tmp_path.iterdir()] == ["x-epo.fif"]


def test_evokeds_come_back(eeg, tmp_path):
    eeg.save(tmp_path / "x-ave.fif")
    evokeds = mne.read_evokeds(tmp_path / "x-ave.fif", verbose="error")
    found = np.stack([evoked.data for evoked in evokeds])
    np.testing.assert_allclose(found, eeg.data * 1e-6, rtol=1e-6)
    np.testing.assert_allclose(evokeds[0].times, eeg.times_s, atol=1e-9)
    names = [evoked.comment for evoked in evokeds]
    assert names == [r"a b/dög\x3b.jpg", r"\u65e5\u672c.png"]


def test_the_array_comes_back(eeg, tmp_path):
    eeg = dataclasses.replace(eeg, simulated=True)
    eeg.save(tmp_path / "x.nc")
    with xarray.open_dataset(tmp_path / "x.nc") as dataset:
        array = dataset["eeg"].load()
    assert array.dims == ("image", "channel", "time")
    np.testing.assert_array_equal(array.values, eeg.data)
    assert array.dtype == np.float32
    assert array["image"].values.tolist() == list(eeg.images)
    assert array["channel"].values.tolist() == list(eeg.ch_names)
    np.testing.assert_array_equal(array["time"], eeg.times_s)
    assert (array.units, array.simulated, array.subject) == ("µV", 1, 3)
    at = array.sel(image="日本.png", channel="T7")
    np.testing.assert_array_equal(at, eeg.data[1, 3])


def test_the_table_comes_back(eeg, tmp_path):
    eeg.save(tmp_path / "x.csv")
    table = pandas.read_csv(tmp_path / "x.csv")
    assert table.columns.tolist() == [
        *("image", "channel", "time_s", "value", "unit", "subject", "simulated")
    ]
    assert len(table) == eeg.data.size
    for (image, channel), one in table.groupby(["image", "channel"]):
        row, column = eeg.images.index(image), eeg.ch_names.index(channel)
        np.testing.assert_array_equal(np.float32(one["value"]), eeg.data[row, column])
        np.testing.assert_allclose(one["time_s"], eeg.times_s, rtol=1e-15)
    assert set(table["unit"]) == {"µV"}
    assert set(table["subject"]) == {3}
    assert not table["simulated"].any()


@pytest.mark.parametrize("ending", ENDINGS)
def test_names_that_are_no_text(eeg, tmp_path, ending):
    odd = dataclasses.replace(eeg, images=("x\udce9.png", "b"))
    odd.save(tmp_path / f"x{ending}")
    if ending == ".npz":
        assert read(tmp_path / "x.npz")["images"][0] == "x\udce9.png"
    if ending == ".nc":
        with xarray.open_dataset(tmp_path / "x.nc") as dataset:
            assert dataset["image"].values[0] == r"x\udce9.png"
    if ending == ".csv":
        assert pandas.read_csv(tmp_path / "x.csv")["image"][0] == r"x\udce9.png"


@pytest.mark.parametrize("ending", ENDINGS)
def test_what_is_there_stays_unless_told(eeg, tmp_path, ending):
    path = tmp_path / f"x{ending}"
    path.write_bytes(b"old")
    with pytest.raises(InputError, match="expected nothing there yet"):
        eeg.save(path)
    assert path.read_bytes() == b"old"
    eeg.save(path, overwrite=True)
    assert path.stat().st_size > 100
    assert [file.name for file in tmp_path.iterdir()] == [path.name]


@pytest.mark.parametrize("ending", ENDINGS)
def test_a_failed_write_leaves_nothing(eeg, tmp_path, ending):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="file: expected a folder"):
        eeg.save(tmp_path / "file" / f"x{ending}")
    assert [file.name for file in tmp_path.iterdir()] == ["file"]


@pytest.mark.parametrize("name", ["x.fif", "x.txt", ".csv", "x"])
def test_other_endings_are_refused(eeg, tmp_path, name):
    with pytest.raises(InputError, match=r"expected a name ending in \.npz, -epo\.fif"):
        eeg.save(tmp_path / name)


def test_unitless_files(eeg, tmp_path):
    z = dataclasses.replace(eeg, axes=dataclasses.replace(eeg.axes, unit="z"))
    with pytest.raises(InputError, match="`unitless`"):
        z.save(tmp_path / "z-epo.fif")
    z.save(tmp_path / "z-epo.fif", unitless=True)
    epochs = read_epochs(tmp_path / "z-epo.fif")
    np.testing.assert_allclose(epochs.get_data(), eeg.data, rtol=1e-6)
