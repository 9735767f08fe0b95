import dataclasses
import pathlib

import mne
import numpy as np
import pytest

from helpers import raw_recordings, seeded
from helpers.preprocessed import (
    OFFICIAL,
    PLAIN,
    read_trials,
    refuse,
    relative_error,
    run,
)
from img2eeg_jax.axes import VOLTS
from img2eeg_jax.data import layout, preprocessing
from img2eeg_jax.data.preprocessing import resampling
from img2eeg_jax.data.sources import marks, session
from img2eeg_jax.errors import InputError


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
    refuse(
        raw,
        dataclasses.replace(OFFICIAL, reject_uv=0.001),
        "epochs of 12 trials, found 12 rejected",
    )


def test_choices_that_do_not_fit_are_refused_by_their_names(raw):
    for changes, words in (
        ({"bandpass_hz": (1.0, 900.0)}, "`bandpass_hz` below half .* 1000 Hz, found 9"),
        ({"epoch_s": (0.3, 0.1)}, "`epoch_s`: expected a first time before the last"),
        ({"baseline_s": (-0.5, 0.0)}, "`baseline_s`: .* -0.2 to 0.8 s, found -0.5 to"),
        ({"baseline_s": (0.2, 0.1)}, "`baseline_s`: .* found 0.2 to 0.1"),
    ):
        with pytest.raises(InputError, match=words):
            run(raw, dataclasses.replace(OFFICIAL, **changes))


def test_sessions_may_list_channels_in_another_order(raw):
    expected = run(raw, OFFICIAL)
    # Others' names begin with P and O in either case.
    for number, partition, shift in ((1, "test", 3), (2, "training", 5)):
        path = raw_recordings.raw_path(raw, number, partition)
        names = np.roll([name.upper() for name in seeded.RAW_CHANNELS], shift).tolist()
        raw_recordings.edit_raw(
            path,
            ch_names=[*names, "stim"],
            raw_eeg_data=lambda data, shift=shift: np.concatenate(
                [np.roll(data[:-1], shift, axis=0), data[-1:]]
            ),
        )
    found = run(raw, OFFICIAL)
    for partition, eeg in found.items():
        assert eeg.axes == expected[partition].axes
        assert relative_error(eeg.eeg, expected[partition].eeg) < 1e-12


def waves(times_s):
    """Returns two channels in volts that are known between samples, too."""
    return 2e-5 * np.stack([np.sin(19 * times_s + 0.3), np.cos(61 * times_s)])


def raw_of(eeg_v, sfreq_hz):
    info = mne.create_info(["O1", "O2"], sfreq_hz, "eeg")
    return mne.io.RawArray(eeg_v, info, verbose="ERROR")


def epochs_at(
    sfreq_hz,
    choices,
    onsets_s=(2.0, 5.0, 9.5),
    annotations=None,
    step_v=0,
    eeg_v=None,
):
    """Epochs of `eeg_v`, by default `waves`; `step_v` is added from 7 s on."""
    times_s = np.arange(int(15 * sfreq_hz)) / sfreq_hz
    eeg_v = waves(times_s) if eeg_v is None else eeg_v
    raw = raw_of(eeg_v + step_v * (times_s >= 7), sfreq_hz)
    if annotations is not None:
        known = marks.known(marks.of_annotations(annotations), sfreq_hz)
        raw.set_annotations(known)
    onsets = np.rint(np.array(onsets_s) * sfreq_hz).astype(np.int64)
    recording = session.make_recording(
        pathlib.Path("x"), raw, onsets, np.arange(len(onsets)) + 1
    )
    return preprocessing.epoch_recording(recording, choices, 1e9)


@pytest.mark.parametrize("sfreq_hz", [512, 256, 333, 499.7])
def test_values_are_those_at_the_times_not_at_the_nearest_samples(sfreq_hz):
    """Not resampled, whose own error is larger; -0.2 s is between samples."""
    choices = dataclasses.replace(PLAIN, sfreq_hz=sfreq_hz, baseline_s=None)
    trials = epochs_at(sfreq_hz, choices)
    times_s = trials.axes.times_s
    np.testing.assert_allclose(times_s, -0.2 + np.arange(len(times_s)) / sfreq_hz)
    onsets_s = trials.onsets / sfreq_hz
    expected = np.stack([waves(onset_s + times_s) for onset_s in onsets_s])
    # 0.8 ms of 10 Hz are 5 %.
    assert np.abs(trials.eeg - expected).max() < 2e-4 * 2e-5


@pytest.mark.parametrize(
    "sfreq_hz", [101, 128, 150, 200, 250, 256, 300, 333, 499.7, 500, 512, 2048]
)
def test_times_do_not_depend_on_the_sampling_rate(sfreq_hz):
    choices = dataclasses.replace(PLAIN, baseline_s=None)
    expected = epochs_at(1000, choices)
    assert len(expected.axes.times_s) == 100
    assert epochs_at(sfreq_hz, choices).axes == expected.axes


@pytest.mark.parametrize(
    ("sfreq_hz", "to_hz"), [(1000, 100), (512, 100), (499.7, 150), (512, 512)]
)
def test_the_product_resamples_as_mne_does(monkeypatch, sfreq_hz, to_hz):
    """Noise with an offset, against MNE's transforms of each channel and epoch."""
    rng = np.random.default_rng(0)
    eeg_v = 1e-3 + 1e-5 * rng.standard_normal((2, int(15 * sfreq_hz)))
    choices = dataclasses.replace(PLAIN, sfreq_hz=to_hz, baseline_s=None)
    found = epochs_at(sfreq_hz, choices, eeg_v=eeg_v)
    monkeypatch.setattr(resampling, "_LONGEST_PRODUCT", 0)
    expected = epochs_at(sfreq_hz, choices, eeg_v=eeg_v)
    assert found.axes == expected.axes
    np.testing.assert_allclose(found.eeg, expected.eeg, rtol=0, atol=1e-15)


