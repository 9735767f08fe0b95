"""The table of metrics agrees with what is computed and with the manual."""

import dataclasses
import pathlib
import re

from img2eeg_jax.evaluation.encoding import EncodingScores
from img2eeg_jax.evaluation.metrics import METRICS

ROOT = pathlib.Path(__file__).parents[2]


def test_each_score_has_a_row():
    counts = {"n_images", "n_repetitions", "n_splits"}
    fields = {field.name for field in dataclasses.fields(EncodingScores)} - counts
    assert fields <= set(METRICS)
    assert {METRICS[name].part for name in fields} == {"encoding"}


def test_the_page_on_evaluations_has_the_same_table():
    page = ROOT / "docs" / "concepts" / "evaluation.md"
    lines = page.read_text(encoding="utf-8").splitlines()
    start = (
        lines.index("| name | repetitions | Pearson r over the test images of |") + 2
    )
    rows = {}
    for line in lines[start:]:
        row = re.fullmatch(r"\| `(\w+)` \| (.*) \| (.*) \|", line)
        if not row:
            break
        rows[row[1]] = row[2], row[3]
    assert {"encoding_r", "noise_ceiling_lower", "permutation_p"} <= set(rows)
    expected = {name: (METRICS[name].against, METRICS[name].formula) for name in rows}
    assert rows == expected


def test_labels_tell_metrics_apart():
    for attributes in (["label", "against"], ["short_label"]):
        labels = [
            tuple(getattr(metric, attribute) for attribute in attributes)
            for metric in METRICS.values()
        ]
        assert len(set(labels)) == len(labels)
