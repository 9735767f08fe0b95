"""fit_linear.py as a user meets it: done, refused, stopped and gone on with."""

import csv
import json
import re
import time

import numpy as np
import pytest

from helpers.commands import INTERRUPT, check_done, check_refused, finish
from img2eeg_jax.data import layout
from img2eeg_jax.data.sources import synthetic
from img2eeg_jax.linear import fit
from img2eeg_jax.linear.regression import PRESETS
from img2eeg_jax.prediction.encoder import Encoder

QUICK = ("--window=0.1,0.12", "--alphas=10", "--image_size=32")


def run(commands, data_dir, workdir, *flags):
    data = (f"--data_dir={data_dir}", f"--workdir={workdir}")
    return commands.run("fit_linear.py", *data, *flags)


def write_features(folder, data_dir, change=lambda features: features):
    """Writes a file of random features for each partition; returns the flags."""
    image_set = layout.read_image_set(data_dir)
    flags = []
    for flag, part in (("features", "training"), ("test_features", "test")):
        shape = (len(image_set.files(part)), 6)
        features = np.random.default_rng(0).standard_normal(shape)
        np.save(folder / f"{part}.npy", change(features))
        flags.append(f"--{flag}={folder / part}.npy")
    return flags


# name: (flags, layers, whose scores there are)
BACKBONES = {
    "pixels": (["--backbone=pixels"], ["pixels"], {"pixels"}),
    "random": (
        ["--backbone=random", "--width=2", "--layers=V1,IT"],
        ["V1", "IT"],
        {"all layers", "V1", "IT"},
    ),
}


@pytest.mark.parametrize(
    "name", ["pixels", pytest.param("random", marks=pytest.mark.slow)]
)
def test_fits_scores_and_goes_on(commands, data_dir, tmp_path, name):
    flags, layers, scored = BACKBONES[name]
    workdir, flags = tmp_path / "run", (*flags, "--pool=avg", *QUICK)
    result = run(commands, data_dir, workdir, *flags)
    check_done(result)
    with open(workdir / fit.MAP_TABLE, newline="") as file:
        rows = [*csv.DictReader(file)]
    assert {row["layer"] for row in rows} == scored
    mean = np.mean([float(row[next(reversed(row))]) for row in rows[: 17 * 3]])
    assert f"{mean:.3f}" in result.stdout
    features = {path: path.stat() for path in workdir.glob("features/*/*.npy")}
    assert len(features) == 2 * len(layers)
    # The same call again makes no features anew, and the same encoder.
    before = Encoder.from_pretrained(workdir).checkpoint.variables["params"]
    check_done(run(commands, data_dir, workdir, *flags))
    after = {path: path.stat() for path in workdir.glob("features/*/*.npy")}
    assert {p: s.st_mtime_ns for p, s in after.items()} == {
        p: s.st_mtime_ns for p, s in features.items()
    }
    again = Encoder.from_pretrained(workdir).checkpoint.variables["params"]
    for name, value in before["readout"].items():
        np.testing.assert_array_equal(again["readout"][name], value)


@pytest.mark.slow
def test_responses_from_fit_to_scores(commands, data_dir, tmp_path):
    """Voxels, three of them of the images' mean colours, the rest noise."""
    image_set, rng = layout.read_image_set(data_dir), np.random.default_rng(0)
    workdir = tmp_path / "run"
    names = ["red", "green", "blue", "noise 1", "noise 2"]
    for part in layout.PARTITIONS:
        files = image_set.files(part)
        images = np.stack([layout.read_image(file, 32) for file in files])
        values = rng.standard_normal((len(files), 4, 5))
        values[..., :3] += images.mean((1, 2))[:, np.newaxis] / 5
        layout.write_responses(data_dir, 1, part, 7 + values, names, "beta")
    flags = ("--responses", "--least_reliability=0.8", "--backbone=pixels")
    flags += ("--image_size=32", "--alphas=10")
    result = run(commands, data_dir, workdir, *flags)
    check_done(result)
    assert "mean of 3 features" in result.stdout
    pictures = data_dir / "image_set" / "test_images"
    files = (f"--images={pictures}", f"--output={tmp_path / 'x.npz'}")
    check_done(commands.run("predict.py", f"--checkpoint={workdir}", *files))
    with np.load(tmp_path / "x.npz") as arrays:
        assert arrays["feature_names"].tolist() == names[:3]
        assert arrays["unit"] == "beta"
        predicted = arrays["signal"]
    result = commands.run("eval.py", f"--checkpoint={workdir}", "--n_splits=5")
    check_done(result)
    assert "left out: latencies, time courses and maps of the scalp" in result.stdout
    metrics = json.loads((workdir / "eval/metrics.json").read_text())
    measured = layout.read_responses(data_dir, 1, "test").eeg.mean(1)[:, :3, 0]
    oracle = [np.corrcoef(predicted[:, n], measured[:, n])[0, 1] for n in range(3)]
    found = metrics["encoding_r_all_repetitions"]
    assert found == pytest.approx(np.mean(oracle), abs=1e-4)
    files = (f"--images={pictures}", f"--output={tmp_path / 'x-epo.fif'}")
    result = commands.run("predict.py", f"--checkpoint={workdir}", *files)
    check_refused(result, "^error: .*expected values in µV, found features, which are")


