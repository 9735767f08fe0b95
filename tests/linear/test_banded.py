"""Banded ridge beside ridge, himalaya, and loops of the definition."""

import numpy as np
import pytest
from himalaya.kernel_ridge import solve_multiple_kernel_ridge_random_search
from himalaya.scoring import r2_score_split
from sklearn.linear_model import Ridge
from sklearn.model_selection import PredefinedSplit
from sklearn.preprocessing import StandardScaler

from img2eeg_jax.errors import InputError
from img2eeg_jax.linear import banded, ridge

ALPHAS = (1.0, 10.0, 100.0)
N_IMAGES, N_FOLDS = 120, 4
GROUPS = np.arange(N_IMAGES) // 5
FOLDS = [np.flatnonzero(fold == GROUPS % N_FOLDS) for fold in range(N_FOLDS)]
BALANCES = np.array([[1, 1, 1], [8, 1, 1], [1, 8, 1], [0, 1, 1], [1, 0, 0]]) / 1.0
BALANCES /= BALANCES.sum(1, keepdims=True)


@pytest.fixture(scope="module", params=[(12, 9, 7), (60, 80, 10)], ids=["tall", "wide"])
def problem(request):
    """Layers, and responses of which each has its own mixture of them."""
    rng = np.random.default_rng(0)
    layers = {
        name: rng.standard_normal((N_IMAGES, n)).astype(np.float32) * 2 + 1
        for name, n in zip(("V1", "V4", "IT"), request.param, strict=True)
    }
    parts = [
        x @ rng.standard_normal((x.shape[1], 6)) / x.shape[1] ** 0.5
        for x in layers.values()
    ]
    mixtures = np.array(
        [[1, 0, 0], [0, 1, 0], [1, 1, 1], [0, 1, 1], [3, 1, 0], [0, 0, 0]]
    )
    signal = sum(part * of for part, of in zip(parts, mixtures.T, strict=True))
    return layers, (signal + rng.standard_normal((N_IMAGES, 6)) + 4).astype(np.float32)


def scaled(layers):
    return [
        StandardScaler().fit_transform(x.astype(np.float64)) for x in layers.values()
    ]


def by_definition(layers, responses, balance, alpha, rows):
    """Predicts all images from a fit of some: a penalty for each layer is a scale."""
    features = np.hstack(
        [x * root for x, root in zip(scaled(layers), np.sqrt(balance), strict=True)]
    )
    model = Ridge(alpha, solver="svd").fit(features[rows], responses[rows])
    return model.predict(features)


