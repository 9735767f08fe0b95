"""The manual's commands run, on the smallest of synthetic data sets."""

import os
import shlex
import subprocess
import sys

import pytest
from PIL import Image

from helpers.commands import TINY, Commands, check_done, config_flags
from helpers.pages import blocks
from helpers.sources import ROOT

pytestmark = pytest.mark.slow

BLOCKS = [block for block in blocks("sh", "bash") if block.not_run is None]

# A page's `python SCRIPT`, in the folder of the test; training is made short.
_PYTHON = """\
set -e
python() {{
    script=$1; shift
    case $script in train.py) set -- "$@" {tiny};; esac
    {python} -W ignore {root}/$script "$@"
}}
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with what pages take for granted: runs and pictures."""
    folder = tmp_path_factory.mktemp("pages")
    commands = Commands(folder / "cache")
    check_done(commands.train(folder / "runs" / "demo"))
    for name in ("a", "b"):
        (folder / "runs" / name).symlink_to("demo")
    (folder / "sub-01").symlink_to("runs/demo")
    (folder / "my_pictures").mkdir()
    Image.new("RGB", (40, 30), "teal").save(folder / "my_pictures" / "dog.jpg")
    return folder, commands.environment


@pytest.mark.parametrize("block", BLOCKS, ids=str)
def test_block_runs(block, folder):
    folder, environment = folder
    tiny = shlex.join(config_flags(TINY)[1:])
    shell = _PYTHON.format(tiny=tiny, python=sys.executable, root=ROOT)
    result = subprocess.run(
        ["bash", "-c", shell + block.text],
        cwd=folder,
        env=environment | {"PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stdout + result.stderr


def test_there_are_such_blocks():
    assert len(BLOCKS) > 3
