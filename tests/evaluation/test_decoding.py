"""Pairwise decoding against scikit-learn's classifiers, pair by pair."""

import itertools

import numpy as np
import pytest
from scipy import stats
from sklearn.svm import SVC

from helpers.scores import halvings
from img2eeg_jax.errors import InputError
from img2eeg_jax.evaluation import decoding
from img2eeg_jax.evaluation.decoding import (
    decoding_scores,
    fit_pairs,
    pairs_of,
    pairwise_accuracy,
)
from img2eeg_jax.evaluation.halvings import half_orders
from img2eeg_jax.evaluation.pair_statistics import (
    accuracies_of_orders,
    mean_interval,
    p_values,
    random_orders,
)


def simulate(rng, n_images=7, n_repetitions=8, n_channels=5, n_times=2, noise=2.0):
    signal = rng.standard_normal((n_images, n_channels, n_times))
    shape = (n_images, n_repetitions, n_channels, n_times)
    prediction = signal + 0.5 * rng.standard_normal(signal.shape)
    return prediction, signal[:, None] + noise * rng.standard_normal(shape)


def classifier(one, other):
    """scikit-learn's, of f[trial, channel] of two images."""
    labels = np.repeat([1, 0], [len(one), len(other)])
    return SVC(kernel="linear", C=1).fit(np.concatenate([one, other]), labels)


def share_right(fitted, one, other):
    """Of f[item, channel] of two images, by scikit-learn's predictions."""
    return np.mean([*(fitted.predict(one) == 1), *(fitted.predict(other) == 0)])


def in_groups(eeg, repetitions, n_groups):
    """Means f[image, group, ...] of repetitions in groups of one size."""
    taken = eeg[:, repetitions]
    return taken.reshape(len(eeg), n_groups, -1, *eeg.shape[2:]).mean(2)


