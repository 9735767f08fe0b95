"""Similarities of RDMs against SciPy, rsatoolbox and the definition in loops."""

import itertools

import numpy as np
import pytest
from scipy import stats

from img2eeg_jax.errors import InputError
from img2eeg_jax.evaluation import rsa

# Ours → what rsatoolbox calls it.
THEIRS = {
    "spearman": "spearman",
    "pearson": "corr",
    "cosine": "cosine",
    "whitened_cosine": "cosine_cov",
    "tau_a": "tau-a",
}
BY_SCIPY = {
    "spearman": lambda a, b: stats.spearmanr(a, b).statistic,
    "pearson": lambda a, b: stats.pearsonr(a, b).statistic,
}


@pytest.fixture(params=["without ties", "ties"])
def stacks(request, rng):
    """RDMs of 9 images, f64[2, 36] and f64[3, 36]."""
    models, targets = rng.random((2, 36)), rng.random((3, 36))
    if request.param == "ties":
        models, targets = np.round(4 * models), np.round(6 * targets)
    return models, targets


def naive_tau_a(a, b):
    """Agreeing minus disagreeing pairs, over all pairs."""
    pairs = list(itertools.combinations(range(len(a)), 2))
    signs = [np.sign(a[i] - a[j]) * np.sign(b[i] - b[j]) for i, j in pairs]
    return sum(signs) / len(pairs)


@pytest.mark.parametrize("method", THEIRS)
def test_is_rsatoolboxs(stacks, method):
    toolbox = pytest.importorskip("rsatoolbox").rdm
    models, targets = stacks
    theirs = toolbox.compare(
        toolbox.RDMs(models), toolbox.RDMs(targets), method=THEIRS[method]
    )
    np.testing.assert_allclose(rsa.compare(*stacks, method), theirs, atol=1e-7)


@pytest.mark.parametrize("method", BY_SCIPY)
def test_is_scipys(stacks, method):
    expected = [[BY_SCIPY[method](a, b) for b in stacks[1]] for a in stacks[0]]
    np.testing.assert_allclose(rsa.compare(*stacks, method), expected, atol=1e-12)


def test_tau_a_by_its_definition(stacks):
    expected = [[naive_tau_a(a, b) for b in stacks[1]] for a in stacks[0]]
    np.testing.assert_allclose(rsa.compare(*stacks, "tau_a"), expected, atol=1e-12)


def test_whitened_cosine_by_its_definition(stacks):
    """a V⁻¹ b over the root of a V⁻¹ a · b V⁻¹ b; V is how estimates covary."""
    pairs = list(itertools.combinations(range(9), 2))
    contrasts = np.zeros((36, 9))
    for row, (i, j) in enumerate(pairs):
        contrasts[row, i], contrasts[row, j] = 1, -1
    inverse = np.linalg.inv(np.square(contrasts @ contrasts.T))
    models, targets = stacks
    product = models @ inverse @ targets.T
    sizes = [np.diagonal(x @ inverse @ x.T) for x in stacks]
    expected = product / np.sqrt(np.outer(*sizes))
    found = rsa.compare(models, targets, "whitened_cosine")
    np.testing.assert_allclose(found, expected, atol=1e-10)


@pytest.mark.parametrize("method", rsa.METHODS)
class TestEach:
    def test_takes_squares_and_single_ones(self, stacks, method):
        models, targets = stacks
        expected = rsa.compare(models, targets, method)
        found = rsa.compare(rsa.square(models), rsa.square(targets), method)
        np.testing.assert_allclose(found, expected, rtol=1e-12)
        one = rsa.compare(models[0], targets[1], method)
        assert one.shape == ()
        np.testing.assert_allclose(one, expected[0, 1], rtol=1e-12)
        stacked = rsa.compare(models[:, None], targets[0], method)
        np.testing.assert_allclose(stacked, expected[:, [0]], rtol=1e-12)

    def test_itself_is_the_most_alike(self, rng, method):
        rdm = rng.random(36)
        np.testing.assert_allclose(rsa.compare(rdm, rdm, method), 1, rtol=1e-12)

    def test_a_constant_predictor_is_told(self, rng, method):
        """nan, not 0, whatever rounding makes of its features."""
        features = np.tile(1e3 * rng.standard_normal(64), (9, 1))
        for metric in rsa.METRICS:
            constant = rsa.rdm(features, metric)
            assert np.isnan(rsa.compare(constant, rng.random(36), method))

    def test_nan_stays_nan(self, rng, method):
        models, target = rng.random((2, 36)), rng.random(36)
        expected = rsa.compare(models[1], target, method)
        models[0, 5] = np.nan
        found = rsa.compare(models, target, method)
        np.testing.assert_allclose(found, [np.nan, expected], rtol=1e-12)

    def test_other_numbers_of_images(self, rng, method):
        with pytest.raises(InputError, match=r"one of 9 images .* one of 8"):
            rsa.compare(rng.random(36), rng.random(28), method)


@pytest.mark.parametrize("method", ["spearman", "pearson", "tau_a"])
def test_dissimilarities_that_are_all_the_same_are_told(rng, method):
    rdm = np.full(36, 0.3) + 1e-16 * rng.random(36)
    assert np.isnan(rsa.compare(rdm, rng.random(36), method))


def test_unknown_method():
    with pytest.raises(ValueError, match="`method`: expected one of"):
        rsa.compare(np.ones(3), np.ones(3), "kendall")
