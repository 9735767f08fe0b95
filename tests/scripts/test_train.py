import csv
import functools
import json
import re
import shutil

import jax
import numpy as np
import pytest

from helpers.commands import TINY, check_done, check_refused, config_flags, tiny_config
from img2eeg_jax.axes import Axes
from img2eeg_jax.checkpoints.load import load_checkpoint
from img2eeg_jax.data import layout
from img2eeg_jax.data.shards.store import Shards
from img2eeg_jax.errors import InputError
from img2eeg_jax.models.cornet_s import normalise_pixels
from img2eeg_jax.training import experiment

LOSSES = ("task", "mse", "contrast", "generation", "total")


def read_csv(path):
    with open(path, newline="") as file:
        return list(csv.DictReader(file))


def test_work_directory_of_a_run(trained_original):
    workdir, _ = trained_original
    names = {path.name for path in workdir.iterdir()}
    assert names == {
        "checkpoints",
        "config.json",
        "data",
        "metrics.csv",
        "tensorboard",
        "trust.npz",
    }
    config = json.loads((workdir / "config.json").read_text())
    assert config["width"] == 4
    assert config["window_s"] == [0.1, 0.2]
    assert config["synthetic"]["n_test_concepts"] == 8
    rows = read_csv(workdir / "metrics.csv")
    # 4 training concepts of 4 images in batches of 8.
    assert [(row["epoch"], row["step"]) for row in rows] == [("0", "2"), ("1", "4")]
    losses = {f"{split}_{loss}" for split in ("train", "validation") for loss in LOSSES}
    assert set(rows[0]) == {"epoch", "step", "validation_r"} | losses
    assert all(np.isfinite(float(value)) for row in rows for value in row.values())
    assert {path.name for path in (workdir / "checkpoints").iterdir()} == {"2", "4"}
    assert [*(workdir / "tensorboard").glob("events.out.tfevents.*")]


def test_log_without_a_terminal(trained_original):
    """Each line tells something new; what takes long is told when it begins."""
    _, result = trained_original
    assert result.stderr == ""
    lines = re.sub(r"\d+\.\d s", "TIME", result.stdout).splitlines()
    data = lines.index("reading data ...")
    assert lines[:data] == ["loading libraries ..."]
    told = [line for line in lines[data:] if not line.startswith("building shards")]
    assert told[:7] == [
        "reading data ...",
        "no teacher: the task loss is off",
        "reading data took TIME",
        "initialising the network ...",
        "initialising the network took TIME",
        "compiling ...",
        "compiling took TIME",
    ]
    assert [line.split(":")[0] for line in told[7:]] == [
        "compiling the validation ...",
        "compiling the validation took TIME",
        "epoch 1",
        "epoch 2",
        "this session",
        "best epoch 1 of 2" if "best epoch 1" in told[-3] else "best epoch 2 of 2",
        "measuring how far to trust predictions ...",
        "measuring how far to trust predictions took TIME",
    ]


def test_window_that_the_data_do_not_cover_is_told(tmp_path, monkeypatch, capsys):
    """Before anything is loaded or written; the data end at 0.79 s."""

    def refuse(*_):
        raise InputError("enough")

    monkeypatch.setattr(experiment, "load_networks", refuse)
    for window_s in ((0.0, 2.0), (0.0, 0.6)):
        with pytest.raises(InputError, match="enough"):
            experiment.train(tiny_config({"window_s": window_s}), tmp_path / "run")
    expected = "the data cover 0.000 to 0.790 s of the window 0 to 2 s"
    reading = "reading data ..."
    assert capsys.readouterr().out.splitlines() == [reading, expected, reading]


def test_random_weights_at_a_rate_for_trained_ones(commands, tmp_path):
    flags = config_flags({"data_dir": tmp_path}, "configs/default.py")
    result = commands.run("train.py", *flags, f"--workdir={tmp_path}/run")
    check_refused(result, "^error: ")
    (line,) = [line for line in result.stdout.splitlines() if "init_from" in line]
    for part in (
        "no --config.init_from: ",
        " python convert_torch_weights.py --input=cornet_s --output=CORNET_S ",
        " --config.init_from=CORNET_S",
        " configs/scratch.py has one for random weights",
    ):
        assert part in line


