"""Preprocessing against the published code's numbers, and by hand where it has none."""

import csv
import dataclasses
import shutil

import mne
import numpy as np
import pytest
import sklearn.utils

from helpers import brainvision, raw_recordings, seeded
from img2eeg_jax.data import layout, preprocessing
from img2eeg_jax.data.preprocessing import whitening
from img2eeg_jax.data.sources import recordings
from img2eeg_jax.errors import InputError

OFFICIAL = preprocessing.Choices()
PLAIN = preprocessing.Choices(mvnn="off")


@pytest.fixture(scope="session")
def golden(golden_dir):
    return dict(np.load(golden_dir / "golden_preprocessing.npz"))


@pytest.fixture(scope="session")
def raw_original(tmp_path_factory, golden):
    """Images and four sessions of one subject. Not to be changed."""
    data_dir = tmp_path_factory.mktemp("raw") / "data"
    raw_recordings.write_images(data_dir)
    raw_recordings.write_raw(data_dir, int(golden["seed"]))
    return data_dir


@pytest.fixture
def raw(raw_original, tmp_path):
    """A copy of the recordings that a test may damage."""
    return shutil.copytree(raw_original, tmp_path / "data")


def run(data_dir, choices, **kwargs):
    """Preprocesses subject 1; returns {partition: PreprocessedEEG}."""
    sessions = recordings.find_sessions(data_dir, 1)
    kwargs = {"log": lambda line: None} | kwargs
    preprocessing.preprocess(data_dir, 1, choices, sessions, **kwargs)
    return {name: layout.read_eeg(data_dir, 1, name) for name in layout.PARTITIONS}


def refuse(data_dir, choices, match):
    """Checks that preprocessing is refused, and that nothing is written."""
    before = sorted(data_dir.rglob("*"))
    with pytest.raises(InputError, match=match) as refused:
        run(data_dir, choices)
    assert "\n" not in str(refused.value)
    assert sorted(data_dir.rglob("*")) == before


def relative_error(found, expected):
    expected = expected.astype(np.float64)
    return np.linalg.norm(found - expected) / np.linalg.norm(expected)


@pytest.mark.parametrize("variant", whitening.VARIANTS)
def test_golden_preprocessing(raw, golden, variant):
    result = run(raw, dataclasses.replace(OFFICIAL, mvnn=variant))
    training, test = result["training"], result["test"]
    for eeg in (training, test):
        assert list(eeg.ch_names) == golden["ch_names"].tolist()
        np.testing.assert_array_equal(eeg.times_s, golden["times"])
    assert training.eeg.shape == (12, 4, 17, 100)
    assert test.eeg.shape == (5, 80, 17, 100)
    assert relative_error(training.eeg, golden[f"{variant}_training"]) <= 1e-6
    assert relative_error(test.eeg[:, :4], golden[f"{variant}_test_first4"]) <= 1e-6
    assert relative_error(test.eeg.mean(1), golden[f"{variant}_test_mean"]) <= 1e-6


def test_golden_preprocessing_in_small_blocks(raw, golden):
    result = run(raw, OFFICIAL, max_bytes=1e6)
    assert relative_error(result["training"].eeg, golden["time_training"]) <= 1e-6


def test_whitening_by_training_data_only(raw, golden):
    result = run(raw, dataclasses.replace(OFFICIAL, mvnn_partitions="training"))
    assert relative_error(result["training"].eeg, golden["time_training"]) > 1e-3
    # The test recordings do not matter to training data now.
    for session in (1, 2, 3, 4):
        path = raw_recordings.raw_path(raw, session, "test")
        noise = np.random.default_rng(session)
        raw_recordings.edit_raw(
            path,
            raw_eeg_data=lambda data, noise=noise: np.concatenate(
                [data[:-1] * noise.uniform(0.5, 2, (len(data) - 1, 1)), data[-1:]]
            ),
        )
    again = run(raw, dataclasses.replace(OFFICIAL, mvnn_partitions="training"))
    np.testing.assert_array_equal(again["training"].eeg, result["training"].eeg)


