"""The exceptions that scripts turn into a single line and an exit status."""


class InputError(ValueError):
    """Something the user gave is wrong.

    The message is one line that names the file (or the flag), what was expected and
    what was found.
    """


class StoppedBySignal(Exception):
    """The run was asked to stop, and has saved its state."""


def first_line(error: BaseException) -> str:
    """Returns the first line of an error's message, or the error's name."""
    return str(error).strip().split("\n")[0] or type(error).__name__
