from img2eeg_jax.evaluation import report
from img2eeg_jax.evaluation.metrics import METRICS


def test_table_of_what_is_known():
    scores = {name: i / 10 for i, name in enumerate(METRICS, 1)}
    del scores["best_possible_r"]
    scores["noise_ceiling_lower"] = None
    summary = {
        "n_images": 20,
        "n_repetitions": 8,
        "ch_names": ["O1", "O2"],
        "window_s": [0.1, 0.2],
        **scores,
    }
    assert report.result_table(summary).splitlines() == [
        "20 test images, 8 repetitions, mean of 2 channels and 100-200 ms",
        "  encoding r                     0.100",
        "  encoding r, all repetitions    0.200",
        "  noise ceiling, lower          undefined",
        "  noise ceiling, upper           0.400",
        "  permutation control            0.500",
    ]


def test_table_says_whose_network_it_is():
    summary = {"n_images": 20, "n_repetitions": 8, "ch_names": ["O1"]}
    summary |= {"window_s": [0.1, 0.2], "n_splits": 3, "n_permutations": 9}
    summary |= {"subject": 2, "trained_subject": 1, "zscore_subject": 1}
    *_, line = report.result_table(summary).splitlines()
    assert line == "EEG of subject 2, network of subject 1, z-score of subject 1"
    *_, line = report.result_table(summary | {"trained_subject": None}).splitlines()
    assert "network of subject unknown" in line


def test_table_of_one_channel():
    summary = {"n_images": 20, "n_repetitions": 8, "ch_names": ["O1"]}
    table = report.result_table(summary | {"window_s": [0.1, 0.2]})
    assert table == "20 test images, 8 repetitions, mean of 1 channel and 100-200 ms"
