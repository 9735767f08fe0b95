import shutil

import pytest

from helpers.commands import TINY, Commands, check_done
from helpers.compilation import compiling_quickly
from img2eeg_jax.data import layout
from img2eeg_jax.data.shards import builder
from img2eeg_jax.data.sources import synthetic


@pytest.fixture(scope="session")
def commands(compilation_cache_dir):
    return Commands(compilation_cache_dir)


@pytest.fixture(scope="module", autouse=True)
def _quick_compilation():
    with compiling_quickly():
        yield


@pytest.fixture(scope="session")
def trained_original(commands, tmp_path_factory):
    """A finished tiny run on its own synthetic data: (workdir, process)."""
    workdir = tmp_path_factory.mktemp("trained") / "run"
    result = commands.train(workdir)
    check_done(result)
    return workdir, result


@pytest.fixture
def trained(trained_original, tmp_path):
    """A copy of the work directory that a test may change."""
    return shutil.copytree(trained_original[0], tmp_path / "trained")


@pytest.fixture(scope="session")
def data_original(tmp_path_factory):
    """A tiny data set with its shards. Not to be changed."""
    data_dir = tmp_path_factory.mktemp("data") / "data"
    prefix = "synthetic."
    parameters = {
        key.removeprefix(prefix): value
        for key, value in TINY.items()
        if key.startswith(prefix)
    }
    synthetic.write_synthetic(data_dir, **parameters)
    builder.ensure_shards(
        data_dir,
        layout.shards_path(data_dir),
        subjects=(1,),
        image_size=TINY["image_size"],
        log=lambda _: None,
    )
    return data_dir


@pytest.fixture
def data_dir(data_original, tmp_path):
    """A copy of the tiny data set that a test may damage."""
    return shutil.copytree(data_original, tmp_path / "data")
