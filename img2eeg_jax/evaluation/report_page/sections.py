"""What the page shows of one part: scores, charts, maps, figures, tables and notes."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from img2eeg_jax.evaluation.figures.figure import Figure
from img2eeg_jax.evaluation.findings import Findings, Table
from img2eeg_jax.evaluation.metrics import METRICS
from img2eeg_jax.evaluation.report_page import columns
from img2eeg_jax.evaluation.report_page.charts import (
    Chart,
    curves_by,
    curves_over,
    heat_map,
)
from img2eeg_jax.evaluation.report_page.pictures import figure_uri
from img2eeg_jax.evaluation.report_page.scalp_maps import ScalpMaps, scalp_maps
from img2eeg_jax.evaluation.report_page.words import PARTS, chance, number, part_title

# Longer tables are in the CSVs alone.
_MAX_ROWS = 80

# What charts are over, and what has a line for each of its values.
_OVER = ("time_s", "set_size", "n_repetitions")
_BY = ("layer", "model", "rdm")


@dataclasses.dataclass(frozen=True)
class Score:
    """A score as a card of the page: all text.

    Attributes:
      label: of the metric.
      value: the number, of several subjects their mean.
      spread: its interval, or the standard error over subjects; "" if unknown.
      chance: what is expected where nothing is true.
      formula: what it is.
    """

    label: str
    value: str
    spread: str
    chance: str
    formula: str


@dataclasses.dataclass(frozen=True)
class Grid:
    """A table of the page: all text.

    Attributes:
      title: in a few words.
      head: (text, whether its column is of numbers).
      rows: (text, what it sorts by) of each cell.
    """

    title: str
    head: Sequence[tuple[str, bool]]
    rows: Sequence[Sequence[tuple[str, Any]]]


@dataclasses.dataclass(frozen=True)
class Picture:
    """A figure of the page, its file within."""

    title: str
    alt_text: str
    uri: str


@dataclasses.dataclass(frozen=True)
class Section:
    """All that the page shows of a part."""

    key: str
    title: str
    intro: str
    scores: Sequence[Score] = ()
    facts: Sequence[tuple[str, str]] = ()
    charts: Sequence[Chart] = ()
    maps: Sequence[ScalpMaps] = ()
    pictures: Sequence[Picture] = ()
    grids: Sequence[Grid] = ()
    notes: Sequence[str] = ()


def section(
    key: str, found: Mapping[Any, Findings], figures: Sequence[Figure], **words: str
) -> Section:
    """Makes a section of what a part found.

    Args:
      key: of the section, unique in the page.
      found: subject → findings of this part.
      figures: those of this part.
      **words: `title` and `intro`, if they are not those of the part.
    """
    part = next(iter(found.values())).part
    charts, maps, grids = [], [], []
    for name in _table_names(found):
        tables = {s: f.tables[name] for s, f in found.items() if name in f.tables}
        charts += _charts(tables)
        if chosen := _maps(tables):
            maps.append(chosen)
        if grid := _grid(name, tables):
            grids.append(grid)
    if len(found) > 1:
        grids.insert(0, _scores_by_subject(found))
    return Section(
        key=key,
        title=words.get("title", part_title(part)),
        intro=words.get("intro", PARTS.get(part, ("", ""))[1]),
        scores=_scores(found),
        facts=_facts(found),
        charts=charts,
        maps=maps,
        pictures=[Picture(f.title, f.alt_text, figure_uri(f.path)) for f in figures],
        grids=grids,
        notes=_notes(found),
    )


def _table_names(found: Mapping[Any, Findings]) -> list[str]:
    return list(dict.fromkeys(name for f in found.values() for name in f.tables))


def _charts(tables: Mapping[Any, Table]) -> list[Chart]:
    """Returns the charts that the columns of a table make sense of."""
    first = next(iter(tables.values()))
    names = columns.metrics_of(first)
    over = [key for key in _OVER if key in first and len(np.unique(first[key])) > 1]
    if not names or not over or "image" in first:
        return []
    by = next((key for key in _BY if key in first), None)
    charts = []
    for key in over:
        rows, where = tables, ""
        # Of two axes, one is shown at the largest value of the other.
        for other in over:
            if other != key:
                most = np.max(first[other])
                rows = {s: columns.rows_where(t, other, most) for s, t in rows.items()}
                where += f", {most:g} {other.removeprefix('n_').replace('_', ' ')}"
        for group in columns.groups_of(names):
            if by is None:
                charts.append(curves_over(key, rows, group, where))
            else:
                charts += [curves_by(by, key, rows, name, where) for name in group]
    if "channel" in first and len(np.unique(first["channel"])) > 1:
        charts.append(heat_map(tables, names[0]))
    return charts


def _maps(tables: Mapping[Any, Table]) -> ScalpMaps | None:
    first = next(iter(tables.values()))
    names = columns.metrics_of(first)
    if not names or not {"channel", "time_s"} <= set(first) or "layer" in first:
        return None
    return scalp_maps(tables, names)


def _scores(found: Mapping[Any, Findings]) -> list[Score]:
    """Returns the scores that are metrics, of several subjects their mean."""
    first = next(iter(found.values())).scores
    names = [n for n in METRICS if n in first and _is_number(first[n])]
    scores = []
    for name in names:
        values = np.array([_float(f.scores.get(name)) for f in found.values()])
        metric = METRICS[name]
        scores.append(
            Score(
                metric.label if metric.against != "all" else metric.short_label,
                number(float(values.mean()) if len(values) > 1 else first[name], name),
                _spread(first, name, values),
                chance(name),
                metric.formula,
            )
        )
    return scores


def _spread(scores: Mapping[str, Any], name: str, values: np.ndarray) -> str:
    if len(values) > 1:
        return f"± {number(float(values.std(ddof=1) / len(values) ** 0.5))} (SE)"
    interval = [scores.get(name + end) for end in (columns.LOW, columns.HIGH)]
    if None in interval:
        return ""
    return "95 % CI {} to {}".format(*(number(end, name) for end in interval))


def _facts(found: Mapping[Any, Findings]) -> list[tuple[str, str]]:
    """Returns single numbers and words that are no metrics: counts and settings."""
    first = next(iter(found.values())).scores
    facts = []
    for name, value in first.items():
        is_end = name.endswith((columns.LOW, columns.HIGH))
        if name in METRICS or is_end or not isinstance(value, int | float | str):
            continue
        values = dict.fromkeys(number(f.scores.get(name)) for f in found.values())
        facts.append((name.replace("_", " "), ", ".join(values)))
    return facts


def _scores_by_subject(found: Mapping[Any, Findings]) -> Grid:
    names = [name for name in METRICS if any(name in f.scores for f in found.values())]
    head = [("subject", False), *((METRICS[n].short_label, True) for n in names)]
    rows = [
        [(str(subject), str(subject)), *(_cell(f.scores.get(n), n) for n in names)]
        for subject, f in found.items()
    ]
    return Grid("Scores by subject", head, rows)


def _grid(name: str, tables: Mapping[Any, Table]) -> Grid | None:
    """Returns a short table as it is; those of several subjects below each other."""
    first = next(iter(tables.values()))
    n_rows = sum(len(next(iter(table.values()))) for table in tables.values())
    if n_rows > _MAX_ROWS or "image" in first or "time_s" in first:
        return None
    is_many = len(tables) > 1
    head = [("subject", False)] if is_many else []
    for column in first:
        is_number = np.asarray(first[column]).dtype.kind in "fiub"
        metric = METRICS.get(column)
        label = metric.short_label if metric else column.replace("_", " ")
        head.append((label, is_number))
    rows = []
    for subject, table in tables.items():
        cells = zip(*(np.asarray(table[c]).tolist() for c in first), strict=True)
        for values in cells:
            row = [_cell(v, c) for v, c in zip(values, first, strict=True)]
            rows.append([(str(subject), str(subject)), *row] if is_many else row)
    return Grid(name.replace("_", " ").capitalize(), head, rows)


def _cell(value: Any, name: str) -> tuple[str, Any]:
    sorts_by = value if isinstance(value, int | float | str) else ""
    return number(value, name), sorts_by


def _notes(found: Mapping[Any, Findings]) -> list[str]:
    """Returns each note once, with whose it is if it is not everybody's."""
    whose: dict[str, list[str]] = {}
    for subject, findings in found.items():
        for note in findings.notes:
            whose.setdefault(note, []).append(str(subject))
    return [
        note if len(of) == len(found) else f"Subject {', '.join(of)}: {note}"
        for note, of in whose.items()
    ]


def _is_number(value: Any) -> bool:
    return value is None or isinstance(value, int | float)


def _float(value: Any) -> float:
    return np.nan if value is None else float(value)
