"""The table of metrics agrees with what is computed and with the README."""

import dataclasses
import pathlib
import re

from img2eeg_jax.evaluation.encoding import EncodingScores
from img2eeg_jax.evaluation.metrics import METRICS

ROOT = pathlib.Path(__file__).parents[2]


def test_each_score_has_a_row():
    counts = {"n_images", "n_repetitions", "n_splits"}
    fields = {field.name for field in dataclasses.fields(EncodingScores)} - counts
    # The control is no field: it is computed apart.
    assert fields | {"permutation_r"} == set(METRICS)


def test_readme_has_the_same_table():
    lines = (ROOT / "README.md").read_text(encoding="utf-8").splitlines()
    start = lines.index("| name | Pearson r over the test images between |") + 2
    rows = {}
    for line in lines[start:]:
        row = re.fullmatch(r"\| `(\w+)` \| (.*) \|", line)
        if not row:
            break
        rows[row[1]] = row[2]
    assert list(rows.items()) == [(m.name, m.formula) for m in METRICS.values()]


def test_labels_tell_metrics_apart():
    for attribute in ("label", "short_label"):
        labels = [getattr(metric, attribute) for metric in METRICS.values()]
        assert len(set(labels)) == len(labels)
