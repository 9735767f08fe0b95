"""What the scripts share: flags, and errors that become one line and an exit status.

Libraries name their arguments in backticks; only here do these become flags.
"""

import contextlib
import gc
import logging as python_logging
import math
import os
import re
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NoReturn

from absl import app, flags, logging

import img2eeg_jax
from img2eeg_jax.errors import InputError, StoppedBySignal

BAD_INPUT = 1
WRONG_FLAGS = 2
STOPPED_BY_SIGNAL = os.EX_TEMPFAIL  # 75
INTERRUPTED = 130

# Words of a command line at which absl prints its help, or _VersionFlag the version.
_HELP = re.compile(r"--?(help\w*|h|[?]|version)(=.*)?")

_SIGNALS = (signal.SIGINT, signal.SIGTERM)

# Seconds after which an interruption that got lost comes again.
_AGAIN_S = 0.01

# How the process ends after an error.
_exit: Callable[[int], NoReturn] = sys.exit
# Arguments of libraries whose flags have another name → these names.
_flag_names: dict[str, str] = {}

# The flags that functions of this module define are those of the script that calls.
flags.disclaim_key_flags()


def run(main: Callable[[], None], flag_names: Mapping[str, str] | None = None) -> None:
    """Runs `main` after absl parsed its flags; ends the process.

    Exit status: 0 done, 1 bad input (one line on standard error), 2 wrong flags, 75
    stopped by a signal after saving, 130 interrupted where there was nothing to save.

    Args:
      main: the script's; its module is the one whose flags --help lists.
      flag_names: argument of a library → flag, where the two differ; see `as_flags`.
    """

    def guarded(argv: list[str]) -> None:
        if len(argv) > 1:
            _stop(f"unknown argument {argv[1]!r}", WRONG_FLAGS)
        # Orbax and others log every step by absl, and errors before they raise them.
        logging.set_verbosity(logging.FATAL)
        _show_warnings()
        _raise_on_signals()
        try:
            main()
        except (InputError, OSError) as error:
            _stop(f"error: {error}", BAD_INPUT)
        except StoppedBySignal as stop:
            if not stop.has_saved:
                end = "nothing is saved yet, and the same command starts anew"
                _stop(f"{stop}: {end}", INTERRUPTED)
            _stop(f"{stop}; the same command goes on from there", STOPPED_BY_SIGNAL)
        except KeyboardInterrupt:
            _stop("interrupted", INTERRUPTED)
        except Exception:
            if _exit is sys.exit:
                raise
            traceback.print_exc()
            _exit(BAD_INPUT)

    if hasattr(sys.stdout, "reconfigure"):
        # File names may hold what the encoding lacks. Standard error escapes it anyway.
        sys.stdout.reconfigure(errors="backslashreplace")
    _flag_names.update(flag_names or {})
    flags.DEFINE_flag(_VersionFlag(), module_name=main.__module__)
    _list_flags_in_help(main.__module__)
    with _while_read():
        app.run(guarded, flags_parser=_parse_flags)


class _VersionFlag(flags.BooleanFlag):
    """Prints the version where it is parsed, so that it needs no other flags."""

    def __init__(self) -> None:
        super().__init__("version", False, "Print the version.")

    def parse(self, argument: Any) -> None:
        """See the base class."""
        if self._parse(argument):
            print(f"img2eeg_jax {img2eeg_jax.__version__}", flush=True)
            sys.exit(0)


class _Parser(flags.ArgumentParser):
    """Reads a flag by a function that raises ValueError where it cannot."""

    def __init__(self, read: Callable[[str], Any], form: str) -> None:
        self._read = read
        # --help shows it.
        self.syntactic_help = form

    def parse(self, argument: Any) -> Any:
        """See the base class."""
        if not isinstance(argument, str):
            return argument
        try:
            return self._read(argument)
        except ValueError:
            raise ValueError(f"expected {self.syntactic_help}") from None


