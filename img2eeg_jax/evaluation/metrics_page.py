"""Writes `docs/reference/metrics.md` from the table of metrics.

python -m img2eeg_jax.evaluation.metrics_page > docs/reference/metrics.md
"""

import math
import sys
from collections.abc import Iterator

from img2eeg_jax.evaluation.metrics import METRICS, SUFFIXES, Metric

_HEAD = """# Metrics

Every number that an evaluation gives, by the part that finds it. `metrics.json`, the
CSVs, figures and `report.html` use these names; [how to read an
evaluation](../concepts/evaluation.md) says what they mean.
This page is made from `img2eeg_jax/evaluation/metrics.py`:

    python -m img2eeg_jax.evaluation.metrics_page > docs/reference/metrics.md

## How they are made

- Of one subject `_ci_low` and `_ci_high` are the bootstrap's: images are drawn with
  replacement, 1,000 times, and percentiles of the scores are taken, as much further out
  as Student's t is than the normal distribution (Hesterberg 2015, Am Stat 69:371-386).
  In 2,000 simulated data sets they held the true `encoding_r`,
  `encoding_r_all_repetitions` and `noise_ceiling_lower` in 94 to 95 %, of 40 images and
  of 200.
- An onset is the first time, from image onset on, from which r, averaged over
  channels, is above `latency_threshold_r` for 2 samples in a row; the peak is the time
  at which it is largest. Their intervals are wide: in 500 simulated data sets, of a
  response that peaks at 100 ms and samples every 10 ms, they held the truth in 99.8 %.
  Where more than 2.5 % of the draws have no onset, the upper end is undefined.
- Averages of r over channels and times are plain means. `noise_normalised_r` and
  `explained_fraction` of an average are made of the averages of r and of the lower
  ceiling: where channels and times differ in reliability they are too low, rather than
  too high.

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
