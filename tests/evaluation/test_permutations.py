"""The permutation control against naive loops and closed forms."""

import itertools

import numpy as np
import pytest
from scipy import stats

from helpers.scores import halvings, mean_pearson, simulate
from img2eeg_jax.errors import InputError
from img2eeg_jax.evaluation import encoding, permutations


def test_derangements_are_uniform():
    orders = permutations.random_derangements(4, 9000, np.random.default_rng(0))
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
    orders = permutations.random_derangements(len(eeg), 3, rng)
    monkeypatch.setattr(permutations, "random_derangements", lambda *_: orders)
    r = permutations.permutation_r(
        prediction, eeg, n_permutations=3, n_splits=4, seed=2
    )
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
    r = permutations.permutation_r(prediction, eeg, n_permutations=20_000, **options)
    np.testing.assert_allclose(r, -scores.encoding_r / 4, atol=0.02)


def test_permutation_r_of_a_perfect_prediction_is_near_zero(rng):
    _, signal, eeg = simulate(rng, n_images=100)
    r = permutations.permutation_r(signal, eeg, n_splits=10, seed=0)
    assert np.abs(r).max() < 0.05
    assert encoding.encoding_scores(signal, eeg, seed=0).encoding_r.min() > 0.5


def test_permutation_r_of_two_images_or_one_repetition():
    prediction = np.array([1.0, 2.0]).reshape(2, 1, 1)
    eeg = np.array([4.0, 5.0]).reshape(2, 1, 1, 1)
    # The one derangement swaps the two images.
    assert permutations.permutation_r(prediction, eeg, seed=0) == pytest.approx(-1)


def test_permutation_r_of_a_constant_column(rng):
    prediction, _, eeg = simulate(rng)
    prediction[:, 0] = 2
    r = permutations.permutation_r(prediction, eeg, n_splits=2, seed=0)
    np.testing.assert_array_equal(r == 0, [[True] * 3, [False] * 3])
    eeg[:, :, 0] = 3
    r = permutations.permutation_r(prediction, eeg, n_splits=2, seed=0)
    np.testing.assert_array_equal(np.isnan(r), [[True] * 3, [False] * 3])


def test_permutation_r_refuses_one_image():
    with pytest.raises(InputError, match="at least 2, found 1"):
        permutations.permutation_r(np.ones((1, 1, 1)), np.ones((1, 2, 1, 1)), seed=0)
    with pytest.raises(InputError, match="at least 2 images, found 1"):
        permutations.random_derangements(1, 1, np.random.default_rng(0))
    with pytest.raises(ValueError, match="`n_permutations`: expected at least 1"):
        permutations.random_derangements(3, 0, np.random.default_rng(0))
