import errno
import os
import socket
import subprocess
import sys
import threading

import pytest

from img2eeg_jax.errors import InputError
from img2eeg_jax.files import (
    check_new,
    check_room,
    replacing,
    scratch_dir,
    write_text,
)


def test_replacing_keeps_the_old_file_if_writing_fails(tmp_path):
    path = tmp_path / "file"
    write_text(path, "old")

    def fail():
        with replacing(path) as temporary:
            temporary.write_text("half of the n")
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_two_that_write_one_file(tmp_path):
    """It is the one or the other, whole; neither fails."""
    path = tmp_path / "file"
    with replacing(path) as mine:
        mine.write_text("mine, ha")
        thread = threading.Thread(target=write_text, args=(path, "other"))
        thread.start()
        thread.join()
        assert path.read_text() == "other"
        mine.write_text("mine, whole")
    assert path.read_text() == "mine, whole"
    assert list(tmp_path.iterdir()) == [path]


def test_replacing_removes_what_a_dead_process_left(tmp_path):
    """Linux gives no process a number above 2**22."""
    host = socket.gethostname()
    left = tmp_path / f".file.incomplete-{host}-{2**22 + 1}-1"
    other = tmp_path / f".file.incomplete-{host}-{os.getpid()}-1"
    for path in (left, other):
        path.touch()
    write_text(tmp_path / "file", "text")
    assert not left.exists()
    assert other.exists()


def test_scratch_dir_removes_what_a_dead_process_left(tmp_path):
    process = subprocess.run(
        [
            sys.executable,
            "-c",
            "import os, sys\n"
            "from img2eeg_jax.files import scratch_dir\n"
            "with scratch_dir(sys.argv[1], 'x') as folder:\n"
            "    (folder / 'file').write_text('half')\n"
            "    os._exit(9)\n",
            str(tmp_path),
        ],
        check=False,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
    )
    assert process.returncode == 9
    (left,) = tmp_path.iterdir()
    with scratch_dir(tmp_path, "x") as mine:
        assert not left.exists()
        # Another build of a running process stays.
        with scratch_dir(tmp_path, "x") as other:
            assert mine.exists()
            assert other != mine
    assert not any(tmp_path.iterdir())


def test_scratch_dir_removes_the_parents_it_made(tmp_path):
    parent = tmp_path / "a" / "b"
    with pytest.raises(KeyError), scratch_dir(parent, "x"):
        raise KeyError
    assert not any(tmp_path.iterdir())


def test_scratch_dir_in_a_file(tmp_path):
    (tmp_path / "file").write_text("")

    def enter():
        with scratch_dir(tmp_path / "file" / "x", "x"):
            pass

    with pytest.raises(InputError, match=r"file/x: expected .* can be written"):
        enter()


def test_a_full_disk_is_told_with_the_name_of_the_file(tmp_path):
    def fill():
        with replacing(tmp_path / "file"):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with pytest.raises(InputError, match=r"/file: expected .* No space left on device"):
        fill()
    with pytest.raises(
        InputError, match=r"expected room for 1000000000000\.0 MB, found"
    ):
        check_room(tmp_path, 10**18)
    with pytest.raises(InputError, match="none/file: expected a file that can be writ"):
        write_text(tmp_path / "none" / "file", "text")
    check_room(tmp_path, 10)
    assert not list(tmp_path.iterdir())


def test_check_new(tmp_path):
    check_new(tmp_path / "none", overwrite=False)
    (tmp_path / "folder").mkdir()
    check_new(tmp_path / "folder", overwrite=False)
    path = tmp_path / "folder" / "file"
    path.write_text("")
    for present in (path, path.parent):
        with pytest.raises(InputError, match="nothing there yet, found something; `ov"):
            check_new(present, overwrite=False)
        check_new(present, overwrite=True)