@pytest.mark.parametrize(
    ("n_repetitions", "n_pseudo_trials", "n_splits"), [(8, 4, 1), (40, 10, 2)]
)
def test_scores_equal_scikit_learns(
    rng, monkeypatch, n_repetitions, n_pseudo_trials, n_splits
):
    """The official protocol, by a loop over pairs, times and halvings."""
    monkeypatch.setattr(decoding, "_BLOCK_VALUES", 5000)
    prediction, eeg = simulate(rng, n_repetitions=n_repetitions, noise=4.0)
    scores = decoding_scores(prediction, eeg, n_splits=n_splits, seed=3)
    expected = np.zeros((3, 21, 2))
    for order in half_orders(n_repetitions, n_splits, 3):
        half = order[: n_repetitions // 2]
        trials = in_groups(eeg, half, n_pseudo_trials)
        other = np.delete(eeg, half, axis=1).mean(1)
        tests = (prediction, other, eeg.mean(1))
        pairs = itertools.combinations(range(7), 2)
        for (pair, (i, j)), t in itertools.product(enumerate(pairs), range(2)):
            fitted = classifier(trials[i, ..., t], trials[j, ..., t])
            for row, test in enumerate(tests):
                share = share_right(fitted, test[None, i, :, t], test[None, j, :, t])
                expected[row, pair, t] += share / n_splits
    found = (
        scores.decoding_accuracy,
        scores.decoding_ceiling_lower,
        scores.decoding_ceiling_upper,
    )
    np.testing.assert_allclose(found, expected, atol=1e-12)
    assert 0.5 < expected[0].mean() < 1
    assert scores.n_pseudo_trials == n_pseudo_trials
    assert scores.n_splits == n_splits


def test_decisions_equal_scikit_learns(rng):
    trials = simulate(rng, n_repetitions=10, n_channels=17)[1][..., 0]
    fitted = fit_pairs(trials)
    for pair, (i, j) in enumerate(zip(*pairs_of(7), strict=True)):
        oracle = SVC(kernel="linear", C=1, tol=1e-9).fit(
            np.concatenate([trials[i], trials[j]]), np.repeat([1, 0], 10)
        )
        weights, intercept = oracle.coef_[0], oracle.intercept_[0]
        np.testing.assert_allclose(fitted.weights[pair], weights, atol=1e-5)
        np.testing.assert_allclose(fitted.intercepts[pair], intercept, atol=1e-5)


def test_halves_are_those_of_encoding():
    for seed, order in zip((0, 5), (half_orders(7, 2, s) for s in (0, 5)), strict=True):
        halves = [sorted(row[:3].tolist()) for row in order]
        assert halves == [half for half, _ in halvings(7, 2, seed)]


def test_pairwise_accuracy_is_of_single_pseudo_trials(rng):
    _, eeg = simulate(rng, n_repetitions=9)
    found = pairwise_accuracy(eeg, seed=1)
    (order,) = half_orders(9, 1, 1)
    half, other = eeg[:, order[:4]], eeg[:, order[4:]]
    for pair, (i, j) in enumerate(itertools.combinations(range(7), 2)):
        for t in range(2):
            fitted = classifier(half[i, ..., t], half[j, ..., t])
            expected = share_right(fitted, other[i, ..., t], other[j, ..., t])
            assert found[pair, t] == pytest.approx(expected, abs=1e-12)


def test_pseudo_trials_of_a_number_that_does_not_divide():
    """Of 13 repetitions 3 groups of 2 and 7 of 1: all take part once."""
    responses = 2.0 ** np.arange(13)[None]
    groups = decoding.pseudo_trials(responses, np.arange(13))
    assert groups.shape == (1, 10)
    assert (groups * np.repeat([2, 1], [3, 7])).sum() == 2**13 - 1


def test_perfect_and_constant_predictions(rng):
    prediction, eeg = simulate(rng, n_repetitions=20, noise=0.01)
    same = np.broadcast_to(prediction[:1], prediction.shape)
    assert decoding_scores(eeg.mean(1), eeg, seed=0).decoding_accuracy.min() == 1
    # One of two images is right whatever is said of both.
    np.testing.assert_array_equal(
        decoding_scores(same, eeg, seed=0).decoding_accuracy, 0.5
    )


def test_wins_give_the_accuracy_of_any_order(rng):
    """What the permutation test uses, against testing on permuted predictions."""
    prediction, eeg = simulate(rng, noise=3.0)
    scores = decoding_scores(prediction, eeg, n_splits=2, seed=0)
    orders = random_orders(7, 5, seed=1)
    found = accuracies_of_orders(scores.wins, orders)
    for row, order in enumerate(orders):
        again = decoding_scores(prediction[order], eeg, n_splits=2, seed=0)
        expected = again.decoding_accuracy.mean(0)
        np.testing.assert_allclose(found[row], expected, atol=1e-12)
    assert orders[0].tolist() == list(range(7))


def test_p_by_hand():
    scores = np.array([[0.6, 0.5], [0.4, 0.5], [0.7, 0.9], [0.2, 0.5]])
    np.testing.assert_allclose(p_values(scores), [0.5, 1.0])


def test_p_is_uniform_where_predictions_tell_nothing():
    """Of 200 simulated data sets; seeded, so that it cannot fail by chance."""
    rng = np.random.default_rng(8)
    p = []
    for seed in range(200):
        shape = (6, 4, 3, 1)
        eeg, prediction = rng.standard_normal(shape), rng.standard_normal((6, 3, 1))
        wins = decoding_scores(prediction, eeg, seed=seed, progress=False).wins
        by_order = accuracies_of_orders(wins, random_orders(6, 99, seed))
        # Of equal accuracies as many as a draw says count, or p would be too large.
        above = np.count_nonzero(by_order[1:] > by_order[0] + 1e-12)
        ties = np.count_nonzero(np.abs(by_order[1:] - by_order[0]) < 1e-12)
        p.append((above + rng.uniform(0, ties + 1)) / 100)
    assert stats.kstest(p, "uniform").pvalue > 0.01


def test_interval_equals_a_naive_bootstrap(rng):
    """Images drawn one by one; pairs of an image with itself are left out."""
    accuracy = rng.random((10, 1))
    square = np.full((5, 5), np.nan)
    square[pairs_of(5)] = accuracy[:, 0]
    square[pairs_of(5)[::-1]] = accuracy[:, 0]
    means = []
    for _ in range(4000):
        drawn = rng.integers(0, 5, 5)
        if len(set(drawn)) > 1:
            means.append(np.nanmean(square[np.ix_(drawn, drawn)]))
    found = mean_interval(accuracy, 5, n_draws=4000, seed=0)[:, 0]
    # Percentiles go as much further out as Student's t of 5 images does.
    tail = stats.norm.cdf(-np.sqrt(5 / 4) * stats.t.ppf(0.975, 4))
    np.testing.assert_allclose(found, np.quantile(means, [tail, 1 - tail]), atol=0.02)


def test_bad_input(rng):
    prediction, eeg = simulate(rng)
    with pytest.raises(InputError, match="expected at least 2 repetitions, found 1"):
        decoding_scores(prediction, eeg[:, :1], seed=0)
    with pytest.raises(InputError, match="expected at least 2, found 1"):
        decoding_scores(prediction[:1], eeg[:1], seed=0)
    with pytest.raises(ValueError, match="`n_splits`: expected at least 1, found 0"):
        decoding_scores(prediction, eeg, n_splits=0, seed=0)
    eeg[0, 0, 0, 0] = np.nan
    with pytest.raises(InputError, match="finite"):
        pairwise_accuracy(eeg, seed=0)
