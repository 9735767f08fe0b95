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
    # What images at random would score is computed apart.
    assert fields | {"permutation_p", "permutation_r_95"} == set(METRICS)


def test_readme_has_the_same_table():
    lines = (ROOT / "README.md").read_text(encoding="utf-8").splitlines()
    start = (
        lines.index("| name | repetitions | Pearson r over the test images of |") + 2
    )
    rows = {}
    for line in lines[start:]:
        row = re.fullmatch(r"\| `(\w+)` \| (.*) \| (.*) \|", line)
        if not row:
            break
        rows[row[1]] = row[2], row[3]
    expected = {m.name: (m.against, m.formula) for m in METRICS.values()}
    assert list(rows.items()) == list(expected.items())


def test_labels_tell_metrics_apart():
    for attributes in (["label", "against"], ["short_label"]):
        labels = [
            tuple(getattr(metric, attribute) for attribute in attributes)
            for metric in METRICS.values()
        ]
        assert len(set(labels)) == len(labels)
