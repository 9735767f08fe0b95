"""One writer of a folder at a time, whichever process it is in."""

import fcntl
import os
import re
import signal
import socket
import subprocess
import sys
import threading

import pytest

from img2eeg_jax import locks
from img2eeg_jax.errors import InputError
from img2eeg_jax.locks import only_writer

HOLD = """
import sys, time
from img2eeg_jax.locks import only_writer
with only_writer(sys.argv[1]):
    print("held", flush=True)
    time.sleep(60)
"""


@pytest.fixture
def holder(tmp_path):
    """Another process that has the folder tmp_path/run."""
    command = [sys.executable, "-c", HOLD, str(tmp_path / "run")]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    with subprocess.Popen(command, stdout=subprocess.PIPE, env=environment) as process:
        assert process.stdout.readline() == b"held\n"
        yield process
        process.kill()


def enter(folder, **arguments):
    with only_writer(folder, **arguments) as has_waited:
        return has_waited


def test_another_process_is_named_and_what_it_left_is_not_in_the_way(holder, tmp_path):
    folder = tmp_path / "run"
    who = rf"in use by PID {holder.pid} on {socket.gethostname()} since 20\d\d-"
    with pytest.raises(
        InputError, match=f"^{re.escape(str(folder))}: expected.* {who}"
    ):
        enter(folder)
    # Another part of it is free, and so are other folders.
    assert enter(folder, part="eval") is False
    assert enter(tmp_path) is False
    os.kill(holder.pid, signal.SIGKILL)
    holder.wait()
    assert [path.name for path in folder.iterdir()] == [".in_use"]
    assert enter(folder) is False
    assert list(folder.iterdir()) == []


def test_waits_and_tells_for_whom(holder, tmp_path):
    lines = []

    def log(line):
        lines.append(line)
        holder.kill()

    assert enter(tmp_path / "run", log=log) is True
    (line,) = lines
    assert line.startswith(f"waiting for {tmp_path / 'run'}: ")
    assert f"PID {holder.pid} on" in line


def test_removes_only_folders_that_it_made_and_that_are_empty(tmp_path):
    assert enter(tmp_path / "a" / "b") is False
    assert list(tmp_path.iterdir()) == []
    with only_writer(tmp_path / "a" / "b") as _:
        (tmp_path / "a" / "b" / "file").touch()
    assert [path.name for path in (tmp_path / "a" / "b").iterdir()] == ["file"]


@pytest.mark.parametrize("content", [b"", b"\xff\x00garbage\n\nof two lines"])
def test_a_file_without_a_lock_is_stale_whatever_it_says(content, tmp_path):
    path = tmp_path / ".in_use"
    path.write_bytes(content)
    assert enter(tmp_path) is False
    assert not path.exists()
    path.write_bytes(content)
    with open(path) as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        with pytest.raises(InputError, match=r"in use by [^\n]*$"):
            enter(tmp_path)


def test_one_at_a_time_of_many(tmp_path, monkeypatch):
    """Each removes the file that the others have open or are about to open."""
    monkeypatch.setattr(locks, "_LOOK_EVERY_S", 0.0)
    inside, most, n_turns = [], [], 0

    def work():
        nonlocal n_turns
        for _ in range(50):
            with only_writer(tmp_path / "made", log=lambda _: None):
                inside.append(None)
                most.append(len(inside))
                n_turns += 1
                inside.pop()

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (n_turns, set(most)) == (200, {1})
    assert not [*tmp_path.rglob("*.in_use")]


def test_a_file_system_without_locks_keeps_nobody_out(tmp_path, monkeypatch):
    def flock(*_):
        raise OSError(38, "Function not implemented")

    monkeypatch.setattr(fcntl, "flock", flock)
    with only_writer(tmp_path):
        assert enter(tmp_path) is False


def test_a_folder_that_cannot_be_made_is_told(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="file/run: expected a folder that can be"):
        enter(tmp_path / "file" / "run")
