"""What the page shows of one part: scores, charts, maps, figures, tables and notes."""

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
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
from img2eeg_jax.evaluation.report_page.words import (
    PARTS,
    chance,
    formula,
    number,
    part_title,
)

# Longer tables are in the CSVs alone.
_MAX_ROWS = 80

# Columns that charts are over, and columns that have a line for each of their values.
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
    key: str,
    found: Mapping[Any, Findings],
    figures: Sequence[Figure],
    *,
    whose: str = "subject",
    **words: str,
) -> Section:
    """Makes a section of what a part found.

    Args:
      key: of the section, unique in the page.
      found: subject → findings of this part.
      figures: those of this part.
      whose: "subject"; or "network", of which no means are made.
      **words: `title` and `intro`, if they are not those of the part.
    """
    part = next(iter(found.values())).part
    charts, maps, grids = [], [], []
    drawn: set[str] = set()
    for name in _table_names(found):
        tables = {s: f.tables[name] for s, f in found.items() if name in f.tables}
        for where, some in _apart(tables, whose):
            charts += _charts(some, where, drawn)
            if chosen := _maps(some, where):
                maps.append(chosen)
        if grid := _grid(name, tables, whose):
            grids.append(grid)
    if len(found) > 1 and (scores := _scores_by_subject(found, whose)).head[1:]:
        grids.insert(0, scores)
    return Section(
        key=key,
        title=words.get("title", part_title(part)),
        intro=words.get("intro", PARTS.get(part, ("", ""))[1]),
        scores=_scores(found, whose),
        facts=_facts(found),
        charts=charts,
        maps=maps,
        pictures=[Picture(f.title, f.alt_text, figure_uri(f.path)) for f in figures],
        grids=grids,
        notes=_notes(found, whose),
    )


def _apart(
    tables: Mapping[Any, Table], whose: str
) -> Iterator[tuple[str, Mapping[Any, Table]]]:
    """Yields what is drawn by itself: each network, each kind of measured RDM."""
    for label, some in (
        [("", tables)] if whose == "subject" else _each_alone(tables).items()
    ):
        first = next(iter(some.values()))
        for kind in columns.unique(first, "eeg_rdm") if "eeg_rdm" in first else [""]:
            where = "".join(f", {of}" for of in (label, kind) if of)
            rows = some
            if kind:
                rows = {
                    s: columns.rows_where(t, "eeg_rdm", kind) for s, t in some.items()
                }
            yield where, rows


def _each_alone(tables: Mapping[Any, Table]) -> dict[str, Mapping[Any, Table]]:
    return {
        str(name) if len(tables) > 1 else "": {name: table}
        for name, table in tables.items()
    }


def _table_names(found: Mapping[Any, Findings]) -> list[str]:
    """Returns the tables, those of channels last: means of them bring intervals."""
    names = dict.fromkeys(name for f in found.values() for name in f.tables)
    columns_of = {name: of for f in found.values() for name, of in f.tables.items()}
    return sorted(names, key=lambda name: "channel" in columns_of[name])


def _charts(tables: Mapping[Any, Table], where: str, drawn: set[str]) -> list[Chart]:
    """Returns the charts that the columns of a table make sense of.

    Args:
      tables: subject → table.
      where: of which rows, in words.
      drawn: titles of charts that the page has; added to.
    """
    first = next(iter(tables.values()))
    names = columns.metrics_of(first)
    over = [key for key in _OVER if key in first and len(np.unique(first[key])) > 1]
    if not names or not over or "image" in first:
        return []
    by = next((key for key in _BY if key in first), None)
    charts = []
    for key in over:
        rows, of_rows = tables, where
        # Of two axes, one is shown at the largest value of the other.
        for other in over:
            if other != key:
                most = np.max(first[other])
                rows = {s: columns.rows_where(t, other, most) for s, t in rows.items()}
                spoken = other.removeprefix("n_").replace("_", " ")
                of_rows += f", {spoken} {most:g}"
        for group in columns.groups_of(names):
            if by is None:
                charts.append(curves_over(key, rows, group, of_rows))
            else:
                charts.append(curves_by(by, key, rows, group[0], of_rows))
    is_many = "channel" in first and len(np.unique(first["channel"])) > 1
    if is_many and "time_s" in over and columns.is_drawn(METRICS[names[0]]):
        charts.append(heat_map(tables, names[0], where))
    # Means over channels may come in a table of their own, before or after.
    new = [chart for chart in charts if chart.title not in drawn]
    drawn |= {chart.title for chart in new}
    return new


def _maps(tables: Mapping[Any, Table], where: str) -> ScalpMaps | None:
    first = next(iter(tables.values()))
    names = [n for n in columns.metrics_of(first) if columns.is_drawn(METRICS[n])]
    if not names or not {"channel", "time_s"} <= set(first) or "layer" in first:
        return None
    return scalp_maps(tables, names, where)


def _scores(found: Mapping[Any, Findings], whose: str) -> list[Score]:
    """Returns the scores that are metrics, of several subjects their mean."""
    first = next(iter(found.values())).scores
    names = [n for n in METRICS if n in first and not n.endswith(columns.ENDS)]
    scores = []
    for name in names:
        if isinstance(first[name], Mapping):
            scores += _highest(found, name)
        elif _is_number(first[name]):
            metric = METRICS[name]
            # The mean of p is the p of nothing.
            if len(found) > 1 and columns.is_p(metric):
                continue
            value, spread = _value(found, name, whose)
            is_all = metric.against == "all"
            label = metric.short_label if is_all else metric.label
            scores.append(Score(label, value, spread, chance(name), formula(name)))
    return scores


