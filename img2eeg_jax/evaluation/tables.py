"""Tidy tables of several subjects: one row an observation, ready for pandas and R."""

import csv
import io
import pathlib
from collections.abc import Iterable, Mapping

import numpy as np
from numpy.typing import NDArray

from img2eeg_jax.axes import Axes
from img2eeg_jax.evaluation.findings import Findings, Table
from img2eeg_jax.files import write_text

# The text of a missing value, which R, pandas and polars know.
_MISSING = "NA"


def stacked(
    by_label: Mapping[str, Iterable[Findings]], column: str
) -> dict[str, Table]:
    """Puts tables of the same name below each other.

    Args:
      by_label: label → findings; a column that one of them lacks is missing there.
      column: name of the first column, which says the label.

    Returns:
      Table name → table.
    """
    parts: dict[str, list[tuple[str, Table]]] = {}
    for label, of in by_label.items():
        for findings in of:
            for name, table in findings.tables.items():
                parts.setdefault(name, []).append((label, table))
    return {name: _stack(rows, column) for name, rows in parts.items()}


def places(axes: Axes) -> dict[str, NDArray]:
    """Returns columns that name each channel and time, or each feature, in a row."""
    n_channels, n_times = axes.shape
    if not axes.has_times:
        return {"feature": np.array(axes.ch_names)}
    return {
        "channel": np.repeat(axes.ch_names, n_times),
        "time_s": np.tile(axes.times_s, n_channels),
    }


def write_csv(path: pathlib.Path, table: Table) -> None:
    """Writes a table, atomically; what is not a number is written as NA."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(table)
    writer.writerows(zip(*map(_cells, table.values()), strict=True))
    write_text(path, text.getvalue())


def _stack(rows: list[tuple[str, Table]], column: str) -> Table:
    names = dict.fromkeys(name for _, table in rows for name in table)
    lengths = [_length(table) for _, table in rows]
    labels = np.repeat([label for label, _ in rows], lengths)
    columns = {}
    for name in names:
        known = next(table[name] for _, table in rows if name in table)
        missing = "" if np.asarray(known).dtype.kind == "U" else np.nan
        columns[name] = np.concatenate(
            [
                np.asarray(table[name]) if name in table else np.full(n, missing)
                for (_, table), n in zip(rows, lengths, strict=True)
            ]
        )
    return {column: labels, **columns}


def _length(table: Table) -> int:
    return len(next(iter(table.values()), ()))


def _cells(values: NDArray) -> list:
    values = np.asarray(values)
    if values.dtype.kind == "f":
        # As few digits as tell the number from others of its precision.
        return [_MISSING if np.isnan(value) else str(value) for value in values]
    return values.tolist()
