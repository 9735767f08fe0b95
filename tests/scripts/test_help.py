import importlib.metadata

import pytest

from helpers.commands import check_refused

FLAGS = {
    "train.py": ["config", "workdir"],
    "eval.py": ["checkpoint", "data_dir", "subjects", "output", "which", "window"],
    "predict.py": ["checkpoint", "images", "output", "subjects", "window", "skip_bad"],
    "convert_torch_weights.py": ["input", "output", "subjects", "sha256", "to_torch"],
}


@pytest.mark.parametrize("script", FLAGS)
def test_help_lists_the_flags(commands, script):
    result = commands.run(script, "--help")
    for flag in FLAGS[script]:
        assert f"{flag}:" in result.stdout
    assert "--alsologtostderr" not in result.stdout
    assert not result.stderr
    assert result.returncode == 0


def test_flags_that_are_missing(commands):
    result = commands.run("predict.py", "--checkpoint=x")
    check_refused(
        result,
        "^wrong flags: --images: expected a value, found none; --output: expected",
        status=2,
    )


def test_help_shows_defaults_as_they_are_typed(commands):
    help_text = commands.run("prepare_data.py", "--help").stdout
    for default, form in {
        "-0.2,0.8": "FIRST,LAST in seconds",
        "start,0": "FIRST,LAST in seconds",
        "off": "LOW,HIGH in Hz, or off",
    }.items():
        assert f"(default: '{default}')\n    ({form}" in help_text


@pytest.mark.parametrize("script", [*FLAGS, "prepare_data.py"])
def test_version(commands, script):
    result = commands.run(script, "--version")
    assert result.returncode == 0
    version = importlib.metadata.version("img2eeg_jax")
    assert result.stdout == f"img2eeg_jax {version}\n"
    assert not result.stderr
    assert result.returncode == 0
    assert "version:" in commands.run(script, "--help").stdout