def _value(found: Mapping[Any, Findings], name: str, whose: str) -> tuple[str, str]:
    """Returns a score and its spread, in words."""
    values = [f.scores.get(name) for f in found.values()]
    if len(values) == 1:
        scores = next(iter(found.values())).scores
        ends = columns.interval_of(scores, name)
        interval = scores.get(f"{name}_ci") or [scores[end] for end in ends or ()]
        if not interval or None in interval:
            return number(values[0], name), ""
        low, high = (number(end, name) for end in interval)
        return number(values[0], name), f"95 % CI {low} to {high}"
    if whose == "network":
        return " · ".join(number(v, name) for v in values), " · ".join(map(str, found))
    numbers = np.array([_float(value) for value in values])
    if np.isnan(numbers).any():
        return number(None), f"in {np.isnan(numbers).sum()} of {len(numbers)} subjects"
    error = numbers.std(ddof=1) / len(numbers) ** 0.5
    return (
        number(float(numbers.mean()), name),
        f"± {number(float(error))} SE, mean of {len(numbers)} subjects",
    )


def _highest(found: Mapping[Any, Findings], name: str) -> list[Score]:
    """Returns the highest of a metric that each layer has, for each measured RDM.

    Only of similarity itself: the rest is in the table.
    """
    if not name.endswith("_spearman"):
        return []
    scores = []
    for kind in next(iter(found.values())).scores[name]:
        by_layer: dict[str, list[float]] = {}
        for findings in found.values():
            for layer, value in findings.scores[name].get(kind, {}).items():
                by_layer.setdefault(layer, []).append(_float(value))
        means = {layer: float(np.mean(of)) for layer, of in by_layer.items()}
        means = {layer: mean for layer, mean in means.items() if np.isfinite(mean)}
        if means:
            best = max(means, key=means.__getitem__)
            label = f"{METRICS[name].label}: {kind}"
            spread = f"{best}, the highest of {len(by_layer)}"
            value = number(means[best], name)
            scores.append(Score(label, value, spread, chance(name), formula(name)))
    return scores


def _facts(found: Mapping[Any, Findings]) -> list[tuple[str, str]]:
    """Returns single numbers and words that are no metrics: counts and settings."""
    first = next(iter(found.values())).scores
    facts = []
    for name, value in first.items():
        is_end = name.endswith(columns.ENDS)
        if name in METRICS or is_end or not isinstance(value, int | float | str):
            continue
        values = dict.fromkeys(number(f.scores.get(name)) for f in found.values())
        facts.append((_spoken(name), ", ".join(values)))
    return facts


def _scores_by_subject(found: Mapping[Any, Findings], whose: str) -> Grid:
    scores = [f.scores for f in found.values()]
    names = [
        name for name in METRICS if any(_is_number(of.get(name, "")) for of in scores)
    ]
    head = [(whose, False), *((METRICS[n].short_label, True) for n in names)]
    rows = [
        [(str(subject), str(subject)), *(_cell(f.scores.get(n), n) for n in names)]
        for subject, f in found.items()
    ]
    return Grid(f"Scores by {whose}", head, rows)


def _grid(name: str, tables: Mapping[Any, Table], whose: str) -> Grid | None:
    """Returns a short table as it is; those of several subjects below each other."""
    first = next(iter(tables.values()))
    n_rows = sum(len(next(iter(table.values()))) for table in tables.values())
    if n_rows > _MAX_ROWS or "image" in first or "time_s" in first:
        return None
    is_many = len(tables) > 1
    head = [(whose, False)] if is_many else []
    for column in first:
        is_number = np.asarray(first[column]).dtype.kind in "fiub"
        label = _column_label(column)
        head.append((label, is_number))
    rows = []
    for subject, table in tables.items():
        cells = zip(*(np.asarray(table[c]).tolist() for c in first), strict=True)
        for values in cells:
            row = [_cell(v, c) for v, c in zip(values, first, strict=True)]
            rows.append([(str(subject), str(subject)), *row] if is_many else row)
    return Grid(_title(name), head, rows)


def _cell(value: Any, name: str) -> tuple[str, Any]:
    sorts_by = value if isinstance(value, int | float | str) else ""
    return number(value, name), sorts_by


def _notes(found: Mapping[Any, Findings], whose: str) -> list[str]:
    """Returns each note once, with whose it is if it is not everybody's."""
    by_note: dict[str, list[str]] = {}
    for subject, findings in found.items():
        for note in findings.notes:
            by_note.setdefault(note, []).append(str(subject))
    return [
        note
        if len(of) == len(found)
        else f"{whose.capitalize()} {', '.join(of)}: {note}"
        for note, of in by_note.items()
    ]


def _column_label(column: str) -> str:
    """Returns a column's heading: of a metric, or of an end of its interval."""
    for end, words in (("", ""), (columns.LOW, ", CI from"), (columns.HIGH, ", CI to")):
        metric = METRICS.get(column.removesuffix(end))
        if column.endswith(end) and metric:
            return metric.short_label + words
    return _spoken(column)


def _spoken(name: str) -> str:
    """Returns a name that is no metric's as words: n_images are images."""
    return name.removeprefix("n_").replace("_", " ")


def _title(name: str) -> str:
    spoken = _spoken(name)
    return (spoken[:1].upper() + spoken[1:]).replace("Rsa", "RSA")


def _is_number(value: Any) -> bool:
    return value is None or isinstance(value, int | float)


def _float(value: Any) -> float:
    return np.nan if value is None else float(value)
