"""From images to a checkpoint like any other: what is fitted is what it predicts."""

import csv
import dataclasses
import shutil

import numpy as np
import pytest
from sklearn.linear_model import Ridge

from helpers.checkpoints import refusal
from helpers.linear import NetworkWithGrayLayer
from img2eeg_jax.checkpoints.load import load_checkpoint
from img2eeg_jax.data.shards.store import Shards
from img2eeg_jax.linear import features, fit
from img2eeg_jax.linear.feature_files import FeatureFiles
from img2eeg_jax.linear.regression import PRESETS, Regression
from img2eeg_jax.linear.selection import make_folds
from img2eeg_jax.prediction.encoder import Encoder

CHOICES = fit.Choices(
    layers=("V1", "IT"),
    pool="avg",
    window_s=(0.1, 0.2),
    regression=Regression(alphas=(30.0,)),
)


def run(backbone, workdir, data_dir, choices=CHOICES, subjects=(1,), **arguments):
    return fit.fit_linear(
        backbone,
        workdir,
        data_dir=data_dir,
        subjects=subjects,
        choices=choices,
        log=lambda line: None,
        **arguments,
    )


def shards_of(data_dir):
    return Shards.open(data_dir / "shards", image_size=32, subjects=(1,))


def vectors(backbone, images, layers, pool):
    parts = [*backbone.features(images, layers, pool)]
    return np.concatenate(
        [np.concatenate([part[layer] for part in parts]) for layer in layers], 1
    )


@pytest.fixture(scope="module")
def fitted(own, data_dir, tmp_path_factory):
    folder = tmp_path_factory.mktemp("fitted") / "run"
    run(own, folder, data_dir)
    return folder


def expected_z(backbone, data_dir, choices, layers):
    """What scikit-learn's ridge predicts of the test images, in z-scores."""
    shards = shards_of(data_dir)
    x, new = (
        vectors(backbone, shards.images[part][:], layers, choices.pool).astype(float)
        for part in ("training", "test")
    )
    eeg = shards.eeg(1).means("training", None, choices.window_s)[0].astype(float)
    y = ((eeg - eeg.mean(0)) / eeg.std(0)).reshape(len(x), -1)
    sd = np.where(x.std(0) > 0, x.std(0), 1)
    model = Ridge(choices.regression.alphas[0]).fit((x - x.mean(0)) / sd, y)
    return model.predict((new - x.mean(0)) / sd).reshape(len(new), *eeg.shape[1:])


def test_predicts_what_scikit_learn_does(own, data_dir, fitted):
    encoder = Encoder.from_pretrained(fitted)
    images = shards_of(data_dir).images["test"][:]
    expected = expected_z(own, data_dir, CHOICES, CHOICES.layers)
    predicted = encoder.predict_z(images).data
    np.testing.assert_allclose(predicted, expected, atol=2e-3)
    assert encoder.description.kind == "linear"
    assert "linear map of V1, IT of CORnet-S of random weights" in str(encoder)


def test_trust_is_of_concepts_that_a_fit_did_not_see(own, data_dir, fitted):
    """Residuals of scikit-learn's ridge without each fifth of the concepts."""
    shards, encoder = shards_of(data_dir), Encoder.from_pretrained(fitted)
    images = shards.images["training"][:]
    x = vectors(own, images, CHOICES.layers, CHOICES.pool).astype(float)
    x = (x - x.mean(0)) / np.where(x.std(0) > 0, x.std(0), 1)
    eeg = shards.eeg(1).means("training", None, CHOICES.window_s)[0].astype(float)
    y = ((eeg - eeg.mean(0)) / eeg.std(0)).reshape(len(x), -1)
    folds = make_folds(shards.concepts["training"], 5, len(x), seed=0)
    residual = np.empty_like(y)
    for fold in folds:
        rest = np.setdiff1d(np.arange(len(x)), fold)
        model = Ridge(CHOICES.regression.alphas[0]).fit(x[rest], y[rest])
        residual[fold] = y[fold] - model.predict(x[fold])
    trust = encoder.trust
    assert (trust.n_images, trust.n_repetitions) == (80, 2)
    expected = np.sqrt(np.square(residual).mean(0)).reshape(17, 11)
    np.testing.assert_allclose(trust.residual, expected, rtol=2e-3)
    # Trials, not means, tell the noise: these have their own.
    assert 0.5 < np.median(trust.noise.sd) < 2


def test_predictions_know_how_far_they_go(data_dir, fitted):
    encoder, shards = Encoder.from_pretrained(fitted), shards_of(data_dir)
    eeg = encoder(shards.images["test"][:])
    low, high = eeg.interval(0.9, n_repetitions=4)
    measured = 1e6 * shards.eeg(1).means("test", None, CHOICES.window_s)[0]
    covered = ((low <= measured) & (measured <= high)).mean()
    assert 0.8 < covered < 0.98
    assert np.mean(eeg.familiarity > 1) <= 1 / 6
    noise = np.random.default_rng(0).integers(0, 256, (6, 32, 32, 3), np.uint8)
    assert np.median(encoder(noise).familiarity) > np.median(eeg.familiarity)


