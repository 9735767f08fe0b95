"""Ridge regression beside scikit-learn, and beside loops of the definition."""

import numpy as np
import pytest
from sklearn.linear_model import Ridge, RidgeCV
from sklearn.preprocessing import StandardScaler

from img2eeg_jax.linear import ridge

ALPHAS = (0.1, 1.0, 10.0, 100.0, 1000.0)
N_IMAGES = 120


def problem(n_features, seed=0, n_images=N_IMAGES, n_targets=7):
    """Correlated features of unlike scales, and noisy responses to them."""
    rng = np.random.default_rng(seed)
    mixed = rng.standard_normal((n_images, n_features)) @ np.diag(
        1 / np.arange(1, n_features + 1) ** 0.5
    )
    mixing = rng.standard_normal((n_features, n_features)) / n_features**0.5
    features = mixed @ mixing + rng.standard_normal(n_features) * 3
    signal = features @ rng.standard_normal((n_features, n_targets)) / n_features**0.5
    noise = rng.standard_normal((n_images, n_targets))
    noise *= np.linspace(0.2, 3, n_targets)
    return features.astype(np.float32), (signal + noise + 5).astype(np.float32)


def singular():
    features, responses = problem(12)
    return np.hstack(
        [features, features[:, :5], features @ np.ones((12, 1))]
    ), responses


def constant():
    features, responses = problem(20)
    features[:, [3, 7]] = (0, 1e4 + 0.1)
    return features, responses


PROBLEMS = {
    "tall": lambda: problem(20),
    "wide": lambda: problem(300),
    "square": lambda: problem(N_IMAGES),
    "singular": singular,
    "constant": constant,
}


@pytest.fixture(params=PROBLEMS)
def any_problem(request):
    return PROBLEMS[request.param]()


def scaled(features):
    return StandardScaler().fit_transform(features.astype(np.float64))


def assert_close(found, expected, tolerance=1e-4):
    """Within a share of the spread of what is expected."""
    expected = np.asarray(expected)
    np.testing.assert_allclose(
        found, expected, rtol=0, atol=tolerance * expected.std(0).mean()
    )


@pytest.mark.parametrize("alpha", ALPHAS)
def test_ridge_is_scikit_learns(any_problem, alpha):
    features, responses = any_problem
    expected = Ridge(alpha).fit(scaled(features), responses).predict(scaled(features))
    found = ridge.fit(features, responses, alpha)
    assert_close(found.predict(features), expected)
    assert np.all(found.alpha == alpha)
    assert found.scores is None


def test_leave_one_out_is_scikit_learns(any_problem):
    features, responses = any_problem
    oracle = RidgeCV(ALPHAS, alpha_per_target=True).fit(scaled(features), responses)
    found = ridge.fit(features, responses, ALPHAS)
    np.testing.assert_array_equal(found.alpha, oracle.alpha_)
    assert_close(found.predict(features), oracle.predict(scaled(features)))
