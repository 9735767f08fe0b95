"""Names of files in BIDS, and the tables beside recordings."""

import csv
import dataclasses
import io
import math
import pathlib
import unicodedata
from collections.abc import Iterator, Mapping, Sequence

from img2eeg_jax.errors import expecting, unexpected

# The entities that names of EEG in BIDS, raw or processed, may have.
_ENTITIES = frozenset(
    {"sub", "ses", "task", "acq", "run", "split", "proc", "desc", "rec", "space"}
)
# How BIDS writes that there is no value.
NO_VALUE = frozenset({"", "n/a"})


@dataclasses.dataclass(frozen=True)
class Table:
    """A table of tab-separated values.

    Attributes:
      path: where it is from.
      header: names of its columns.
      rows: (line number, column → value) each.
    """

    path: pathlib.Path
    header: Sequence[str]
    rows: Sequence[tuple[int, Mapping[str, str]]]


def entities(path: pathlib.Path) -> dict[str, str]:
    """Returns what a file name says: ``{"sub": "01", "task": "things"}``.

    Numbers are without zeros before them.

    Raises:
      InputError: the name is not as in BIDS.
    """
    found = _entities(path)
    if found is None:
        raise unexpected(
            path, "a file name as in BIDS", "another; task-NAME and such make it"
        )
    return found


def _entities(path: pathlib.Path) -> dict[str, str] | None:
    found = {}
    for part in path.stem.split("_")[:-1]:
        key, _, value = part.partition("-")
        if key not in _ENTITIES or key in found or not value:
            return None
        found[key] = value.lstrip("0") or "0" if value.isdecimal() else value
    return found


def find_table(
    recording: pathlib.Path, suffix: str, root: pathlib.Path
) -> pathlib.Path | None:
    """Finds the table of a recording, beside it or in a folder above.

    As in BIDS: it may name less than the recording does, but nothing else. The nearest
    folder counts, and there the table that names most.

    Args:
      recording: the file of EEG.
      suffix: ``"events"`` or ``"channels"``.
      root: the data set's folder, above which nothing is looked for.

    Raises:
      InputError: two tables fit alike.
    """
    mine = entities(recording).items()
    folders = [recording.parent, *recording.parent.parents]
    if root in folders:
        folders = folders[: folders.index(root) + 1]
    for folder in folders:
        fitting: dict[int, list[pathlib.Path]] = {}
        for path in sorted(folder.glob(f"*{suffix}.tsv")):
            theirs = _entities(path)
            is_table = path.stem.split("_")[-1] == suffix
            if is_table and theirs is not None and theirs.items() <= mine:
                fitting.setdefault(len(theirs), []).append(path)
        if fitting:
            nearest = fitting[max(fitting)]
            if len(nearest) > 1:
                raise unexpected(
                    recording,
                    f"one table *_{suffix}.tsv that fits best",
                    " and ".join(path.name for path in nearest),
                )
            return nearest[0]
    return None


def read_table(path: pathlib.Path, *, is_complete: bool = True) -> Table:
    """Reads a table, in UTF-8, UTF-16 with its mark, or else in Latin-1.

    Args:
      path: of the table.
      is_complete: whether rows of another length than the header's are refused; else
        values that are missing are "", and what is too much is left out.

    Raises:
      InputError: it cannot be read, or has a row of another length.
    """
    with expecting(path, "a table of tab-separated values", OSError, ValueError):
        text = _decode(path.read_bytes())
    with expecting(path, "a table of tab-separated values", csv.Error):
        lines = io.StringIO(text, newline="")
        missing = None if is_complete else ""
        reader = csv.DictReader(
            lines, restval=missing, delimiter="\t", quoting=csv.QUOTE_NONE
        )
        header = [name.strip() for name in reader.fieldnames or ()]
        reader.fieldnames = header
        rows = [(reader.line_num, row) for row in reader]
    if not is_complete:
        for _, row in rows:
            row.pop(None, None)
    return Table(path, header, list(_checked(path, header, rows)))


def as_number(text: str, what: str, path: pathlib.Path, line: int) -> float:
    """Reads a number of seconds, such as ``what``: an onset.

    Raises:
      InputError: it is none, or no time within a recording.
    """
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    # No recording is as long, and seconds times Hz must stay an integer; NaN compares
    # as False.
    if not abs(number) < 1e9:
        raise unexpected(path, f"in line {line} {what} in seconds", text)
    return number


def same_form(name: str) -> str:
    """Returns a name in the one Unicode form in which names are compared."""
    return unicodedata.normalize("NFC", name)


def _decode(content: bytes) -> str:
    if content.startswith((b"\xff\xfe", b"\xfe\xff")):
        return content.decode("utf-16")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError:
        return content.decode("latin-1")


def _checked(
    path: pathlib.Path, header: Sequence[str], rows: Sequence[tuple[int, dict]]
) -> Iterator[tuple[int, dict[str, str]]]:
    for line, row in rows:
        # DictReader fills short rows with None, and files what is too much under None.
        if None in row or None in row.values():
            raise unexpected(
                path,
                f"{len(header)} values in line {line}",
                "more" if None in row else "fewer",
            )
        yield line, {name: value.strip() for name, value in row.items()}
