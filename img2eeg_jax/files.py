"""Files and folders that a reader sees whole or not at all."""

import contextlib
import glob
import os
import pathlib
import secrets
import shutil
import socket
import tempfile
import threading
from collections.abc import Iterator

from img2eeg_jax.errors import expecting, unexpected


def cache_dir() -> pathlib.Path:
    """Returns the folder of what is kept: IMG2EEG_CACHE, or the user's cache folder."""
    if folder := os.environ.get("IMG2EEG_CACHE"):
        return pathlib.Path(folder)
    parent = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return pathlib.Path(parent).expanduser() / "img2eeg_jax"


def write_text(path: pathlib.Path, text: str) -> None:
    """Writes a file through a temporary one beside it, so that it is never half."""
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


@contextlib.contextmanager
def replacing(path: pathlib.Path) -> Iterator[pathlib.Path]:
    """Yields a temporary path that takes the place of `path` if all goes well.

    Of several processes that write one file the last decides what it holds. What a
    killed process of this machine left of it is removed.

    Raises:
      InputError: it cannot be written, for example because the disk is full.
    """
    prefix = _without_leftovers(path.parent, path.name)
    temporary = path.with_name(f"{prefix}{threading.get_ident()}")
    with expecting(path, "a file that can be written", OSError):
        try:
            yield temporary
            os.replace(temporary, path)
        finally:
            # It is gone if it took the place.
            with contextlib.suppress(OSError):
                temporary.unlink(missing_ok=True)


def check_new(path: pathlib.Path, overwrite: bool) -> None:
    """Refuses to write where something is already; an empty folder is nothing.

    Args:
      path: the file or folder that is to be written.
      overwrite: whether it may be replaced.

    Raises:
      InputError: there is something, and `overwrite` is false.
    """
    is_empty = path.is_dir() and not any(path.iterdir())
    if path.exists() and not is_empty and not overwrite:
        raise unexpected(
            path, "nothing there yet", "something; `overwrite` replaces it"
        )


def check_room(folder: pathlib.Path, n_bytes: int) -> None:
    """Reserves room on a disk for a moment.

    Libraries that write in the background tell of a full disk late and at length.

    Args:
      folder: where something is to be written.
      n_bytes: its size.

    Raises:
      InputError: there is no room for it.
    """
    with (
        expecting(folder, f"room for {n_bytes / 1e6:.1f} MB", OSError),
        tempfile.TemporaryFile(dir=folder) as file,
    ):
        if hasattr(os, "posix_fallocate"):
            os.posix_fallocate(file.fileno(), 0, n_bytes)


@contextlib.contextmanager
def scratch_dir(parent: str | os.PathLike, name: str) -> Iterator[pathlib.Path]:
    """Makes a hidden folder to prepare files in before they are moved into place.

    The folder is removed on leaving, and so is ``parent`` if it was made here and is
    empty. What a killed process of this machine left under the same name is removed
    on entering.

    Args:
      parent: where to make the folder; made if missing.
      name: what is being prepared.

    Yields:
      The new, empty folder.

    Raises:
      InputError: the parent cannot be made or written to.
    """
    with made_folder(parent) as parent:
        if not os.access(parent, os.W_OK):
            raise unexpected(parent, "a folder that can be written", "none")
        token = secrets.token_hex(4)
        folder = parent / f"{_without_leftovers(parent, name)}{token}"
        with contextlib.ExitStack() as stack:
            # A signal may come as soon as the folder is there; and while it is removed,
            # which is done again then.
            for _ in range(2):
                stack.callback(shutil.rmtree, folder, ignore_errors=True)
            folder.mkdir(0o755)
            yield folder


def replace_folder(new: pathlib.Path, folder: pathlib.Path) -> None:
    """Moves a folder to its place; what was there goes only then.

    Args:
      new: in a scratch folder on the same disk.
      folder: its place.

    Raises:
      OSError: it cannot be moved; what was there stays.
    """
    if not folder.is_dir():
        os.replace(new, folder)
        return
    old = new.with_name("old")
    os.replace(folder, old)
    try:
        os.replace(new, folder)
    except BaseException:
        os.replace(old, folder)
        raise
    shutil.rmtree(old)


@contextlib.contextmanager
def made_folder(folder: str | os.PathLike) -> Iterator[pathlib.Path]:
    """Makes a folder and its parents; on leaving, those it made are removed if empty.

    Raises:
      InputError: it cannot be made.
    """
    folder = pathlib.Path(folder)
    missing = [path for path in (folder, *folder.parents) if not path.exists()]
    try:
        with expecting(folder, "a folder that can be written", OSError):
            folder.mkdir(parents=True, exist_ok=True)
        yield folder
    finally:
        for made in missing:
            with contextlib.suppress(OSError):
                made.rmdir()


def _without_leftovers(parent: pathlib.Path, name: str) -> str:
    """Returns how names of what is unfinished start; removes that of dead processes."""
    prefix = f".{name}.incomplete-{socket.gethostname()}-"
    for leftover in parent.glob(f"{glob.escape(prefix)}*"):
        if not _is_running(leftover.name.removeprefix(prefix).split("-")[0]):
            if leftover.is_dir():
                shutil.rmtree(leftover, ignore_errors=True)
            else:
                leftover.unlink(missing_ok=True)
    return f"{prefix}{os.getpid()}-"


def _is_running(pid: str) -> bool:
    try:
        os.kill(int(pid), 0)
    except (ProcessLookupError, ValueError):
        return False
    except PermissionError:
        return True
    return True
