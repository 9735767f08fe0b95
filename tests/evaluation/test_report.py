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