def test_without_whitening_epochs_are_cut_by_hand(raw):
    """One trial, computed without MNE: sampled at the recording's own rate."""
    choices = dataclasses.replace(
        PLAIN, sfreq_hz=1000.0, channels=("Oz", "Fp1"), epoch_s=(-0.1, 0.3)
    )
    result = run(raw, choices)["training"]
    assert result.ch_names == ("Oz", "Fp1")
    np.testing.assert_allclose(result.times_s, np.arange(-100, 301) / 1000, atol=1e-12)
    rows = read_trials(raw, "training")
    assert len(rows) == 12 * 4
    for row in rows[::7]:
        content = seeded.seeded_raw(int(row["session"]), "training")
        onset = int(row["onset_sample"])
        data = content["raw_eeg_data"]
        assert data[-1, onset] == int(row["image"])
        channels = [content["ch_names"].index(name) for name in result.ch_names]
        epoch = data[channels, onset - 100 : onset + 301]
        epoch = epoch - epoch[:, :101].mean(1, keepdims=True)
        found = result.eeg[int(row["image"]) - 1, int(row["repetition"])]
        np.testing.assert_allclose(found, epoch, rtol=1e-5, atol=1e-12)


def read_trials(data_dir, partition):
    path = layout.record_path(data_dir, 1).with_name(f"trials_{partition}.csv")
    with open(path, newline="") as file:
        return list(csv.DictReader(file))


def test_shuffled_is_scikit_learns():
    for n in (1, 2, 20, 80):
        expected = sklearn.utils.shuffle(np.arange(n), random_state=7)
        np.testing.assert_array_equal(preprocessing.shuffled(n, 7), expected)


def test_one_session(raw):
    shutil.rmtree(raw_recordings.raw_path(raw, 1, "test").parents[1])
    for partition, trials in (("training", [*range(1, 13)] * 2), ("test", [1, 2] * 3)):
        content = seeded.seeded_raw(1, "test")
        content["raw_eeg_data"][-1] = 0
        content["raw_eeg_data"][-1, 500 + 200 * np.arange(len(trials))] = trials
        layout.write_npy_dict(raw_recordings.raw_path(raw, 1, partition), content)
    shutil.rmtree(raw / "image_set")
    raw_recordings.write_images(raw, {"training": 12, "test": 2})
    result = run(raw, dataclasses.replace(OFFICIAL, test_repetitions=3))
    assert result["training"].eeg.shape == (12, 2, 17, 100)
    assert result["test"].eeg.shape == (2, 3, 17, 100)


def test_chosen_sessions(raw):
    choices = dataclasses.replace(PLAIN, sessions=(1, 2))
    assert run(raw, choices)["training"].eeg.shape[1] == 2
    assert {row["session"] for row in read_trials(raw, "test")} == {"1", "2"}
    # Half of the images occur in odd sessions only.
    choices = dataclasses.replace(PLAIN, sessions=(1, 3))
    with pytest.raises(InputError, match="none of 6, first of image 7"):
        run(raw, choices)
    refuse(raw, dataclasses.replace(PLAIN, sessions=(1, 5)), "sessions 5, found 1, 2")


def test_fewer_repetitions_are_a_choice_at_random(raw):
    whole = run(raw, PLAIN)["test"].eeg
    part = run(raw, dataclasses.replace(PLAIN, test_repetitions=5))["test"].eeg
    assert part.shape == (5, 20, 17, 100)
    known = {trial.tobytes() for image in whole for trial in image}
    assert all(trial.tobytes() in known for image in part for trial in image)


def test_all_repetitions_are_as_many_as_every_image_has(raw):
    path = raw_recordings.raw_path(raw, 2, "test")

    def drop_one(data):
        onset = np.flatnonzero(data[-1] == 3)[4]
        data[-1, onset] = 0
        return data

    raw_recordings.edit_raw(path, raw_eeg_data=drop_one)
    with pytest.raises(InputError, match="20 repetitions of image 3, found 19"):
        run(raw, PLAIN)
    choices = dataclasses.replace(
        OFFICIAL, training_repetitions=None, test_repetitions=None
    )
    result = run(raw, choices)
    assert result["test"].eeg.shape[:2] == (5, 79)
    assert result["training"].eeg.shape[:2] == (12, 4)


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


