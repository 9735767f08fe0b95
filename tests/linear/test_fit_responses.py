"""Responses that are no EEG go through the same fit, in their own unit."""

import csv

import numpy as np
import pytest
from sklearn.linear_model import Ridge

from helpers.checkpoints import refusal
from img2eeg_jax.data.layout import read_responses, write_responses
from img2eeg_jax.data.shards.store import Shards
from img2eeg_jax.data.sources.synthetic import write_synthetic
from img2eeg_jax.linear import fit
from img2eeg_jax.linear.regression import Regression
from img2eeg_jax.linear.result import result_table
from img2eeg_jax.prediction.encoder import Encoder

ALPHA = 5.0
CHOICES = {
    "layers": ("mean", "gray"),
    "pool": "avg",
    "regression": Regression(alphas=(ALPHA,)),
    "is_eeg": False,
}
N = {"training": 40, "test": 12}
NAMES = tuple(f"voxel_{n}" for n in range(5))


@pytest.fixture
def data_dir(tmp_path):
    """Pictures, and voxels of more and more signal; the first of none."""
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
        write_responses(folder, 1, part, np.float32(values), NAMES, "beta")
    return folder


def run(gray, data_dir, **changes):
    (found,) = fit.fit_linear(
        gray,
        data_dir.parent / "run",
        data_dir=data_dir,
        choices=fit.Choices(**(CHOICES | changes)),
        subjects=(1,),
        log=lambda line: None,
    )
    return found


def features(gray, images):
    """f64[image, feature], of both layers."""
    of_batches = [
        np.concatenate([batch[layer] for layer in CHOICES["layers"]], 1)
        for batch in gray.features(images, CHOICES["layers"], "avg")
    ]
    return np.concatenate(of_batches).astype(float)


def test_predicts_what_scikit_learn_does(gray, data_dir):
    found = run(gray, data_dir)
    measured = {part: read_responses(data_dir, 1, part).eeg[..., 0] for part in N}
    shards = Shards.open(data_dir / "shards", image_size=32, subjects=())
    x, new = (features(gray, shards.images[part][:]) for part in N)
    mean, sd = x.mean(0), x.std(0)
    # z-scores of responses change nothing: each has the same penalty.
    y = measured["training"].mean(1, np.float64)
    expected = Ridge(ALPHA).fit((x - mean) / sd, y).predict((new - mean) / sd)
    encoder = Encoder.from_pretrained(data_dir.parent / "run")
    encoder = Encoder(encoder.checkpoint, gray)
    predicted = encoder(shards.images["test"][:])
    np.testing.assert_allclose(predicted.data, expected, atol=2e-3)
    assert (predicted.ch_names, predicted.unit) == (NAMES, "beta")
    oracle = [
        np.corrcoef(expected[:, n], measured["test"].mean(1)[:, n])[0, 1]
        for n in range(5)
    ]
    r = found.time_map.r[fit.ALL_LAYERS][:, 0]
    np.testing.assert_allclose(r, oracle, atol=1e-3)
    with open(data_dir.parent / "run" / fit.MAP_TABLE, newline="") as file:
        rows = [*csv.DictReader(file)]
    assert [row["feature"] for row in rows if row["layer"] == "gray"] == [*NAMES]
    # Nothing of it is over time.
    assert not (data_dir.parent / "run" / fit.MAP_FIGURE).exists()
    assert "mean of 5 features (eval.py gives" in result_table(found)


def test_reliable_features_are_kept(gray, data_dir):
    found = run(gray, data_dir, least_reliability=0.9)
    assert found.time_map.axes.ch_names == NAMES[2:]
    config = Encoder.from_pretrained(data_dir.parent / "run").checkpoint.config
    assert (config["is_eeg"], config["least_reliability"]) == (False, 0.9)
    message = refusal(lambda: run(gray, data_dir, least_reliability=0.99))
    assert "least_reliability (there 0.9, now 0.99)" in message


def test_no_feature_is_so_reliable(gray, data_dir):
    message = refusal(lambda: run(gray, data_dir, least_reliability=0.9999))
    assert "subject 1: responses: expected a reliability over training" in message


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"channels": ("Oz",)}, "channels: expected different names out of voxel_0, "),
        (
            {"window_s": (0.1, 0.3)},
            "window: expected none, for responses without times",
        ),
        ({"layers": ("V1",)}, "layers`: expected different ones of gray, mean"),
    ],
)
def test_what_there_is_not_is_refused_before_anything_is_made(
    gray, data_dir, changes, expected
):
    message = refusal(lambda: run(gray, data_dir, **changes))
    assert expected in message
    assert not (data_dir / "shards").exists()
    assert not [*data_dir.parent.glob("run/features/*")]


@pytest.mark.parametrize("part", N)
def test_rows_that_do_not_fit(gray, data_dir, part):
    write_responses(data_dir, 1, part, np.ones((7, 2, 5), np.float32), NAMES, "beta")
    message = refusal(lambda: run(gray, data_dir))
    assert f"responses_{part}.npz: expected {N[part]} EEG rows" in message


def test_other_features_in_the_test_set(gray, data_dir):
    names = ("a", *NAMES[1:])
    write_responses(data_dir, 1, "test", np.ones((12, 2, 5), np.float32), names, "beta")
    message = refusal(lambda: run(gray, data_dir))
    assert "responses_test.npz: expected the features and unit of" in message


def test_features_in_another_order_are_put_in_one(gray, data_dir):
    before = run(gray, data_dir).time_map.r
    found = read_responses(data_dir, 1, "training")
    values, names = found.eeg[..., ::-1, 0], found.axes.ch_names[::-1]
    write_responses(data_dir, 1, "training", values, names, "beta")
    after = run(gray, data_dir).time_map
    assert after.axes.ch_names == NAMES
    for name, r in before.items():
        np.testing.assert_allclose(after.r[name], r, atol=1e-6)
