"""Typos in --config and its keys: one line, status 2, and the nearest name."""

import os
import shutil

import pytest

from helpers.commands import ROOT, check_refused
from img2eeg_jax.scripts import config_flag


@pytest.mark.parametrize(
    ("given", "found", "hint"),
    [
        ("configs/dmeo.py", "none", "configs/demo.py"),
        ("configs/demo", "none", "configs/demo.py"),
        ("n710", "none", "configs/n170.py"),
        ("configs/demo:small", "none", "configs/demo.py"),
        ("configs/xxxxxxx.py", "none", None),
        ("configs", "a folder", None),
    ],
)
def test_typo_in_the_name_of_the_file(given, found, hint, commands, tmp_path):
    result = commands.run("train.py", f"--config={given}", f"--workdir={tmp_path}/run")
    hint = f"; did you mean --config={hint}[?]" if hint else ""
    given = given.split(":")[0]
    line = f"^wrong flags: --config={given}: expected a file, found {found}{hint}$"
    check_refused(result, line, status=2)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("given", "hint"),
    [
        ("batchsize=3", "batch_size"),
        ("BATCH_SIZE=3", "batch_size"),
        ("synthetic.sed=3", "synthetic.seed"),
        ("syntetic.seed=3", "synthetic.seed"),
        ("batch_size.x=3", "batch_size"),
        ("qqq=3", None),
    ],
)
@pytest.mark.parametrize("form", ["--config=configs/demo.py", "--config"])
def test_typo_in_a_key(given, hint, form, commands, tmp_path):
    config = [form] if "=" in form else [form, "configs/demo.py"]
    flags = [*config, f"--config.{given}", f"--workdir={tmp_path}/run"]
    result = commands.run("train.py", *flags)
    hint = f"; did you mean --config.{hint}[?]" if hint else ""
    line = (
        "^wrong flags: configs/demo.py: expected a key of the config, "
        f"found --config.{given.split('=')[0]}{hint}$"
    )
    check_refused(result, line, status=2)
    assert not (tmp_path / "run").exists()


def test_typo_in_a_switch(commands, tmp_path):
    flags = ["--config=configs/demo.py", "--noconfig.shuffle_eg"]
    result = commands.run("train.py", *flags, f"--workdir={tmp_path}/run")
    check_refused(result, "did you mean --config.shuffle_eeg[?]$", status=2)


def test_right_keys_are_not_blamed(commands, tmp_path):
    """A wrong value is, of a file in the home folder, in whichever order."""
    shutil.copy(ROOT / "configs" / "default.py", tmp_path / "mine.py")
    flags = ["--config.seed=1", "--noconfig.shuffle_eeg", "--config.batch_size=x"]
    result = commands.run(
        "train.py",
        "--config=~/mine.py",
        *flags,
        f"--workdir={tmp_path}/run",
        HOME=os.fspath(tmp_path),
    )
    check_refused(result, "--config.batch_size=x", status=2)


@pytest.mark.parametrize("form", ["--config=demo", "--config", "--config=demo:small"])
def test_a_recipe_has_a_name(form, monkeypatch, tmp_path):
    """A file that is called the same comes first; a folder is no recipe."""
    given = [form] if "=" in form else [form, "demo"]
    monkeypatch.chdir(ROOT)
    assert config_flag.with_files(["train.py", *given]) == [
        "train.py",
        *(word.replace("demo", "configs/demo.py") for word in given),
    ]
    monkeypatch.chdir(tmp_path)
    expected = [word.replace("demo", f"{ROOT}/configs/demo.py") for word in given]
    (tmp_path / "demo").mkdir()
    assert config_flag.with_files(given) == expected
    (tmp_path / "demo").rmdir()
    (tmp_path / "demo").touch()
    assert config_flag.with_files(given) == given


def test_what_follows_other_flags_is_no_recipe():
    words = ["train.py", "--workdir", "demo", "demo"]
    assert config_flag.with_files(words) == words