def test_finished_run_is_left_alone(trained, snapshot, capsys):
    before = snapshot(trained)
    experiment.train(tiny_config(), trained)
    assert capsys.readouterr().out.endswith("nothing to do: 2 epochs of 2 are done\n")
    assert snapshot(trained) == before


def test_more_epochs_go_on_though_the_data_moved(commands, trained, tmp_path, snapshot):
    old = read_csv(trained / "metrics.csv")
    moved = tmp_path / "elsewhere"
    shutil.move(trained / "data", moved)
    before = snapshot(moved)
    result = commands.train(trained, {"num_epochs": 3, "data_dir": moved})
    check_done(result)
    assert "going on from step 4, epoch 3\n" in result.stdout
    # The shards moved along.
    assert "building" not in result.stdout
    assert snapshot(moved) == before
    new = read_csv(trained / "metrics.csv")
    assert new[:2] == old
    assert [row["step"] for row in new] == ["2", "4", "6"]
    assert json.loads((trained / "config.json").read_text())["num_epochs"] == 3


def test_teacher_and_initial_weights_come_from_a_checkpoint(
    commands, trained_original, data_original, tmp_path
):
    source = trained_original[0]
    changes = {
        "data_dir": data_original,
        "teacher": source,
        "init_from": source,
        # All 16 images in the one step, whose losses come before the update.
        "batch_size": 16,
        "num_epochs": 1,
    }
    result = commands.train(tmp_path / "run", changes)
    check_done(result)
    assert "task loss is off" not in result.stdout
    (row,) = read_csv(tmp_path / "run" / "metrics.csv")

    loaded = load_checkpoint(source)
    description = load_checkpoint(tmp_path / "run").description
    assert description.initial_weights == str(source)
    data, _ = experiment.load_data(
        tiny_config({"data_dir": str(data_original)}), tmp_path
    )
    images = normalise_pixels(data.train.images[:])
    apply = functools.partial(loaded.model.apply, train=True, mutable=["batch_stats"])
    (logits, signal), _ = jax.jit(apply)(loaded.variables, images)
    backbone, variables = loaded.backbone
    teacher_logits, _ = jax.jit(backbone.apply)(variables, images)
    eeg = data.train.response.reshape(16, -1)
    mse = np.mean((np.asarray(signal) - eeg) ** 2)
    np.testing.assert_allclose(float(row["train_mse"]), mse, rtol=1e-4)
    # The teacher normalises with its stored statistics, the network with the batch's.
    task = np.mean((np.asarray(logits) - np.asarray(teacher_logits)) ** 2)
    assert task > 1e-6
    np.testing.assert_allclose(float(row["train_task"]), task, rtol=1e-3)
    # contrast: 1 - mean r of an image with its own EEG + mean r with the others'.
    r = np.corrcoef(np.asarray(signal), eeg)[:16, 16:]
    contrast = 1 - np.diag(r).mean() + r[~np.eye(16, dtype=bool)].mean()
    np.testing.assert_allclose(float(row["train_contrast"]), contrast, rtol=1e-3)


def test_shards_alone_are_enough(data_dir, tmp_path, capsys):
    """With a data set that has gone in the midst of the run, and without one."""
    shards_dir = tmp_path / "shards"
    shutil.move(data_dir / "shards", shards_dir)
    changes = {"data_dir": str(data_dir), "shards_dir": str(shards_dir)}
    experiment.train(tiny_config(changes | {"num_epochs": 1}), tmp_path / "gone")
    shutil.rmtree(data_dir)
    experiment.train(tiny_config(changes), tmp_path / "gone")
    alone = tiny_config({"shards_dir": str(shards_dir)})
    with alone.unlocked():
        del alone.synthetic
    experiment.train(alone, tmp_path / "alone")
    assert "building" not in capsys.readouterr().out
    found = [read_csv(tmp_path / name / "metrics.csv") for name in ("gone", "alone")]
    assert len(found[0]) == 2
    assert found[0] == found[1]
    assert not data_dir.exists()
    assert not (tmp_path / "alone" / "data").exists()


