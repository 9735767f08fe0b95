"""Several processes that train one run together, as users start them."""

import csv
import time

import numpy as np
import pytest

from helpers.commands import (
    KILL,
    TERMINATE,
    check_done,
    check_refused,
    finish,
    free_port,
    n_rows,
)
from img2eeg_jax.checkpoints.load import load_checkpoint

CHANGES = {"task": "none"}
# Long enough to be stopped in.
LONG = CHANGES | {"num_epochs": 2000, "checkpoint_minutes": 0.02}


def start_all(commands, workdir, changes, n_processes=2, n_devices=2):
    address = f"127.0.0.1:{free_port()}"
    flags = commands.environment["XLA_FLAGS"]
    flags += f" --xla_force_host_platform_device_count={n_devices}"
    return [
        commands.start_train(
            workdir,
            changes,
            flags=[
                f"--coordinator_address={address}",
                f"--num_processes={n_processes}",
                f"--process_id={i}",
            ],
            XLA_FLAGS=flags,
        )
        for i in range(n_processes)
    ]


def losses(workdir):
    with open(workdir / "metrics.csv", newline="") as file:
        rows = [*csv.DictReader(file)]
    return np.array([[float(value) for value in row.values()] for row in rows])


def wait_for_epochs(workdir, n_epochs, processes):
    deadline = time.monotonic() + 240
    while n_rows(workdir) < n_epochs:
        assert time.monotonic() < deadline, "the run does not get on"
        assert all(process.poll() is None for process in processes)
        time.sleep(0.05)


@pytest.fixture
def workdir(tmp_path, data_dir):
    """A run that has the tiny data set already."""
    folder = tmp_path / "run"
    folder.mkdir()
    data_dir.rename(folder / "data")
    return folder


def test_two_processes_train_as_one(commands, workdir, trained_original):
    first, second = map(finish, start_all(commands, workdir, CHANGES | {"task": "mse"}))
    check_done(first)
    check_done(second)
    assert "epoch 2: train loss" in first.stdout
    assert "epoch" not in second.stdout + second.stderr
    names = {path.name for path in workdir.iterdir()}
    assert names == {path.name for path in trained_original[0].iterdir()}
    # Adam amplifies the rounding in which two processes differ from one.
    np.testing.assert_allclose(
        losses(workdir), losses(trained_original[0]), rtol=0.02, atol=0.02
    )


@pytest.mark.slow
def test_two_processes_have_one_teacher(commands, workdir, trained_original, tmp_path):
    changes = {"task": "mse", "teacher": trained_original[0]}
    alone = tmp_path / "alone"
    check_done(commands.train(alone, changes | {"data_dir": workdir / "data"}))
    for result in map(finish, start_all(commands, workdir, changes)):
        check_done(result)
    np.testing.assert_allclose(losses(workdir), losses(alone), rtol=0.02, atol=0.02)


@pytest.mark.slow
def test_subjects_are_shared_out(commands, tmp_path):
    """Three on two processes: what one of them does alone, the other waits for."""
    workdir, changes = tmp_path / "run", CHANGES | {"subjects": "1-3"}
    for result in map(finish, start_all(commands, workdir, changes, n_devices=1)):
        check_done(result)
    alone = tmp_path / "alone"
    changes |= {"data_dir": workdir / "data", "subjects": "3"}
    check_done(commands.train(alone, changes))
    for name in ("sub-01", "sub-02", "sub-03"):
        assert n_rows(workdir / name) == 2
        # Whichever process trained it has saved it.
        assert load_checkpoint(workdir / name).variables
        assert (workdir / name / "trust.npz").is_file()
    expected = (alone / "metrics.csv").read_bytes()
    assert (workdir / "sub-03" / "metrics.csv").read_bytes() == expected


@pytest.mark.slow
def test_signal_to_one_stops_all_and_they_go_on(commands, workdir):
    processes = start_all(commands, workdir, LONG)
    wait_for_epochs(workdir, 1, processes)
    processes[1].send_signal(TERMINATE)
    for result in map(finish, processes):
        check_refused(result, r"^stopped at step \d+; the same command", status=75)
    done = n_rows(workdir)
    results = [*map(finish, start_all(commands, workdir, LONG | {"num_epochs": done}))]
    assert f"nothing to do: {done} epochs" in results[0].stdout or (
        "going on from step" in results[0].stdout
    )
    for result in results:
        check_done(result)


@pytest.mark.slow
@pytest.mark.parametrize("killed", [0, 1])
def test_one_killed_ends_the_other_and_they_go_on(commands, workdir, killed):
    processes = start_all(commands, workdir, LONG)
    wait_for_epochs(workdir, 2, processes)
    processes[killed].send_signal(KILL)
    killed_at = time.monotonic()
    assert finish(processes[killed]).returncode == -KILL
    result = finish(processes[1 - killed])
    # What is promised, not a measurement.
    assert time.monotonic() - killed_at < 120
    assert result.returncode not in (0, 75), result
    done = n_rows(workdir)
    assert done >= 2
    changes = LONG | {"num_epochs": done + 1}
    for result in map(finish, start_all(commands, workdir, changes)):
        check_done(result)
    assert n_rows(workdir) == done + 1
