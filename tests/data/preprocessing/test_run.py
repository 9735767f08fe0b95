"""Preprocessing against the published code's numbers."""

import dataclasses

import numpy as np
import pytest

from helpers import raw_recordings
from helpers.preprocessed import OFFICIAL, refuse, relative_error, run
from img2eeg_jax.data import layout
from img2eeg_jax.data.preprocessing import run as run_module
from img2eeg_jax.data.preprocessing import whitening


@pytest.mark.parametrize("variant", whitening.VARIANTS)
def test_golden_preprocessing(raw, golden, variant):
    result = run(raw, dataclasses.replace(OFFICIAL, mvnn=variant))
    training, test = result["training"], result["test"]
    for eeg in (training, test):
        assert list(eeg.axes.ch_names) == golden["ch_names"].tolist()
        np.testing.assert_array_equal(eeg.axes.times_s, golden["times"])
    assert training.eeg.shape == (12, 4, 17, 100)
    assert test.eeg.shape == (5, 80, 17, 100)
    assert relative_error(training.eeg, golden[f"{variant}_training"]) <= 1e-6
    assert relative_error(test.eeg[:, :4], golden[f"{variant}_test_first4"]) <= 1e-6
    assert relative_error(test.eeg.mean(1), golden[f"{variant}_test_mean"]) <= 1e-6


def test_golden_preprocessing_in_small_blocks(raw, golden):
    result = run(raw, OFFICIAL, max_bytes=1e6)
    assert relative_error(result["training"].eeg, golden["time_training"]) <= 1e-6


def test_what_is_left_of_a_stopped_run_is_not_taken_for_a_result(raw, monkeypatch):
    def stop(*args):
        raise KeyboardInterrupt

    run(raw, OFFICIAL)
    expected = {
        path.name: path.read_bytes()
        for path in layout.record_path(raw, 1).parent.iterdir()
    }
    with monkeypatch.context() as patch:
        patch.setattr(run_module.layout, "write_eeg", stop)
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
    words = "triggers of the 12 training images, found 13; `ignore_markers=13`"
    refuse(raw, OFFICIAL, words)
