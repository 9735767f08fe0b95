"""Where a run's files and its data lie, and from where the commands are called."""

import json
import os
import shutil
import subprocess
import sys

import pytest

from configs import n170
from helpers.commands import ROOT, TINY, check_refused, config_flags, tiny_config
from img2eeg_jax.errors import InputError
from img2eeg_jax.evaluation.run import evaluate
from img2eeg_jax.training import experiment, plan

QUICK = {"only": ("encoding",), "n_splits": 5}


@pytest.fixture
def quick_config():
    """Returns (data_dir, changes) → a config that trains for one step."""

    def build(data_dir, **changes):
        config = n170.get_config()
        sizes = {key: value for key, value in TINY.items() if key in config}
        config.update(sizes | {"num_epochs": 1, "batch_size": 32, "task": "none"})
        config.update({"data_dir": str(data_dir)} | changes)
        return config

    return build


def test_relative_data_folder_holds_from_anywhere(
    quick_config, data_dir, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    experiment.train(quick_config("data"), tmp_path / "run")
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert evaluate(tmp_path / "run", **QUICK).scores["n_images"] == 8


def test_evaluation_follows_data_that_moved(
    quick_config, data_dir, tmp_path, monkeypatch
):
    experiment.train(quick_config(data_dir), tmp_path / "run")
    moved = shutil.move(data_dir, tmp_path / "moved")
    # Nothing is left to train, but the run learns where its data are.
    experiment.train(quick_config(moved), tmp_path / "run")
    assert evaluate(tmp_path / "run", **QUICK).scores["n_images"] == 8


def test_data_that_may_not_be_written_to(quick_config, data_dir, tmp_path, snapshot):
    shutil.rmtree(data_dir / "shards")
    data_dir.chmod(0o555)
    before = snapshot(data_dir)
    experiment.train(quick_config(data_dir), tmp_path / "run")
    evaluate(tmp_path / "run", **QUICK)
    data_dir.chmod(0o755)
    assert snapshot(data_dir) == before
    assert (tmp_path / "run" / "shards").is_dir()


def test_evaluation_adds_nothing_but_shards_to_the_data(trained, data_dir, snapshot):
    # Other tests' trainings may have left it in the data set that this is a copy of.
    shutil.rmtree(data_dir / "shards" / "teacher_logits", ignore_errors=True)
    before = snapshot(data_dir)
    shutil.rmtree(data_dir / "shards")
    evaluate(trained, data_dir, **QUICK)
    after = snapshot(data_dir)
    assert after.keys() == before.keys()
    for name, content in before.items():
        # dataset_info.json records when it was written.
        assert after[name] == content or name.endswith("dataset_info.json")


def test_evaluation_on_data_that_may_not_be_written_to(trained, data_dir, snapshot):
    shutil.rmtree(data_dir / "shards")
    data_dir.chmod(0o555)
    before = snapshot(data_dir)
    evaluate(trained, data_dir, **QUICK)
    data_dir.chmod(0o755)
    assert snapshot(data_dir) == before
    assert (trained / "eval" / "shards").is_dir()


def test_work_directory_with_a_space_and_an_accent(quick_config, data_dir, tmp_path):
    workdir = tmp_path / "ma première run #1"
    experiment.train(quick_config(data_dir), workdir)
    assert evaluate(workdir, **QUICK).scores["checkpoint_step"] == 1


def test_work_directory_with_a_bracket_is_refused(quick_config, data_dir, tmp_path):
    # Orbax takes it for a pattern, and the checkpoint would be lost.
    workdir = tmp_path / "run [1]"
    with pytest.raises(InputError, match="expected a folder without"):
        experiment.train(quick_config(data_dir), workdir)
    assert not workdir.exists()


def test_teacher_without_a_task_is_refused(quick_config, data_dir, trained, tmp_path):
    config = quick_config(data_dir, teacher=str(trained))
    with pytest.raises(InputError, match="`task`: expected"):
        experiment.train(config, tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("config.json", "[]", "expected a config"),
        ("metrics.csv", "epoch,train_mse\n0\n", "expected numbers, found"),
    ],
)
def test_evaluation_of_a_damaged_run(name, text, message, trained, snapshot):
    (trained / name).write_text(text)
    before = snapshot(trained)
    with pytest.raises(InputError, match=message):
        evaluate(trained)
    assert snapshot(trained) == before


def test_installed_command_finds_the_configs(tmp_path):
    """As pip installs it: its own folder is on the path, the clone is not."""
    installed = tmp_path / "site-packages"
    installed.mkdir()
    (installed / "img2eeg_jax").symlink_to(ROOT / "img2eeg_jax")
    command = tmp_path / "img2eeg-train"
    command.write_text("from img2eeg_jax.scripts.train import run\nrun()\n")
    flags = [*config_flags({"batch_size": 0}), f"--workdir={tmp_path / 'run'}"]
    result = subprocess.run(
        [sys.executable, command, *flags],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(installed)},
        capture_output=True,
        text=True,
        check=False,
    )
    check_refused(result, "batch_size: expected")


# Script → a value for each of its flags that are paths.
PATH_FLAGS = {
    "train": {"workdir": "~/run"},
    "evaluate": {
        "checkpoint": "~/run",
        "data_dir": "~",
        "output": "~/a b",
        "candidates": "~/c",
        "rsa_images": "~/i",
        "rsa_rdms": "~/a.npy",
    },
    "predict": {"checkpoint": "~/run", "images": "~/a", "output": "~/x.npz"},
    "prepare_data": {
        "data_dir": "~/data",
        "bids_root": "~/bids",
        "shards_dir": "gs://bucket/~",
        "teacher": "./~",
    },
    "convert_torch_weights": {"input": "hf://owner/name", "output": "~/out"},
}

# Script → those of them that may be given several times.
REPEATED = {"evaluate": ["checkpoint", "rsa_rdms"], "predict": ["images"]}


@pytest.mark.parametrize("script", PATH_FLAGS)
def test_flags_know_the_home_folder(script):
    """Shells replace a ~ at the start of a word only."""
    given = PATH_FLAGS[script]
    program = (
        "import json, sys\nfrom absl import flags\n"
        f"import img2eeg_jax.scripts.{script}\nflags.FLAGS(sys.argv)\n"
        f"print(json.dumps([flags.FLAGS[name].value for name in {[*given]}]))"
    )
    result = subprocess.run(
        [sys.executable, "-c", program, *(f"--{k}={v}" for k, v in given.items())],
        cwd=ROOT,
        env=os.environ | {"HOME": "/home/me"},
        capture_output=True,
        text=True,
        check=True,
    )
    expected = {
        name: "/home/me" + value[1:] if value.startswith("~") else value
        for name, value in given.items()
    }
    for name in REPEATED.get(script, ()):
        expected[name] = [expected[name]]
    assert json.loads(result.stdout) == [*expected.values()]


@pytest.mark.parametrize("key", ["data_dir", "shards_dir", "teacher", "init_from"])
def test_keys_of_the_config_know_the_home_folder(key, monkeypatch):
    monkeypatch.setenv("HOME", "/home/me")
    for value, expected in {
        "~/x": "/home/me/x",
        "./~": f"{os.getcwd()}/~",
        "gs://bucket/~": "gs://bucket/~",
        "": "",
    }.items():
        config = plan.with_absolute_paths(tiny_config({key: value}))
        assert config[key] == expected
