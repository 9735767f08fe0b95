"""docs/reference/metrics.md is what the table of metrics makes."""

import pathlib
import re

from img2eeg_jax.evaluation.metrics import METRICS, SUFFIXES
from img2eeg_jax.evaluation.metrics_page import page

PATH = pathlib.Path(__file__).parents[2] / "docs" / "reference" / "metrics.md"


def test_the_page_is_current():
    """Else write it anew, as it says at its head."""
    assert PATH.read_text(encoding="utf-8") == page()


def test_each_metric_has_a_whole_row():
    rows = re.findall(r"^\| `(\w+)` \|(.*)\|$", page(), re.MULTILINE)
    assert [name for name, _ in rows] == [*METRICS, *SUFFIXES]
    for name, cells in rows[: len(METRICS)]:
        assert len(re.split(r"(?<!\\)\|", cells)) == 7, name
