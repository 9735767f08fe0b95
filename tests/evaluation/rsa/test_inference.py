"""Permuted and drawn images against loops, and the laws that they must obey."""

import numpy as np
import pytest
from scipy import stats

from img2eeg_jax.errors import InputError
from img2eeg_jax.evaluation import rsa
from img2eeg_jax.evaluation.rsa import inference
from img2eeg_jax.evaluation.statistics import interval


@pytest.fixture(params=["without ties", "ties"])
def stacks(request, rng):
    """RDMs of 8 images, f64[2, 28] and f64[3, 28]."""
    models, targets = rng.random((2, 28)), rng.random((3, 28))
    if request.param == "ties":
        models, targets = np.round(5 * models), np.round(6 * targets)
    return models, targets


def orders(n_images, n, seed):
    """Returns the permutations, i64[n, image], that are a function of the seed."""
    rng = np.random.default_rng(seed)
    tiled = np.tile(np.arange(n_images), (n, 1))
    return rng.permuted(tiled, axis=1)


@pytest.mark.parametrize("method", rsa.METHODS)
class TestPermutedImages:
    def test_in_a_loop(self, stacks, method, monkeypatch):
        monkeypatch.setattr(inference, "_BLOCK_VALUES", 200)
        models, targets = stacks
        found = rsa.permute_images(models, targets, method, n_permutations=9, seed=5)
        np.testing.assert_allclose(
            found.values[0], rsa.compare(models, targets, method), atol=1e-12
        )
        squares = rsa.square(models)
        for order, values in zip(orders(8, 9, 5), found.values[1:], strict=True):
            permuted = squares[:, order][:, :, order]
            expected = rsa.compare(permuted, targets, method)
            np.testing.assert_allclose(values, expected, atol=1e-12)

    def test_undefined_stays_so(self, rng, method):
        models, target = rng.random((2, 28)), rng.random(28)
        models[0] = 0
        found = rsa.permute_images(models, target, method, n_permutations=9, seed=5)
        for p in (found.p[:, 0], found.p_max[:, 0], found.mean_p):
            np.testing.assert_array_equal(np.isnan(p), [True, False])


def test_p_counts_the_true_assignment():
    values = np.array([0.5, 0.1, 0.5, 0.6, 0.2])[:, None, None] * [[1, -1]]
    found = rsa.PermutedImages(values)
    np.testing.assert_allclose(found.p, [[3 / 5, 4 / 5]])
    # The largest of both: 0.5, 0.1, 0.5, 0.6, 0.2.
    np.testing.assert_allclose(found.p_max, [[3 / 5, 1]])
    np.testing.assert_allclose(found.of_targets(slice(1)).p, [[3 / 5]])


def test_a_true_model_has_the_smallest_p(rng):
    model = rsa.rdm(rng.standard_normal((20, 6)))
    target = model + 0.2 * rng.random(190)
    found = rsa.permute_images(model, target, n_permutations=199, seed=0)
    np.testing.assert_allclose(found.p, 1 / 200)


def null_p(n, seed):
    """Draws p, p_max and the mean's p of models that tell nothing of the images."""
    rng = np.random.default_rng(seed)
    for _ in range(n):
        model = rsa.rdm(rng.standard_normal((12, 5)))
        targets = np.array([rsa.rdm(rng.standard_normal((12, 5))) for _ in range(3)])
        found = rsa.permute_images(
            model, targets, n_permutations=99, seed=int(rng.integers(2**31))
        )
        yield found.p[0, 0], found.p_max[0].min(), found.mean_p[0]


def assert_uniform(p):
    """By Kolmogorov and Smirnov, of values k / 100, spread over 1 / 100."""
    jitter = np.random.default_rng(0).random(len(p)) / 100
    assert stats.kstest(np.asarray(p) - jitter, "uniform").pvalue > 0.01


def test_p_is_uniform_under_the_null():
    for p in zip(*null_p(100, seed=1), strict=True):
        assert_uniform(p)


@pytest.mark.slow
def test_p_is_uniform_under_the_null_in_500_draws():
    for p in zip(*null_p(500, seed=2), strict=True):
        assert_uniform(p)