def test_record_tells_choices_versions_and_files(raw):
    run(raw, dataclasses.replace(OFFICIAL, channels=("Oz", "Pz"), mvnn="epochs"))
    record = layout.read_record(raw, 1)
    assert record["choices"] == {
        "channels": ["Oz", "Pz"],
        "epoch_s": [-0.2, 0.8],
        "baseline_s": [None, 0.0],
        "sfreq_hz": 100.0,
        "bandpass_hz": None,
        "reject_uv": None,
        "mvnn": "epochs",
        "mvnn_partitions": "both",
        "sessions": None,
        "training_repetitions": 2,
        "test_repetitions": 20,
        "seed": 20200220,
    }
    assert record["versions"]["mne"] == mne.__version__
    assert record["unit"] == "whitened, no unit"
    assert len(record["recordings"]) == 8
    first = record["recordings"][0]
    assert (first["session"], first["partition"]) == (1, "training")
    assert (first["trials"], first["targets"], first["rejected"]) == (12, 1, 0)


@pytest.mark.parametrize("suffix", [".vhdr", ".vmrk", ".eeg"])
def test_files_of_brainvision_are_compared(tmp_path, suffix):
    raw_recordings.write_images(tmp_path, {"training": 2, "test": 2})
    noise = np.random.default_rng(0)
    for partition in layout.PARTITIONS:
        path = raw_recordings.raw_path(tmp_path, 1, partition).with_suffix(".vhdr")
        markers = [("Stimulus", f"S {k % 2 + 1}", 100 + 200 * k) for k in range(4)]
        eeg_uv = noise.standard_normal((2, 1000))
        brainvision.write(path, eeg_uv, ["O1", "O2"], 200, markers)
    choices = dataclasses.replace(PLAIN, training_repetitions=2, test_repetitions=2)
    run(tmp_path, choices)
    sessions = recordings.find_sessions(tmp_path, 1)
    record = layout.read_record(tmp_path, 1)
    assert preprocessing.difference(record, choices, sessions) is None
    path = path.with_suffix(suffix)
    content = path.read_bytes()
    path.write_bytes(content[:-2] + bytes([content[-2] ^ 1]) + content[-1:])
    found = preprocessing.difference(record, choices, sessions)
    assert found == f"other recordings ({path} has changed)"


def test_records_of_earlier_versions_are_compared_by_size(raw):
    run(raw, PLAIN)
    sessions = recordings.find_sessions(raw, 1)
    record = layout.read_record(raw, 1)
    for entry in record["recordings"]:
        entry["files"] = [file[:2] for file in entry["files"]]
    del record["image_list_sha256"]
    assert preprocessing.difference(record, PLAIN, sessions) is None
    record["recordings"][0]["files"][0][1] += 1
    assert "has changed" in preprocessing.difference(record, PLAIN, sessions)


def test_what_is_left_of_a_stopped_run_is_not_taken_for_a_result(raw, monkeypatch):
    def stop(*args):
        raise KeyboardInterrupt

    run(raw, OFFICIAL)
    expected = {
        path.name: path.read_bytes()
        for path in layout.record_path(raw, 1).parent.iterdir()
    }
    with monkeypatch.context() as patch:
        patch.setattr(preprocessing.layout, "write_eeg", stop)
        with pytest.raises(KeyboardInterrupt):
            run(raw, OFFICIAL)
    run(raw, OFFICIAL)
    folder = layout.record_path(raw, 1).parent
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == expected
    assert [path.name for path in folder.parent.iterdir()] == ["sub-01"]


def test_trigger_beyond_the_images_is_refused(raw):
    path = raw_recordings.raw_path(raw, 3, "training")

    def wrong_trigger(data):
        data[-1, np.flatnonzero(data[-1] == 4)[0]] = 13
        return data

    raw_recordings.edit_raw(path, raw_eeg_data=wrong_trigger)
    refuse(raw, OFFICIAL, "triggers of the 12 training images, found 13")


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


def test_too_few_repetitions_for_whitening_are_refused(raw):
    choices = dataclasses.replace(OFFICIAL, training_repetitions=1, test_repetitions=1)
    refuse(raw, choices, "MVNN: time: expected at least 2 observations")


def test_choices_that_mne_refuses(raw):
    refuse(raw, dataclasses.replace(OFFICIAL, bandpass_hz=(1.0, 900.0)), "found: ")
    refuse(raw, dataclasses.replace(OFFICIAL, epoch_s=(0.3, 0.1)), "found: ")
    refuse(raw, dataclasses.replace(OFFICIAL, baseline_s=(-0.5, 0.0)), "found: ")


def test_damaged_record_is_refused(raw):
    run(raw, OFFICIAL)
    layout.record_path(raw, 1).write_text("{")
    with pytest.raises(InputError, match="expected the record of a preprocessing"):
        layout.read_record(raw, 1)
