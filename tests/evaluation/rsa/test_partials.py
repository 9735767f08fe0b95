"""Shares of models against least squares, and partial correlation by its definition."""

import numpy as np
import pytest
from scipy import stats
from sklearn.linear_model import LinearRegression

from img2eeg_jax.errors import InputError
from img2eeg_jax.evaluation import rsa

RANKS = {"spearman": stats.rankdata, "pearson": np.asarray}


@pytest.fixture
def known(rng):
    """Two measured RDMs of 12 images and three models: f64[2, 66], f64[3, 66]."""
    models = rng.random((3, 66))
    models[2] += models[0]
    weights = np.array([[1, 0.5, 0], [0, 0.2, 0.8]])
    return weights @ models + 0.5 * rng.random((2, 66)), models


def residuals(y, x):
    return y - LinearRegression().fit(x.T, y).predict(x.T)


@pytest.mark.parametrize("method", RANKS)
class TestAgainstLeastSquares:
    def test_partial(self, known, method):
        targets, models = known
        rank = RANKS[method]
        others = np.array([rank(m) for m in models[1:]])
        model = residuals(rank(models[0]), others)
        expected = [
            stats.pearsonr(residuals(rank(target), others), model).statistic
            for target in targets
        ]
        found = rsa.partial(targets, models[0], models[1:], method)
        np.testing.assert_allclose(found, expected, atol=1e-10)

    def test_shares(self, known, method):
        targets, models = known
        ranked = np.array([RANKS[method](m) for m in models])
        found = rsa.shares(targets, models, method)
        for i, target in enumerate(RANKS[method](t) for t in targets):
            whole = LinearRegression().fit(ranked.T, target).score(ranked.T, target)
            without = [
                LinearRegression().fit(some.T, target).score(some.T, target)
                for some in (np.delete(ranked, j, axis=0) for j in range(3))
            ]
            np.testing.assert_allclose(found.whole[i], whole, atol=1e-10)
            expected = whole - np.array(without)
            np.testing.assert_allclose(found.unique[:, i], expected, atol=1e-10)
        total = found.unique.sum(0) + found.common
        np.testing.assert_allclose(total, found.whole, rtol=1e-12)


def test_of_one_other_it_is_the_formula(known):
    """(r_ab - r_ac r_bc) over the root of (1 - r_ac²)(1 - r_bc²)."""
    (target, _), (a, b, _) = known
    ya, yb, ab = (
        stats.spearmanr(*pair).statistic for pair in ((target, a), (target, b), (a, b))
    )
    expected = (ya - yb * ab) / np.sqrt((1 - yb**2) * (1 - ab**2))
    np.testing.assert_allclose(rsa.partial(target, a, b), expected, rtol=1e-10)
    found = rsa.partial(rsa.square(target), rsa.square(a), rsa.square(b))
    np.testing.assert_allclose(found, expected, rtol=1e-10)


def test_a_model_that_others_explain_has_no_share(known):
    (target, _), models = known
    both = [models[0], 3 * models[0] + 2]
    assert np.isnan(rsa.partial(target, both[0], both[1], "pearson"))
    np.testing.assert_allclose(rsa.shares(target, both).unique, 0, atol=1e-12)


def test_a_constant_model_is_told(known):
    (target, _), models = known
    models[1] = 0.5
    assert np.isnan(rsa.partial(target, models[0], models[1:]))
    assert np.isnan(rsa.partial(target, models[1], models[0]))
    assert np.isnan(rsa.shares(target, models).whole)


def test_refusals(known):
    targets, models = known
    with pytest.raises(InputError, match="equally many pairs"):
        rsa.partial(targets, models[0], models[1:, :55])
    with pytest.raises(InputError, match="models: expected"):
        rsa.shares(targets, models[0])
    with pytest.raises(ValueError, match="`method`: expected one of"):
        rsa.shares(targets, models, "tau_a")
