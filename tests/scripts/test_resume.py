import contextlib
import pathlib
import re
import threading
import time

import numpy as np
import pytest

from helpers.commands import (
    INTERRUPT,
    KILL,
    TERMINATE,
    check_done,
    check_refused,
    finish,
    n_rows,
    tiny_config,
)
from helpers.runs import check_same_end, last_checkpoint
from img2eeg_jax.data.shards import builder
from img2eeg_jax.data.sources import synthetic
from img2eeg_jax.errors import InputError, StoppedBySignal
from img2eeg_jax.training import experiment

# 20 steps an epoch, so that a signal comes in the middle of one.
LONG = {
    "synthetic.n_training_concepts": 6,
    "synthetic.images_per_concept": 40,
    "num_epochs": 4,
}


@pytest.fixture(scope="module")
def long_data(tmp_path_factory):
    """Data for epochs of 4 steps, with shards. Not to be changed."""
    data_dir = tmp_path_factory.mktemp("long") / "data"
    synthetic.write_synthetic(
        data_dir,
        n_training_concepts=6,
        images_per_concept=40,
        n_test_concepts=8,
        image_size=32,
    )
    builder.ensure_shards(
        data_dir, data_dir / "shards", subjects=(1,), image_size=32, log=lambda _: None
    )
    return data_dir


@pytest.fixture(scope="module")
def changes(long_data):
    return {**LONG, "data_dir": long_data}


@pytest.fixture(scope="module")
def uninterrupted(commands, changes, tmp_path_factory):
    """The work directory of four epochs in one go."""
    workdir = tmp_path_factory.mktemp("uninterrupted") / "run"
    check_done(commands.train(workdir, changes))
    return workdir


@pytest.mark.parametrize(
    "number", [INTERRUPT, pytest.param(TERMINATE, marks=pytest.mark.slow)]
)
def test_stopped_and_killed_run_ends_as_one_that_was_not(
    commands, changes, uninterrupted, tmp_path, number
):
    workdir = tmp_path / "run"
    result = commands.stop_train(workdir, changes, number, n_epochs=1)
    check_refused(result, r"^stopped at step \d+; the same command goes on", status=75)
    step, _, progress = last_checkpoint(workdir)
    assert f"step {step};" in result.stderr
    assert progress["epoch"] == 1
    assert progress["step_in_epoch"] == step - 20 > 0
    assert n_rows(workdir) == 1

    result = commands.stop_train(workdir, changes, KILL, n_epochs=2)
    assert result.returncode == -KILL
    assert f"going on from step {step}, epoch 2\n" in result.stdout
    assert n_rows(workdir) == 2

    result = commands.train(workdir, changes)
    check_done(result)
    assert "going on from step" in result.stdout
    check_same_end(workdir, uninterrupted)


@pytest.mark.slow
def test_run_of_four_devices_goes_on_with_one(
    commands, changes, uninterrupted, tmp_path
):
    workdir = tmp_path / "run"
    flags = f"{commands.environment['XLA_FLAGS']} "
    devices = {"XLA_FLAGS": flags + "--xla_force_host_platform_device_count=4"}
    first = {**changes, "num_epochs": 2}
    check_done(commands.train(workdir, first, **devices))
    result = commands.train(workdir, changes)
    check_done(result)
    assert "going on from step 40, epoch 3\n" in result.stdout
    assert last_checkpoint(workdir)[0] == 80

    def rows(folder):
        return np.loadtxt(folder / "metrics.csv", delimiter=",", skiprows=1)

    found, expected = rows(workdir), rows(uninterrupted)
    # Adam amplifies the rounding in which 4 devices differ from 1: with the epochs.
    *losses, r = range(found.shape[1])
    np.testing.assert_allclose(found[0, losses], expected[0, losses], rtol=0.01)
    np.testing.assert_allclose(found[:, losses], expected[:, losses], rtol=0.05)
    # A correlation over 8 images, near 0, has no useful relative bound.
    np.testing.assert_allclose(found[:, r], expected[:, r], atol=0.1)