def test_checkpoint_tells_where_its_data_are_from(trained_original, data_original):
    description = load_checkpoint(trained_original[0]).description
    shards = Shards.open(data_original / "shards", image_size=32, subjects=[1])
    assert description.signal.eeg.unit == shards.eeg(1).axes.unit == "V"
    assert description.data == {
        "image_list_sha256": shards.image_list_sha256,
        "preprocessing": shards.eeg(1).preprocessing,
        "simulated": True,
    }


def test_without_a_teacher_the_task_loss_is_off(trained_original):
    workdir, result = trained_original
    assert "no teacher: the task loss is off\n" in result.stdout
    for row in read_csv(workdir / "metrics.csv"):
        assert float(row["train_task"]) == 0
        assert float(row["train_total"]) == float(row["train_generation"])


def test_loss_that_overflows_keeps_the_last_good_checkpoint(
    commands, trained, snapshot
):
    # The same run, as if its learning rate had been this one from the start.
    config = json.loads((trained / "config.json").read_text())
    config["learning_rate"] = 1e30
    (trained / "config.json").write_text(json.dumps(config))
    before = snapshot(trained / "checkpoints")
    metrics = (trained / "metrics.csv").read_bytes()
    result = commands.train(trained, {"learning_rate": 1e30, "num_epochs": 4})
    check_refused(result, r"step [56]: expected a finite \w+.*found (nan|inf)")
    assert snapshot(trained / "checkpoints") == before
    assert (trained / "metrics.csv").read_bytes() == metrics
    assert load_checkpoint(trained, "last").step == 4


@pytest.mark.parametrize(
    "flags",
    [
        ["--nosuch=1"],
        ["--config.nosuch=1"],
        ["--config.batch_size=abc"],
        ["--config=configs/nosuch.py"],
        ["--workdir="],
        ["unexpected"],
        ["--process_id=1"],
        ["--num_processes=2"],
    ],
    ids=lambda flags: flags[0],
)
def test_wrong_flags(commands, tmp_path, flags):
    workdir = tmp_path / "run"
    given = [*config_flags(TINY), f"--workdir={workdir}", *flags]
    result = commands.run("train.py", *given)
    name = flags[0].strip("-").split("=")[0].split(".")[-1]
    check_refused(result, name, status=2)
    assert not workdir.exists()


def test_workdir_is_required(commands):
    check_refused(commands.run("train.py", *config_flags(TINY)), "--workdir", status=2)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("config", "shape", "ch_names"),
    [("image2eeg", (100,), ["mean"]), ("realnet", (17, 11), None)],
)
def test_published_recipes_train_and_score(
    commands, trained_original, data_original, tmp_path, config, shape, ch_names
):
    workdir, source = tmp_path / "run", trained_original[0]
    changes = {
        "data_dir": data_original,
        "teacher": source,
        "init_from": source if config == "realnet" else "",
        "num_classes": 10,
        "validation_concepts": 0,
        "num_epochs": 2,
    }
    if config == "realnet":
        changes["task"] = "cross_entropy"
    result = commands.train(workdir, changes, f"configs/{config}.py")
    check_done(result)
    rows = read_csv(workdir / "metrics.csv")
    assert all(float(row["train_task"]) > 0 for row in rows)
    assert all(np.isfinite(float(row["test_total"])) for row in rows)
    loaded = load_checkpoint(workdir)
    # The first epoch cannot be selected: 24 images in batches of 8.
    assert loaded.step == 6
    assert loaded.description.model["signal_shape"] == shape
    check_done(commands.run("eval.py", f"--checkpoint={workdir}", "--n_splits=5"))
    metrics = json.loads((workdir / "eval" / "metrics.json").read_text())
    eeg = loaded.description.signal.eeg
    assert metrics["ch_names"] == (ch_names or [*eeg.ch_names])
    assert len(metrics["per_time"]["times_s"]) == 11
    assert -1 <= metrics["encoding_r"] <= 1


