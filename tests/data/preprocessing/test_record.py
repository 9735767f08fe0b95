import dataclasses

import mne
import numpy as np
import pytest

from helpers import brainvision, raw_recordings
from helpers.preprocessed import OFFICIAL, PLAIN, read_trials, run
from img2eeg_jax.axes import VOLTS, WHITENED
from img2eeg_jax.data import layout, preprocessing
from img2eeg_jax.data.sources import markers, recordings
from img2eeg_jax.data.unwhitening import Unwhitening


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
        "raw_unit": None,
    }
    assert record["versions"]["mne"] == mne.__version__
    assert record["unit"] == "whitened, no unit"
    assert layout.eeg_unit(raw, 1) == WHITENED
    assert len(record["recordings"]) == 8
    first = record["recordings"][0]
    assert (first["session"], first["partition"]) == (1, "training")
    assert (first["trials"], first["targets"], first["rejected"]) == (12, 1, 0)


def test_whitened_eeg_can_be_mapped_back(raw):
    """Each trial by its own session's: to what is prepared without whitening."""
    choices = dataclasses.replace(PLAIN, channels=("Oz", "Pz", "O1"))
    plain = run(raw, choices)["test"].eeg
    record = layout.read_record(raw, 1)
    assert record["whitening"] == []
    assert Unwhitening.from_record(record) is None
    whitened = run(raw, dataclasses.replace(choices, mvnn="time"))["test"]
    record = layout.read_record(raw, 1)
    assert record["format"] == 2
    assert [one["session"] for one in record["whitening"]] == [1, 2, 3, 4]
    mean = sum(np.linalg.inv(one["matrix"]) for one in record["whitening"]) / 4
    np.testing.assert_allclose(Unwhitening.from_record(record).matrix, mean)
    back = {
        str(one["session"]): Unwhitening.from_record({**record, "whitening": [one]})
        for one in record["whitening"]
    }
    for trial in read_trials(raw, "test"):
        place = int(trial["image"]) - 1, int(trial["repetition"])
        of_session = back[trial["session"]]
        volts = of_session.to_volts(whitened.eeg[place], whitened.axes.ch_names)
        bound = 1e-4 * plain.std()
        np.testing.assert_allclose(volts, plain[place], rtol=1e-4, atol=bound)


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


def test_unit_of_eeg_that_is_not_whitened(raw):
    result = run(raw, PLAIN)
    assert layout.read_record(raw, 1)["unit"] == "V"
    assert result["training"].axes == result["test"].axes
    assert result["test"].axes.unit == VOLTS


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


def test_choices_that_came_later_were_the_default_before(raw):
    run(raw, PLAIN)
    record = layout.read_record(raw, 1)
    del record["choices"]["raw_unit"]
    for entry in record["recordings"]:
        del entry["marker_type"], entry["ignore_markers"]
    sessions = recordings.find_sessions(raw, 1)
    assert preprocessing.difference(record, PLAIN, sessions) is None
    choices = dataclasses.replace(PLAIN, raw_unit="uV")
    found = preprocessing.difference(record, choices, sessions)
    assert found == "raw_unit None instead of uV"
    rule = markers.MarkerRule(ignored=(255,))
    sessions = recordings.find_sessions(raw, 1, rule)
    found = preprocessing.difference(record, PLAIN, sessions)
    assert found == "ignore_markers [] instead of [255]"
