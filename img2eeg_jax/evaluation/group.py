"""What holds over several subjects: means, their spread, and tests against chance."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

from img2eeg_jax.evaluation.findings import Findings, NotApplicable, Table
from img2eeg_jax.evaluation.metrics import METRICS, RANDOM, SUFFIXES, TIME
from img2eeg_jax.evaluation.statistics import false_discovery, sign_flip_p
from img2eeg_jax.evaluation.summary import plain

# Parts in which a negative score counts as much as a positive one.
_TWO_SIDED = ("comparison",)

CLUSTER_NOTE = (
    "A cluster's p is of the cluster as a whole: it does not say in which channels or "
    "at which times there is an effect (Sassenhagen & Draschkow 2019)."
)


def group(findings: Mapping[int | str, Findings]) -> Findings:
    """Averages a part's scores over subjects, and tests them against chance.

    p of a score is by sign flips, which of n subjects is at least 2^-n; of a table's
    first score there are clusters of channels and times, too. Of `compare`'s findings
    both sides count.

    Args:
      findings: subject → what one part found of it.

    Returns:
      Findings with the scores and tables that subjects have in common. Under a metric's
      name is its mean over subjects, beside it `_se`, `_ci_low` and `_ci_high` (t) and
      `_p`, in tables `_p_fdr` and of the first score `_cluster_p`: see
      `metrics.SUFFIXES`.

    Raises:
      NotApplicable: there are fewer than 2 subjects, or they have no score in common.
    """
    one, *others = findings.values()
    if not others:
        raise NotApplicable("one subject has no spread over subjects")
    everyone = [one, *others]
    is_two_sided = one.part in _TWO_SIDED
    scores = _merged([of.scores for of in everyone], is_two_sided)
    tables, notes = {}, []
    for name in one.tables:
        of_name = [of.tables[name] for of in everyone if name in of.tables]
        if len(of_name) == len(everyone) and _have_same_rows(of_name):
            tables[name] = _group_table(of_name, is_two_sided)
        else:
            notes.append(f"Subjects differ in the rows of {name}: no means of it.")
    if not tables and not any(name in METRICS for name in scores):
        raise NotApplicable("subjects have no score in common")
    scores = {"n_subjects": len(everyone), "subjects": [*map(str, findings)], **scores}
    clusters = {
        name: float(np.min(values))
        for table in tables.values()
        for name, values in table.items()
        if name.endswith("_cluster_p") and np.isfinite(values).all()
    }
    if clusters:
        notes.append(CLUSTER_NOTE)
    return Findings(
        one.part, scores=scores | clusters, tables=tables, notes=tuple(notes)
    )


def over_subjects(
    values: ArrayLike, chance: float | None, *, is_two_sided: bool = False
) -> dict[str, NDArray[np.float64]]:
    """Describes a score over subjects.

    Args:
      values: f[subject, ...], nan where it is undefined.
      chance: what to test against; None for no test.
      is_two_sided: whether below chance counts as much as above.

    Returns:
      Suffix of the name → f64[...]: "" the mean, "_se" its standard error, "_ci_low"
      and "_ci_high" (Student's t), and "_p" (sign flips).
    """
    values = np.asarray(values, np.float64)
    n = len(values)
    mean = values.mean(axis=0)
    error = values.std(axis=0, ddof=1) / np.sqrt(n)
    reach = stats.t.isf(0.025, n - 1) * error
    described = {
        "": mean,
        "_se": error,
        "_ci_low": mean - reach,
        "_ci_high": mean + reach,
    }
    if chance is not None:
        described["_p"] = sign_flip_p(values - chance, is_two_sided=is_two_sided)
    return described


def _merged(scores: Sequence[Mapping[str, Any]], is_two_sided: bool) -> dict[str, Any]:
    """Merges what `metrics.json` holds of subjects: means, and all that is equal.

    Counts that differ become the smallest of them.
    """
    merged: dict[str, Any] = {}
    for name in scores[0]:
        if not all(name in of for of in scores):
            continue
        values = [of[name] for of in scores]
        if isinstance(values[0], Mapping):
            merged[name] = _merged(values, is_two_sided)
        elif _is_averaged(name) and _are_numbers(values):
            described = over_subjects(
                np.array(values, np.float64), _chance(name), is_two_sided=is_two_sided
            )
            for suffix, of in described.items():
                merged[name + suffix] = plain(of)
        elif _metric_of(name) is not None:
            continue
        elif all(value == values[0] for value in values):
            merged[name] = values[0]
        elif name.startswith("n_"):
            merged[name] = min(values)
    return merged


def _metric_of(name: str) -> str | None:
    """Returns the metric whose name, or name with a suffix, this is."""
    known = (metric for metric in METRICS if f"{name}_".startswith(f"{metric}_"))
    return max(known, key=len, default=None)


def _is_averaged(name: str) -> bool:
    """Tells whether it is a metric; a mean of p, or of ends of intervals, is none."""
    if name not in METRICS or name.endswith(tuple(SUFFIXES)):
        return False
    return not METRICS[name].unit.startswith("p,")


def _are_numbers(values: Sequence[Any]) -> bool:
    flat = [one for of in values for one in (of if isinstance(of, list) else [of])]
    is_number = (one is None or isinstance(one, int | float) for one in flat)
    shapes = {len(of) if isinstance(of, list) else None for of in values}
    return all(is_number) and len(shapes) == 1


def _chance(name: str) -> float | None:
    metric = METRICS[name]
    if isinstance(metric.chance, str) or metric.against in (RANDOM, TIME):
        return None
    return metric.chance


def _keys(table: Table) -> list[str]:
    return [name for name in table if _metric_of(name) is None]


def _have_same_rows(tables: Sequence[Table]) -> bool:
    keys = _keys(tables[0])
    return bool(keys) and all(
        _keys(table) == keys
        and all(np.array_equal(table[key], tables[0][key]) for key in keys)
        for table in tables
    )


def _group_table(tables: Sequence[Table], is_two_sided: bool) -> Table:
    """Returns a table of means over subjects, with the rows that all of them have."""
    columns = {key: np.asarray(tables[0][key]) for key in _keys(tables[0])}
    is_first = True
    for name in tables[0]:
        if not _is_averaged(name) or not all(name in table for table in tables):
            continue
        values = np.array([table[name] for table in tables], np.float64)
        chance = _chance(name)
        described = over_subjects(values, chance, is_two_sided=is_two_sided)
        if chance is not None:
            described["_p_fdr"] = false_discovery(described["_p"])
        is_whole = np.isfinite(values).all()
        if is_first and chance is not None and is_whole and "time_s" in columns:
            is_first = False
            described["_cluster_p"] = _clusters(values - chance, columns, is_two_sided)
        columns |= {name + suffix: of for suffix, of in described.items()}
    return columns


def _clusters(
    values: NDArray[np.float64], keys: Mapping[str, NDArray], is_two_sided: bool
) -> NDArray[np.float64]:
    """Returns f64[row], p of the cluster that each row is in.

    Rows of other keys, such as layers, have clusters of their own.

    Args:
      values: f64[subject, row], minus chance.
      keys: the columns that tell rows apart; a row a channel, if there are channels,
        and time, times last.
      is_two_sided: whether negative clusters count.
    """
    # Imported here: MNE is slow to import.
    from img2eeg_jax.evaluation.clusters import cluster_p

    others = [key for key in keys if key not in ("channel", "time_s")]
    labels = np.full(values.shape[1], "")
    for key in others:
        labels = np.char.add(labels, [f"|{one}" for one in keys[key]])
    p = np.empty(values.shape[1])
    for label in dict.fromkeys(labels.tolist()):
        rows = np.flatnonzero(labels == label)
        of = values[:, rows]
        if "channel" in keys:
            ch_names = [*dict.fromkeys(np.asarray(keys["channel"])[rows].tolist())]
            of = of.reshape(len(of), len(ch_names), -1)
            p[rows] = cluster_p(of, ch_names, is_two_sided=is_two_sided).ravel()
        else:
            p[rows] = cluster_p(of, is_two_sided=is_two_sided)
    return p
