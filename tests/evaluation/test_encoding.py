"""Scores against SciPy, naive loops and closed forms."""

import itertools
import json
import math
import tracemalloc
from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from img2eeg_jax.errors import InputError
from img2eeg_jax.evaluation import encoding

SPLIT_SCORES = ("encoding_r", "noise_ceiling_lower", "noise_ceiling_upper")


@pytest.fixture
def rng():
    return np.random.default_rng(20)


def simulate(rng, n_images=12, n_repetitions=6, n_channels=2, n_times=3):
    """Returns prediction, noise-free response and EEG of moderate signal to noise."""
    signal = rng.standard_normal((n_images, n_channels, n_times))
    noise = rng.standard_normal((n_images, n_repetitions, n_channels, n_times))
    prediction = signal + rng.standard_normal(signal.shape)
    return prediction, signal, signal[:, None] + 1.5 * noise


def halvings(n_repetitions, n_splits, seed):
    """Reads off the public function which repetitions are in `half` and in `other`.

    Repetition k holds 2**k, so that a sum of repetitions spells its members in binary.
    """
    eeg = np.full(
        (3, n_repetitions, 1, 1), 2.0 ** np.arange(n_repetitions)[:, None, None]
    )
    ((_, half, other),) = encoding.half_split_means(eeg, n_splits, seed)
    sizes = n_repetitions // 2, n_repetitions - n_repetitions // 2
    spelled = [
        [
            [k for k in range(n_repetitions) if round(mean * size) >> k & 1]
            for mean in means[0, :, 0]
        ]
        for means, size in zip((half, other), sizes, strict=True)
    ]
    return list(zip(*spelled, strict=True))


def mean_pearson(pairs):
    """Mean over pairs of SciPy's r, column by column: f[image, channel, time] each."""
    by_pair = [
        [
            [stats.pearsonr(a[:, c, t], b[:, c, t])[0] for t in range(a.shape[2])]
            for c in range(a.shape[1])
        ]
        for a, b in pairs
    ]
    return np.mean(by_pair, axis=0)


# --- correlate_over_images


def test_correlation_of_hand_computed_numbers():
    # Deviations (-1, 0, 1) and (-1, 1, 0): r = 1 / 2.
    assert encoding.correlate_over_images([1, 2, 3], [10, 30, 20]) == pytest.approx(0.5)


def test_correlation_equals_scipy(rng):
    a, b = rng.standard_normal((2, 9, 3, 4)).astype(np.float32)
    r = encoding.correlate_over_images(a, b)
    assert r.dtype == np.float64
    np.testing.assert_allclose(r, mean_pearson([(a, b)]), atol=1e-6)


def test_correlation_of_tiny_values_on_a_large_offset(rng):
    a, b = rng.standard_normal((2, 30))
    expected = stats.pearsonr(a, b)[0]
    r = encoding.correlate_over_images(1e-6 * a + 1, 1e-6 * b - 3)
    assert r == pytest.approx(expected, abs=1e-8)


@pytest.mark.parametrize("constant", [0.0, 0.1, -1e6 / 3])
def test_constant_column_is_nan_and_leaves_the_others(rng, constant):
    a, b = rng.standard_normal((2, 7, 2))
    a[:, 0] = constant
    r = encoding.correlate_over_images(a, b)
    assert np.isnan(r[0])
    assert r[1] == pytest.approx(stats.pearsonr(a[:, 1], b[:, 1])[0])


def test_correlation_refuses_other_numbers_of_images():
    with pytest.raises(ValueError, match=r"\(1, 2\) and \(3, 2\)"):
        encoding.correlate_over_images(np.ones((1, 2)), np.ones((3, 2)))


# --- half_split_means


@pytest.mark.parametrize("n_repetitions", [2, 5, 8])
def test_halves_are_disjoint_complete_and_of_floor_and_ceil_size(n_repetitions):
    for half, other in halvings(n_repetitions, n_splits=20, seed=3):
        assert len(half) == n_repetitions // 2
        assert sorted(half + other) == list(range(n_repetitions))


