"""The real recordings: they train, and score as docs/reference/results.md says."""

import csv
import dataclasses
import pathlib

import numpy as np
import pytest

from configs import n170
from img2eeg_jax.data import layout, preprocessing
from img2eeg_jax.data.sources import recordings
from img2eeg_jax.evaluation.run import evaluate
from img2eeg_jax.training import experiment

# What the recordings' own preprocessed files were made with.
CHOICES = preprocessing.Choices(
    channels="all",
    bandpass_hz=(1.0, 30.0),
    reject_uv=100.0,
    mvnn="off",
    training_repetitions=None,
    test_repetitions=None,
)


def train_and_score(n170_dir, workdir, seed, **changes):
    config = n170.get_config()
    config.update(data_dir=str(n170_dir), shards_dir=str(workdir / "shards"), seed=seed)
    config.update(changes)
    run = workdir / f"run-{seed}-{config.shuffle_eeg}"
    experiment.train(config, run)
    return evaluate(run, only=("encoding",)).scores


def test_trains_and_reports_each_channel(n170_dir, tmp_path):
    summary = train_and_score(n170_dir, tmp_path, seed=1, num_epochs=1)
    assert list(summary["per_channel"]) == ["TP9", "AF7", "AF8", "TP10"]
    assert summary["n_images"] == 20
    assert summary["n_repetitions"] == 18
    # No noise-free response is known of real recordings.
    assert "best_possible_r" not in summary
    # The issue with these recordings: their ceiling is not above chance.
    assert summary["noise_ceiling_lower"] == pytest.approx(0, abs=0.07)


@pytest.mark.parametrize(
    ("partition", "n_used", "n_same"), [("training", 684, 673), ("test", 360, 357)]
)
def test_preprocessing_agrees(n170_dir, partition, n_used, n_same):
    """The recordings were filtered one by one before they were joined.

    So trials near their borders differ by a few microvolts, as their README says.
    """
    expected = layout.read_eeg(n170_dir, 1, partition)
    (session,) = recordings.find_sessions(n170_dir, 1)
    recording = session.read(session.files[partition][0], partition, "all")
    # They begin at the sample of 256 Hz that is nearest to -0.2 s.
    choices = dataclasses.replace(CHOICES, epoch_s=(-51 / 256, 0.8))
    trials = preprocessing.epoch_recording(recording, choices, 1e8)
    assert trials.axes.ch_names == expected.axes.ch_names
    np.testing.assert_allclose(trials.axes.times_s, expected.axes.times_s, atol=1e-9)
    with open(n170_dir / "trials.csv", newline="") as file:
        used = [
            row
            for row in csv.DictReader(file)
            if row["split"] == partition and row["in_preprocessed"] == "1"
        ]
    assert len(used) == n_used
    row_of_onset = {onset: row for row, onset in enumerate(trials.onsets.tolist())}
    differences_uv = []
    for trial in used:
        row = row_of_onset[int(trial["sample_in_raw"])]
        image = int(trial["assigned_image_condition"]) - 1
        assert trials.conditions[row] == image
        theirs = expected.eeg[image, int(trial["repetition"])]
        differences_uv.append(1e6 * np.abs(trials.eeg[row] - theirs).max())
    assert np.sum(np.array(differences_uv) <= 0.001) == n_same
    assert max(differences_uv) <= 10


@pytest.mark.slow
def test_score_at_tp10_of_recordings_preprocessed_here(n170_dir, tmp_path):
    """From raw recordings to scores: as good as with the files that came along."""
    data_dir = tmp_path / "data"
    data_dir.mkdir()
    for name in ("image_set", "raw_data"):
        (data_dir / name).symlink_to(pathlib.Path(n170_dir).resolve() / name)
    sessions = recordings.find_sessions(data_dir, 1)
    preprocessing.preprocess(data_dir, 1, CHOICES, sessions)
    scores = [
        train_and_score(data_dir, tmp_path, seed)["per_channel"]["TP10"]
        for seed in (1, 2, 3, 4, 5)
    ]
    assert np.mean([score["encoding_r_all_repetitions"] for score in scores]) >= 0.12


@pytest.mark.slow
@pytest.mark.parametrize("shuffle_eeg", [False, True])
def test_score_at_tp10(n170_dir, tmp_path, shuffle_eeg):
    """Far from the control: 0.2 is expected, but rounding alone moves it by 0.03."""
    scores = [
        train_and_score(n170_dir, tmp_path, seed, shuffle_eeg=shuffle_eeg)
        for seed in (1, 2, 3, 4, 5)
    ]
    r = np.mean(
        [s["per_channel"]["TP10"]["encoding_r_all_repetitions"] for s in scores]
    )
    assert abs(r) <= 0.08 if shuffle_eeg else r >= 0.12, r
