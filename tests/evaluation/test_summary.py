"""Averages over channels and a window."""

import json
from dataclasses import replace

import numpy as np
import pytest

from img2eeg_jax.axes import Axes
from img2eeg_jax.errors import InputError
from img2eeg_jax.evaluation.encoding import EncodingScores
from img2eeg_jax.evaluation.permutations import PermutationTest
from img2eeg_jax.evaluation.summary import Evidence, summarise


def numbered_scores(n_channels, n_times):
    """Scores whose `encoding_r` counts 0, 1, 2, ... and the others are multiples.

    In the permutation test each of two images is predicted as it is, and the random
    assignments are the true one and one that swaps them.
    """
    r = np.arange(n_channels * n_times, dtype=float).reshape(n_channels, n_times)
    scores = EncodingScores(
        encoding_r=r,
        encoding_r_all_repetitions=2 * r,
        noise_ceiling_lower=3 * r,
        noise_ceiling_upper=4 * r,
        reliability=7 * r,
        noise_normalised_r=8 * r,
        explained_fraction=9 * r,
        best_possible_r=5 * r,
        best_possible_r_all_repetitions=6 * r,
        n_images=20,
        n_repetitions=8,
        n_splits=100,
    )
    unit = np.tile([[[1.0]], [[-1.0]]], r.shape) / np.sqrt(2)
    return scores, PermutationTest(unit, r * unit, np.array([[0, 1], [0, 1], [1, 0]]))


def test_summary_of_hand_computed_numbers():
    scores, test = numbered_scores(2, 4)
    summary = summarise(
        Evidence(scores, test),
        Axes(["O1", "O2"], [0.0, 0.1, 0.2, 0.3]),
        window_s=(0.2, 0.3),
    )
    assert json.loads(json.dumps(summary, allow_nan=False)) == summary
    # r is [[0, 1, 2, 3], [4, 5, 6, 7]], of which the window holds the last two columns.
    assert summary["encoding_r"] == 4.5
    # The scores of the assignments are 4.5, 4.5 and -4.5.
    assert summary["permutation_p"] == pytest.approx(2 / 3)
    assert summary["permutation_r_95"] == pytest.approx(4.5 - 0.05 * 9)
    assert summary["per_channel"]["O1"]["permutation_r_95"] == pytest.approx(2.25)
    assert summary["per_time"]["permutation_r_95"] == pytest.approx(
        [1.8, 2.7, 3.6, 4.5]
    )
    assert summary["n_permutations"] == 2
    assert summary["best_possible_r"] == 22.5
    assert summary["per_channel"]["O1"]["encoding_r"] == 2.5
    assert summary["per_channel"]["O2"]["noise_ceiling_upper"] == 26
    assert summary["per_time"]["encoding_r_all_repetitions"] == [4, 6, 8, 10]
    assert summary["per_time"]["times_s"] == [0.0, 0.1, 0.2, 0.3]
    assert summary["window_s"] == summary["window_s_requested"] == [0.2, 0.3]
    assert summary["ch_names"] == ["O1", "O2"]
    counts = summary["n_splits"], summary["n_images"], summary["n_repetitions"]
    assert counts == (100, 20, 8)


def test_summary_omits_an_unknown_best_possible_r():
    scores, test = numbered_scores(1, 2)
    scores = replace(scores, best_possible_r=None, best_possible_r_all_repetitions=None)
    summary = summarise(Evidence(scores, test), Axes(["mean"], [0.1, 0.2]))
    for values in (summary, summary["per_channel"]["mean"], summary["per_time"]):
        assert not [name for name in values if name.startswith("best_possible")]


def test_summary_gives_none_for_nan():
    scores, test = numbered_scores(2, 2)
    scores.encoding_r[1, 1] = test.target[:, 1, 1] = np.nan
    summary = summarise(Evidence(scores, test), Axes(["O1", "O2"], [0.1, 0.2]))
    assert summary["encoding_r"] is None
    assert summary["per_channel"]["O1"]["encoding_r"] == 0.5
    assert summary["per_channel"]["O2"]["encoding_r"] is None
    assert summary["per_time"]["encoding_r"] == [1, None]
    assert summary["permutation_p"] is None
    assert summary["per_time"]["permutation_p"][1] is None
    json.dumps(summary, allow_nan=False)


@pytest.mark.parametrize(
    ("times_s", "window_s", "used"),
    [
        # 100 Hz as the official files store it: both ends belong to the window.
        (np.linspace(-0.2, 0.79, 100), (0.1, 0.3), (0.1, 0.3)),
        (np.arange(-0.2, 0.8, 0.01), (0.1, 0.3), (0.1, 0.3)),
        # 250 Hz: 0.1 and 0.3 are no samples here, 0.102 and 0.298 are the nearest in.
        (np.arange(-0.202, 0.8, 0.004), (0.1, 0.3), (0.102, 0.298)),
        # The nearest samples are 1 ms outside, less than half a sample.
        (np.arange(-0.201, 0.8, 0.004), (0.1, 0.301), (0.099, 0.299)),
        # EEG ends before the window does, or starts after.
        (np.arange(0, 20) / 100, (0.1, 0.3), (0.1, 0.19)),
        (np.arange(20, 40) / 100, (0.1, 0.3), (0.2, 0.3)),
        (np.arange(0, 40) / 100, (0.15, 0.15), (0.15, 0.15)),
        ([0.15], (0.1, 0.3), (0.15, 0.15)),
    ],
)
def test_window_as_used(times_s, window_s, used):
    scores, test = numbered_scores(1, len(times_s))
    summary = summarise(Evidence(scores, test), Axes(["mean"], times_s), window_s)
    np.testing.assert_allclose(summary["window_s"], used, atol=1e-9)
    assert summary["window_s_requested"] == list(window_s)
    first, last = (np.argmin(np.abs(np.asarray(times_s) - end)) for end in used)
    assert summary["encoding_r"] == (first + last) / 2


@pytest.mark.parametrize("window_s", [(0.4, 0.5), (-0.3, -0.1), (0.2, 0.1)])
def test_window_without_samples_is_refused(window_s):
    scores, test = numbered_scores(1, 20)
    message = f"0.000 to 0.190 s .*, found {window_s[0]} to {window_s[1]} s"
    with pytest.raises(InputError, match=message):
        summarise(Evidence(scores, test), Axes(["mean"], np.arange(20) / 100), window_s)


@pytest.mark.parametrize(
    ("ch_names", "times_s", "message"),
    [
        (["O1"], [0.1, 0.2], r"\(1, 2\) for 1 channel .*found \(2, 2\)"),
        (["O1", "O2"], [0.1], r"\(2, 1\) for 2 channel .*found \(2, 2\)"),
        (["O1", "O1"], [0.1, 0.2], "no duplicates"),
        (["O1", "O2"], [0.2, 0.1], "increasing"),
    ],
)
def test_summary_refuses_names_and_times_that_do_not_fit(ch_names, times_s, message):
    scores, test = numbered_scores(2, 2)
    with pytest.raises(InputError, match=message):
        summarise(Evidence(scores, test), Axes(ch_names, times_s))
