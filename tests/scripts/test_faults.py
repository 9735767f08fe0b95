"""Runs that are killed, cut short, or run out of disk: nothing is lost."""

import contextlib
import random
import re
import shutil
import subprocess
import time

import jax
import numpy as np
import pytest

from helpers.commands import (
    KILL,
    TERMINATE,
    check_done,
    check_refused,
    finish,
    n_rows,
    tiny_config,
)
from helpers.runs import check_same_end, last_checkpoint
from img2eeg_jax.checkpoints.load import load_checkpoint
from img2eeg_jax.errors import StoppedBySignal
from img2eeg_jax.training import experiment
from img2eeg_jax.training.workdir import Workdir

N_KILLS, N_EPOCHS = 20, 120


@pytest.fixture(scope="module")
def changes(data_original):
    """Two steps an epoch, each of them saved."""
    return {"data_dir": str(data_original), "task": "none", "checkpoint_minutes": 1e-6}


def in_a_save(workdir):
    """Tells whether a checkpoint is being written."""
    return bool([*(workdir / "checkpoints").glob("*orbax-checkpoint-tmp*")])


def wait_until(condition, process):
    while not condition():
        if process.poll() is not None:
            return
        time.sleep(0.001)


@pytest.mark.slow
def test_twenty_random_kills(commands, changes, tmp_path):
    """Half of them anywhere in the run, half inside saves.

    The signals may find a session before its first step, too.
    """
    changes = changes | {"num_epochs": N_EPOCHS}
    uninterrupted, workdir = tmp_path / "uninterrupted", tmp_path / "run"
    check_done(commands.train(uninterrupted, changes))
    rng = random.Random(time.time_ns())
    hits = {"in a save": 0, "elsewhere": 0}
    for kill in range(N_KILLS):
        number = rng.choice([KILL, TERMINATE])
        aims_at_save = kill % 2 == 1
        target = n_rows(workdir) + rng.randrange(1, 5)
        process = commands.start_train(workdir, changes)
        wait_until(lambda target=target: n_rows(workdir) >= target, process)
        if aims_at_save:
            wait_until(lambda: in_a_save(workdir), process)
            time.sleep(rng.uniform(0, 0.005))
        else:
            time.sleep(rng.uniform(0, 0.2))
        process.send_signal(number)
        result = finish(process)
        where = "in a save" if in_a_save(workdir) else "elsewhere"
        if number == TERMINATE:
            where = "in a save" if aims_at_save else "elsewhere"
        hits[where] += 1
        print(f"kill {kill}: {number.name} {where}, after epoch {n_rows(workdir)}")
        if number == KILL:
            assert result.returncode == -KILL
        else:
            check_refused(result, r"^stopped at step \d+;", status=75)
    assert hits["in a save"] >= 5
    result = commands.train(workdir, changes)
    check_done(result)
    assert "going on from step" in result.stdout
    check_same_end(workdir, uninterrupted)
    assert not in_a_save(workdir)


@pytest.mark.slow
def test_truncated_newest_checkpoint(commands, changes, tmp_path):
    """At random places, bytes flipped as well: the one before is used."""
    changes = changes | {"num_epochs": 4}
    uninterrupted = tmp_path / "uninterrupted"
    check_done(commands.train(uninterrupted, changes))
    half = tmp_path / "half"
    check_done(commands.train(half, changes | {"num_epochs": 2}))
    rng = random.Random(time.time_ns())
    for attempt in range(6):
        workdir = shutil.copytree(half, tmp_path / f"run-{attempt}")
        newest = workdir / "checkpoints" / "4"
        files = [path for path in sorted(newest.rglob("*")) if path.is_file()]
        sizes = [path.stat().st_size for path in files]
        (path,) = rng.choices(files, sizes)
        content = bytearray(path.read_bytes())
        place = rng.randrange(len(content))
        if attempt % 2:
            content[place] ^= 0xFF
        else:
            del content[place:]
        path.write_bytes(content)
        print(f"{path.relative_to(workdir)} damaged at byte {place}")
        result = commands.train(workdir, changes)
        check_done(result)
        check_same_end(workdir, uninterrupted)


