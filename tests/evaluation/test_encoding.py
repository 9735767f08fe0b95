"""Scores against SciPy, naive loops and closed forms."""

import math
import tracemalloc

import numpy as np
import pytest

from helpers.scores import halvings, mean_pearson, simulate
from img2eeg_jax.errors import InputError
from img2eeg_jax.evaluation import encoding
from img2eeg_jax.evaluation import halvings as halvings_module
from img2eeg_jax.evaluation.metrics import upper_ceiling_of_noise
from img2eeg_jax.evaluation.permutations import permutation_test

SPLIT_SCORES = ("encoding_r", "noise_ceiling_lower", "noise_ceiling_upper")


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
        "best_possible_r_all_repetitions": mean_pearson([(signal, mean)]),
    }
    for name, r in expected.items():
        np.testing.assert_allclose(getattr(scores, name), r, atol=1e-12, err_msg=name)
    counts = scores.n_images, scores.n_repetitions, scores.n_splits
    assert counts == (12, n_repetitions, 4)


def test_scores_do_not_depend_on_blocks(rng, monkeypatch):
    prediction, _, eeg = simulate(rng)
    whole = encoding.encoding_scores(prediction, eeg, n_splits=3, seed=0)
    monkeypatch.setattr(halvings_module, "_BLOCK_VALUES", 1)
    single = encoding.encoding_scores(prediction, eeg, n_splits=3, seed=0)
    for name in SPLIT_SCORES:
        np.testing.assert_allclose(getattr(whole, name), getattr(single, name))


def test_ceilings_of_pure_noise(rng):
    eeg = rng.standard_normal((200, 20, 4, 10))
    for n_repetitions in (20, 2, 3, 5):
        part = eeg[:, :n_repetitions]
        scores = encoding.encoding_scores(part[:, 0], part, n_splits=20, seed=0)
        assert scores.noise_ceiling_lower.mean() == pytest.approx(0, abs=0.03)
        # A half and the whole that contains it: of 20, r = sqrt(1 / 2).
        upper = upper_ceiling_of_noise(n_repetitions)
        assert scores.noise_ceiling_upper.mean() == pytest.approx(upper, abs=0.01)
    assert upper_ceiling_of_noise(20) == pytest.approx(0.7071, abs=1e-4)


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
        "best_possible_r_all_repetitions": 1 / math.sqrt(mean_var),
    }
    for name, r in expected.items():
        assert getattr(scores, name).mean() == pytest.approx(r, abs=0.015), name


@pytest.mark.parametrize("n_repetitions", [4, 5, 40])
def test_ceilings_and_reliability_are_those_of_the_generator(rng, n_repetitions):
    """Of signal with variance 1 and noise of 4, whatever prediction is scored."""
    signal = rng.standard_normal((800, 4, 10))
    noise = 2 * rng.standard_normal((800, n_repetitions, 4, 10))
    prediction = 0.6 * signal + 0.8 * rng.standard_normal(signal.shape)
    eeg = signal[:, None] + noise
    scores = encoding.encoding_scores(
        prediction, eeg, n_splits=20, seed=0, noise_free=signal
    )
    half, all_of_them = n_repetitions // 2, n_repetitions
    variance = {n: 1 + 4 / n for n in (half, n_repetitions - half, all_of_them)}
    of_half, of_all = variance[half], variance[all_of_them]
    lower = 1 / math.sqrt(of_half * variance[n_repetitions - half])
    upper = math.sqrt(of_all / of_half)
    expected = {
        "noise_ceiling_lower": lower,
        "noise_ceiling_upper": upper,
        "reliability": 1 / of_all,
        "best_possible_r_all_repetitions": math.sqrt(1 / of_all),
        # Without noise the prediction's r with the signal is 0.6.
        "noise_normalised_r": 0.6,
        "explained_fraction": 0.36,
    }
    for name, value in expected.items():
        found = getattr(scores, name).mean()
        assert found == pytest.approx(value, abs=0.02), name


def test_reliability_by_hand():
    # Of halves that agree by 1/2: 2 · 1/2 / (1 + 1/2).
    assert encoding.reliability_of_mean(0.5, 8) == pytest.approx(2 / 3)
    assert encoding.reliability_of_mean(-0.2, 8) == pytest.approx(-0.5)
    assert np.isnan(encoding.reliability_of_mean(0.5, 1))
    # Above 1 and below 0 as it comes.
    r = encoding.noise_normalised([0.5, -0.5, 0.5, 0.5], [0.04, 0.25, 0, -0.5])
    np.testing.assert_allclose(r, [2.5, -1, np.nan, np.nan])
    found = encoding.explained_fraction(r)
    np.testing.assert_allclose(found, [6.25, -1, np.nan, np.nan])


def test_single_repetition_has_no_halves(rng):
    prediction, signal, eeg = simulate(rng, n_repetitions=1)
    scores = encoding.encoding_scores(prediction, eeg, seed=0, noise_free=signal)
    for name in (*SPLIT_SCORES, "best_possible_r"):
        assert getattr(scores, name).shape == (2, 3)
        assert np.isnan(getattr(scores, name)).all()
    assert scores.n_splits == 0
    for candidate, name in ((prediction, "encoding_r"), (signal, "best_possible_r")):
        r = getattr(scores, f"{name}_all_repetitions")
        np.testing.assert_allclose(r, mean_pearson([(candidate, eeg[:, 0])]))


def test_constant_prediction_scores_zero(rng):
    prediction, _, eeg = simulate(rng)
    prediction[:, 1] = 0.1
    scores = encoding.encoding_scores(prediction, eeg, n_splits=3, seed=0)
    for name in ("encoding_r", "encoding_r_all_repetitions"):
        assert (getattr(scores, name)[1] == 0).all()
        assert (getattr(scores, name)[0] != 0).all()
    assert (scores.noise_ceiling_lower != 0).all()
    assert scores.best_possible_r is scores.best_possible_r_all_repetitions is None


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
        permutation_test(eeg[:, 0], eeg, n_splits=100, seed=0).summary()
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 200e6