def define(
    name: str, default: str, form: str, read: Callable[[str], Any], text: str
) -> flags.FlagHolder:
    """Defines a flag whose value is what a function reads from its text.

    Args:
      name: of the flag.
      default: its text if it is not given.
      form: what is right, in words; for --help and for the error.
      read: text → value; raises ValueError if the text is wrong.
      text: for --help.
    """
    # Of values that may be lists, the last one of two would hide the first.
    flags.DEFINE(_Parser(read, form), name, default, text, allow_overwrite=False)
    # --help shows the default's text, not the value that is read from it.
    flags.FLAGS[name].default_as_str = repr(default)
    # The holder that DEFINE returns refuses texts that are read as None.
    return flags.FlagHolder(flags.FLAGS, flags.FLAGS[name])


class _PathParser(flags.ArgumentParser):
    """Reads a path, or an address; a ~ at its start is the home folder.

    Shells leave the ~ of --flag=~/x as it is.
    """

    def parse(self, argument: Any) -> str:
        """See the base class."""
        return os.path.expanduser(super().parse(argument) or "")


class _PathsFlag(flags.MultiFlag):
    """See `define_paths`."""

    def _parse(self, arguments: Any) -> list[str]:
        return [path for text in super()._parse(arguments) for path in _paths_in(text)]


def _paths_in(text: str) -> list[str]:
    """Returns the path that a text is, or the paths that it lists."""
    parts = [os.path.expanduser(part) for part in text.split(",") if part]
    # Where none of them exists, the message names the text as it was given.
    is_list = not os.path.exists(text) and any(map(os.path.exists, parts))
    return parts if is_list else [text] * bool(text)


def define_path(name: str, default: str | None, text: str) -> flags.FlagHolder:
    """Defines a flag whose value is a path or an address; ~ is the home folder."""
    return flags.DEFINE(_PathParser(), name, default, text)


def define_paths(name: str, text: str) -> flags.FlagHolder:
    """Defines a flag that may be given several times; its value is a list of paths.

    A value is what `define_path` takes, or several separated by commas; what exists is
    one path, whatever commas it holds.
    """
    serializer: flags.ArgumentSerializer[Any] = flags.ArgumentSerializer()
    return flags.DEFINE_flag(_PathsFlag(_PathParser(), serializer, name, None, text))


def define_subjects(text: str) -> flags.FlagHolder:
    """Defines --subjects: a tuple of numbers or labels, empty if not given."""

    def read(subjects: str) -> tuple[int | str, ...]:
        return read_labels(subjects) if subjects else ()

    return define("subjects", "", "the form 3, 1,3, 1-10 or labels", read, text)


def define_subject(text: str) -> flags.FlagHolder:
    """Defines --subjects where one makes sense: a number, a label or None."""

    def read(subjects: str) -> int | str | None:
        if not subjects:
            return None
        (subject,) = read_labels(subjects)
        return subject

    return define("subjects", "", "one subject, such as 3 or AB12", read, text)


def read_labels(text: str) -> tuple[int | str, ...]:
    """Reads ``3``, ``1,3``, ``1-10`` or labels such as ``AB12``."""
    # Imported here so that --help answers at once.
    from img2eeg_jax.data import layout

    return layout.parse_subjects(text)


def read_range(text: str) -> tuple[float, float]:
    """Reads FIRST,LAST, which may be equal."""
    first, last = map(float, text.split(","))
    if not -math.inf < first <= last < math.inf:
        raise ValueError
    return first, last


def as_flags(text: str) -> str:
    """Spells the arguments that a library's message names as the script's flags.

    `name` becomes --name, or --config.name where it is a key of the config, and
    `name=value` becomes --name=value. What else is in backticks stays as it is.
    """

    def spelled(match: re.Match) -> str:
        name, value = match.groups()
        flag = _flag_names.get(name, name)
        if flag in flags.FLAGS:
            return f"--{flag}{value}"
        if "config" in flags.FLAGS and _has_key(flags.FLAGS["config"].value, name):
            return f"--config.{name}{value}"
        return match[0]

    return re.sub(r"`([A-Za-z]\w*(?:\.\w+)*)((?:=[^`]*)?)`", spelled, text)


def _has_key(config: Any, name: str) -> bool:
    """Tells whether a ConfigDict has a key, such as ``synthetic.seed``."""
    for part in name.split("."):
        if not hasattr(config, "keys") or part not in config:
            return False
        config = config[part]
    return True


def say(line: str) -> None:
    """Prints a line of a library; see `as_flags`."""
    print(as_flags(line), flush=True)


