"""The exceptions that scripts turn into a single line and an exit status.

Messages name a function's arguments in backticks, as in "`overwrite` replaces it"; the
scripts spell them as the flags that they are (`scripts.common`).
"""

import contextlib
import re
from collections.abc import Iterator, Sequence
from typing import Any


class InputError(ValueError):
    """Something the user gave is wrong.

    The message is one line that names the file (or the argument), what was expected and
    what was found; `unexpected` puts it together.
    """


class StoppedBySignal(Exception):
    """The run was asked to stop.

    Attributes:
      has_saved: whether the same command goes on from a state that is on disk.
    """

    def __init__(self, message: str, has_saved: bool = True):
        super().__init__(message)
        self.has_saved = has_saved


def unexpected(where: Any, expected: str, found: Any) -> InputError:
    """Returns the error that says "WHERE: expected EXPECTED, found FOUND".

    Args:
      where: the file, folder or thing that is wrong; "" if the caller will name it.
      expected: what would be right.
      found: what there is instead, in words; or the exception that told, which is
        quoted by its `reason`.
    """
    if isinstance(found, BaseException):
        found = f"found: {reason(found)}"
    else:
        found = f"found {found}"
    prefix = f"{where}: " if where != "" else ""
    return InputError(f"{prefix}expected {expected}, {found}")


@contextlib.contextmanager
def expecting(where: Any, expected: str, *kinds: type[BaseException]) -> Iterator[None]:
    """Turns exceptions of some kinds into `unexpected`.

    Args:
      where: see `unexpected`.
      expected: see `unexpected`.
      *kinds: of the exceptions; an InputError passes as it is.

    Raises:
      InputError: an exception of these kinds came.
    """
    try:
        yield
    except InputError:
        raise
    except kinds as error:
        raise unexpected(where, expected, error) from error


@contextlib.contextmanager
def needing(library: str, extra: str) -> Iterator[None]:
    """Says of a library that is imported how it is installed, where it is not.

    Args:
      library: as people call it.
      extra: of this package, which brings it.

    Raises:
      InputError: it, or what it needs, is not installed.
    """
    try:
        yield
    except ImportError as error:
        expected = f"it to be installed, as by pip install 'img2eeg_jax[{extra}]'"
        raise unexpected(library, expected, "none") from error


@contextlib.contextmanager
def naming(where: Any) -> Iterator[None]:
    """Puts the name of a file or folder before the message of an InputError."""
    try:
        yield
    except InputError as error:
        raise InputError(f"{where}: {error}") from error


def reason(error: BaseException) -> str:
    """Returns why something failed: the system's words, or the message's first line."""
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    if isinstance(error, KeyError) and error.args:
        # Its message is the bare key.
        return f"no entry {first_line(error)}"
    return first_line(error)


def first_line(error: BaseException) -> str:
    """Returns the first line of an error's message, or the error's name."""
    line = str(error).strip().split("\n")[0]
    return without_errno(line) or type(error).__name__


def without_errno(text: str) -> str:
    """Drops the system's number of an error, which libraries quote before its words."""
    return re.sub(r"\[Errno -?\d+\] ", "", text)


def listed(names: Sequence[Any], most: int = 100) -> str:
    """Returns names with commas between; of very many the first, and how many more."""
    shown = ", ".join(map(str, names[:most]))
    more = len(names) - most
    return shown if more <= 0 else f"{shown} and {more} more"


def counted(n: int, noun: str) -> str:
    """Returns a number of things in words."""
    return f"{n} {noun}" if n == 1 else f"{n} {noun}s"