@pytest.mark.slow
def test_recipe_of_responses_trains_predicts_and_scores(
    commands, trained_original, data_original, tmp_path
):
    """From files of voxels to predictions in their unit, with a teacher."""
    data_dir, workdir = tmp_path / "data", tmp_path / "run"
    shutil.copytree(data_original, data_dir)
    image_set, rng = layout.read_image_set(data_dir), np.random.default_rng(0)
    for part in layout.PARTITIONS:
        values = rng.standard_normal((len(image_set.files(part)), 2, 6))
        layout.write_responses(data_dir, 1, part, values, [*"abcdef"], "beta")
    changes = {
        "data_dir": data_dir,
        "teacher": trained_original[0],
        "num_classes": 10,
        "num_epochs": 2,
    }
    check_done(commands.train(workdir, changes, "configs/realnet_fmri.py"))
    loaded = load_checkpoint(workdir)
    assert loaded.description.model["signal_shape"] == (6,)
    assert loaded.description.signal.axes == Axes.of_features("abcdef", "beta")
    check_done(commands.run("eval.py", f"--checkpoint={workdir}", "--n_splits=5"))
    metrics = json.loads((workdir / "eval" / "metrics.json").read_text())
    assert metrics["ch_names"] == [*"abcdef"]
    assert -1 <= metrics["encoding_r"] <= 1
    assert {"IT", "predicted EEG"} <= metrics["rsa"]["per_layer"]["correlation"].keys()
    files = (f"--images={data_dir}/image_set/test_images", f"--output={tmp_path}/x.csv")
    check_done(commands.run("predict.py", f"--checkpoint={workdir}", *files))
    rows = read_csv(tmp_path / "x.csv")
    assert {row["feature"] for row in rows} == {*"abcdef"}
    assert {row["unit"] for row in rows} == {"beta"}


def train_and_score_demo(commands, workdir, changes):
    """Runs the full demo, as a user does, with `changes` of its config."""
    given = [*config_flags(changes), f"--workdir={workdir}"]
    check_done(commands.run("train.py", *given, XLA_FLAGS=""))
    check_done(commands.run("eval.py", f"--checkpoint={workdir}", XLA_FLAGS=""))
    return json.loads((workdir / "eval" / "metrics.json").read_text())


@pytest.mark.slow
def test_demo_learns_what_is_there_and_nothing_else(commands, tmp_path):
    """On data of another seed; limits from the project's aims.

    The shuffled control is a mean: the few properties that drive the EEG make the
    score of a single shuffle scatter (docs/results.md).
    """
    scores = train_and_score_demo(commands, tmp_path / "run", {"synthetic.seed": 7})
    assert scores["encoding_r"] >= 0.8 * scores["best_possible_r"]
    # The smallest that 1,000 permutations can give.
    assert scores["permutation_p"] == pytest.approx(1 / 1001)
    controls = [
        train_and_score_demo(
            commands,
            tmp_path / f"shuffled-{seed}",
            {"data_dir": tmp_path / "run/data", "shuffle_eeg": True, "seed": seed},
        )
        for seed in (2023, 1, 2, 3)
    ]
    values = [control["encoding_r"] for control in controls]
    assert abs(sum(values) / len(values)) <= 0.05, values


@pytest.mark.slow
def test_bfloat16_learns_as_float32(commands, tmp_path):
    """The demo in both precisions, from the same images in the same order."""
    runs = {}
    for precision in ("float32", "bfloat16"):
        workdir = tmp_path / precision
        changes = {"precision": precision}
        if runs:
            changes["data_dir"] = tmp_path / "float32" / "data"
        scores = train_and_score_demo(commands, workdir, changes)
        runs[precision] = scores, read_csv(workdir / "metrics.csv")
    (scores, rows), (short_scores, short_rows) = runs.values()
    for row, short_row in zip(rows, short_rows, strict=True):
        for name in ("train_total", "validation_total"):
            expected = float(row[name])
            assert float(short_row[name]) == pytest.approx(expected, rel=0.02), name
    expected = pytest.approx(scores["encoding_r"], abs=0.02)
    assert short_scores["encoding_r"] == expected


def test_zscore_of_the_checkpoint_is_that_of_the_training_images(trained_original):
    workdir, _ = trained_original
    loaded = load_checkpoint(workdir)
    data, _ = experiment.load_data(tiny_config(), workdir)
    kept = loaded.description.zscore
    np.testing.assert_array_equal(kept.mean, data.zscore.mean)
    np.testing.assert_array_equal(kept.std, data.zscore.std)