def test_epochs_are_resampled_as_published():
    """By MNE alone, as the published preprocessing calls it."""
    raw, onsets = raw_of(waves(np.arange(15000) / 1000), 1000), [2000, 5000, 9500]
    events = np.stack([onsets, [0, 0, 0], [1, 1, 1]], 1)
    epochs = mne.Epochs(
        raw, events, tmin=-0.2, tmax=0.8, preload=True, verbose="ERROR"
    ).resample(100, verbose="ERROR")
    found = epochs_at(1000, PLAIN).eeg
    assert relative_error(found, epochs.get_data()) < 1e-12


def test_baseline_at_other_rates(raw):
    trials = epochs_at(512, PLAIN)
    is_baseline = trials.axes.times_s <= 0
    assert abs(trials.eeg[:, :, is_baseline].mean(2)).max() < 0.05 * 2e-5


def test_sessions_may_differ_in_sampling_rates(raw):
    for partition in layout.PARTITIONS:
        path = raw_recordings.raw_path(raw, 2, partition)
        raw_recordings.edit_raw(path, sfreq=512)
    # Onsets 0.2 s apart are so 0.39 s apart, and ends come later.
    result = run(raw, PLAIN)
    assert result["training"].eeg.shape == (12, 4, 17, 100)


BREAKS = mne.Annotations(
    [1.0, 4.5, 7.0, 9.0], [0, 0.2, 0, 1], ["New Segment/", "badger", "boundary", "BAD"]
)


def test_only_known_marks_leave_trials_out():
    # 1.2 and 8 s begin and end at a break; 9.5 s is bad; 4.6 s is a badger's.
    onsets_s = (1.2, 4.6, 6.1, 6.5, 7.1, 7.2, 9.5, 14.9)
    trials = epochs_at(250, PLAIN, onsets_s, BREAKS)
    np.testing.assert_allclose(trials.onsets / 250, [1.2, 4.6, 6.1, 7.2])
    assert trials.counts == {
        "trials": 8,
        "targets": 0,
        "rejected": 0,
        "outside": 1,
        "marked as bad": 1,
        "across a break": 2,
    }


def test_a_filter_does_not_ring_where_the_recorder_was_paused():
    choices = dataclasses.replace(PLAIN, bandpass_hz=(1.0, 40.0), sfreq_hz=250)
    clean = epochs_at(250, choices, (7.9,), BREAKS)
    stepped = epochs_at(250, choices, (7.9,), BREAKS, step_v=5.7e-3)
    # Each stretch is filtered by itself, and a constant is nothing to a high-pass.
    np.testing.assert_allclose(stepped.eeg, clean.eeg, atol=1e-8)


def scale(raw, factor, rows=slice(None, -1), offset=0.0):
    for number in (1, 2, 3, 4):
        for partition in layout.PARTITIONS:

            def change(data):
                data[rows] = data[rows] * factor + offset
                return data

            path = raw_recordings.raw_path(raw, number, partition)
            raw_recordings.edit_raw(path, raw_eeg_data=change)


@pytest.mark.parametrize(
    ("factor", "unit"), [(1e6, "uV"), (1e9, "nV"), (1e3, "mV"), (1.0, "V")]
)
def test_numbers_of_another_unit_are_refused_or_taken_as_told(raw, factor, unit):
    expected = run(raw, PLAIN)["training"]
    scale(raw, factor)
    if factor > 1e4:
        found = r"found an SD of [\d.e+]+ µV; `raw_unit=uV` takes its numbers for µV"
        refuse(raw, PLAIN, found)
    told = run(raw, dataclasses.replace(PLAIN, raw_unit=unit))["training"]
    assert relative_error(told.eeg, expected.eeg) < 1e-6
    assert told.axes == expected.axes


def test_volts_too_small_are_refused(raw):
    scale(raw, 1e-6)
    refuse(raw, PLAIN, "expected EEG in volts, with an SD of 0.1 to 10000 µV, found")


def test_offsets_and_single_channels_are_no_matter_of_units(raw):
    scale(raw, 1.0, offset=0.3)
    # A reference that is flat, and an electrode that is off.
    scale(raw, 0.0, rows=9)
    scale(raw, 1e5, rows=10)
    assert run(raw, PLAIN)["training"].axes.unit == VOLTS


def test_channels_that_are_no_eeg_are_told(raw):
    names = [{"Fp1": "HEOG", "Fz": "Photo"}.get(n, n) for n in seeded.RAW_CHANNELS]
    for number in (1, 2, 3, 4):
        for partition in layout.PARTITIONS:
            path = raw_recordings.raw_path(raw, number, partition)
            raw_recordings.edit_raw(path, ch_names=[*names, "stim"])
    lines = []
    result = run(raw, dataclasses.replace(PLAIN, channels="all"), log=lines.append)
    assert not {"HEOG", "Photo"} & set(result["test"].axes.ch_names)
    assert "leaves out what is no EEG by type or name: HEOG, Photo" in " ".join(lines)