@pytest.mark.parametrize("folds", [FOLDS, 5], ids=["folds", "leave-one-out"])
def test_equal_penalties_are_ridge(problem, folds):
    layers, responses = problem
    found = banded.fit(layers, responses, np.array(ALPHAS) / 3, folds=folds, balances=1)
    expected = ridge.fit(layers, responses, ALPHAS, folds=folds)
    np.testing.assert_allclose(found.alpha_of_bands, np.tile(expected.alpha, (3, 1)))
    np.testing.assert_allclose(found.scores, expected.scores, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(
        found.predict(layers), expected.predict(layers), atol=1e-4
    )


@pytest.mark.parametrize("per", ridge.PENALTY_PER)
def test_the_best_draw_is_that_of_the_loop(problem, per):
    layers, responses = problem
    found = banded.fit(
        layers,
        responses.reshape(-1, 2, 3),
        ALPHAS,
        folds=FOLDS,
        balances=BALANCES,
        penalty_per=per,
    )
    scores = np.empty((len(BALANCES), len(ALPHAS), 6))
    for i, balance in enumerate(BALANCES):
        for j, alpha in enumerate(ALPHAS):
            errors, totals = 0, 0
            for fold in FOLDS:
                rest = np.setdiff1d(np.arange(N_IMAGES), fold)
                predicted = by_definition(layers, responses, balance, alpha, rest)
                errors += np.square(responses[fold] - predicted[fold]).sum(0)
                totals += np.square(responses[fold] - responses[rest].mean(0)).sum(0)
            scores[i, j] = 1 - errors / totals
    n_sharing = {"target": 1, "channel": 3, "all": 6}[per]
    means = scores.reshape(-1, 6 // n_sharing, n_sharing).mean(-1)
    best = np.repeat(means.argmax(0), n_sharing)
    draw, alpha = np.unravel_index(best, scores.shape[:2])
    np.testing.assert_array_equal(found.alpha.ravel(), np.array(ALPHAS)[alpha])
    np.testing.assert_allclose(found.balance.reshape(3, -1), BALANCES[draw].T)
    predicted = found.predict(layers).reshape(N_IMAGES, -1)
    for target in range(6):
        balance, penalty = BALANCES[draw[target]], ALPHAS[alpha[target]]
        of_target = responses[:, target]
        expected = by_definition(
            layers, of_target, balance, penalty, np.arange(N_IMAGES)
        )
        np.testing.assert_allclose(predicted[:, target], expected, atol=1e-4)
        np.testing.assert_allclose(
            found.scores.reshape(3, -1)[:, target],
            scores[draw[target], :, target],
            rtol=1e-4,
            atol=1e-4,
        )


def test_himalaya_finds_the_same(problem):
    layers, responses = problem
    fold_of = GROUPS % N_FOLDS
    kernels = np.stack([x @ x.T for x in scaled(layers)])
    deltas, weights, _, intercept = solve_multiple_kernel_ridge_random_search(
        kernels,
        responses.astype(np.float64),
        n_iter=BALANCES[:3],
        alphas=np.array(ALPHAS),
        cv=PredefinedSplit(fold_of),
        fit_intercept=True,
        return_weights="dual",
        progress_bar=False,
    )
    found = banded.fit(layers, responses, ALPHAS, folds=FOLDS, balances=BALANCES[:3])
    np.testing.assert_allclose(1 / found.alpha_of_bands, np.exp(deltas), rtol=1e-5)
    of_bands = [k @ weights * np.exp(d) for k, d in zip(kernels, deltas, strict=True)]
    expected = sum(of_bands) + intercept
    np.testing.assert_allclose(found.predict(layers), expected, atol=1e-4)
    centred = np.stack(of_bands) - np.mean(of_bands, axis=1, keepdims=True)
    shares = found.variance_shares(layers, responses)
    left_alone = responses - responses.mean(0, dtype=np.float64)
    np.testing.assert_allclose(
        np.stack(list(shares.values())),
        r2_score_split(left_alone, centred),
        atol=1e-4,
    )
    predicted = found.predict(layers)
    left = left_alone - (predicted - predicted.mean(0))
    r2 = 1 - np.square(left).sum(0) / np.square(left_alone).sum(0)
    np.testing.assert_allclose(sum(shares.values()), r2, atol=1e-4)


def test_a_draw_finds_the_layer_that_counts(problem):
    layers, responses = problem
    found = banded.fit(layers, responses, groups=GROUPS, balances=12)
    assert found.balance[0, 0] > 0.8
    assert found.balance[1, 1] > 0.8
    np.testing.assert_allclose(found.balance.sum(0), 1)
    again = banded.fit(layers, responses, groups=GROUPS, balances=12)
    np.testing.assert_array_equal(again.coefficients, found.coefficients)


def test_components_are_each_layers_own(problem):
    layers, responses = problem
    arguments = {"alphas": ALPHAS, "folds": FOLDS, "balances": BALANCES}
    found = banded.fit(layers, responses, n_components=5, **arguments)
    reduced = {}
    for name, x in zip(layers, scaled(layers), strict=True):
        left, values, _ = np.linalg.svd(x, full_matrices=False)
        reduced[name] = left[:, :5] * values[:5]
    expected = banded.fit(reduced, responses, standardise=False, **arguments)
    np.testing.assert_array_equal(found.alpha, expected.alpha)
    np.testing.assert_allclose(
        found.predict(layers), expected.predict(reduced), atol=1e-4
    )
    shares = found.variance_shares(layers, responses)
    for name, share in expected.variance_shares(reduced, responses).items():
        np.testing.assert_allclose(shares[name], share, atol=1e-4)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"balances": 0}, "balances: expected a number above 0, found 0"),
        (
            {"balances": [[1, 2]]},
            r"balances: expected draws × 3 layers, found \(1, 2\)",
        ),
        ({"balances": [[1, -1, 1]]}, "balances: expected draws"),
        ({"balances": [[0, 0, 0]]}, "balances: expected draws"),
        ({"responses": np.ones((3, 2))}, "features: expected 3 rows"),
    ],
)
def test_bad_input(problem, changes, message):
    layers, responses = problem
    arguments = {"features": layers, "responses": responses, "alphas": ALPHAS}
    with pytest.raises(InputError, match=message):
        banded.fit(**arguments | changes)


def test_too_many_features(problem, monkeypatch):
    monkeypatch.setattr(ridge, "LARGEST_SIDE", 5)
    with pytest.raises(InputError, match="`n_components` or at most 5 features"):
        banded.fit(*problem)


def test_kept_are_predictions_of_fits_without_the_fold(problem):
    """With the balance and the penalty that each response was given."""
    layers, responses = problem
    arguments = {"alphas": ALPHAS, "folds": FOLDS, "balances": BALANCES}
    found = banded.fit(
        layers, responses.reshape(-1, 2, 3), keep_held_out=True, **arguments
    )
    predicted = found.held_out.predicted.reshape(N_IMAGES, 6)
    np.testing.assert_array_equal(found.held_out.index, np.concatenate(FOLDS))
    balances, alphas = found.balance.reshape(3, 6), found.alpha.ravel()
    assert len(np.unique(balances, axis=1).T) > 1
    for target in range(6):
        expected = []
        for fold in FOLDS:
            rest = np.setdiff1d(np.arange(N_IMAGES), fold)
            every = by_definition(
                layers, responses[:, target], balances[:, target], alphas[target], rest
            )
            expected.append(every[fold])
        np.testing.assert_allclose(
            predicted[:, target], np.concatenate(expected), atol=1e-4
        )
