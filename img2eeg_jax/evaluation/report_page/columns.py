"""Tidy tables by their columns: which hold values, and their means over rows."""

import math
from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from img2eeg_jax.evaluation.findings import Table
from img2eeg_jax.evaluation.metrics import METRICS, Metric

# Columns that say what a row is of; all others are values.
KEYS = (
    "subject",
    "channel",
    "feature",
    "time_s",
    "layer",
    "image",
    "set_size",
    "n_repetitions",
    "rdm",
    "eeg_rdm",
    "model",
)

# Endings of the columns of an interval, and of columns that no figure draws: the ends
# and the spread of a distribution.
LOW, HIGH = "_ci_low", "_ci_high"
ENDS = ("_low", "_high")
_UNDRAWN = ("_low", "_high", "_mean", "_sd")


def metrics_of(table: Table) -> list[str]:
    """Returns the columns that are values of `METRICS`, in its order."""
    return [name for name in METRICS if name in table and _is_numeric(table[name])]


def interval_of(names: Iterable[str], name: str) -> tuple[str, str] | None:
    """Returns the names of a score's interval, if it has one.

    They are NAME_ci_low and NAME_ci_high, or those of the family that NAME starts with,
    as `rsa_ci_low` is of `rsa_spearman`.
    """
    family = name.split("_")[0]
    for stem in (name, family if name == f"{family}_spearman" else name):
        if {stem + LOW, stem + HIGH} <= set(names):
            return stem + LOW, stem + HIGH
    return None


def groups_of(names: Iterable[str]) -> list[list[str]]:
    """Sorts metrics that are drawn into those that compare with each other.

    What images at random score is beside what they are random for. Neither p, nor
    moments, nor ratios that noise sends anywhere are drawn.
    """
    groups: dict[tuple[str, str, str], list[str]] = {}
    for name in names:
        metric = METRICS[name]
        if is_drawn(metric):
            against = metric.against.split(", images at random")[0]
            key = (metric.part, against, metric.unit)
            groups.setdefault(key, []).append(name)
    return list(groups.values())


def is_drawn(metric: Metric) -> bool:
    """Tells whether figures draw a metric: see `groups_of`."""
    is_bounded = all(map(math.isfinite, metric.range))
    return is_bounded and not is_p(metric) and not metric.name.endswith(_UNDRAWN)


def is_p(metric: Metric) -> bool:
    """Tells whether a metric is the p of a test, which no figure draws."""
    return metric.unit.startswith("p")


def mean_by(table: Table, key: str, values: str) -> tuple[NDArray, NDArray[np.float64]]:
    """Averages a column over the rows of each value of another.

    Args:
      table: tidy.
      key: column of what the mean is of.
      values: column of numbers.

    Returns:
      The values of `key`, ascending, and the plain mean of `values` for each, f64; nan
      where one is.
    """
    found, which = np.unique(np.asarray(table[key]), return_inverse=True)
    sums = np.bincount(which, np.asarray(table[values], np.float64))
    return found, sums / np.bincount(which)


def rows_where(table: Table, key: str, value: object) -> Table:
    """Returns the rows of a table that have a value in a column."""
    is_kept = np.asarray(table[key]) == value
    return {name: np.asarray(column)[is_kept] for name, column in table.items()}


def unique(table: Table, key: str) -> list:
    """Returns the values of a column, in the order in which they come first."""
    return list(dict.fromkeys(np.asarray(table[key]).tolist()))


def mean_grid(
    tables: Iterable[Table], keys: Sequence[str], values: str
) -> tuple[list[list], NDArray[np.float64]]:
    """Turns the rows of tables into one array, the mean over tables.

    Args:
      tables: tidy, at most one row for each combination of the keys, in any order.
      keys: columns, one an axis.
      values: column of numbers.

    Returns:
      The values of each key, in the order of the first table, and f64[key, ...]; nan
      where a table has no row.
    """
    first, *others = tables
    axes = [unique(first, key) for key in keys]
    places = [{value: i for i, value in enumerate(axis)} for axis in axes]
    total = np.zeros([len(axis) for axis in axes])
    for table in (first, *others):
        array = np.full(total.shape, np.nan)
        rows = zip(*(np.asarray(table[k]).tolist() for k in keys), strict=True)
        for row, value in zip(rows, np.asarray(table[values]).tolist(), strict=True):
            at = tuple(place.get(of) for place, of in zip(places, row, strict=True))
            if None not in at:
                array[at] = value
        total += array
    return axes, total / (1 + len(others))


def _is_numeric(column: NDArray) -> bool:
    return np.asarray(column).dtype.kind in "fiu"