def leave_at_once_on_errors() -> None:
    """Makes errors end this process without what libraries registered to run at exit.

    JAX's shutdown of several processes waits for all of them, and the others wait for
    this one.
    """
    global _exit
    _exit = os._exit


def _list_flags_in_help(module: str) -> None:
    """Makes --help list the flags of a module, not only of the file that was run."""
    for flag in flags.FLAGS.get_flags_for_module(module):
        flags.FLAGS.register_key_flag_for_module(sys.argv[0], flag)


@contextlib.contextmanager
def importing() -> Iterator[None]:
    """Ends the process if a signal comes: libraries lose exceptions amid imports.

    Python looks for no garbage meanwhile, nor later among what was imported: that would
    take a third of the time, and finds none.
    """
    gc.disable()
    previous = {number: signal.signal(number, _interrupted) for number in _SIGNALS}
    try:
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
        gc.freeze()
        gc.enable()


def _raise_on_signals() -> None:
    """Makes SIGINT and SIGTERM raise KeyboardInterrupt, which must not get lost."""

    def unraisable(error: Any) -> None:
        # Python drops what JAX's callback of the garbage collector raises. It is raised
        # again when that is over, so that what is under way is cleaned up.
        if error.exc_type is not KeyboardInterrupt:
            sys.__unraisablehook__(error)
            return
        main = threading.main_thread().ident
        again = threading.Timer(_AGAIN_S, signal.pthread_kill, (main, signal.SIGINT))
        again.daemon = True
        try:
            again.start()
        except RuntimeError:
            # Python is about to end, and starts no threads any more.
            _interrupted()

    sys.unraisablehook = unraisable
    for number in _SIGNALS:
        signal.signal(number, signal.default_int_handler)


def _show_warnings() -> None:
    """Shows this package's own warnings, one line each on standard error."""
    handler = python_logging.StreamHandler()
    handler.setFormatter(python_logging.Formatter("warning: %(message)s"))
    own = python_logging.getLogger(img2eeg_jax.__name__)
    own.setLevel(python_logging.WARNING)
    own.propagate = False
    own.addHandler(handler)


def _interrupted(*_: Any) -> NoReturn:
    print("interrupted", file=sys.stderr, flush=True)
    os._exit(INTERRUPTED)


def _parse_flags(argv: list[str]) -> list[str]:
    """Parses flags; wrong ones exit with a status of their own."""
    if "config" in flags.FLAGS:
        from img2eeg_jax.scripts import config_flag

        argv = config_flag.with_files(argv)
        if missing := config_flag.missing_file(argv):
            _stop(f"wrong flags: {missing}", WRONG_FLAGS)
    try:
        return flags.FLAGS(argv)
    except BrokenPipeError:
        raise
    except (Exception, SystemExit) as error:
        if isinstance(error, SystemExit) and any(map(_HELP.fullmatch, argv)):
            # It was printed; what absl ends with is 1.
            if "config" in flags.FLAGS and error.code != 0:
                print(f"\n{config_flag.describe(argv)}", flush=True)
            sys.exit()
        # A config file is a program, and may raise anything.
        unknown = "config" in flags.FLAGS and config_flag.unknown_key(argv)
        wrong = unknown or f"{_in_our_words(error)} (--help lists them)"
        _stop(f"wrong flags: {wrong}", WRONG_FLAGS)


@contextlib.contextmanager
def _while_read() -> Iterator[None]:
    """Ends the process in silence where ``| head`` has read enough."""
    try:
        yield
        sys.stdout.flush()
    except BrokenPipeError:
        # Python would write what is left when it ends, and complain.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit()


def _in_our_words(error: BaseException) -> str:
    """Says of flags that are missing that they are; other messages stay."""
    needed = r"flag --\w+=None: Flag --(\w+) must have a value other than None\.\s*"
    missing = [
        f"--{name}: expected a value, found none"
        for name in re.findall(needed, str(error))
    ]
    other = re.sub(needed, "", str(error)).strip()
    return "; ".join([*missing, *([other] if other else [])])


def _stop(message: str, status: int) -> NoReturn:
    print(as_flags(" ".join(message.split())), file=sys.stderr, flush=True)
    sys.stdout.flush()
    _exit(status)