def test_halvings_are_random_and_a_function_of_the_seed():
    drawn = halvings(8, n_splits=4000, seed=3)
    assert drawn == halvings(8, n_splits=4000, seed=3)
    assert drawn != halvings(8, n_splits=4000, seed=4)
    _, counts = np.unique([half for half, _ in drawn], axis=0, return_counts=True)
    # All 70 choices of 4 from 8 are equally likely.
    assert len(counts) == math.comb(8, 4)
    assert stats.chisquare(counts).pvalue > 1e-3


def test_half_means_equal_a_loop_over_small_blocks(rng, monkeypatch):
    monkeypatch.setattr(encoding, "_BLOCK_VALUES", 100)
    _, _, eeg = simulate(rng, n_repetitions=5)
    blocks = list(encoding.half_split_means(eeg, n_splits=3, seed=1))
    assert len(blocks) > 1
    for part, of_split in ((1, 0), (2, 1)):
        means = np.concatenate([block[part] for block in blocks], axis=2)
        for split, members in enumerate(halvings(5, n_splits=3, seed=1)):
            expected = eeg[:, members[of_split]].mean(axis=1)
            np.testing.assert_allclose(
                means[:, split], expected.reshape(len(eeg), -1), atol=1e-12
            )


@pytest.mark.parametrize("shape", [(4, 1, 2, 3), (4, 2, 3)])
def test_half_means_refuse_what_has_no_halves(shape):
    with pytest.raises(ValueError, match="at least 2 repetitions"):
        next(encoding.half_split_means(np.zeros(shape), 1, 0))


def test_half_means_refuse_no_splits():
    with pytest.raises(ValueError, match="n_splits: expected at least 1, found 0"):
        next(encoding.half_split_means(np.zeros((4, 2, 1, 1)), 0, 0))


# --- encoding_scores


@pytest.mark.parametrize("n_repetitions", [2, 5, 6])
def test_scores_equal_naive_loops(rng, n_repetitions):
    prediction, signal, eeg = simulate(rng, n_repetitions=n_repetitions)
    scores = encoding.encoding_scores(
        prediction, eeg, n_splits=4, seed=9, noise_free=signal
    )
    halves = [
        (eeg[:, half].mean(axis=1), eeg[:, other].mean(axis=1))
        for half, other in halvings(n_repetitions, 4, 9)
    ]
    mean = eeg.mean(axis=1)
    expected = {
        "encoding_r": mean_pearson((prediction, half) for half, _ in halves),
        "encoding_r_all_repetitions": mean_pearson([(prediction, mean)]),
        "noise_ceiling_lower": mean_pearson((other, half) for half, other in halves),
        "noise_ceiling_upper": mean_pearson((mean, half) for half, _ in halves),
        "best_possible_r": mean_pearson((signal, half) for half, _ in halves),
    }
    for name, r in expected.items():
        np.testing.assert_allclose(getattr(scores, name), r, atol=1e-12, err_msg=name)
    counts = scores.n_images, scores.n_repetitions, scores.n_splits
    assert counts == (12, n_repetitions, 4)


def test_scores_do_not_depend_on_blocks(rng, monkeypatch):
    prediction, _, eeg = simulate(rng)
    whole = encoding.encoding_scores(prediction, eeg, n_splits=3, seed=0)
    monkeypatch.setattr(encoding, "_BLOCK_VALUES", 1)
    single = encoding.encoding_scores(prediction, eeg, n_splits=3, seed=0)
    for name in SPLIT_SCORES:
        np.testing.assert_allclose(getattr(whole, name), getattr(single, name))