@pytest.mark.slow
def test_files(commands, data_dir, tmp_path):
    flags = write_features(tmp_path, data_dir)
    workdir = tmp_path / "run"
    check_done(run(commands, data_dir, workdir, *flags, *QUICK))
    said = json.loads((workdir / "config.json").read_text())["backbone"]
    assert said["kind"] == "files"
    assert said["paths"]["test"] == str(tmp_path / "test.npy")


# name: (flags, what the line says)
REFUSED = {
    "no such backbone": (["--backbone=vgg"], ["backbone: expected .*", "'vgg'"]),
    "no such checkpoint": (["--backbone=cornet_s:none"], ["none: expected a check"]),
    "not installed": (
        ["--backbone=timm:resnet18"],
        ["expected timm .pip install", "found it not installed"],
    ),
    "unknown layer": (
        ["--backbone=random", "--width=2", "--layers=V3"],
        ["--layers: expected different ones of V1, V2, V4, IT, logits, pixels", "V3"],
    ),
    "no such file": (["--features=none.npy"], ["none.npy: expected", "No such file"]),
    "no features": (["--features=setup.cfg"], ["setup.cfg: expected a file of feat"]),
    "unknown subject": (["--backbone=pixels", "--subjects=7"], ["sub-07", "sub-01"]),
    "no such time": (
        ["--backbone=pixels", "--window=2,3"],
        ["window: expected", "2.0 to 3.0 s"],
    ),
    "unknown channel": (["--backbone=pixels", "--channels=Cz"], ["expected .*POz"]),
}
BAD_FEATURES = {
    "rows": (lambda one: one[1:], ["row for each of 24 images, found 23 rows"]),
    "NaN": (lambda one: np.where(one > 2, np.nan, one), ["finite numbers, found NaN"]),
    "text": (lambda one: one.astype(str), ["expected an array .image, feature"]),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", REFUSED)
def test_refused(commands, data_dir, tmp_path, snapshot, name):
    flags, patterns = REFUSED[name]
    before = snapshot(tmp_path)
    size = "--image_size=32"
    result = run(commands, data_dir, tmp_path / "run", size, *flags)
    check_refused(result, "^error: ", *patterns)
    assert snapshot(tmp_path) == before


@pytest.mark.parametrize(
    "name",
    ["rows", *(pytest.param(n, marks=pytest.mark.slow) for n in ("NaN", "text"))],
)
def test_features_that_do_not_fit(commands, data_dir, tmp_path, name):
    change, patterns = BAD_FEATURES[name]
    flags = write_features(tmp_path, data_dir, change)
    result = run(commands, data_dir, tmp_path / "run", *flags, *QUICK)
    check_refused(result, "^error: .*training.npy", *patterns)


@pytest.mark.parametrize(
    ("flags", "word"),
    [
        ([], "either --backbone or --features"),
        (["--backbone=pixels", "--features=a.npy"], "either --backbone or --features"),
        (["--backbone=pixels", "--preset=lasso"], re.escape(f"<{'|'.join(PRESETS)}>")),
        (["--backbone=pixels", "--alphas=-1"], "alphas"),
        (["--backbone=pixels", "--test_features=a.npy"], "--features with --test_fe"),
    ],
)
def test_wrong_flags(commands, tmp_path, flags, word):
    result = run(commands, tmp_path, tmp_path / "run", *flags)
    check_refused(result, word, status=2)


@pytest.mark.slow
def test_stopped_by_a_signal_it_goes_on(commands, tmp_path):
    """What was computed is not computed again, and ends as if nothing was."""
    data_dir, workdir = tmp_path / "data", tmp_path / "run"
    synthetic.write_synthetic(
        data_dir,
        n_training_concepts=20,
        images_per_concept=60,
        n_test_concepts=8,
        image_size=64,
    )
    flags = ("--backbone=random", "--width=32", "--layers=IT", "--pool=avg")
    flags += ("--window=0.1,0.12", "--image_size=64")
    data = (f"--data_dir={data_dir}", f"--workdir={workdir}")
    process = commands.start("fit_linear.py", *data, *flags)
    deadline = time.monotonic() + 120
    while not [*workdir.glob("features/*/progress.json")] and process.poll() is None:
        assert time.monotonic() < deadline, "no features come"
        time.sleep(0.002)
    process.send_signal(INTERRUPT)
    stopped = finish(process)
    assert stopped.returncode == 130, stopped.stderr
    assert "Traceback" not in stopped.stderr
    assert not (workdir / "checkpoints").exists()
    (note,) = workdir.glob("features/*/progress.json")
    n_done = json.loads(note.read_text())["n_done"]
    result = run(commands, data_dir, workdir, *flags)
    check_done(result)
    assert f"going on after {n_done} of 1200 images" in result.stdout
    whole = run(commands, data_dir, tmp_path / "whole", *flags)
    check_done(whole)
    ours, theirs = (
        Encoder.from_pretrained(folder).checkpoint.variables["params"]["readout"]
        for folder in (workdir, tmp_path / "whole")
    )
    for name, value in ours.items():
        np.testing.assert_array_equal(value, theirs[name])
