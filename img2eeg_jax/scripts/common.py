"""What the scripts share: expected errors become one line and an exit status."""

import os
import sys
from collections.abc import Callable
from typing import NoReturn

from absl import app, flags, logging

from img2eeg_jax.errors import InputError, StoppedBySignal

BAD_INPUT = 1
WRONG_FLAGS = 2
STOPPED_BY_SIGNAL = os.EX_TEMPFAIL  # 75
INTERRUPTED = 130


def run(main: Callable[[], None]) -> None:
    """Runs `main` after absl parsed its flags; ends the process.

    Exit status: 0 done, 1 bad input (one line on standard error), 2 wrong flags, 75
    stopped by a signal after saving, 130 interrupted where there was nothing to save.
    """

    def guarded(argv):
        if len(argv) > 1:
            _stop(f"unknown argument {argv[1]!r}", WRONG_FLAGS)
        # Libraries tell of every step there; what a user must know is printed.
        logging.set_verbosity(logging.ERROR)
        try:
            main()
        except (InputError, OSError) as error:
            _stop(f"error: {error}", BAD_INPUT)
        except StoppedBySignal as stop:
            _stop(f"{stop}; the same command goes on from there", STOPPED_BY_SIGNAL)
        except KeyboardInterrupt:
            _stop("interrupted", INTERRUPTED)

    app.run(guarded, flags_parser=_parse_flags)


def _parse_flags(argv: list[str]) -> list[str]:
    """Parses flags; wrong ones exit with a status of their own."""
    try:
        return flags.FLAGS(argv)
    except (flags.Error, AttributeError, KeyError, TypeError, OSError) as error:
        # ml_collections reports unknown keys and missing files in these ways.
        _stop(f"wrong flags: {error} (--help lists them)", WRONG_FLAGS)


def _stop(message: str, status: int) -> NoReturn:
    print(" ".join(message.split()), file=sys.stderr)
    sys.exit(status)
