"""--help lists the keys of a config, with their comments and values."""

import re

import pytest
from ml_collections import ConfigDict

from configs import default, demo
from helpers.commands import ROOT, check_refused
from img2eeg_jax.scripts import config_flag, config_help

pytestmark = pytest.mark.filterwarnings("ignore:the load_module:DeprecationWarning")

MINE = """
from configs import demo as base
import math

def get_config(arg="a"):
    c = base.get_config()
    c.seed = 5  # mine: "#" is no comment
    c.data_dir = "#x"
    c.batch_size = (
        8 +  # twice
        8
    )

    # Of a letter,
    # and another.
    c["letter"] = arg
    # Nested ones.
    c.update({
        "sub": {"x": math.inf},  # not of x
    })
    c.more = type(c)(dict(y=1))  # of more
    return c
"""


def entries(text):
    """Returns key → (comment, value) of what is printed."""
    found = re.findall(
        r"^  --config\.(\S+):((?:.*\n)*?)    \(value: (.*)\)$", text, re.M
    )
    assert len(found) == text.count("(value: ") > 0
    return {key: (" ".join(comment.split()), value) for key, comment, value in found}


def test_keys_of_a_recipe():
    """The comments are those of the recipe that it changes."""
    found = entries(config_flag.describe(["", "--config=configs/demo.py"]))
    config = demo.get_config()
    expected = {k: v for k, v in config.items() if not isinstance(v, ConfigDict)}
    expected |= {f"synthetic.{k}": v for k, v in config.synthetic.items()}
    assert found.keys() == expected.keys()
    for key, value in expected.items():
        assert found[key][1] == repr(value)
        assert found[key][0], f"{key} has no comment"
    assert found["batch_size"] == ("images a step at most, over all devices", "32")
    assert found["remat"][0].startswith("What the backward pass computes again to save")
    assert found["synthetic.test_repetitions"] == ("trials of a test image", "20")


def test_keys_of_a_config_elsewhere(tmp_path):
    """However they are set, and with values from the command line."""
    (tmp_path / "mine.py").write_text(MINE)
    name = f"{tmp_path}/mine.py:z"
    argv = ["", "--config", name, "--config.width=3", "--noconfig.contrast_gradient"]
    found = entries(config_flag.describe(argv))
    assert found["seed"] == ('mine: "#" is no comment', "5")
    assert found["data_dir"] == (
        "folder with image_set/ and preprocessed_data/",
        "'#x'",
    )
    assert found["batch_size"] == ("twice", "16")
    assert found["letter"] == ("Of a letter, and another.", "'z'")
    assert found["sub.x"] == ("not of x", "inf")
    assert found["more.y"] == ("of more", "1")
    assert found["width"] == ("channels of V1", "3")
    assert found["contrast_gradient"][1] == "False"


def test_without_a_config_they_are_those_of_all():
    found = entries(config_flag.describe([""]))
    assert found.keys() == set(default.get_config())


def test_files_that_cannot_be_loaded_say_nothing(tmp_path):
    (tmp_path / "mine.py").write_text("def get_config(): 1 / 0")
    assert config_flag.describe(["", f"--config={tmp_path}/mine.py"]) == ""


def test_files_that_import_each_other(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    text = "import {0}\ndef get_config():\n    config.x = 1  # {0}\n"
    (tmp_path / "one_config.py").write_text(text.format("two_config"))
    (tmp_path / "two_config.py").write_text(text.format("one_config"))
    found = config_help.describe("", ConfigDict({"x": 1}), tmp_path / "one_config.py")
    assert entries(found) == {"x": ("two_config", "1")}


@pytest.mark.parametrize("flags", [["--help"], ["--config=configs/n170.py", "--help"]])
def test_help_of_the_script(flags, commands):
    result = commands.run("train.py", *flags)
    assert (result.returncode, result.stderr) == (0, "")
    assert "--workdir: Folder of the run" in result.stdout
    name = "n170" if len(flags) == 2 else "default"
    assert f"\nconfigs/{name}.py, whose keys are set as --config.KEY" in result.stdout
    rate = 0.001 if name == "n170" else 2e-05
    assert f"\n    (value: {rate})\n" in result.stdout


def test_config_that_ends_the_process_is_no_help(commands, tmp_path):
    (tmp_path / "mine.py").write_text("raise SystemExit('enough')")
    result = commands.run("train.py", f"--config={tmp_path}/mine.py", "--workdir=x")
    check_refused(result, "^wrong flags: enough", status=2)
    assert not (ROOT / "x").exists()


def test_who_has_read_enough_is_not_told_of_it(commands):
    """As of ``train.py --config=demo --help | head``."""
    process = commands.start("train.py", "--config=demo", "--help")
    process.stdout.close()
    with process.stderr:
        errors = process.stderr.read()
    assert (process.wait(), errors) == (0, "")