def test_ceilings_of_pure_noise(rng):
    eeg = rng.standard_normal((200, 20, 4, 10))
    scores = encoding.encoding_scores(eeg[:, 0], eeg, n_splits=20, seed=0)
    assert scores.noise_ceiling_lower.mean() == pytest.approx(0, abs=0.02)
    # A half and the whole that contains it: r = sqrt(1 / 2).
    assert scores.noise_ceiling_upper.mean() == pytest.approx(0.7071, abs=0.01)


def test_scores_of_known_signal_to_noise(rng):
    noise_var, n_repetitions = 6.0, 8
    signal = rng.standard_normal((1000, 5, 6))
    noise = rng.standard_normal((1000, n_repetitions, 5, 6))
    eeg = signal[:, None] + math.sqrt(noise_var) * noise
    prediction = 3 * (signal + rng.standard_normal(signal.shape)) - 7
    scores = encoding.encoding_scores(
        prediction, eeg, n_splits=10, seed=0, noise_free=signal
    )
    # Signal has variance 1; a mean of k repetitions adds noise_var / k.
    half_var = 1 + noise_var / (n_repetitions / 2)
    mean_var = 1 + noise_var / n_repetitions
    expected = {
        "encoding_r": 1 / math.sqrt(2 * half_var),
        "encoding_r_all_repetitions": 1 / math.sqrt(2 * mean_var),
        "noise_ceiling_lower": 1 / half_var,
        "noise_ceiling_upper": math.sqrt(mean_var / half_var),
        "best_possible_r": 1 / math.sqrt(half_var),
    }
    for name, r in expected.items():
        assert getattr(scores, name).mean() == pytest.approx(r, abs=0.015), name


def test_single_repetition_has_no_halves(rng):
    prediction, signal, eeg = simulate(rng, n_repetitions=1)
    scores = encoding.encoding_scores(prediction, eeg, seed=0, noise_free=signal)
    for name in (*SPLIT_SCORES, "best_possible_r"):
        assert getattr(scores, name).shape == (2, 3)
        assert np.isnan(getattr(scores, name)).all()
    assert scores.n_splits == 0
    np.testing.assert_allclose(
        scores.encoding_r_all_repetitions, mean_pearson([(prediction, eeg[:, 0])])
    )


def test_constant_prediction_scores_zero(rng):
    prediction, _, eeg = simulate(rng)
    prediction[:, 1] = 0.1
    scores = encoding.encoding_scores(prediction, eeg, n_splits=3, seed=0)
    for name in ("encoding_r", "encoding_r_all_repetitions"):
        assert (getattr(scores, name)[1] == 0).all()
        assert (getattr(scores, name)[0] != 0).all()
    assert (scores.noise_ceiling_lower != 0).all()
    assert scores.best_possible_r is None


def test_constant_eeg_gives_nan_whatever_is_predicted(rng):
    prediction, _, eeg = simulate(rng)
    prediction[:, 1, 0] = 0.1
    eeg[:, :, 1] = 0.2
    scores = encoding.encoding_scores(prediction, eeg, n_splits=3, seed=0)
    for name in (*SPLIT_SCORES, "encoding_r_all_repetitions"):
        assert np.isnan(getattr(scores, name)[1]).all()
        assert np.isfinite(getattr(scores, name)[0]).all()


@pytest.mark.parametrize(
    ("prediction_shape", "eeg_shape", "message"),
    [
        ((5, 2, 4), (5, 3, 2, 6), r"\(5, 2, 6\).*\(5, 3, 2, 6\), found \(5, 2, 4\)"),
        ((4, 2, 6), (5, 3, 2, 6), r"\(5, 2, 6\).*found \(4, 2, 6\)"),
        ((5, 2, 6), (5, 2, 6), r"EEG: expected .* found shape \(5, 2, 6\)"),
        ((5, 2, 6), (5, 0, 2, 6), r"EEG: expected .* found shape \(5, 0, 2, 6\)"),
        ((2, 2, 6), (2, 3, 2, 6), "at least 3, found 2"),
    ],
)
def test_scores_refuse_other_shapes(prediction_shape, eeg_shape, message):
    with pytest.raises(InputError, match=message):
        encoding.encoding_scores(np.ones(prediction_shape), np.ones(eeg_shape), seed=0)


