"""Support vector machines against scikit-learn's, problem by problem."""

import numpy as np
import pytest
from sklearn.svm import SVC

from img2eeg_jax.evaluation import svm


def problems(rng, n_problems, n_trials, n_features, scale=1.0, offset=0.0, shift=0.3):
    """Returns f64[problem, example, feature] of two classes, and their labels."""
    shape = (n_problems, 2 * n_trials, n_features)
    examples = rng.standard_normal(shape) + offset
    examples[:, :n_trials] += shift * rng.standard_normal((n_problems, 1, n_features))
    return scale * examples, np.repeat([1.0, -1.0], n_trials)


def fitted(examples, labels, cost=1.0):
    kernels = np.einsum("bif,bjf->ijb", examples, examples)
    directions, intercepts = svm.fit(kernels, labels, cost)
    return np.einsum("ib,bif->bf", directions, examples), intercepts, directions


def sklearn_fitted(examples, labels, cost=1.0):
    return SVC(kernel="linear", C=cost, tol=1e-10).fit(examples, labels)


@pytest.mark.parametrize(
    ("n_trials", "n_features", "scale", "offset", "cost", "tolerance"),
    [
        (10, 17, 1.0, 0.0, 1.0, 1e-5),
        (10, 17, 0.1, 0.0, 1.0, 1e-5),
        (10, 64, 1.0, 0.0, 1.0, 1e-5),
        (10, 3, 1.0, 0.0, 0.1, 1e-5),
        (4, 17, 1.0, 0.0, 1.0, 1e-5),
        (1, 5, 1.0, 0.0, 1.0, 1e-5),
        # LIBSVM keeps its kernels in float32: see the gaps below.
        (10, 17, 1.0, 5.0, 1.0, 3e-4),
        (10, 17, 30.0, 0.0, 1.0, 3e-4),
        (10, 17, 1.0, 0.0, 100.0, 3e-4),
    ],
)
def test_decisions_equal_scikit_learns(
    rng, n_trials, n_features, scale, offset, cost, tolerance
):
    examples, labels = problems(rng, 30, n_trials, n_features, scale, offset)
    fresh = examples[:, ::-1] + scale * rng.standard_normal(examples.shape)
    weights, intercepts, directions = fitted(examples, labels, cost)
    for k, oracle in enumerate(sklearn_fitted(e, labels, cost) for e in examples):
        decisions = fresh[k] @ weights[k] + intercepts[k]
        expected = oracle.decision_function(fresh[k])
        np.testing.assert_allclose(decisions, expected, atol=tolerance)
        is_near = np.abs(expected) < tolerance
        is_first = oracle.predict(fresh[k]) > 0
        assert ((decisions > 0) == is_first)[~is_near].all()
        alphas = np.zeros(2 * n_trials)
        alphas[oracle.support_] = oracle.dual_coef_[0]
        if n_features >= 2 * n_trials:
            # With fewer features than examples other weights do as well.
            np.testing.assert_allclose(directions[:, k], alphas, atol=1e-5)


@pytest.mark.parametrize(("offset", "cost"), [(0, 1), (5, 1), (0, 100), (50, 1)])
def test_no_solution_is_better(rng, offset, cost):
    """What is minimised is nowhere below what the dual variables prove it to be."""
    examples, labels = problems(rng, 200, 10, 17, offset=offset)
    weights, intercepts, directions = fitted(examples, labels, cost)
    margins = labels * (
        np.einsum("bef,bf->be", examples, weights) + intercepts[:, np.newaxis]
    )
    length = np.square(weights).sum(1)
    primal = length / 2 + cost * np.maximum(0, 1 - margins).sum(1)
    dual = np.abs(directions).sum(0) - length / 2
    np.testing.assert_allclose(primal - dual, 0, atol=1e-8)


@pytest.mark.parametrize("scale", [0.01, 1.0, 100.0])
def test_one_feature(rng, scale):
    """Classes overlap, and many examples weigh as much as they may.

    Where none weighs less, any intercept between two bounds is as good: scikit-learn's
    depends on rounding then. What is minimised is the same.
    """
    examples, labels = problems(rng, 200, 10, 1, scale)
    weights, intercepts, directions = fitted(examples, labels)
    assert (np.abs(directions) <= 1 + 1e-9).all()
    np.testing.assert_allclose(directions.sum(0), 0, atol=1e-9)
    for k in range(0, 200, 10 if scale < 100 else 200):
        oracle = sklearn_fitted(examples[k], labels)
        pairs = ((oracle.coef_[0], oracle.intercept_), (weights[k], intercepts[k]))
        expected, found = (
            0.5 * weight @ weight
            + np.maximum(0, 1 - labels * (examples[k] @ weight + intercept)).sum()
            for weight, intercept in pairs
        )
        # LIBSVM itself comes no closer where examples are large.
        tolerance = 1e-3 if scale == 100 else 1e-6
        assert found <= expected * (1 + 1e-9)
        assert found == pytest.approx(expected, rel=tolerance)


def test_all_at_the_largest_weight():
    """Too close for a margin of 1: the intercept is in the middle of what is as good.

    By hand: both weigh 1, the direction is 0.2, decisions are 0.2 x + b; b may be from
    -1 + 0.02 to 1 - 0.02.
    """
    weights, intercepts, _ = fitted(np.array([[[0.1], [-0.1]]]), np.array([1.0, -1.0]))
    assert weights[0, 0] == pytest.approx(0.2, abs=1e-9)
    assert intercepts[0] == pytest.approx(0, abs=1e-9)


def test_separable_by_hand():
    """Margin from -1 to 3: direction 1 / 2, intercept -1 / 2; others do not count."""
    examples = np.array([[[3.0], [9.0], [-1.0], [-4.0]]])
    weights, intercepts, directions = fitted(examples, np.array([1.0, 1, -1, -1]))
    assert weights[0, 0] == pytest.approx(0.5, abs=1e-9)
    assert intercepts[0] == pytest.approx(-0.5, abs=1e-9)
    np.testing.assert_allclose(directions[:, 0], [0.125, 0, -0.125, 0], atol=1e-9)


def test_examples_that_are_all_the_same():
    """Nothing tells them apart, and nothing breaks."""
    examples = np.full((2, 6, 3), 7.0)
    weights, intercepts, _ = fitted(examples, np.repeat([1.0, -1.0], 3))
    decisions = examples @ weights[..., None] + intercepts[:, None, None]
    np.testing.assert_allclose(weights, 0, atol=1e-9)
    np.testing.assert_allclose(decisions, 0, atol=1e-9)


def test_a_block_does_not_change_its_problems(rng):
    examples, labels = problems(rng, 12, 5, 4)
    easy, _ = problems(rng, 12, 5, 4, shift=20)
    weights, intercepts, _ = fitted(np.concatenate([examples, easy]), labels)
    alone, alone_intercepts, _ = fitted(examples[:1], labels)
    np.testing.assert_allclose(weights[:1], alone, atol=1e-9)
    np.testing.assert_allclose(intercepts[:1], alone_intercepts, atol=1e-9)


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ([1, 1, -1], "as many of 1 as of -1"),
        ([1, 2, 1, 2], "as many of 1 as of -1"),
        ([1, -1], r"\[2, 2, problem\] for 2 labels, found \(4, 4, 1\)"),
    ],
)
def test_bad_input(labels, message):
    kernel = np.zeros((len(labels), len(labels), 1) if len(labels) > 2 else (4, 4, 1))
    with pytest.raises(ValueError, match=message):
        svm.fit(kernel, labels)
