"""What the scripts share: expected errors become one line and an exit status."""

import contextlib
import os
import signal
import sys
import traceback
from collections.abc import Callable, Iterator
from typing import NoReturn

from absl import app, flags, logging

from img2eeg_jax.errors import InputError, StoppedBySignal

BAD_INPUT = 1
WRONG_FLAGS = 2
STOPPED_BY_SIGNAL = os.EX_TEMPFAIL  # 75
INTERRUPTED = 130

_SIGNALS = (signal.SIGINT, signal.SIGTERM)

# How the process ends after an error.
_exit = sys.exit


def run(main: Callable[[], None]) -> None:
    """Runs `main` after absl parsed its flags; ends the process.

    Exit status: 0 done, 1 bad input (one line on standard error), 2 wrong flags, 75
    stopped by a signal after saving, 130 interrupted where there was nothing to save.
    """

    def guarded(argv):
        if len(argv) > 1:
            _stop(f"unknown argument {argv[1]!r}", WRONG_FLAGS)
        # Libraries tell of every step there, and of errors that they raise as well.
        logging.set_verbosity(logging.FATAL)
        _drop_orphaned_errors()
        _raise_on_signals()
        try:
            main()
        except (InputError, OSError) as error:
            _stop(f"error: {error}", BAD_INPUT)
        except StoppedBySignal as stop:
            _stop(f"{stop}; the same command goes on from there", STOPPED_BY_SIGNAL)
        except KeyboardInterrupt:
            _stop("interrupted", INTERRUPTED)
        except Exception:
            if _exit is sys.exit:
                raise
            traceback.print_exc()
            _exit(BAD_INPUT)

    _list_flags_in_help(main.__module__)
    app.run(guarded, flags_parser=_parse_flags)


def leave_at_once_on_errors() -> None:
    """Ends without the goodbyes of libraries, which wait for processes that wait."""
    global _exit
    _exit = os._exit


def _list_flags_in_help(module: str) -> None:
    """Makes --help list the flags of a module, not only of the file that was run."""
    for flag in flags.FLAGS.get_flags_for_module(module):
        flags.FLAGS.register_key_flag_for_module(sys.argv[0], flag)


@contextlib.contextmanager
def importing() -> Iterator[None]:
    """Ends the process if a signal comes: libraries lose exceptions amid imports."""
    previous = {number: signal.signal(number, _interrupted) for number in _SIGNALS}
    try:
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


def _raise_on_signals() -> None:
    """Makes SIGINT and SIGTERM raise KeyboardInterrupt, which must not get lost."""

    def unraisable(error):
        # Raised in a callback of the garbage collector; JAX has one.
        if error.exc_type is KeyboardInterrupt:
            _interrupted()
        sys.__unraisablehook__(error)

    sys.unraisablehook = unraisable
    for number in _SIGNALS:
        signal.signal(number, signal.default_int_handler)


def _drop_orphaned_errors() -> None:
    """Leaves out what callbacks print that come after the write that failed.

    TensorStore's do, from threads of its own, when a disk is full: a traceback for each
    array, for an error that has been raised.
    """
    excepthook = sys.excepthook

    def hook(kind, error, trace):
        if not (kind is RuntimeError and str(error) == "Event loop is closed"):
            excepthook(kind, error, trace)

    sys.excepthook = hook


def _interrupted(*_) -> NoReturn:
    print("interrupted", file=sys.stderr, flush=True)
    os._exit(INTERRUPTED)


def _parse_flags(argv: list[str]) -> list[str]:
    """Parses flags; wrong ones exit with a status of their own."""
    try:
        return flags.FLAGS(argv)
    except KeyError as error:
        _stop(f"wrong flags: the config has no key {error.args[0]}", WRONG_FLAGS)
    except Exception as error:
        # A config file is a program, and may raise anything.
        _stop(f"wrong flags: {error} (--help lists them)", WRONG_FLAGS)


def _stop(message: str, status: int) -> NoReturn:
    print(" ".join(message.split()), file=sys.stderr, flush=True)
    sys.stdout.flush()
    _exit(status)