@pytest.mark.slow
def test_gives_microvolts_features_gradients_and_a_file(data_dir, fitted, tmp_path):
    encoder = Encoder.from_pretrained(fitted)
    image = shards_of(data_dir).images["test"][:1]
    eeg = encoder(image)
    assert (eeg.unit, eeg.data.shape) == ("µV", (1, 17, 11))
    assert encoder.features(image, "IT").shape == (1, 1, 1, 16)
    assert np.any(encoder.saliency(image, "Oz", 0.15))
    encoder.export(tmp_path / "encoder.zip")
    encoder.save_pretrained(tmp_path / "saved")
    again = Encoder.from_pretrained(tmp_path / "saved")
    np.testing.assert_array_equal(again(image).data, eeg.data)


def test_writes_r_of_each_layer(fitted):
    with open(fitted / fit.MAP_TABLE, newline="") as file:
        rows = [*csv.DictReader(file)]
    assert {row["layer"] for row in rows} == {"all layers", "V1", "IT"}
    assert len(rows) == 3 * 17 * 11
    assert (fitted / fit.MAP_FIGURE).read_bytes().startswith(b"\x89PNG")


def test_another_run_is_refused(own, data_dir, fitted, snapshot):
    before = snapshot(fitted)
    message = refusal(
        lambda: run(
            own, fitted, data_dir, fit.Choices(("V1",), regression=Regression())
        )
    )
    assert "config.json: expected the config of this run" in message
    assert snapshot(fitted) == before


def test_runs_of_one_and_of_several_subjects_do_not_mix(
    own, data_dir, fitted, tmp_path
):
    message = refusal(lambda: run(own, fitted, data_dir, subjects=(1, 2)))
    expected = f"{fitted}/config.json: expected a run of several subjects, found a run"
    assert message.startswith(expected)
    shutil.copytree(fitted, tmp_path / "sub-01")
    message = refusal(lambda: run(own, tmp_path, data_dir))
    expected = f"{tmp_path}/sub-01/config.json: expected a run of one subject, found"
    assert message.startswith(expected)
    assert [path.name for path in tmp_path.iterdir()] == ["sub-01"]


def test_a_single_concept_cannot_be_held_out():
    features = {"gray": np.random.default_rng(0).standard_normal((6, 2))}
    message = refusal(lambda: Regression().prepare(features, ["one"] * 6))
    assert message.startswith("`n_folds`: expected 0, as no concept can be held out")
    alone = Regression(n_folds=0)
    prepared = alone.prepare(features, ["one"] * 6)
    assert alone.fit(prepared, features["gray"]).ridge.scores is not None


def test_a_backbone_outside_the_checkpoint(gray, data_dir, tmp_path):
    choices = fit.Choices(
        ("mean", "gray"),
        "avg",
        window_s=(0.1, 0.2),
        regression=Regression(alphas=(3.0,)),
    )
    run(gray, tmp_path / "run", data_dir, choices)
    checkpoint = load_checkpoint(tmp_path / "run")
    assert checkpoint.description.kind == "readout"
    images = shards_of(data_dir).images["test"][:]
    predicted = Encoder(checkpoint, gray).predict_z(images).data
    expected = expected_z(gray, data_dir, choices, choices.layers)
    np.testing.assert_allclose(predicted, expected, atol=2e-3)
    eeg = Encoder(checkpoint, gray)(images)
    low, high = eeg.interval()
    assert (low < high).all()
    assert eeg.familiarity is None
    message = refusal(lambda: Encoder(checkpoint).predict_z(images))
    assert "backbone gray, which only the program has" in message
    message = refusal(lambda: Encoder(checkpoint, gray).export(tmp_path / "x.zip"))
    assert "in JAX as a whole" in message
    other = NetworkWithGrayLayer.backbone(32, 2 * NetworkWithGrayLayer.KERNEL)
    message = refusal(lambda: Encoder(checkpoint, other).predict_z(images))
    assert "the weights of gray that it was fitted on" in message


@pytest.mark.slow
def test_subjects_as_if_alone(own, data_dir, fitted, tmp_path):
    run(own, tmp_path / "both", data_dir, subjects=(1, 2))
    together = load_checkpoint(tmp_path / "both" / "sub-01").variables["params"]
    alone = load_checkpoint(fitted).variables["params"]
    for name, value in alone["readout"].items():
        np.testing.assert_allclose(together["readout"][name], value, atol=1e-5)
    assert load_checkpoint(tmp_path / "both" / "sub-02").description.subject == 2


def write_features(folder, data_dir, **changes):
    rng = np.random.default_rng(0)
    shards = shards_of(data_dir)
    for part in ("training", "test"):
        names = shards.image_list[part]
        entries = {"conv": rng.standard_normal((len(names), 2, 2, 3)), "images": names}
        entries |= changes
        np.savez(folder / f"{part}.npz", **{k: np.array(v) for k, v in entries.items()})
    return FeatureFiles(folder / "training.npz", folder / "test.npz", 32)


