"""What is wrong with --config and its keys, in words: typos get the nearest name."""

import difflib
import itertools
import os
import pathlib
import re
import sys
from collections.abc import Iterable, Iterator, Sequence

from absl import flags
from ml_collections import ConfigDict, config_flags

from img2eeg_jax.scripts import config_help

# Where the recipes are: beside the package in a clone, within it in an installation.
_PACKAGE = pathlib.Path(__file__).parents[1]
_HOMES = (_PACKAGE.parent, _PACKAGE / "recipes")
# The config whose keys all others have.
_DEFAULT = "default"
# How --config.KEY=VALUE and --noconfig.KEY start.
_KEY = re.compile(r"--?(?:no)?config\.([^=]*)")


def recipes() -> dict[str, pathlib.Path]:
    """Returns name → file of the recipes that come with the package."""
    home = next((home for home in _HOMES if (home / "configs").is_dir()), _HOMES[0])
    return {path.stem: path for path in sorted(home.glob("configs/[!_]*.py"))}


def let_configs_import() -> None:
    """Lets config files import each other, and ours, as ``configs.NAME``.

    Those of the folder that a command is given in come first: a clone's, for example.
    """
    sys.path.insert(0, os.getcwd())
    sys.path += [str(home) for home in _HOMES if (home / "configs").is_dir()]


def with_files(argv: Sequence[str]) -> list[str]:
    """Puts files where --config names a recipe, or starts with ~ for the home folder.

    Shells leave the ~ of --config=~/FILE as it is.
    """
    argv = list(argv)
    for place, word in enumerate(argv):
        if match := re.match("(--?config=)(.*)", word):
            argv[place] = match[1] + _with_file(match[2])
        elif place and argv[place - 1] in ("-config", "--config"):
            argv[place] = _with_file(word)
    return argv


def _with_file(name: str) -> str:
    name = os.path.expanduser(name)
    path, colon, rest = name.partition(":")
    ours = recipes()
    if path not in ours or os.path.isfile(path):
        return name
    return _from_here(ours[path]) + colon + rest


def _from_here(path: pathlib.Path) -> str:
    """Returns a path as short as it can be said."""
    here = pathlib.Path.cwd()
    return str(path.relative_to(here) if path.is_relative_to(here) else path)


def missing_file(argv: Sequence[str]) -> str | None:
    """Returns what to say of a config file that is not there; None if it is."""
    for path in map(_file, _names(argv)):
        if not os.path.isfile(path):
            found = "a folder" if os.path.isdir(path) else "none"
            names = _config_files(pathlib.Path(path).parent)
            nearest = _nearest(pathlib.Path(path).stem, names)
            hint = f"; did you mean --config={names[nearest]}?" if nearest else ""
            return f"--config={path}: expected a file, found {found}{hint}"
    return None


def describe(argv: Sequence[str]) -> str:
    """Returns what --help says of the config, or of our own where none is named.

    Values are those of the command line. "" if there is no config that can be loaded.
    """
    names = _names(argv) or [_with_file(_DEFAULT)]
    path = pathlib.Path(_file(names[-1]))
    try:
        config = _load(names[-1], [word for word in argv if _KEY.match(word)])
        return config_help.describe(names[-1], config, path)
    except (Exception, SystemExit):
        # A config file is a program, and may raise anything.
        return ""


def unknown_key(argv: Sequence[str]) -> str | None:
    """Returns what to say of the first --config.KEY that the config does not have.

    Args:
      argv: the command line.

    Returns:
      None if all keys are there, or the config cannot be loaded.
    """
    names = _names(argv)
    if not names:
        return None
    try:
        keys = list(_keys(_load(names[-1])))
    except (Exception, SystemExit):
        # A config file is a program, and may raise anything.
        return None
    for word in argv:
        match = _KEY.match(word)
        if match and match[1] not in keys:
            hint = _nearest(match[1], keys)
            hint = f"; did you mean --config.{hint}?" if hint else ""
            found = f"--config.{match[1]}"
            return (
                f"{_file(names[-1])}: expected a key of the config, found {found}{hint}"
            )
    return None


def _names(argv: Sequence[str]) -> list[str]:
    """Returns what --config=NAME and --config NAME name."""
    values = [word.split("=", 1)[1] for word in argv if re.match("--?config=", word)]
    pairs = itertools.pairwise(argv)
    values += [value for word, value in pairs if word in ("-config", "--config")]
    return values


def _file(name: str) -> str:
    """Returns a config's file: what follows a colon is for `get_config`."""
    return name.split(":", 1)[0]


def _config_files(folder: pathlib.Path) -> dict[str, pathlib.Path]:
    """Returns name → path of the configs in a folder, and else of ours."""
    ours = {name: pathlib.Path(_from_here(path)) for name, path in recipes().items()}
    return ours | {path.stem: path for path in sorted(folder.glob("*.py"))}


def _load(name: str, overrides: Sequence[str] = ()) -> ConfigDict:
    values, argv = flags.FlagValues(), ["", f"--config={name}", *overrides]
    config_flags.DEFINE_config_file("config", flag_values=values, sys_argv=argv)
    values(argv)
    return values.config


def _keys(config: ConfigDict, prefix: str = "") -> Iterator[str]:
    """Yields all keys, those of dicts within as ``synthetic.seed``."""
    for key, value in config.items():
        yield prefix + key
        if isinstance(value, ConfigDict):
            yield from _keys(value, f"{prefix}{key}.")


def _nearest(name: str, names: Iterable[str]) -> str | None:
    return next(iter(difflib.get_close_matches(name.lower(), [*names], n=1)), None)