@contextlib.contextmanager
def small_disk(folder, megabytes):
    """Mounts a disk of a few megabytes, where that is allowed."""
    folder.mkdir()
    options = ["-t", "tmpfs", "-o", f"size={megabytes}m", "tmpfs", folder]
    if not shutil.which("mount") or subprocess.run(["mount", *options]).returncode:
        pytest.skip("may not mount a disk")
    try:
        yield
    finally:
        subprocess.run(["umount", folder], check=True)


@pytest.mark.slow
def test_full_disk_keeps_the_last_good_state(commands, changes, tmp_path, snapshot):
    changes = changes | {"num_epochs": 4}
    uninterrupted = tmp_path / "uninterrupted"
    check_done(commands.train(uninterrupted, changes))
    with small_disk(tmp_path / "disk", 16):
        workdir = tmp_path / "disk" / "run"
        check_done(commands.train(workdir, changes | {"num_epochs": 2}))
        kept = snapshot(workdir / "checkpoints")
        filler = tmp_path / "disk" / "filler"
        fill(filler)
        result = commands.train(workdir, changes)
        check_refused(result, f"{tmp_path / 'disk'}.*No space left")
        assert snapshot(workdir / "checkpoints") == kept
        filler.unlink()
        # Full only when the run is under way, perhaps in the middle of a save.
        process = commands.start_train(workdir, changes | {"num_epochs": 3000})
        wait_until(lambda: n_rows(workdir) > 5, process)
        fill(filler)
        # What is written last need not be a checkpoint.
        check_refused(finish(process), "No space left|RESOURCE_EXHAUSTED")
        filler.unlink()
        step, _, progress = last_checkpoint(workdir)
        assert step > 4
        result = commands.train(
            workdir, changes | {"num_epochs": progress["epoch"] + 1}
        )
        check_done(result)
        assert f"going on from step {step}," in result.stdout


def fill(path):
    """Fills a disk with a file."""
    with contextlib.suppress(OSError), open(path, "wb", buffering=0) as file:
        while file.write(b"x" * 4096):
            pass


@pytest.mark.slow
def test_read_only_disk(commands, changes, tmp_path, snapshot):
    with small_disk(tmp_path / "disk", 16):
        workdir = tmp_path / "disk" / "run"
        check_done(commands.train(workdir, changes))
        before = snapshot(workdir)
        remount = ["mount", "-o", "remount,ro", tmp_path / "disk"]
        subprocess.run(remount, check=True)
        result = commands.train(workdir, changes | {"num_epochs": 4})
        check_refused(result, f"{workdir}.*(can be written|Read-only)")
        assert snapshot(workdir) == before


def test_time_limit(commands, changes, tmp_path):
    """Saves and stops; the same command goes on."""
    workdir = tmp_path / "run"
    long = changes | {"num_epochs": 100_000}
    result = commands.train(workdir, long | {"max_seconds": 1})
    check_refused(result, r"^stopped at step \d+; the same command goes", status=75)
    step, _, progress = last_checkpoint(workdir)
    assert f"step {step};" in result.stderr
    done = {"num_epochs": progress["epoch"] + 2}
    result = commands.train(workdir, changes | done)
    check_done(result)
    assert f"going on from step {step}," in result.stdout
    for line in (
        r"epoch \d+: train loss \S+, validation loss \S+, validation r -?\d\.\d+ "
        r"\(ceiling \d\.\d+\)",
        r"this session: \d+ steps, .* images/s, \S+ TFLOP/s",
        r"best epoch \d+ of \d+: validation loss \S+, r -?\d",
    ):
        assert re.search(line, result.stdout), line


@pytest.fixture
def poisoned(monkeypatch):
    """The third step sees EEG that is not finite."""
    make = experiment.make_train_step

    def make_poisoned(*arguments):
        step = make(*arguments)

        def poisoned_step(state, teacher_variables, batch):
            factor = jax.numpy.where(state.step == 2, np.nan, 1.0)
            batch = {**batch, "response": batch["response"] * factor}
            return step(state, teacher_variables, batch)

        return poisoned_step

    monkeypatch.setattr(experiment, "make_train_step", make_poisoned)