@pytest.mark.slow
@pytest.mark.parametrize("number", [KILL, INTERRUPT])
@pytest.mark.parametrize("moment", range(4))
def test_preparation_may_be_stopped_at_any_moment(
    commands, uninterrupted, tmp_path, number, moment
):
    """The data are made, and their shards, in about a second after the imports."""
    workdir = tmp_path / "run"
    seen = [
        lambda: [*workdir.glob(".data.incomplete-*")],
        lambda: [*workdir.glob(".data.incomplete-*/data/preprocessed_data")],
        lambda: [*workdir.glob("data/shards/.images-32.incomplete-*")],
        lambda: [*workdir.glob("data/shards/.sub-01.incomplete-*")],
    ][moment]
    process = commands.start_train(workdir, LONG)
    while not seen() and process.poll() is None:
        time.sleep(0.001)
    process.send_signal(number)
    result = finish(process)
    if number == KILL:
        assert result.returncode == -KILL
    else:
        check_refused(result, "^interrupted$", status=130)
        assert not [*workdir.rglob(".*.incomplete-*")]
    assert not (workdir / "checkpoints").exists()
    check_done(commands.train(workdir, LONG))
    assert not [*workdir.rglob(".*.incomplete-*")]
    expected = pathlib.Path(uninterrupted / "metrics.csv").read_bytes()
    assert (workdir / "metrics.csv").read_bytes() == expected


@pytest.mark.slow
@pytest.mark.parametrize("seconds", [0.7, 1.5, 2.5, 3.5, 4.5])
@pytest.mark.parametrize("number", [INTERRUPT, TERMINATE])
def test_stop_before_training_is_one_line(
    commands, data_original, tmp_path, number, seconds
):
    """Imports lose KeyboardInterrupt, or turn it into errors of their own."""
    process = commands.start_train(tmp_path / "run", {"data_dir": data_original})
    time.sleep(seconds)
    process.send_signal(number)
    result = finish(process)
    if result.returncode == 75:  # training had begun
        check_refused(result, "^stopped at step", status=75)
    else:
        check_refused(result, "^interrupted$|: nothing is saved yet", status=130)
        assert not (tmp_path / "run" / "metrics.csv").exists()


@pytest.mark.parametrize("has_saved", [False, True])
def test_stop_before_the_first_step(has_saved, trained, tmp_path, monkeypatch):
    """Whether the same command goes on depends on the sessions before."""

    @contextlib.contextmanager
    def stop_signals():
        stop = threading.Event()
        stop.set()
        yield stop

    monkeypatch.setattr(experiment, "stop_signals", stop_signals)
    workdir = trained if has_saved else tmp_path / "run"
    with pytest.raises(StoppedBySignal, match="before the first step") as stopped:
        experiment.train(tiny_config({"num_epochs": 3}), workdir)
    assert stopped.value.has_saved is has_saved


def test_changed_data_are_refused(trained, tmp_path, snapshot):
    """Another synthetic data set stands where the run is told to look."""
    data_dir = tmp_path / "data"
    synthetic.write_synthetic(
        data_dir,
        seed=1,
        n_training_concepts=6,
        images_per_concept=4,
        n_test_concepts=8,
        image_size=32,
    )
    before = snapshot(trained)
    config = tiny_config({"data_dir": str(data_dir), "num_epochs": 3})
    expected = f"{trained}: expected the data that the run started with"
    with pytest.raises(InputError, match=re.escape(expected)):
        experiment.train(config, trained)
    assert snapshot(trained) == before


@pytest.mark.slow
def test_killed_demo_ends_as_one_that_was_not(commands, changes, tmp_path):
    """As a user has it: the demo's cosine schedule, XLA's own optimisation level."""
    changes = {**changes, "learning_rate_schedule": "cosine"}
    uninterrupted, workdir = tmp_path / "uninterrupted", tmp_path / "run"
    check_done(commands.train(uninterrupted, changes, XLA_FLAGS=""))
    for n_epochs in (1, 2, 3):
        result = commands.stop_train(workdir, changes, KILL, n_epochs, XLA_FLAGS="")
        assert result.returncode == -KILL
    check_done(commands.train(workdir, changes, XLA_FLAGS=""))
    check_same_end(workdir, uninterrupted)
