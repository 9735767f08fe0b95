"""One writer of a folder at a time."""

import contextlib
import datetime
import fcntl
import os
import pathlib
import socket
import time
from collections.abc import Callable, Iterator
from typing import TextIO

from img2eeg_jax.errors import expecting, unexpected
from img2eeg_jax.files import made_folder

# Seconds between looks at a folder that another process writes to.
_LOOK_EVERY_S = 0.2


@contextlib.contextmanager
def only_writer(
    folder: str | os.PathLike,
    part: str = "",
    *,
    log: Callable[[str], None] | None = None,
) -> Iterator[bool]:
    """Keeps out others that write to a folder and call this, in any process.

    The system frees what a process held that ends, however it ends, so that nothing
    that a killed one left is in the way. File systems without locks (`flock`) keep
    nobody out.

    Args:
      folder: made if missing; removed on leaving if it was made here and is empty.
      part: what in it is written, "" for all; who writes another part is not kept out.
      log: called with a line if another has it, who is then waited for; None refuses.

    Yields:
      Whether another was waited for.

    Raises:
      InputError: another has it, or the folder cannot be written to.
    """
    folder, has_waited = pathlib.Path(folder), False
    path = folder / (f".{part}.in_use" if part else ".in_use")
    while True:
        with made_folder(folder):
            if file := _lock(path):
                with file:
                    try:
                        yield has_waited
                    finally:
                        # Still locked: who opened it meanwhile sees that it has gone.
                        with contextlib.suppress(OSError):
                            path.unlink(missing_ok=True)
                return
            user = _user(path)
        if log is None:
            raise unexpected(folder, "a folder that nobody else writes to", user)
        if not has_waited:
            log(f"waiting for {folder / part}: {user}")
        has_waited = True
        time.sleep(_LOOK_EVERY_S)


def _lock(path: pathlib.Path) -> TextIO | None:
    """Opens a file that says who locked it; None if another has.

    Raises:
      InputError: it cannot be written.
    """
    with expecting(path.parent, "a folder that can be written", OSError):
        while True:
            # Another that found it empty may remove the folder, or the file before it
            # is locked here.
            path.parent.mkdir(parents=True, exist_ok=True)
            with (
                contextlib.suppress(FileNotFoundError),
                contextlib.ExitStack() as stack,
            ):
                file = stack.enter_context(open(path, "a", encoding="utf-8"))
                if not _is_free(file):
                    return None
                if os.path.samestat(os.fstat(file.fileno()), path.stat()):
                    since = datetime.datetime.now().isoformat(" ", "seconds")
                    file.truncate(0)
                    file.write(f"PID {os.getpid()} on {socket.gethostname()} ")
                    file.write(f"since {since}\n")
                    file.flush()
                    stack.pop_all()
                    return file


def _is_free(file: TextIO) -> bool:
    """Locks a file unless another has."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        # The file system has no locks.
        return True
    return True


def _user(path: pathlib.Path) -> str:
    """Returns in words who has locked a file."""
    try:
        user = path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        user = ""
    # Whoever locked it just now has not written it yet.
    return f"it in use by {' '.join(user.split()) or 'another process'}"
