"""Commands in the manual have the flags that the scripts have."""

import functools
import importlib.util
import pathlib
import re
import shlex

import pytest

from helpers.commands import run_program
from helpers.pages import blocks
from helpers.sources import ROOT
from img2eeg_jax.scripts import config_flag, config_help

BLOCKS = blocks("sh", "bash")


def words_of_commands(text):
    """Yields the words of each command of a block."""
    text = re.sub(r"\\\n\s*", " ", text)
    for line in text.splitlines():
        # Quotes of a command within a command; comments; what a shell does.
        line = re.sub(r"(^|\s)#.*", "", line).replace('"', " ")
        for command in re.split(r"[;&|]+\s", line):
            yield shlex.split(command)


def scripts():
    """Returns what a page calls each script → the module that has its flags."""
    settings = (ROOT / "setup.cfg").read_text()
    found = dict(re.findall(r"^ +(img2eeg-\S+) = (\S+):run$", settings, re.M))
    for path in ROOT.glob("*.py"):
        text = path.read_text()
        if match := re.search(r"from (img2eeg_jax\.scripts\.\w+) import run", text):
            found[path.name] = match[1]
    return found


@functools.cache
def flags_of(module):
    """Returns the names of a script's flags."""
    run = f"from {module} import run; run()"
    told = run_program(f"import sys; sys.argv.append('--helpxml'); {run}").stdout
    names = re.findall(r"<name>(\w+)</name>", told)
    assert len(names) > 5, module
    return {*names, *(f"no{name}" for name in names)}


@functools.cache
def keys_of_configs():
    """Returns the keys of all recipes."""
    found = set()
    for path in config_flag.recipes().values():
        spec = importlib.util.spec_from_file_location(path.stem, path)
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        found |= {key for key, *_ in config_help.keys(module.get_config(), path)}
    return found


def wrong(command):
    """Returns the words of a command that its script does not know."""
    known = scripts()
    place = next((i for i, word in enumerate(command) if word in known), None)
    if place is None:
        return [word for word in command if re.fullmatch(r"\w+\.py", word)]
    found = []
    for word in command[place + 1 :]:
        name = re.match(r"--?([\w.]+)", word)
        if name is None:
            continue
        if name[1].startswith("config."):
            is_known = name[1].removeprefix("config.") in keys_of_configs()
        else:
            is_known = name[1] in flags_of(known[command[place]])
        if not is_known:
            found.append(word)
        if match := re.fullmatch("--config=([\\w./]+)", word):
            stem = pathlib.PurePath(match[1]).stem
            found += [] if stem in config_flag.recipes() or stem.isupper() else [word]
    return found


def test_there_are_blocks_and_scripts():
    assert len(BLOCKS) > 20
    assert {"train.py", "eval.py", "predict.py", "img2eeg-train"} <= set(scripts())


@pytest.mark.parametrize("block", BLOCKS, ids=str)
def test_flags_are_there(block):
    for command in words_of_commands(block.text):
        assert wrong(command) == []


@pytest.mark.parametrize("block", BLOCKS, ids=str)
def test_what_make_and_python_are_asked_for_is_there(block):
    targets = set(re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(), re.M))
    assert set(re.findall(r"^make ([\w-]+)", block.text, re.M)) <= targets
    for module in re.findall(r"python -m ((?:img2eeg_jax|benchmarks)\S+)", block.text):
        assert importlib.util.find_spec(module), module


def test_what_is_wrong_is_found():
    text = (
        "python train.py --config=demos --workdir=a --epochs=3 \\\n  --config.width=8"
    )
    (command,) = words_of_commands(text)
    assert wrong(command) == ["--config=demos", "--epochs=3"]
    assert wrong(["python", "trein.py"]) == ["trein.py"]
    assert wrong(["python", "train.py", "--config.widht=8"]) == ["--config.widht=8"]