@pytest.mark.parametrize("what", ["prediction", "EEG", "noise-free response"])
@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_scores_refuse_what_is_not_finite(rng, what, bad):
    prediction, signal, eeg = simulate(rng)
    {"prediction": prediction, "EEG": eeg, "noise-free response": signal}[what].flat[
        5
    ] = bad
    with pytest.raises(InputError, match=f"{what}: expected finite values, found 1 of"):
        encoding.encoding_scores(prediction, eeg, seed=0, noise_free=signal)


def test_memory_at_the_size_of_things_eeg2(rng):
    eeg = rng.random((200, 80, 17, 100), dtype=np.float32)
    tracemalloc.start()
    try:
        encoding.encoding_scores(eeg[:, 0], eeg, n_splits=100, seed=0)
        encoding.permutation_r(eeg[:, 0], eeg, n_splits=100, seed=0)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 200e6


# --- permutation control


def test_derangements_are_uniform():
    orders = encoding.random_derangements(4, 9000, np.random.default_rng(0))
    assert orders.shape == (9000, 4)
    assert (orders != np.arange(4)).all()
    found, counts = np.unique(orders, axis=0, return_counts=True)
    expected = [
        order
        for order in itertools.permutations(range(4))
        if all(i != j for i, j in enumerate(order))
    ]
    assert [tuple(order) for order in found.tolist()] == expected
    assert stats.chisquare(counts).pvalue > 1e-3


def test_permutation_r_equals_naive_loops(rng, monkeypatch):
    prediction, _, eeg = simulate(rng, n_repetitions=5)
    orders = encoding.random_derangements(len(eeg), 3, rng)
    monkeypatch.setattr(encoding, "random_derangements", lambda *_: orders)
    r = encoding.permutation_r(prediction, eeg, n_permutations=3, n_splits=4, seed=2)
    expected = mean_pearson(
        (prediction[order], eeg[:, half].mean(axis=1))
        for order in orders
        for half, _ in halvings(5, 4, 2)
    )
    np.testing.assert_allclose(r, expected, atol=1e-12)


def test_permutation_r_has_the_expected_value(rng):
    # Over all derangements prediction j meets each other image equally often, and
    # standardised values sum to 0: the mean is -r / (n_images - 1).
    prediction, _, eeg = simulate(rng, n_images=5, n_channels=1, n_times=2)
    options = {"n_splits": 5, "seed": 0}
    scores = encoding.encoding_scores(prediction, eeg, **options)
    r = encoding.permutation_r(prediction, eeg, n_permutations=20_000, **options)
    np.testing.assert_allclose(r, -scores.encoding_r / 4, atol=0.02)


def test_permutation_r_of_a_perfect_prediction_is_near_zero(rng):
    _, signal, eeg = simulate(rng, n_images=100)
    r = encoding.permutation_r(signal, eeg, n_splits=10, seed=0)
    assert np.abs(r).max() < 0.05
    assert encoding.encoding_scores(signal, eeg, seed=0).encoding_r.min() > 0.5


def test_permutation_r_of_two_images_or_one_repetition():
    prediction = np.array([1.0, 2.0]).reshape(2, 1, 1)
    eeg = np.array([4.0, 5.0]).reshape(2, 1, 1, 1)
    # The one derangement swaps the two images.
    assert encoding.permutation_r(prediction, eeg, seed=0) == pytest.approx(-1)


