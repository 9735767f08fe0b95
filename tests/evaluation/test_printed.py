import pytest

from img2eeg_jax.checkpoints import run_folder
from img2eeg_jax.checkpoints.description import Description
from img2eeg_jax.checkpoints.load import Checkpoint
from img2eeg_jax.evaluation import printed, run
from img2eeg_jax.evaluation.evaluation import Evaluation
from img2eeg_jax.evaluation.findings import Findings
from img2eeg_jax.evaluation.metrics import METRICS

COUNTS = {
    "n_images": 20,
    "n_repetitions": 8,
    "ch_names": ["O1", "O2"],
    "window_s": [0.1, 0.2],
    "n_splits": 100,
    "n_permutations": 1000,
}


def test_table_of_what_is_known():
    names = [name for name, metric in METRICS.items() if metric.part == "encoding"]
    scores = {name: 0.1 for name in names}
    scores |= {"encoding_r": 0.25, "noise_ceiling_lower": None, "permutation_p": 0.01}
    del scores["best_possible_r"], scores["best_possible_r_all_repetitions"]
    lines = printed.encoding_table(COUNTS | scores).splitlines()
    head = "20 test images, 8 repetitions, mean of 2 channels and 100-200 ms"
    assert lines[0] == head
    assert "against the mean of half of the repetitions, 100 random halvings:" in lines
    assert "  encoding r                     0.250" in lines
    assert "  noise ceiling, lower          undefined" in lines
    assert not [line for line in lines if "best possible" in line]
    assert "images at random, 1000 permutations:" in lines
    assert "  p of encoding r                0.010" in lines


def test_table_of_one_of_each():
    """One channel is no "1 channels"; one repetition has no halves to score against."""
    counts = {"n_images": 1, "n_repetitions": 1, "n_splits": 0, "n_permutations": 1}
    scores = {"encoding_r": None, "encoding_r_all_repetitions": 0.25}
    scores |= {"permutation_p": 0.5, "onset_s": 0.08}
    scores |= {"onset_s_ci_low": 0.07, "onset_s_ci_high": 0.1}
    summary = {"ch_names": ["O1"], "window_s": [0.1, 0.2], **counts, **scores}
    lines = printed.encoding_table(summary).splitlines()
    assert lines[:3] == [
        "1 test image, 1 repetition, mean of 1 channel and 100-200 ms",
        "against the mean of all repetitions:",
        "  encoding r                     0.250",
    ]
    assert "images at random, 1 permutation:" in lines
    assert not [line for line in lines if "half" in line]
    assert lines[-1] == "  onset                          0.080  [0.070, 0.100]"


def scored(**whose):
    scores = {"encoding_r": 0.25}
    checks = {"epoch": {"state": "red", "question": "Q?", "reason": "because"}}
    parts = {
        "encoding": Findings("encoding", COUNTS | scores),
        "leaks": Findings("leaks", {"verdict": "red", "checks": checks}),
    }
    return parts, {"scored": whose}


def test_table_says_whose_network_it_is_and_what_leaked():
    parts, protocol = scored(subject=2, trained_subject=1, zscore_subject=None)
    text = printed.result_table(Evaluation("demo", {2: parts}, {2: protocol}))
    line = "EEG of subject 2, network of subject 1, z-score of subject unknown"
    assert line in text.splitlines()
    assert text.endswith("leak audit: red\n  red      Q? because")


def test_table_of_several():
    parts, protocol = scored(subject=1)
    several = {whose: parts for whose in (1, 2)}
    group = {"encoding": Findings("encoding", {"encoding_r": 0.5})}
    protocols = {whose: protocol for whose in several}
    comparison = Findings("encoding", {"encoding_r": -0.125})
    found = Evaluation("demo", several, protocols, group, {"a against b": comparison})
    lines = printed.result_table(found).splitlines()
    assert [line for line in lines if line.startswith("subject ")] == [
        "subject 1",
        "subject 2",
    ]
    start = lines.index("2 subjects together")
    assert lines[start + 1 : start + 3] == [
        "encoding:",
        "  encoding r                     0.500",
    ]
    assert lines[-2:] == ["a against b", "  encoding r                    -0.125"]


def test_networks_that_are_compared_are_no_subjects():
    parts, protocol = scored(subject=1)
    found = Evaluation(
        "a and b",
        {"a": parts, "b": parts},
        dict.fromkeys("ab", protocol),
        comparisons={"a against b": Findings("encoding", {"encoding_r": 0.0})},
    )
    lines = printed.result_table(found).splitlines()
    assert [line for line in lines if line in ("network a", "network b")]
    assert "subject a" not in lines


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
    loaded = Checkpoint(tmp_path, 7, Description("realnet", {}, 32), {}, which)
    run._tell_weights(loaded, asked, lines.append)
    assert lines == [line] * (line is not None)


def test_weights_without_a_run_are_not_spoken_of(tmp_path):
    lines = []
    run._tell_weights(Checkpoint(tmp_path, 7, None, {}), "best", lines.append)
    assert not lines


def test_rdms_from_files_have_a_line_a_layer():
    scores = {"rsa_spearman": 0.25, "rsa_spearman_ci_low": 0.1}
    layers = {"V1": scores | {"rsa_spearman_ci_high": 0.5}, "IT": scores}
    found = {"rsa_files": Findings("rsa_files", {"per_file": {"monkey_it": layers}})}
    lines = printed.result_table(
        Evaluation("demo", {1: found}, {1: {"scored": {}}})
    ).split("\n")
    place = lines.index("RSA, Spearman with monkey_it:")
    assert [line.split() for line in lines[place + 1 : place + 3]] == [
        ["V1", "0.250", "[0.100,", "0.500]"],
        ["IT", "0.250"],
    ]