def test_files_of_features(data_dir, tmp_path):
    files = write_features(tmp_path, data_dir)
    choices = fit.Choices(window_s=(0.1, 0.2), regression=Regression(alphas=(1e3,)))
    (result,) = run(files, tmp_path / "run", data_dir, choices)
    shards, encoder = shards_of(data_dir), Encoder.from_pretrained(tmp_path / "run")
    predicted = encoder.predict_z(shards.images["test"][:]).data
    features_of_test = files.read(shards.image_list, ("conv",), "flat")["test"]
    np.testing.assert_allclose(
        predicted, result.fitted.predict(features_of_test), atol=1e-5
    )
    new = np.zeros((1, 32, 32, 3), np.uint8)
    message = refusal(lambda: encoder.predict_z(new))
    assert "one of those whose features are in features in training.npz" in message


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"conv": np.ones((3, 2))}, "expected a row for each of 80 images, found 3"),
        ({"conv": np.full((80, 2), np.nan)}, "NaN or infinity in row 0"),
        ({"conv": np.full((80, 2), 1e300)}, "numbers of float32, found 1e+300 in row"),
        ({"images": ["a.jpg"] * 80}, "in row 0, as the images are ordered"),
        ({"images": ["a.jpg"]}, "expected a name for each of 80 images, found 1"),
    ],
)
def test_wrong_files_are_refused(data_dir, fitted, tmp_path, changes, words):
    files = write_features(tmp_path, data_dir, **changes)
    choices = fit.Choices(window_s=(0.1, 0.2))
    message = refusal(lambda: run(files, tmp_path / "run", data_dir, choices))
    assert words in message


def test_test_features_of_another_width_are_refused(data_dir, fitted, tmp_path):
    """Before anything is fitted, by the name of the file."""
    write_features(tmp_path, data_dir)
    names = shards_of(data_dir).image_list["test"]
    np.savez(tmp_path / "test.npz", conv=np.ones((len(names), 5)), images=names)
    files = FeatureFiles(tmp_path / "training.npz", tmp_path / "test.npz", 32)
    message = refusal(lambda: run(files, tmp_path / "run", data_dir, fit.Choices()))
    assert "test.npz: conv: expected 12 features, as of the training" in message


def test_an_unknown_layer_is_refused(own, data_dir, tmp_path):
    message = refusal(
        lambda: run(own, tmp_path / "run", data_dir, fit.Choices(("conv1",)))
    )
    assert "V1, V2, V4, IT, logits, pixels" in message
    assert not (tmp_path / "run").exists()


def test_pixels(data_dir, tmp_path):
    choices = fit.Choices(pool="avg", window_s=(0.1, 0.2), regression=Regression())
    run(features.pixels(32), tmp_path / "run", data_dir, choices)
    encoder = Encoder.from_pretrained(tmp_path / "run")
    assert np.isfinite(encoder(shards_of(data_dir).images["test"][:2]).data).all()
    assert "found one of pixels" in refusal(lambda: encoder.checkpoint.backbone)


@pytest.mark.parametrize("preset", PRESETS)
def test_presets_predict_what_was_fitted(gray, data_dir, tmp_path, preset):
    """The checkpoint's map, of a kernel too, is the regression's own."""
    regression = Regression(preset, n_components=None if preset == "ridge" else 20)
    choices = fit.Choices(
        ("mean", "gray"), window_s=(0.1, 0.12), regression=regression, layer_map=False
    )
    (result,) = run(gray, tmp_path / "run", data_dir, choices)
    images = shards_of(data_dir).images["test"][:]
    batches = [*gray.features(images, ("mean", "gray"), "flat")]
    parts = {
        layer: np.concatenate([batch[layer] for batch in batches])
        for layer in ("mean", "gray")
    }
    expected = result.fitted.predict(parts)
    predicted = Encoder(load_checkpoint(tmp_path / "run"), gray).predict_z(images).data
    np.testing.assert_allclose(predicted, expected, atol=2e-3)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"channels": ("Cz",)}, "channels: expected different names out of Pz, P3"),
        ({"window_s": (2.0, 3.0)}, "window: expected a window in -0.200 to 0.790 s"),
        ({"layers": ("V3",)}, "`layers`: expected different ones of V1, V2, V4, IT"),
    ],
)
def test_what_there_is_not_is_refused_before_anything_is_made(
    own, data_dir, tmp_path, snapshot, changes, expected
):
    shutil.copytree(
        data_dir, tmp_path / "data", ignore=shutil.ignore_patterns("shards")
    )
    before, choices = (
        snapshot(tmp_path / "data"),
        dataclasses.replace(CHOICES, **changes),
    )
    message = refusal(
        lambda: run(own, tmp_path / "run", tmp_path / "data", choices=choices)
    )
    assert expected in message
    assert snapshot(tmp_path / "data") == before
    assert not [*(tmp_path / "run").glob("features/*")]