@pytest.mark.parametrize("method", inference.BOOTSTRAP_METHODS)
class TestDrawnImages:
    def test_in_a_loop(self, stacks, method):
        """Each pair of two different images among those drawn, as often as it comes."""
        models, targets = stacks
        found = rsa.bootstrap_images(models, targets, method, n_bootstraps=6, seed=4)
        rng = np.random.default_rng(4)
        for sample in found:
            drawn = rng.integers(8, size=8)
            rows, columns = np.triu_indices(8, 1)
            rows, columns = drawn[rows], drawn[columns]
            is_pair = rows != columns
            chosen = [rsa.square(x)[:, rows[is_pair], columns[is_pair]] for x in stacks]
            expected = [[by_scipy(a, b, method) for b in chosen[1]] for a in chosen[0]]
            np.testing.assert_allclose(sample, expected, atol=1e-10)

    def test_undefined_stays_so(self, rng, method):
        models, target = rng.random((2, 28)), rng.random(28)
        models[0] = 0
        found = rsa.bootstrap_images(models, target, method, n_bootstraps=9, seed=5)
        lower, upper = rsa.interval(found, 8)
        np.testing.assert_array_equal(np.isnan(lower[:, 0]), [True, False])
        assert lower[1, 0] < upper[1, 0]


def by_scipy(a, b, method):
    if method == "spearman":
        return stats.spearmanr(a, b).statistic
    if method == "pearson":
        return stats.pearsonr(a, b).statistic
    if method == "cosine":
        return a @ b / np.sqrt((a @ a) * (b @ b))
    signs = [np.sign(x[:, None] - x) for x in (a, b)]
    n = len(a)
    return np.sum(signs[0] * signs[1]) / (n * (n - 1))


def test_interval_leaves_out_what_is_undefined():
    samples = np.arange(101.0)[:, None] * [1, 1, np.nan]
    samples = np.concatenate([samples, [[50, np.nan, np.nan]]])
    many = 10**7  # of which the interval is that of the normal distribution
    lower, upper = rsa.interval(samples, many)
    np.testing.assert_allclose(lower[1:], [2.5, np.nan], rtol=1e-5)
    np.testing.assert_allclose(upper[1:], [97.5, np.nan], rtol=1e-5)
    of_few = rsa.interval(samples, 5), interval(samples[:101], 5)
    np.testing.assert_allclose(of_few[0][1][1], of_few[1][1][1])
    assert of_few[0][1][1] > 98.5


def coverage(n, n_bootstraps):
    """Returns how often the interval holds the similarity in all images there are."""
    rng = np.random.default_rng(7)
    population = rng.standard_normal((400, 4))
    noisy = np.concatenate([population, rng.standard_normal((400, 4))], axis=1)
    truth = rsa.compare(rsa.rdm(population), rsa.rdm(noisy))
    hits = 0
    for seed in range(n):
        images = rng.choice(400, 30, replace=False)
        samples = rsa.bootstrap_images(
            rsa.rdm(population[images]),
            rsa.rdm(noisy[images]),
            n_bootstraps=n_bootstraps,
            seed=seed,
        )
        lower, upper = rsa.interval(samples[:, 0, 0], 30)
        hits += lower <= truth <= upper
    return hits / n


def test_intervals_hold_the_truth_often_enough():
    assert 0.85 <= coverage(60, 200) <= 1


@pytest.mark.slow
def test_intervals_hold_the_truth_in_95_percent():
    """Of 1,000: the standard error is 0.7 %. The interval is meant to err high."""
    assert 0.92 <= coverage(1000, 500) <= 0.99


def test_refusals(stacks):
    models, targets = stacks
    with pytest.raises(InputError, match="model RDMs: expected of 7 images"):
        rsa.permute_images(models, targets[:, :21], n_permutations=3, seed=0)
    with pytest.raises(InputError, match=r"model RDMs: expected \[rdm, pair\]"):
        rsa.permute_images(models[:, None], targets, n_permutations=3, seed=0)
    with pytest.raises(ValueError, match="`n_permutations`: expected at least 1"):
        rsa.permute_images(models, targets, n_permutations=0, seed=0)
    with pytest.raises(ValueError, match="`n_bootstraps`: expected at least 1"):
        rsa.bootstrap_images(models, targets, n_bootstraps=0, seed=0)
    with pytest.raises(ValueError, match="`method`: expected one of"):
        rsa.bootstrap_images(models, targets, "whitened_cosine", n_bootstraps=9, seed=0)
