"""Onsets and peaks by hand, and how often their intervals hold the truth."""

import numpy as np
import pytest

from img2eeg_jax.evaluation import latencies
from img2eeg_jax.evaluation.bootstrap import encoding_draws
from img2eeg_jax.evaluation.encoding import encoding_scores
from img2eeg_jax.evaluation.permutations import permutation_test

TIMES_S = np.array([-0.1, 0.0, 0.1, 0.2, 0.3])


@pytest.mark.parametrize(
    ("r", "onset", "peak"),
    [
        ([0, 0, 0, 0.5, 0.6], 0.2, 0.3),
        # Alone above the threshold, and before the image.
        ([0, 0.5, 0, 0.5, 0.4], 0.2, 0.0),
        ([0.9, 0.5, 0.4, 0, 0], 0.0, 0.0),
        ([0.9, 0.1, 0, 0, 0.4], np.inf, 0.3),
        ([0, 0, 0, 0, 0], np.inf, 0.0),
    ],
)
def test_by_hand(r, onset, peak):
    assert latencies.onsets(r, TIMES_S, 0.3) == onset
    assert latencies.peaks(r, TIMES_S) == peak
    both = np.array([r, [0, 0.4, 0.4, 0, 0.5]])
    assert latencies.onsets(both, TIMES_S, 0.3).tolist() == [onset, 0.0]
    assert latencies.peaks(both, TIMES_S).tolist() == [peak, 0.3]


def test_one_time_has_no_onset():
    assert latencies.onsets([[0.9]], [0.1], 0.3).tolist() == [np.inf]


def test_threshold_is_of_the_largest_after_onset():
    null = np.array([[9, k, 0, -k, 0.0] for k in range(101)])
    assert latencies.threshold(null, TIMES_S) == pytest.approx(95)
    assert np.isnan(latencies.threshold(null[:, :1], TIMES_S[:1]))


def test_interval_of_draws_without_an_onset():
    draws = np.full(1000, 0.1)
    draws[:20] = np.inf
    assert latencies.latency(0.1, draws, 10**6) == latencies.Latency(0.1, 0.1, 0.1)
    draws[:30] = np.inf
    assert latencies.latency(0.1, draws, 10**6).ci_high_s == np.inf
    assert np.isnan(latencies.latency(np.inf, draws, 9).time_s)


def coverage(n_sets, n_images=100, n_repetitions=8):
    """Returns how often the intervals hold the truth: (onset, peak).

    The signal's spread over images is a bump that peaks at 100 ms. The true onset is
    that of the population's r with the threshold that was found.
    """
    times_s = np.arange(-5, 25) / 100
    bump = np.exp(-0.5 * ((times_s - 0.1) / 0.03) ** 2)
    rng = np.random.default_rng(2)
    noise, held = 2.0, []
    r = 0.7 * bump / np.sqrt(bump**2 + noise**2 / (n_repetitions // 2))
    for seed in range(n_sets):
        signal, other = rng.standard_normal((2, n_images, 4, len(times_s)))
        trials = rng.standard_normal((n_images, n_repetitions, 4, len(times_s)))
        prediction = 0.7 * signal + np.sqrt(0.51) * other
        eeg = (bump * signal)[:, None] + noise * trials
        options = {"n_splits": 10, "seed": seed}
        one = encoding_scores(prediction, eeg, **options).encoding_r.mean(0)
        drawn = encoding_draws(prediction, eeg, n_draws=300, **options).encoding_r
        null = permutation_test(prediction, eeg, n_permutations=300, **options).cells()
        limit = latencies.threshold(null[1:].mean(1), times_s)
        truths = latencies.onsets(r, times_s, limit), 0.1
        for find, truth in zip(
            (
                lambda x, at=limit: latencies.onsets(x, times_s, at),
                lambda x: latencies.peaks(x, times_s),
            ),
            truths,
            strict=True,
        ):
            found = latencies.latency(find(one), find(drawn.mean(1)), n_images)
            held.append(found.ci_low_s - 1e-9 <= truth <= found.ci_high_s + 1e-9)
    return tuple(np.mean(np.reshape(held, (-1, 2)), axis=0))


def test_intervals_hold_the_truth_more_often_than_not():
    onset, peak = coverage(20)
    assert min(onset, peak) >= 0.75


@pytest.mark.slow
def test_coverage_is_what_the_documentation_says():
    """docs/reference/metrics.md: 99.8 % of 500 data sets."""
    assert coverage(500) == pytest.approx((0.998, 0.998), abs=0.01)