def test_permutation_r_of_a_constant_column(rng):
    prediction, _, eeg = simulate(rng)
    prediction[:, 0] = 2
    r = encoding.permutation_r(prediction, eeg, n_splits=2, seed=0)
    np.testing.assert_array_equal(r == 0, [[True] * 3, [False] * 3])
    eeg[:, :, 0] = 3
    r = encoding.permutation_r(prediction, eeg, n_splits=2, seed=0)
    np.testing.assert_array_equal(np.isnan(r), [[True] * 3, [False] * 3])


def test_permutation_r_refuses_one_image():
    with pytest.raises(InputError, match="at least 2, found 1"):
        encoding.permutation_r(np.ones((1, 1, 1)), np.ones((1, 2, 1, 1)), seed=0)
    with pytest.raises(InputError, match="at least 2 images, found 1"):
        encoding.random_derangements(1, 1, np.random.default_rng(0))
    with pytest.raises(ValueError, match="n_permutations: expected at least 1"):
        encoding.random_derangements(3, 0, np.random.default_rng(0))


# --- summarise


def numbered_scores(n_channels, n_times):
    """Scores whose `encoding_r` counts 0, 1, 2, ... and the others are multiples."""
    r = np.arange(n_channels * n_times, dtype=float).reshape(n_channels, n_times)
    scores = encoding.EncodingScores(
        encoding_r=r,
        encoding_r_all_repetitions=2 * r,
        noise_ceiling_lower=3 * r,
        noise_ceiling_upper=4 * r,
        best_possible_r=5 * r,
        n_images=20,
        n_repetitions=8,
        n_splits=100,
    )
    return scores, 6 * r


def test_summary_of_hand_computed_numbers():
    scores, permutation = numbered_scores(2, 4)
    summary = encoding.summarise(
        scores, permutation, ["O1", "O2"], [0.0, 0.1, 0.2, 0.3], window_s=(0.2, 0.3)
    )
    assert json.loads(json.dumps(summary, allow_nan=False)) == summary
    # r is [[0, 1, 2, 3], [4, 5, 6, 7]], of which the window holds the last two columns.
    assert summary["encoding_r"] == 4.5
    assert summary["permutation_r"] == 27
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
    scores, permutation = numbered_scores(1, 2)
    scores = replace(scores, best_possible_r=None)
    summary = encoding.summarise(scores, permutation, ["mean"], [0.1, 0.2])
    assert "best_possible_r" not in summary
    assert "best_possible_r" not in summary["per_channel"]["mean"]
    assert "best_possible_r" not in summary["per_time"]


def test_summary_gives_none_for_nan():
    scores, permutation = numbered_scores(2, 2)
    scores.encoding_r[1, 1] = np.nan
    summary = encoding.summarise(scores, permutation, ["O1", "O2"], [0.1, 0.2])
    assert summary["encoding_r"] is None
    assert summary["per_channel"]["O1"]["encoding_r"] == 0.5
    assert summary["per_channel"]["O2"]["encoding_r"] is None
    assert summary["per_time"]["encoding_r"] == [1, None]
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
    scores, permutation = numbered_scores(1, len(times_s))
    summary = encoding.summarise(scores, permutation, ["mean"], times_s, window_s)
    np.testing.assert_allclose(summary["window_s"], used, atol=1e-9)
    assert summary["window_s_requested"] == list(window_s)
    first, last = (np.argmin(np.abs(np.asarray(times_s) - end)) for end in used)
    assert summary["encoding_r"] == (first + last) / 2


@pytest.mark.parametrize("window_s", [(0.4, 0.5), (-0.3, -0.1), (0.2, 0.1)])
def test_window_without_samples_is_refused(window_s):
    scores, permutation = numbered_scores(1, 20)
    message = f"0 to 0.19 s, found {window_s[0]:g} to {window_s[1]:g} s"
    with pytest.raises(InputError, match=message):
        encoding.summarise(scores, permutation, ["mean"], np.arange(20) / 100, window_s)


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
    scores, permutation = numbered_scores(2, 2)
    with pytest.raises(InputError, match=message):
        encoding.summarise(scores, permutation, ch_names, times_s)
