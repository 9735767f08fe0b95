"""The permutation test against naive loops, closed forms and its own claim."""

import itertools

import numpy as np
import pytest
from scipy import stats

from helpers.scores import halvings, mean_pearson, simulate
from img2eeg_jax.errors import InputError
from img2eeg_jax.evaluation import encoding, permutations
from img2eeg_jax.evaluation.permutations import permutation_test

QUICK = {"n_splits": 4, "seed": 2}


def test_scores_equal_naive_loops(rng, monkeypatch):
    monkeypatch.setattr(permutations, "_BLOCK_VALUES", 1)
    prediction, _, eeg = simulate(rng, n_repetitions=5)
    test = permutation_test(prediction, eeg, n_permutations=3, **QUICK)
    assert test.n_permutations == 3
    for row, order in enumerate(test.orders):
        assert sorted(order) == list(range(len(eeg)))
        expected = mean_pearson(
            (prediction[order], eeg[:, half].mean(axis=1))
            for half, _ in halvings(5, 4, 2)
        )
        assert test.scores()[row] == pytest.approx(expected.mean(), abs=1e-12)
        part = test.scores(np.array([1]), np.array([0, 2]))[row]
        assert part == pytest.approx(expected[1, [0, 2]].mean(), abs=1e-12)


def test_the_first_score_is_that_of_the_true_images(rng):
    prediction, _, eeg = simulate(rng)
    scores = encoding.encoding_scores(prediction, eeg, **QUICK)
    test = permutation_test(prediction, eeg, n_permutations=2, **QUICK)
    assert test.scores()[0] == pytest.approx(scores.encoding_r.mean(), abs=1e-12)


def test_assignments_are_uniform(rng):
    prediction, _, eeg = simulate(rng, n_images=4, n_channels=1, n_times=1)
    test = permutation_test(prediction, eeg, n_permutations=9600, **QUICK)
    found, counts = np.unique(test.orders[1:], axis=0, return_counts=True)
    expected = list(itertools.permutations(range(4)))
    assert [tuple(order) for order in found.tolist()] == expected
    assert stats.chisquare(counts).pvalue > 1e-3


def test_p_by_hand():
    """Of 3! assignments only the true one has r = 1, or the reverse has as little."""
    response = np.array([1.0, 2.0, 3.0]).reshape(3, 1, 1)
    test = permutation_test(response, response[:, None], n_permutations=6000, seed=0)
    assert test.summary()["permutation_p"] == pytest.approx(1 / 6, abs=0.02)
    # r of the six: 1, 1/2 twice, -1/2 twice, -1.
    assert np.unique(test.scores().round(9)).tolist() == [-1, -0.5, 0.5, 1]
    assert test.summary()["permutation_r_95"] == pytest.approx(1)
    reverse = permutation_test(-response, response[:, None], n_permutations=9, seed=0)
    assert reverse.summary()["permutation_p"] == 1


def test_p_is_uniform_where_nothing_is_predicted(rng):
    """p below 0.05 comes in one of twenty tests, however images and times depend."""
    p = []
    for _ in range(500):
        prediction = rng.standard_normal((15, 1, 3)).cumsum(-1)
        eeg = rng.standard_normal((15, 2, 1, 3)).cumsum(-1)
        test = permutation_test(
            prediction, eeg, n_permutations=99, n_splits=1, seed=int(rng.integers(1e9))
        )
        p.append(test.summary()["permutation_p"])
    assert stats.kstest(p, stats.uniform.cdf).pvalue > 1e-3
    assert np.mean(np.array(p) <= 0.05) == pytest.approx(0.05, abs=0.03)


def test_p_of_a_true_prediction_is_as_small_as_it_can_be(rng):
    _, signal, eeg = simulate(rng, n_images=50)
    test = permutation_test(signal, eeg, **QUICK)
    assert test.summary()["permutation_p"] == 1 / 1001
    # The null's spread: r over n independent images has variance 1 / (n - 1).
    one = test.summary(np.array([0]), np.array([0]))["permutation_r_95"]
    assert one == pytest.approx(1.645 / 7, abs=0.08)


def test_a_constant_prediction_is_no_better_than_at_random(rng):
    prediction, _, eeg = simulate(rng)
    test = permutation_test(np.full_like(prediction, 0.3), eeg, **QUICK)
    assert test.summary() == {
        "permutation_p": 1,
        "permutation_r_mean": 0,
        "permutation_r_sd": 0,
        "permutation_r_95": 0,
    }


def test_the_null_is_described_as_it_is(rng):
    """Of each channel and time as of an average; mean 0, SD 1 / sqrt(n - 1)."""
    prediction, _, eeg = simulate(rng, n_images=50)
    test = permutation_test(prediction, eeg, **QUICK)
    cells = test.cells()
    for channel, time in itertools.product(range(2), range(3)):
        part = np.array([channel]), np.array([time])
        np.testing.assert_allclose(
            cells[:, channel, time], test.scores(*part), atol=1e-12
        )
    summary = test.summary(np.array([0]), np.array([0]))
    assert summary["permutation_r_mean"] == pytest.approx(0, abs=0.02)
    # The half's r with a whole prediction: the null of r with a mean of halves.
    assert summary["permutation_r_sd"] == pytest.approx(1 / 7, rel=0.15)
    random = cells[1:, 0, 0]
    assert summary["permutation_r_sd"] == pytest.approx(random.std())
    assert summary["permutation_r_95"] == pytest.approx(np.quantile(random, 0.95))


def test_constant_eeg_is_undefined(rng):
    prediction, _, eeg = simulate(rng)
    eeg[:, :, 0] = 3
    test = permutation_test(prediction, eeg, **QUICK)
    assert np.isnan(list(test.summary().values())).all()
    assert np.isfinite(list(test.summary(np.array([1])).values())).all()


def test_a_single_repetition_is_scored_as_it_is(rng):
    prediction, _, eeg = simulate(rng, n_repetitions=1)
    test = permutation_test(prediction, eeg, seed=0)
    expected = mean_pearson([(prediction, eeg[:, 0])]).mean()
    assert test.scores()[0] == pytest.approx(expected, abs=1e-12)


def test_refusals():
    one = np.ones((1, 1, 1))
    with pytest.raises(InputError, match="at least 2, found 1"):
        permutation_test(one, one[None], seed=0)
    with pytest.raises(ValueError, match="`n_permutations`: expected at least 1"):
        permutation_test(one, one[None], n_permutations=0, seed=0)
