import errno
import os

import pytest

from img2eeg_jax.errors import (
    InputError,
    counted,
    expecting,
    first_line,
    naming,
    reason,
    unexpected,
)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("file", "17 channels", 4), "file: expected 17 channels, found 4"),
        (("", "17 channels", 4), "expected 17 channels, found 4"),
        (
            ("file", "text", ValueError("bad\nmore")),
            "file: expected text, found: bad",
        ),
        (("file", "text", ValueError()), "file: expected text, found: ValueError"),
        (("file", "text", KeyError("z")), "file: expected text, found: no entry 'z'"),
        (("file", "text", KeyError()), "file: expected text, found: KeyError"),
        (
            ("file", "text", RuntimeError("[Errno -2] Name not known")),
            "file: expected text, found: Name not known",
        ),
        (
            ("file", "text", OSError(errno.ENOSPC, "No space", "/a/b")),
            "file: expected text, found: No space",
        ),
    ],
)
def test_unexpected(arguments, message):
    error = unexpected(*arguments)
    assert isinstance(error, InputError)
    assert isinstance(error, ValueError)
    assert str(error) == message


def raising(error, *contexts):
    """Raises an error inside of contexts, the last one innermost."""
    if contexts:
        with contexts[0]:
            raising(error, *contexts[1:])
    raise error


def test_expecting_turns_the_kinds_that_are_named():
    cause = KeyError("x")
    with pytest.raises(InputError, match="text, found: no entry 'x'") as caught:
        raising(cause, expecting("file", "text", OSError, LookupError))
    assert caught.value.__cause__ is cause
    with pytest.raises(KeyError):
        raising(cause, expecting("file", "text", OSError))


def test_expecting_leaves_what_is_told_already():
    told = unexpected("inner", "a", "b")
    with pytest.raises(InputError) as caught:
        raising(told, expecting("outer", "text", Exception))
    assert caught.value is told


def test_expecting_lets_values_pass():
    with expecting("file", "text", OSError):
        value = 3
    assert value == 3


def test_naming():
    with pytest.raises(InputError, match=r"^file: inner: expected a, found b$"):
        raising(unexpected("inner", "a", "b"), naming("file"))
    with pytest.raises(KeyError):
        raising(KeyError("x"), naming("file"))


def test_reason_is_the_systems_words_or_the_first_line():
    missing = FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), "/a")
    assert reason(missing) == "No such file or directory"
    assert reason(OSError("cannot identify\nmore")) == "cannot identify"
    assert first_line(ValueError("\n one\n two")) == "one"
    assert first_line(RuntimeError()) == "RuntimeError"


def test_one_thing_is_no_things():
    found = [counted(n, "step") for n in (0, 1, 2)]
    assert found == ["0 steps", "1 step", "2 steps"]
