"""Ridge regression beside scikit-learn, and beside loops of the definition."""

import numpy as np
import pytest
from himalaya.ridge import RidgeCV as HimalayaRidgeCV
from sklearn.decomposition import PCA, KernelPCA
from sklearn.linear_model import LinearRegression, Ridge, RidgeCV
from sklearn.model_selection import PredefinedSplit
from sklearn.preprocessing import StandardScaler

from img2eeg_jax.errors import InputError
from img2eeg_jax.linear import products, ridge

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


def groups_of(n=N_IMAGES, size=5):
    """Names of groups of images, not in order."""
    return np.random.default_rng(1).permutation(np.arange(n) // size)


def folds_of(groups, n_folds=4):
    fold_of = groups % n_folds
    return [np.flatnonzero(fold_of == fold) for fold in range(n_folds)]


def held_out_errors(features, responses, folds, alpha, weights=None):
    """Sums of squared errors, and of predicting the mean, by the definition."""
    weights = np.ones(len(features)) if weights is None else weights
    errors, totals = 0, 0
    for fold in folds:
        rest = np.setdiff1d(np.arange(len(features)), fold)
        own = weights[rest]
        model = Ridge(alpha).fit(features[rest], responses[rest], sample_weight=own)
        mean = np.average(responses[rest], axis=0, weights=own)
        left = responses[fold] - model.predict(features[fold])
        errors = errors + weights[fold] @ left**2
        totals = totals + weights[fold] @ (responses[fold] - mean) ** 2
    return 1 - errors / totals


@pytest.mark.parametrize("weighted", [False, True])
class TestHeldOut:
    """R² of each penalty beside loops that fit all but a fold."""

    @pytest.fixture
    def weights(self, weighted):
        if not weighted:
            return None
        return np.random.default_rng(2).uniform(0.2, 3, N_IMAGES)

    def test_leave_one_out_is_the_loop(self, any_problem, weights):
        features, responses = any_problem
        found = ridge.fit(features, responses, ALPHAS, weights=weights)
        folds = np.arange(N_IMAGES)[:, np.newaxis]
        for alpha, score in list(zip(ALPHAS, found.scores, strict=True))[1::2]:
            expected = held_out_errors(
                scaled(features), responses, folds, alpha, weights
            )
            np.testing.assert_allclose(score, expected, rtol=1e-4, atol=1e-4)

    @pytest.mark.parametrize("n_folds", [4, 1])
    def test_folds_are_the_loop(self, any_problem, weights, n_folds):
        features, responses = any_problem
        folds = folds_of(groups_of())[:n_folds]
        found = ridge.fit(features, responses, ALPHAS, folds=folds, weights=weights)
        for alpha, score in zip(ALPHAS, found.scores, strict=True):
            expected = held_out_errors(
                scaled(features), responses, folds, alpha, weights
            )
            np.testing.assert_allclose(score, expected, rtol=1e-4, atol=1e-4)

    def test_the_fit_is_of_all_images(self, any_problem, weights):
        features, responses = any_problem
        found = ridge.fit(features, responses, ALPHAS, groups=groups_of())
        again = ridge.fit(features, responses, ALPHAS, weights=weights)
        for one, own in ((found, None), (again, weights)):
            for target, alpha in enumerate(one.alpha):
                oracle = Ridge(alpha).fit(scaled(features), responses[:, target], own)
                expected = oracle.predict(scaled(features))
                assert_close(one.predict(features)[:, target], expected)


def test_himalaya_finds_the_same():
    features, responses = problem(20)
    folds = folds_of(groups_of())
    fold_of = np.empty(N_IMAGES, int)
    for number, fold in enumerate(folds):
        fold_of[fold] = number
    oracle = HimalayaRidgeCV(
        alphas=ALPHAS, fit_intercept=True, cv=PredefinedSplit(fold_of)
    ).fit(scaled(features), responses.astype(np.float64))
    found = ridge.fit(features, responses, ALPHAS, folds=folds)
    np.testing.assert_allclose(found.alpha, oracle.best_alphas_)
    assert_close(found.predict(features), oracle.predict(scaled(features)))


def test_small_blocks_give_the_same(any_problem, monkeypatch):
    features, responses = any_problem
    arguments = {"groups": groups_of(), "alphas": ALPHAS}
    whole = ridge.fit(features, responses, **arguments)
    left_out = ridge.fit(features, responses, ALPHAS)
    monkeypatch.setattr(products, "BLOCK_NUMBERS", 17 * features.shape[1])
    parts = ridge.fit(features, responses, **arguments)
    np.testing.assert_allclose(parts.scores, whole.scores, rtol=1e-4, atol=1e-4)
    assert_close(parts.predict(features), whole.predict(features))
    again = ridge.fit(features, responses, ALPHAS).scores
    np.testing.assert_allclose(again, left_out.scores, rtol=1e-4, atol=1e-4)


def test_layers_are_columns(tmp_path):
    features, responses = problem(20)
    for name, columns in (("V1", slice(0, 12)), ("IT", slice(12, 20))):
        np.save(tmp_path / f"{name}.npy", features[:, columns])
    layers = {
        name: np.load(tmp_path / f"{name}.npy", mmap_mode="r") for name in ("V1", "IT")
    }
    whole = ridge.fit(features, responses, ALPHAS)
    found = ridge.fit(layers, responses, ALPHAS)
    np.testing.assert_array_equal(found.coefficients, whole.coefficients)
    np.testing.assert_array_equal(found.predict(layers), whole.predict(features))


class TestShapes:
    """Responses of channels and times, and who shares a penalty."""

    FEATURES, RESPONSES = problem(20, n_targets=12)
    EEG = RESPONSES.reshape(N_IMAGES, 3, 4)

    def test_targets_are_flattened(self):
        flat = ridge.fit(self.FEATURES, self.RESPONSES, ALPHAS)
        found = ridge.fit(self.FEATURES, self.EEG, ALPHAS)
        assert found.alpha.shape == (3, 4)
        assert found.scores.shape == (len(ALPHAS), 3, 4)
        predicted = found.predict(self.FEATURES[:5])
        assert predicted.shape == (5, 3, 4)
        assert predicted.dtype == np.float32
        np.testing.assert_array_equal(
            predicted.reshape(5, -1), flat.predict(self.FEATURES[:5])
        )

    @pytest.mark.parametrize(("per", "axes"), [("channel", (2,)), ("all", (1, 2))])
    def test_penalties_are_shared(self, per, axes):
        found = ridge.fit(self.FEATURES, self.EEG, ALPHAS, penalty_per=per)
        best = found.scores.mean(axes, keepdims=True).argmax(0)
        expected = np.broadcast_to(np.array(ALPHAS)[best], (3, 4))
        np.testing.assert_array_equal(found.alpha, expected)
        assert len(np.unique(found.scores.argmax(0))) > 1

    def test_subjects_share_what_is_of_features(self):
        arguments = {"groups": groups_of(), "n_components": 8}
        prepared = ridge.prepare(self.FEATURES, **arguments)
        for subject in (self.EEG, self.EEG[::-1]):
            alone = ridge.fit(self.FEATURES, subject, ALPHAS, **arguments)
            found = ridge.fit(prepared, subject, ALPHAS)
            np.testing.assert_array_equal(found.coefficients, alone.coefficients)
            np.testing.assert_array_equal(found.scores, alone.scores)


class TestPresets:
    """Least squares on components."""

    @pytest.mark.parametrize("preset", ridge.PRESETS)
    def test_is_scikit_learns(self, preset):
        features, responses = problem(20)
        arguments = ridge.PRESETS[preset] | {"n_components": 15}
        oracle = (
            PCA(15) if preset == "pca1000" else KernelPCA(15, kernel="poly", degree=4)
        )
        scores = oracle.fit_transform(scaled(features))
        expected = LinearRegression().fit(scores, responses).predict(scores)
        found = ridge.fit(features, responses, **arguments)
        assert_close(found.predict(features), expected)


def test_default_penalties_surround_the_best():
    features, responses = problem(20)
    found = ridge.fit(features, responses[:, :2])
    assert len(found.alphas) == len(ridge.RELATIVE_ALPHAS)
    place = np.searchsorted(found.alphas, found.alpha)
    assert place.min() > 0
    assert place.max() < len(found.alphas) - 1


def test_weights_of_repetitions():
    """Their inverses are the variance of mean responses, simulated."""
    rng = np.random.default_rng(0)
    n_repetitions, reliability = np.array([1, 2, 4, 80]), 0.2
    signal = rng.standard_normal(20_000) * reliability**0.5
    noise = rng.standard_normal((20_000, 80)) * (1 - reliability) ** 0.5
    variance = [(signal + noise[:, :n].mean(1)).var() for n in n_repetitions]
    found = ridge.repetition_weights(n_repetitions, reliability)
    expected = 1 / np.array(variance)
    np.testing.assert_allclose(found, expected / expected.mean(), rtol=0.03)
    assert found.mean() == pytest.approx(1)


FEATURES, RESPONSES = problem(6)
BROKEN = FEATURES.copy()
BROKEN[4, 2] = np.nan


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"features": FEATURES[1:]}, "features: expected 120 rows, .* found 119 rows"),
        ({"features": BROKEN}, "features: expected finite .* found others in row 4"),
        ({"features": {"V1": FEATURES, "IT": FEATURES[:9]}}, "IT: expected 120 rows"),
        ({"features": FEATURES[0]}, "features: expected images × features"),
        ({"features": {}}, "expected at least one layer"),
        ({"responses": BROKEN}, "responses: expected finite .* row 4"),
        ({"alphas": (1, -1)}, "alphas: expected penalties of 0 or more"),
        ({"alphas": ()}, "alphas: expected penalties"),
        ({"penalty_per": "time"}, "penalty_per: expected one of target, channel, all"),
        ({"groups": [1, 2]}, "groups: expected one of each of 120 images"),
        ({"groups": np.arange(120) % 2}, "`folds`: expected 2 to 2, .* found 5"),
        ({"folds": [[3, 4], [4, 5]]}, "folds: expected each row in one"),
        ({"folds": [[120]]}, "folds: expected rows of 120 images"),
        ({"folds": [range(120)]}, "folds: expected some images, and others"),
        ({"weights": [1, 2]}, "weights: expected 120 numbers above 0"),
        ({"weights": np.zeros(120)}, "weights: expected 120 numbers above 0"),
        ({"n_components": 0}, "n_components: expected a number above 0, found 0"),
        ({"degree": 4}, "n_components: expected a number, with a kernel, found none"),
    ],
)
def test_bad_input(changes, message):
    arguments = {"features": FEATURES, "responses": RESPONSES, "alphas": ALPHAS}
    with pytest.raises(InputError, match=message):
        ridge.fit(**arguments | changes)


