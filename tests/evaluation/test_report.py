import pytest

from img2eeg_jax.checkpoints import run_folder
from img2eeg_jax.checkpoints.load import Checkpoint
from img2eeg_jax.evaluation import report
from img2eeg_jax.evaluation.metrics import METRICS


def test_table_of_what_is_known():
    scores = {name: i / 10 for i, name in enumerate(METRICS, 1)}
    del scores["best_possible_r"], scores["best_possible_r_all_repetitions"]
    scores["noise_ceiling_lower"] = None
    summary = {
        "n_images": 20,
        "n_repetitions": 8,
        "ch_names": ["O1", "O2"],
        "window_s": [0.1, 0.2],
        "n_splits": 100,
        "n_permutations": 1000,
        **scores,
    }
    assert report.result_table(summary).splitlines() == [
        "20 test images, 8 repetitions, mean of 2 channels and 100-200 ms",
        "against the mean of half of the repetitions, 100 random halvings:",
        "  encoding r                     0.100",
        "  noise ceiling, lower          undefined",
        "  noise ceiling, upper           0.300",
        "against the mean of all repetitions:",
        "  encoding r                     0.500",
        "images at random, 1000 permutations:",
        "  encoding r, 95th percentile    0.700",
        "  p of encoding r                0.800",
    ]


def test_table_says_whose_network_it_is():
    summary = {"n_images": 20, "n_repetitions": 8, "ch_names": ["O1"]}
    summary |= {"window_s": [0.1, 0.2], "n_splits": 3, "n_permutations": 9}
    summary |= {"subject": 2, "trained_subject": 1, "zscore_subject": 1}
    *_, line = report.result_table(summary).splitlines()
    assert line == "EEG of subject 2, network of subject 1, z-score of subject 1"
    *_, line = report.result_table(summary | {"trained_subject": None}).splitlines()
    assert "network of subject unknown" in line


def test_table_of_one_of_each():
    """One channel is no "1 channels"; one repetition has no halves to score against."""
    counts = {"n_images": 1, "n_repetitions": 1, "n_splits": 0, "n_permutations": 1}
    scores = {"encoding_r": None, "encoding_r_all_repetitions": 0.25}
    summary = {"ch_names": ["O1"], "window_s": [0.1, 0.2], **counts, **scores}
    assert report.result_table(summary).splitlines() == [
        "1 test image, 1 repetition, mean of 1 channel and 100-200 ms",
        "against the mean of all repetitions:",
        "  encoding r                     0.250",
        "images at random, 1 permutation:",
    ]


WEIGHTS = "these are the weights of step 7"


@pytest.mark.parametrize(
    ("epochs", "which", "asked", "line"),
    [
        (0, "last", "best", f"no epoch has ended yet: {WEIGHTS}"),
        (0, "last", "last", f"no epoch has ended yet: {WEIGHTS}"),
        (
            2,
            "last",
            "best",
            f"no epoch could be selected as the best: {WEIGHTS}, the last",
        ),
        (2, "best", "best", None),
        (2, "last", "last", None),
    ],
)
def test_weights_that_are_not_the_best_are_told_of(
    tmp_path, epochs, which, asked, line
):
    run_folder.write_config(tmp_path, {})
    run_folder.write_metrics(tmp_path, [{"epoch": n} for n in range(epochs)])
    lines = []
    loaded = Checkpoint(tmp_path, 7, None, {}, which)
    report._tell_unselected(loaded, asked, lines.append)
    assert lines == [line] * (line is not None)


def test_weights_without_a_run_are_not_spoken_of(tmp_path):
    lines = []
    report._tell_unselected(Checkpoint(tmp_path, 7, None, {}), "best", lines.append)
    assert not lines
