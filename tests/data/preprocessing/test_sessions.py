import dataclasses
import shutil

import numpy as np
import pytest
import sklearn.utils

from helpers import raw_recordings, seeded
from helpers.preprocessed import (
    OFFICIAL,
    PLAIN,
    read_trials,
    refuse,
    relative_error,
    run,
)
from img2eeg_jax.data import layout
from img2eeg_jax.data.preprocessing import epochs, sessions
from img2eeg_jax.data.sources import recordings
from img2eeg_jax.errors import InputError


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


def test_shuffled_is_scikit_learns():
    for n in (1, 2, 20, 80):
        expected = sklearn.utils.shuffle(np.arange(n), random_state=7)
        np.testing.assert_array_equal(sessions.shuffled(n, 7), expected)


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
    lines = []
    result = run(raw, choices, log=lines.append)
    assert result["test"].eeg.shape[:2] == (5, 79)
    # 4 x 100 trials less one, of which 5 x 79 are kept.
    kept = "79 trials of each of 5 test images (4 trials of images with more left out)"
    assert f"sub-01: {kept}" in lines
    assert "sub-01: 4 trials of each of 12 training images" in lines
    assert result["training"].eeg.shape[:2] == (12, 4)


def test_too_few_repetitions_for_whitening_are_refused(raw):
    choices = dataclasses.replace(OFFICIAL, training_repetitions=1, test_repetitions=1)
    refuse(raw, choices, "MVNN: time: expected at least 2 observations")


def test_values_that_overflow_are_refused(raw):
    session = recordings.find_sessions(raw, 1)[0]
    trials = epochs.read_trials(session, "training", OFFICIAL, 1e9)
    trials = sessions.keep_repetitions(trials, "training", OFFICIAL)
    huge = {"training": dataclasses.replace(trials, eeg=np.sign(trials.eeg) * 1e200)}
    words = "training.npy: MVNN: expected a noise covariance that has an inverse"
    with np.errstate(all="ignore"), pytest.raises(InputError, match=words):
        sessions.whiten_session(huge, OFFICIAL, 1e9)