def test_nonfinite_loss_is_skipped_and_counted(changes, tmp_path, poisoned, capsys):
    workdir = tmp_path / "run"
    experiment.train(
        tiny_config(changes | {"num_epochs": 3, "nonfinite": "skip"}), workdir
    )
    _, arrays, progress = last_checkpoint(workdir)
    skipped = [row["train_skipped"] for row in progress["history"]]
    assert skipped == [0, 1, 0]
    assert "epoch 2: " in capsys.readouterr().out
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(arrays))
    # Adam has seen all steps but one.
    assert int(arrays["optimizer"]["opt_state"][0]["count"]) == 5


@pytest.mark.slow
def test_profile(changes, tmp_path, capsys):
    workdir = tmp_path / "run"
    # One step an epoch, and few saves.
    limits = {"num_epochs": 9, "batch_size": 16, "checkpoint_minutes": 10.0}
    config = tiny_config(changes | limits | {"profile_steps": 2})
    experiment.train(config, workdir)
    assert [*(workdir / "profile").rglob("*.xplane.pb")]
    assert "traced 2 steps in " in capsys.readouterr().out


@pytest.mark.slow
def test_averaged_parameters_are_saved_and_used(changes, tmp_path):
    config = tiny_config(changes | {"ema_decay": 0.5, "num_epochs": 1})
    experiment.train(config, tmp_path / "run")
    _, arrays, _ = last_checkpoint(tmp_path / "run")
    averaged = arrays["variables"]["params"]["fc"]["kernel"]
    trained = arrays["optimizer"]["params"]["fc"]["kernel"]
    assert not np.array_equal(averaged, trained)
    loaded = load_checkpoint(tmp_path / "run")
    np.testing.assert_array_equal(loaded.variables["params"]["fc"]["kernel"], averaged)


@pytest.mark.slow
def test_options_go_on_bit_for_bit(changes, tmp_path):
    """A run with every option, stopped after every step, ends as one that was not."""
    options = {
        "ema_decay": 0.9,
        "accumulate_steps": 2,
        "max_gradient_norm": 1.0,
        "weight_decay": 0.1,
        "warmup_steps": 3,
        "frozen_areas": ("V1",),
        "nonfinite": "skip",
        "num_epochs": 4,
    }
    config = tiny_config(changes | options)
    experiment.train(config, tmp_path / "uninterrupted")
    with config.unlocked():
        config.max_seconds = 1e-6
    stops = 0
    while True:
        try:
            experiment.train(config, tmp_path / "run")
            break
        except StoppedBySignal:
            stops += 1
    assert stops >= 6
    found, expected = (
        last_checkpoint(tmp_path / name) for name in ("run", "uninterrupted")
    )
    assert found[0] == expected[0] == 8
    assert found[2] == expected[2]
    jax.tree.map(np.testing.assert_array_equal, found[1], expected[1])


@pytest.mark.slow
def test_two_thousand_steps_need_no_more_memory(tmp_path):
    """Nor is anything compiled after the first epoch.

    Of 100 steps, because each save leaves some 150 kB in TensorStore.
    """
    compiled, resident, epochs = [], [], []

    def on_duration(event, _, **__):
        if event == "/jax/core/compile/backend_compile_duration":
            compiled.append(len(epochs))

    original = Workdir.finish_epoch

    def finish_epoch(workdir, row):
        original(workdir, row)
        epochs.append(row["step"])
        with open("/proc/self/status") as status:
            (line,) = (line for line in status if line.startswith("VmRSS"))
        resident.append(int(line.split()[1]) / 1024)

    long = {"synthetic.images_per_concept": 50, "batch_size": 2, "num_epochs": 20}
    config = tiny_config(long | {"task": "none"})
    jax.monitoring.register_event_duration_secs_listener(on_duration)
    try:
        Workdir.finish_epoch = finish_epoch
        experiment.train(config, tmp_path / "run")
    finally:
        Workdir.finish_epoch = original
        jax.monitoring.unregister_event_duration_listener(on_duration)
    assert epochs[-1] == 2000
    # How far to trust the network is measured after the last epoch.
    assert {*compiled} == {0, len(epochs)}
    # In the second half: what the first epochs need is given back only later.
    growth_mb = resident[-1] - resident[9]
    print(f"{resident[9]:.0f} MB after 1000 steps, {growth_mb:.1f} MB more at the end")
    assert growth_mb < 30
