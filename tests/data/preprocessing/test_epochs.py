import dataclasses

import mne
import numpy as np

from helpers import raw_recordings, seeded
from helpers.preprocessed import OFFICIAL, PLAIN, read_trials, refuse, run
from img2eeg_jax.data import layout


def test_without_whitening_epochs_are_cut_by_hand(raw):
    """One trial, computed without MNE: sampled at the recording's own rate."""
    choices = dataclasses.replace(
        PLAIN, sfreq_hz=1000.0, channels=("Oz", "Fp1"), epoch_s=(-0.1, 0.3)
    )
    result = run(raw, choices)["training"]
    assert result.axes.ch_names == ("Oz", "Fp1")
    np.testing.assert_allclose(
        result.axes.times_s, np.arange(-100, 301) / 1000, atol=1e-12
    )
    rows = read_trials(raw, "training")
    assert len(rows) == 12 * 4
    for row in rows[::7]:
        content = seeded.seeded_raw(int(row["session"]), "training")
        onset = int(row["onset_sample"])
        data = content["raw_eeg_data"]
        assert data[-1, onset] == int(row["image"])
        channels = [content["ch_names"].index(name) for name in result.axes.ch_names]
        epoch = data[channels, onset - 100 : onset + 301]
        epoch = epoch - epoch[:, :101].mean(1, keepdims=True)
        found = result.eeg[int(row["image"]) - 1, int(row["repetition"])]
        np.testing.assert_allclose(found, epoch, rtol=1e-5, atol=1e-12)


def test_rejection_is_by_peak_to_peak_amplitude(raw):
    path = raw_recordings.raw_path(raw, 1, "test")

    def add_artefact(data):
        onset = np.flatnonzero(data[-1] == 2)[3]
        data[9, onset + 100] += 1e-3  # Pz
        return data

    raw_recordings.edit_raw(path, raw_eeg_data=add_artefact)
    lines = []
    choices = dataclasses.replace(
        PLAIN, reject_uv=500.0, training_repetitions=None, test_repetitions=None
    )
    result = run(raw, choices, log=lines.append)
    # Stimuli come every 0.2 s, so the artefact lies in five epochs, one a target's
    # at most, and in both ends of another where the baseline begins.
    record = layout.read_record(raw, 1)
    of_file = next(
        entry
        for entry in record["recordings"]
        if entry["session"] == 1 and entry["partition"] == "test"
    )
    assert 3 <= of_file["rejected"] <= 6
    assert f"{of_file['rejected']} rejected" in " ".join(lines)
    assert result["test"].eeg.shape[1] < 80
    assert np.ptp(result["test"].eeg, axis=3).max() < 600e-6


def test_bandpass_filters_the_whole_recording(raw):
    choices = dataclasses.replace(
        PLAIN, bandpass_hz=(1.0, 30.0), sfreq_hz=1000.0, channels=("Pz",)
    )
    result = run(raw, choices)["training"]
    content = seeded.seeded_raw(1, "training")
    pz = content["raw_eeg_data"][seeded.RAW_CHANNELS.index("Pz")]
    filtered = mne.filter.filter_data(pz, 1000.0, 1.0, 30.0, verbose="ERROR")
    rows = [row for row in read_trials(raw, "training") if row["session"] == "1"]
    for row in rows:
        onset = int(row["onset_sample"])
        epoch = filtered[onset - 200 : onset + 801]
        epoch = epoch - epoch[:201].mean()
        found = result.eeg[int(row["image"]) - 1, int(row["repetition"]), 0]
        np.testing.assert_allclose(found, epoch, rtol=1e-4, atol=1e-10)


def test_lower_sampling_rate_is_refused(raw):
    raw_recordings.edit_raw(raw_recordings.raw_path(raw, 1, "training"), sfreq=80)
    refuse(raw, OFFICIAL, "at least 100 Hz, found 80 Hz")


def test_sessions_with_other_channels_are_refused(raw):
    path = raw_recordings.raw_path(raw, 2, "test")
    names = ["Fpz" if name == "P8" else name for name in seeded.RAW_CHANNELS]
    raw_recordings.edit_raw(path, ch_names=[*names, "stim"])
    refuse(raw, OFFICIAL, "expected the channels of")


def test_everything_rejected_is_refused(raw):
    refuse(raw, dataclasses.replace(OFFICIAL, reject_uv=0.001), "12 of 12 rejected")


def test_choices_that_mne_refuses(raw):
    refuse(raw, dataclasses.replace(OFFICIAL, bandpass_hz=(1.0, 900.0)), "found: ")
    refuse(raw, dataclasses.replace(OFFICIAL, epoch_s=(0.3, 0.1)), "found: ")
    refuse(raw, dataclasses.replace(OFFICIAL, baseline_s=(-0.5, 0.0)), "found: ")
