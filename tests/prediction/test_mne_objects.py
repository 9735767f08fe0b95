"""MNE objects of predictions: volts or no unit, names, times, positions."""

import dataclasses
import logging
import sys

import mne
import numpy as np
import pytest
from mne.io.constants import FIFF

from img2eeg_jax.axes import Axes
from img2eeg_jax.drawing import scalp
from img2eeg_jax.errors import InputError
from img2eeg_jax.prediction import mne_objects
from img2eeg_jax.prediction.prediction import Prediction


def in_unit(eeg, unit):
    return dataclasses.replace(eeg, axes=dataclasses.replace(eeg.axes, unit=unit))


def test_evoked_is_in_volts(eeg):
    evoked = eeg.to_evoked("日本.png")
    np.testing.assert_allclose(evoked.data, eeg.data[1] * 1e-6, rtol=1e-6)
    np.testing.assert_allclose(evoked.times, eeg.times_s, atol=1e-12)
    assert tuple(evoked.ch_names) == eeg.ch_names
    assert evoked.comment == r"\u65e5\u672c.png"
    assert evoked.info["sfreq"] == 100
    assert {ch["unit"] for ch in evoked.info["chs"]} == {FIFF.FIFF_UNIT_V}
    assert evoked.info["subject_info"]["his_id"] == "3"
    mean = eeg.to_evoked()
    np.testing.assert_allclose(mean.data, eeg.data.mean(0) * 1e-6, rtol=1e-6)
    assert mean.comment == "mean of 2 images"


def test_epochs_are_called_by_their_images(eeg):
    epochs = eeg.to_epochs()
    np.testing.assert_allclose(epochs.get_data(), eeg.data * 1e-6, rtol=1e-6)
    # Folders are tags.
    by_name = epochs[r"dög\x3b.jpg"].get_data()
    np.testing.assert_array_equal(by_name, epochs.get_data()[:1])
    assert epochs.metadata["image"].tolist() == list(eeg.images)
    twice = dataclasses.replace(eeg, images=("a.jpg", "a.jpg")).to_epochs()
    assert len(twice["a.jpg"]) == 2


def test_epochs_without_pandas(eeg, monkeypatch):
    monkeypatch.setattr(mne_objects, "has_pandas", lambda: False)
    assert eeg.to_epochs().metadata is None


@pytest.mark.parametrize("unit", ["z", "whitened"])
def test_what_is_not_in_volts_has_no_unit_or_is_refused(eeg, unit):
    other = in_unit(eeg, unit)
    for export in (other.to_evoked, other.to_epochs):
        with pytest.raises(InputError, match=r"expected values in µV, .*`unitless`"):
            export()
        exported = export(unitless=True)
        assert {ch["unit"] for ch in exported.info["chs"]} == {FIFF.FIFF_UNIT_NONE}
        assert f"no unit: {unit}" in exported.info["description"]
    np.testing.assert_array_equal(other.to_epochs(unitless=True).get_data(), eeg.data)
    # What is in µV stays volts.
    assert eeg.to_evoked(unitless=True).info["chs"][0]["unit"] == FIFF.FIFF_UNIT_V


def test_positions_of_known_names_and_a_word_on_others(eeg, caplog, monkeypatch):
    monkeypatch.setattr(scalp, "_TOLD", set())
    with caplog.at_level(logging.WARNING):
        info = eeg.to_evoked().info
        eeg.to_epochs()
    (record,) = caplog.records
    assert record.getMessage().endswith("whose position is not known: mean")
    expected = mne.channels.make_standard_montage("colin27_1005")
    reference = mne.create_info(["Oz", "Fpz", "T7"], 1.0, "eeg").set_montage(expected)
    found = np.array([ch["loc"][:3] for ch in info["chs"]])
    np.testing.assert_allclose(
        found[[0, 1, 3]], [ch["loc"][:3] for ch in reference["chs"]], atol=1e-3
    )
    assert np.isnan(found[2]).all()


def test_simulated_eeg_says_so(eeg):
    described = dataclasses.replace(eeg, simulated=True).to_evoked().info["description"]
    assert "trained on simulated EEG" in described
    assert "simulated" not in eeg.to_evoked().info["description"]


def test_a_single_time(eeg):
    evoked = eeg.sel(window_s=(0.12, 0.12)).to_evoked(0)
    np.testing.assert_allclose(evoked.times, [0.12])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda eeg: eeg[:0].to_epochs(), "expected images for MNE, found none"),
        (lambda eeg: eeg[:0].to_evoked(), "expected images to average, found none"),
        (
            lambda eeg: Prediction(
                eeg.data[:, :, 0], Axes.of_features(eeg.ch_names), eeg.images
            ).to_epochs(),
            "expected EEG for MNE, found features",
        ),
        (
            lambda eeg: dataclasses.replace(
                eeg, axes=Axes(eeg.ch_names, (0, 1, 2, 3, 4, 6), "µV")
            ).to_epochs(),
            "expected evenly spaced times for MNE, found steps of 1 to 2 s",
        ),
    ],
    ids=["no images", "no mean", "features", "times"],
)
def test_what_mne_cannot_have(eeg, change, message):
    with pytest.raises(InputError, match=message):
        change(eeg)


def test_tables_name_what_is_to_be_installed(eeg, monkeypatch):
    for name, export in (("pandas", eeg.to_dataframe), ("xarray", eeg.to_xarray)):
        monkeypatch.setitem(sys.modules, name, None)
        with pytest.raises(InputError, match=rf"{name}: .*img2eeg_jax\[tables"):
            export()
