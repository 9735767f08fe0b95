"""What a stage has to do, and how that is told before it is done."""

import dataclasses
import os
import pathlib
import shutil
from collections.abc import Callable, Sequence

Log = Callable[[str], None]


@dataclasses.dataclass(frozen=True)
class Task:
    """One thing that a stage has to do.

    Attributes:
      what: in words.
      folder: where it writes.
      n_bytes: about how much; None if that is known only once an earlier task is done.
      run: does it, and logs lines on that. Tasks that are done together share one.
    """

    what: str
    folder: str
    n_bytes: float | None
    run: Callable[[Log], None]


def describe_plan(planned: dict[str, list[Task]], folder: str | os.PathLike) -> str:
    """Returns a plan as a table, with the room that it needs and the disks have.

    Args:
      planned: from `plan`.
      folder: the data set's, named for all that goes to its disk; need not exist.
    """
    lines = []
    for stage, tasks in planned.items():
        lines.append(f"{stage}: {'nothing to do' if not tasks else ''}".rstrip())
        lines += [
            f"  {_gigabytes(task.n_bytes):>10}  {task.what} -> {task.folder}"
            for task in tasks
        ]
    by_disk: dict[int | str, tuple[str | os.PathLike, list[Task]]] = {
        _disk(folder): (folder, [])
    }
    for task in (task for tasks in planned.values() for task in tasks):
        by_disk.setdefault(_disk(task.folder), (task.folder, []))[1].append(task)
    lines += [_describe_room(*place) for place in by_disk.values()]
    return "\n".join(lines)


def _disk(folder: str | os.PathLike) -> int | str:
    """Returns what tells one disk, or remote address, from another."""
    if "://" in os.fspath(folder):
        return os.fspath(folder)
    return _existing_parent(folder).stat().st_dev


def _describe_room(folder: str | os.PathLike, tasks: Sequence[Task]) -> str:
    known = [task.n_bytes for task in tasks if task.n_bytes is not None]
    unknown = len(tasks) - len(known)
    more = f" and {unknown} of unknown size" if unknown else ""
    room = f"free in {folder}: unknown"
    if "://" not in os.fspath(folder):
        free = shutil.disk_usage(_existing_parent(folder)).free
        fits = "enough" if free > sum(known) else "NOT ENOUGH"
        room = f"free in {folder}: {_gigabytes(free)}, {fits}"
    return f"together about {_gigabytes(sum(known))}{more}; {room}"


def _gigabytes(n_bytes: float | None) -> str:
    return "unknown" if n_bytes is None else f"{n_bytes / 1e9:.2f} GB"


def _existing_parent(folder: str | os.PathLike) -> pathlib.Path:
    folder = pathlib.Path(folder).absolute()
    return next(path for path in (folder, *folder.parents) if path.exists())