def test_other_features_are_refused():
    found = ridge.fit(FEATURES, RESPONSES, 1)
    with pytest.raises(InputError, match="features: expected 6 columns, found 5"):
        found.predict(FEATURES[:, 1:])


def test_too_large_without_components(monkeypatch):
    monkeypatch.setattr(ridge, "LARGEST_SIDE", 5)
    with pytest.raises(InputError, match="`n_components` or at most 5 images or feat"):
        ridge.fit(FEATURES, RESPONSES)


@pytest.mark.parametrize(("n", "reliability"), [([0, 1], 0.5), ([1, 1], 1.1)])
def test_weights_of_no_repetitions(n, reliability):
    with pytest.raises(InputError, match="expected"):
        ridge.repetition_weights(n, reliability)


@pytest.mark.parametrize("weighted", [False, True])
def test_kept_are_predictions_of_fits_without_the_fold(
    any_problem, weighted, monkeypatch
):
    """Of the folds that hold enough images; in the order of the folds."""
    features, responses = any_problem
    folds = folds_of(groups_of())
    weights = np.random.default_rng(2).uniform(0.2, 3, N_IMAGES) if weighted else None
    monkeypatch.setattr(ridge, "ENOUGH", 35)
    arguments = {"alphas": ALPHAS, "folds": folds, "weights": weights}
    found = ridge.fit(features, responses, keep_held_out=True, **arguments)
    kept = folds[:2]
    np.testing.assert_array_equal(found.held_out.index, np.concatenate(kept))
    own = np.ones(N_IMAGES) if weights is None else weights
    expected = []
    for fold in kept:
        rest = np.setdiff1d(np.arange(N_IMAGES), fold)
        model = Ridge(found.alpha, solver="svd")
        model.fit(scaled(features)[rest], responses[rest], sample_weight=own[rest])
        expected.append(model.predict(scaled(features)[fold]))
    assert_close(found.held_out.predicted, np.concatenate(expected), 1e-3)
    assert ridge.fit(features, responses, **arguments).held_out is None
