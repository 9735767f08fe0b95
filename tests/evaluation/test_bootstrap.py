"""Bootstrap draws against SciPy on resampled images, and how often they cover."""

import numpy as np
import pytest

from helpers.scores import halvings, mean_pearson, simulate
from img2eeg_jax.evaluation import bootstrap
from img2eeg_jax.evaluation.bootstrap import encoding_draws
from img2eeg_jax.evaluation.statistics import image_draws, interval


@pytest.mark.parametrize("n_repetitions", [2, 5])
def test_draws_equal_scores_of_resampled_images(rng, monkeypatch, n_repetitions):
    monkeypatch.setattr(bootstrap, "_BLOCK_COLUMNS", 5)
    prediction, _, eeg = simulate(rng, n_repetitions=n_repetitions)
    found = encoding_draws(prediction, eeg, n_draws=4, n_splits=3, seed=7)
    for draw, counts in enumerate(image_draws(len(eeg), 4, seed=7).astype(int)):
        rows = np.repeat(np.arange(len(eeg)), counts)
        halves = [
            (eeg[rows][:, half].mean(axis=1), eeg[rows][:, other].mean(axis=1))
            for half, other in halvings(n_repetitions, 3, 7)
        ]
        expected = {
            "encoding_r": mean_pearson((prediction[rows], half) for half, _ in halves),
            "encoding_r_all_repetitions": mean_pearson(
                [(prediction[rows], eeg[rows].mean(axis=1))]
            ),
            "noise_ceiling_lower": mean_pearson((b, a) for a, b in halves),
        }
        for name, r in expected.items():
            np.testing.assert_allclose(
                getattr(found, name)[draw], r, atol=1e-5, err_msg=name
            )


def test_units_change_nothing(rng):
    prediction, _, eeg = simulate(rng)
    options = {"n_draws": 3, "n_splits": 2, "seed": 0}
    expected = encoding_draws(prediction, eeg, **options)
    found = encoding_draws(1e3 * prediction - 5e4, 1e-6 * eeg + 1, **options)
    for name, r in vars(expected).items():
        np.testing.assert_allclose(getattr(found, name), r, atol=1e-4)


def test_what_is_constant(rng):
    prediction, _, eeg = simulate(rng)
    prediction[:, 0, 0] = 3.0
    eeg[:, :, 1, 1] = -0.1
    found = encoding_draws(prediction, eeg, n_draws=5, n_splits=2, seed=0)
    for name in ("encoding_r", "encoding_r_all_repetitions"):
        assert (getattr(found, name)[:, 0, 0] == 0).all()
        assert np.isnan(getattr(found, name)[:, 1, 1]).all()
        assert np.isfinite(getattr(found, name)[:, 1, 0]).all()
    assert (found.noise_ceiling_lower[:, 0, 0] != 0).all()


def test_a_single_repetition_has_no_halves(rng):
    prediction, _, eeg = simulate(rng, n_repetitions=1)
    found = encoding_draws(prediction, eeg, n_draws=3, seed=0)
    assert np.isnan(found.encoding_r).all()
    assert np.isnan(found.noise_ceiling_lower).all()
    assert np.isfinite(found.encoding_r_all_repetitions).all()


def coverage(n_images, n_sets, columns=100, n_repetitions=8):
    """Returns how often the intervals hold the population's r: {name: share}.

    Columns are independent data sets of a signal of variance 1, noise of variance 4 in
    each repetition and a prediction of which 0.7 is the signal.
    """
    rho, noise = 0.7, 2.0
    of_half = 1 / np.sqrt(1 + noise**2 / (n_repetitions // 2))
    truth = {
        "encoding_r": rho * of_half,
        "encoding_r_all_repetitions": rho / np.sqrt(1 + noise**2 / n_repetitions),
        "noise_ceiling_lower": of_half**2,
    }
    rng = np.random.default_rng(5)
    held = {name: [] for name in truth}
    for number in range(n_sets // columns):
        signal, other = rng.standard_normal((2, n_images, 1, columns))
        trials = rng.standard_normal((n_images, n_repetitions, 1, columns))
        prediction = rho * signal + np.sqrt(1 - rho**2) * other
        draws = encoding_draws(
            prediction, signal[:, None] + noise * trials, n_draws=500, seed=number
        )
        for name, r in truth.items():
            low, high = interval(getattr(draws, name), n_images)
            held[name] += [*((low <= r) & (r <= high)).ravel()]
    return {name: np.mean(of) for name, of in held.items()}


def test_intervals_hold_the_truth():
    for name, share in coverage(60, n_sets=400).items():
        # 400 sets: two standard errors are 2.2 %.
        assert 0.92 <= share <= 0.98, name


@pytest.mark.slow
@pytest.mark.parametrize("n_images", [40, 200])
def test_intervals_hold_the_truth_of_2000_data_sets(n_images):
    for name, share in coverage(n_images, n_sets=2000).items():
        assert 0.93 <= share <= 0.97, (name, share)
