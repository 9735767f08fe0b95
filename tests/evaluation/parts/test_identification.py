"""The part of identification: features of training, candidates, what is written."""

import json
import types

import numpy as np
import pytest
from PIL import Image

from img2eeg_jax.axes import Axes, Z
from img2eeg_jax.evaluation.figures.identification import plot_identification
from img2eeg_jax.evaluation.findings import Findings, NotApplicable
from img2eeg_jax.evaluation.metrics import METRICS
from img2eeg_jax.evaluation.parts import identification as part
from img2eeg_jax.prediction.prediction import Prediction

N_CHANNELS, N_TIMES = 3, 4
SIZE = 8


class Rows:
    """Images that know their numbers, as `ImageRows` are read."""

    def __init__(self, rows):
        self.rows = np.asarray(rows)

    def __len__(self):
        return len(self.rows)

    def take(self, rows):
        return Rows(self.rows[rows])


def response_to(pixels):
    """f32[image, channel * time]: what the network predicts of pixels."""
    table = np.random.default_rng(0).standard_normal((256, N_CHANNELS * N_TIMES))
    return table[[int(image[0, 0, 0]) for image in pixels]].astype(np.float32)


@pytest.fixture
def material(rng, monkeypatch):
    """EEG of what the network predicts; training is predicted at 5 channel-times.

    Training images are predicted as their numbers, and so is the training EEG at these
    channel-times, which are the first in the second channel and all in the third.
    """
    predicted = response_to(np.arange(12)[:, None, None, None])
    noise = 0.8 * rng.standard_normal((12, 6, N_CHANNELS * N_TIMES))
    of_training = rng.standard_normal((40, N_CHANNELS, N_TIMES))
    trained = rng.standard_normal(of_training.shape)
    known = np.zeros((N_CHANNELS, N_TIMES), bool)
    known[1, 0] = known[2] = True
    trained[:, known] = of_training[:, known]
    monkeypatch.setattr(part, "training_means", lambda _, __, rows: trained[rows])
    monkeypatch.setattr(
        part.Prediction,
        "of_signal",
        lambda rows, description, names, in_z: types.SimpleNamespace(data=rows),
    )

    def signals(images):
        for image in images:
            yield response_to([image])

    encoder = types.SimpleNamespace(
        checkpoint=None,
        description=None,
        image_size=SIZE,
        signals=signals,
        predict_z=lambda images: types.SimpleNamespace(grid=of_training[images.rows]),
    )
    shape = (N_CHANNELS, N_TIMES)
    axes = Axes(tuple("abc"), np.arange(N_TIMES) / 20, Z)
    eeg = (predicted[:, None] + noise).reshape(12, 6, *shape)
    return types.SimpleNamespace(
        encoder=encoder,
        prediction=Prediction(predicted.reshape(12, *shape), axes, range(12)),
        measured=types.SimpleNamespace(
            eeg=eeg,
            names=tuple(f"{i}/{i}.png" for i in range(12)),
            shards=types.SimpleNamespace(images={"training": Rows(np.arange(40))}),
        ),
        seed=0,
        log=lambda line: None,
    )


@pytest.fixture
def folder(tmp_path):
    """Pictures in colours that no test image has."""
    (tmp_path / "pictures").mkdir()
    for value in range(100, 160):
        picture = Image.new("RGB", (SIZE, SIZE), (value, 0, 0))
        picture.save(tmp_path / "pictures" / f"{value}.png")
    return tmp_path / "pictures"


def test_features_are_those_of_training(material):
    features, n_training = part._select(material, 5)
    assert features.tolist() == [4, 8, 9, 10, 11]
    assert n_training == 40


def test_at_most_so_many_training_images(material, monkeypatch):
    monkeypatch.setattr(part, "N_TRAINING", 15)
    features, n_training = part._select(material, 5)
    assert features.tolist() == [4, 8, 9, 10, 11]
    assert n_training == 15


def test_all_features_ask_for_no_training_image(material):
    material.encoder.predict_z = None
    found = part.find(material)
    assert found.scores["n_features"] == 12
    assert "all 12 channel-times are used: none is left out" in found.notes


def test_scores_and_curves(material, folder, tmp_path):
    found = part.find(material, candidates=folder, n_features=10)
    scores, table = found.scores, found.tables["identification"]
    json.dumps(scores, allow_nan=False)
    counts = {"n_candidates": 60, "set_size": 12, "candidates_set_size": 72}
    assert counts.items() <= scores.items()
    assert scores["top1"] > 0.5 > scores["top1_chance"] == 1 / 12
    assert scores["top1_ci_low"] <= scores["top1"] <= scores["top1_ci_high"]
    assert scores["candidates_top1"] <= scores["top1"] <= scores["top5"]
    assert scores["identification_p"] == 1 / 1001
    sizes, repetitions = (np.unique(table[n]) for n in ("set_size", "n_repetitions"))
    assert sizes.tolist() == [2, 5, 10, 12, 20, 50, 72]
    assert repetitions.tolist() == [1, 2, 5, 6]
    of_all = table["n_repetitions"] == 6
    falling = table["top1"][of_all]
    assert (np.diff(falling) <= 1e-12).all()
    assert falling[-1] == scores["candidates_top1"]
    np.testing.assert_allclose(table["chance"], 1 / table["set_size"])
    ranks = found.tables["identification_images"]
    assert scores["mean_rank"] == ranks["rank"].mean()
    assert (ranks["rank_with_candidates"] >= ranks["rank"]).all()
    known = {m.name for m in METRICS.values() if m.part == "identification"}
    assert known <= set(scores)
    found.save(tmp_path / "x.npz")
    again, _ = Findings.load(tmp_path / "x.npz")
    for kind in ("png", "svg"):
        plot_identification(tmp_path / f"x.{kind}", again)
        assert (tmp_path / f"x.{kind}").stat().st_size > 5000


def test_candidates_that_cannot_be_read_are_told_of(material, folder):
    (folder / "100.png").write_bytes(b"no picture")
    found = part.find(material, candidates=folder)
    assert found.scores["n_candidates"] == 59
    (note,) = (note for note in found.notes if "could not be read" in note)
    assert note.startswith("1 candidate could not be read")
    assert "100.png" in note


def test_a_copy_among_the_candidates_is_told_of(material, folder):
    """At the same channel-times as the test images, or it would not be one."""
    Image.new("RGB", (SIZE, SIZE), (3, 0, 0)).save(folder / "copy.png")
    found = part.find(material, candidates=folder, n_features=5)
    assert any(
        note.startswith("the prediction of 1 test image") for note in found.notes
    )


def test_a_constant_prediction_is_at_chance_and_told_of(material):
    material.prediction.data[:] = material.prediction.data[0]
    found = part.find(material)
    assert found.scores["identification_p"] == 1
    assert found.scores["mean_rank"] == 6.5
    (note,) = (note for note in found.notes if "broken at random" in note)
    assert note.startswith("the prediction of 12 test images is also that of another")


def test_what_cannot_be_identified_says_so(material):
    material.prediction = material.prediction.sel("a", (0, 0.05))
    with pytest.raises(NotApplicable, match="at least 3 channel-times"):
        part.find(material)
    material.measured.eeg = material.measured.eeg[:1]
    with pytest.raises(NotApplicable, match="nothing to choose from"):
        part.find(material)
