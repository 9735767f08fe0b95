"""Which recordings of a session are used, so that no trial is counted twice."""

import collections
import dataclasses
import pathlib
import textwrap
from collections.abc import Mapping, Sequence

from img2eeg_jax.data.sources.bids.events import Events
from img2eeg_jax.data.sources.bids.files import entities
from img2eeg_jax.errors import unexpected

EXTENSIONS = ("vhdr", "edf", "bdf", "set")
# Files of these kinds beside a recording are parts of one, or describe it.
_PARTS = frozenset({"", "dat", "eeg", "fdt", "json", "tsv", "vmrk"})
# The label of what a name does not say.
_NONE = "none"
# Entities that tell one stretch of time from another; others are views of the same.
_STRETCHES = ("task", "acq", "run", "split")


@dataclasses.dataclass(frozen=True)
class Selection:
    """Which recordings to use, where a session has several.

    Attributes:
      task: label after ``task-``; "" for all.
      acquisition: label after ``acq-``; "" for all, "none" for those without one.
      processing: label after ``proc-`` or ``desc-``; likewise.
      extension: ``"vhdr"``, ``"edf"``, ``"bdf"`` or ``"set"``; "" for all.
    """

    task: str = ""
    acquisition: str = ""
    processing: str = ""
    extension: str = ""

    def __str__(self) -> str:
        """Returns what is chosen, for messages."""
        chosen = [
            f"{name} {value}"
            for name, value in dataclasses.asdict(self).items()
            if value
        ]
        return f" ({', '.join(chosen)})" if chosen else ""

    def recordings_in(self, folder: pathlib.Path) -> list[pathlib.Path]:
        """Returns the chosen recordings of a session, in the order of runs.

        Args:
          folder: of the session, which holds ``eeg``.

        Raises:
          InputError: there are others, which cannot be read; or some are the same
            stretch of time in another format or processing.
        """
        named = {
            path: entities(path)
            for path in sorted(folder.glob("eeg/sub-*_eeg.*"))
            if _extension(path) not in _PARTS
        }
        found = [path for path, names in named.items() if self._takes(path, names)]
        for path in found:
            if _extension(path) not in EXTENSIONS:
                raise unexpected(
                    path,
                    f"a recording of a format that BIDS has, {', '.join(EXTENSIONS)}",
                    "another; convert it, or choose by `extension`",
                )
        _refuse_views(folder, {path: named[path] for path in found})
        return sorted(found, key=lambda path: (_position(named[path]), path.name))

    def _takes(self, path: pathlib.Path, names: Mapping[str, str]) -> bool:
        processing = names.get("proc", names.get("desc"))
        return (
            _is(self.task, names.get("task"))
            and _is(self.acquisition, names.get("acq"))
            and _is(self.processing, processing)
            and _is(self.extension.removeprefix("."), _extension(path))
        )


def names_of_recordings(folder: pathlib.Path) -> str:
    """Returns the names of all recordings of a subject, for messages."""
    found = {
        path.name
        for path in folder.rglob("sub-*_eeg.*")
        if _extension(path) not in _PARTS
    }
    return textwrap.shorten(", ".join(sorted(found)), 300) or "none"


def refuse_same_trials(events: Mapping[pathlib.Path, Events]) -> None:
    """Refuses recordings of a session whose acquisitions have the same trials.

    Args:
      events: recording → its events.

    Raises:
      InputError: two recordings of one task and run have the same images at the same
        times.
    """
    for paths in _grouped({path: entities(path) for path in events}, without="acq"):
        for position, path in enumerate(paths):
            for other in paths[:position]:
                if events[path].are_those_of(events[other]):
                    raise _twice(path.parent.parent, (other, path), "acquisition")


def _refuse_views(
    folder: pathlib.Path, named: Mapping[pathlib.Path, Mapping[str, str]]
) -> None:
    for paths in _grouped(named):
        formats = {_extension(path) for path in paths}
        if len(paths) > 1:
            by = "extension" if len(formats) == len(paths) else "processing"
            raise _twice(folder, paths, by)


def _grouped(
    named: Mapping[pathlib.Path, Mapping[str, str]], without: str = ""
) -> list[list[pathlib.Path]]:
    """Returns the recordings of each stretch of time."""
    groups = collections.defaultdict(list)
    for path, names in named.items():
        key = tuple(names.get(name) for name in _STRETCHES if name != without)
        groups[key].append(path)
    return list(groups.values())


def _twice(folder: pathlib.Path, paths: Sequence[pathlib.Path], by: str) -> Exception:
    return unexpected(
        folder,
        "each trial once",
        f"{' and '.join(path.name for path in paths)} of the same; choose by `{by}`",
    )


def _is(wanted: str, label: str | None) -> bool:
    """Tells whether a label is the one that is wanted, numbers by their value."""
    wanted = wanted.rpartition("-")[2]
    if wanted.isdecimal():
        wanted = wanted.lstrip("0") or "0"
    return wanted in ("", _NONE if label is None else label)


def _extension(path: pathlib.Path) -> str:
    return path.suffix.lower().removeprefix(".")


def _position(names: Mapping[str, str]) -> tuple[int, ...]:
    numbers = (names.get(name, "0") for name in ("run", "split"))
    return tuple(int(number) if number.isdecimal() else 0 for number in numbers)
