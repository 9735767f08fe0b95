"""Writes `docs/metrics.md` from the table of metrics.

python -m img2eeg_jax.evaluation.metrics_page > docs/metrics.md
"""

import math
import sys
from collections.abc import Iterator

from img2eeg_jax.evaluation.metrics import METRICS, SUFFIXES, Metric

_HEAD = """# Metrics

Every number that an evaluation gives, by the part that finds it. `metrics.json`, the
CSVs, figures and `report.html` use these names; `evaluation.md` says how to read them.
This page is made from `img2eeg_jax/evaluation/metrics.py`:

    python -m img2eeg_jax.evaluation.metrics_page > docs/metrics.md

Scores of one group, in the column *against*, compare with each other; others do not.
A number that is undefined is `null` in JSON and `NA` in CSVs.
"""

_COLUMNS = ("name", "label", "against", "what", "range", "chance", "unit", "source")


def page() -> str:
    """Returns the page, Markdown."""
    return "\n".join(_lines()) + "\n"


def _lines() -> Iterator[str]:
    yield _HEAD
    parts = dict.fromkeys(metric.part for metric in METRICS.values())
    for part in parts:
        yield f"## {part}\n"
        yield _row(_COLUMNS)
        yield _row(["---"] * len(_COLUMNS))
        for metric in METRICS.values():
            if metric.part == part:
                yield _row(_cells(metric))
        yield ""
    yield "## What a name may end in\n"
    yield _row(("ending", "what"))
    yield _row(["---"] * 2)
    for suffix, what in SUFFIXES.items():
        yield _row((f"`{suffix}`", what))


def _cells(metric: Metric) -> tuple[str, ...]:
    low, high = (_number(end) for end in metric.range)
    chance = metric.chance
    return (
        f"`{metric.name}`",
        metric.label,
        metric.against,
        metric.formula,
        f"{low} to {high}",
        chance if isinstance(chance, str) else _number(chance),
        metric.unit,
        metric.source or "this project",
    )


def _number(value: float) -> str:
    if math.isinf(value):
        return "∞" if value > 0 else "−∞"
    return f"{value:g}".replace("-", "−")


def _row(cells: tuple[str, ...] | list[str]) -> str:
    return f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"


if __name__ == "__main__":
    sys.stdout.write(page())
