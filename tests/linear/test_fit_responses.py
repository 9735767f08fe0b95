"""Responses that are no EEG go through the same fit, in their own unit."""

import csv

import numpy as np
import pytest
from sklearn.linear_model import Ridge

from helpers.checkpoints import refusal
from img2eeg_jax.data.layout.response_files import Responses, write_responses
from img2eeg_jax.data.shards.store import Shards
from img2eeg_jax.data.sources.synthetic import write_synthetic
from img2eeg_jax.evaluation.run import evaluate
from img2eeg_jax.linear import fit
from img2eeg_jax.linear.fit_responses import TABLE, fit_responses
from img2eeg_jax.linear.regression import Regression
from img2eeg_jax.prediction.encoder import Encoder

ALPHA = 5.0
CHOICES = fit.Choices(("mean", "gray"), "avg", regression=Regression(alphas=(ALPHA,)))
N = {"training": 40, "test": 12}
NAMES = tuple(f"voxel_{n}" for n in range(5))


@pytest.fixture
def data_dir(tmp_path):
    """Pictures, and voxels that follow them by more and more; the first by nothing."""
    folder, rng = tmp_path / "data", np.random.default_rng(0)
    write_synthetic(
        folder,
        n_training_concepts=10,
        images_per_concept=4,
        n_test_concepts=12,
        image_size=32,
    )
    for part, n in N.items():
        signal = rng.standard_normal((n, 1, 5)) * [0, 1, 2, 4, 8]
        values = 100 + 3 * (signal + rng.standard_normal((n, 4, 5)))
        write_responses(folder, 1, part, Responses(np.float32(values), NAMES, "beta"))
    return folder


def run(gray, data_dir, **changes):
    arguments = {"data_dir": data_dir, "subjects": (1,), "choices": CHOICES}
    arguments |= {"log": lambda line: None} | changes
    (found,) = fit_responses(gray, data_dir.parent / "run", **arguments)
    return found


def test_predicts_what_scikit_learn_does(gray, data_dir):
    found = run(gray, data_dir)
    with np.load(data_dir / "preprocessed_data/sub-01/responses_training.npz") as file:
        y = file["responses"].mean(1, np.float64)
    shards = Shards.open(data_dir / "shards", image_size=32, subjects=())
    x, new = (
        np.concatenate(
            [
                np.concatenate([batch[layer] for layer in CHOICES.layers], 1)
                for batch in gray.features(
                    shards.images[part][:], CHOICES.layers, "avg"
                )
            ]
        ).astype(float)
        for part in N
    )
    mean, sd = x.mean(0), x.std(0)
    # z-scores of responses change nothing: each has the same penalty.
    expected = Ridge(ALPHA).fit((x - mean) / sd, y).predict((new - mean) / sd)
    encoder = Encoder.from_pretrained(data_dir.parent / "run")
    encoder = Encoder(encoder.checkpoint, gray)
    images = shards.images["test"][:]
    np.testing.assert_allclose(encoder(images).data, expected, atol=2e-3)
    with np.load(data_dir / "preprocessed_data/sub-01/responses_test.npz") as file:
        measured = file["responses"].mean(1)
    for n, r in enumerate(found.r):
        oracle = np.corrcoef(expected[:, n], measured[:, n])[0, 1]
        assert r == pytest.approx(oracle, abs=1e-3)
    with open(data_dir.parent / "run" / TABLE, newline="") as file:
        rows = [*csv.DictReader(file)]
    assert [row["feature"] for row in rows] == [*NAMES]
    assert "left out: ceilings over time" in str(found)


def test_reliable_features_are_kept(gray, data_dir):
    assert run(gray, data_dir, least_reliability=0.9).feature_names == NAMES[2:]
    message = refusal(
        lambda: run(gray, data_dir, least_reliability=0.9999, choices=CHOICES)
    )
    assert "responses_training.npz" in message
    assert "expected a reliability of 0.9999" in message


def test_eval_says_that_it_has_no_channels_and_times(gray, data_dir):
    run(gray, data_dir)
    message = refusal(lambda: evaluate(data_dir.parent / "run", log=lambda _: None))
    assert "expected a network that predicts EEG, found one that predicts features" in (
        message
    )


@pytest.mark.parametrize("part", N)
def test_rows_that_do_not_fit(gray, data_dir, part):
    wrong = Responses(np.ones((7, 2, 5), np.float32), NAMES, "beta")
    write_responses(data_dir, 1, part, wrong)
    message = refusal(lambda: run(gray, data_dir))
    assert f"responses_{part}.npz: expected a row for each of {N[part]}" in message


def test_other_features_in_the_test_set(gray, data_dir):
    wrong = Responses(np.ones((12, 2, 5), np.float32), NAMES[::-1], "beta")
    write_responses(data_dir, 1, "test", wrong)
    message = refusal(lambda: run(gray, data_dir))
    assert "expected the features of the training responses, found others" in message
