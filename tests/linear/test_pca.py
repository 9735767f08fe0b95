"""Principal components beside scikit-learn's, exact and randomised."""

import numpy as np
import pytest
import sklearn.decomposition
from sklearn.preprocessing import StandardScaler

from img2eeg_jax.errors import InputError
from img2eeg_jax.linear import kernel, pca, products

N_COMPONENTS = 10


def images(n_images, n_features, seed=0):
    """Features whose variance falls off over directions, as that of networks does."""
    rng = np.random.default_rng(seed)
    n = min(n_images, n_features)
    left = np.linalg.qr(rng.standard_normal((n_images, n)))[0]
    right = np.linalg.qr(rng.standard_normal((n_features, n)))[0]
    spectrum = 100 / np.arange(1, n + 1) ** 0.8
    return ((left * spectrum) @ right.T + 3).astype(np.float32)


SIZES = {"tall": (150, 40), "wide": (60, 200)}


@pytest.fixture(params=SIZES)
def features(request):
    return images(*SIZES[request.param])


@pytest.fixture(params=["exact", "randomised"])
def side(request, monkeypatch):
    """Components are found by a sketch where both sides are larger."""
    if request.param == "randomised":
        monkeypatch.setattr(pca, "EXACT_SIDE", 20)
        monkeypatch.setattr(kernel, "EXACT_SIDE", 20)
    return request.param


def scaled(features):
    return StandardScaler().fit_transform(features.astype(np.float64))


def assert_same_directions(found, expected, tolerance):
    """Columns agree but for their signs, within a share of the largest."""
    signs = np.sign((found * expected).sum(0))
    np.testing.assert_allclose(
        found * signs, expected, rtol=0, atol=tolerance * np.abs(expected).max()
    )


def test_is_scikit_learns(features, side):
    oracle = sklearn.decomposition.PCA(N_COMPONENTS).fit(scaled(features))
    found = pca.fit(features, N_COMPONENTS)
    # Of ten components the sketch leaves the last ones a little mixed.
    tolerance = 1e-4 if side == "exact" else 2e-2
    assert_same_directions(found.scores, oracle.transform(scaled(features)), tolerance)
    expected = oracle.explained_variance_ratio_
    np.testing.assert_allclose(found.explained, expected, rtol=tolerance)
    np.testing.assert_allclose(found.projection(features), found.scores, atol=1e-4)
    products_of_columns = found.projection.components.T @ found.projection.components
    np.testing.assert_allclose(products_of_columns, np.eye(N_COMPONENTS), atol=1e-5)


def test_kernel_is_scikit_learns(features, side):
    oracle = sklearn.decomposition.KernelPCA(N_COMPONENTS, kernel="poly", degree=4)
    expected = oracle.fit_transform(scaled(features))
    found = kernel.fit(features, N_COMPONENTS)
    tolerance = 1e-4 if side == "exact" else 2e-2
    assert_same_directions(found.scores, expected, tolerance)
    new = features[:7] * np.float32(0.9)
    scaler = StandardScaler().fit(features.astype(np.float64))
    expected = oracle.transform(scaler.transform(new.astype(np.float64)))
    assert_same_directions(found.projection(new), expected, tolerance)
    assert found.projection.n_bytes == 4 * features.size


def test_small_blocks_give_the_same(features, side, monkeypatch):
    whole = pca.fit(features, N_COMPONENTS).scores
    of_kernel = kernel.fit(features, N_COMPONENTS).scores
    monkeypatch.setattr(products, "BLOCK_NUMBERS", 17 * features.shape[1])
    assert_same_directions(pca.fit(features, N_COMPONENTS).scores, whole, 1e-3)
    found = kernel.fit(features, N_COMPONENTS)
    assert_same_directions(found.scores, of_kernel, 1e-3)
    assert_same_directions(found.projection(features), of_kernel, 1e-3)


def test_rounding_is_no_component():
    features = images(80, 6)
    features = np.hstack([features, features, np.ones((80, 3), np.float32)])
    found = pca.fit(features, 12)
    assert found.scores.shape == (80, 6)
    assert found.explained.sum() == pytest.approx(1)


def test_without_standard_deviations():
    features = images(80, 6)
    oracle = sklearn.decomposition.PCA(4).fit(features.astype(np.float64))
    found = pca.fit(features, 4, standardise=False)
    assert_same_directions(found.scores, oracle.transform(features), 1e-4)


def test_a_sketch_needs_no_whole_features(monkeypatch, tmp_path):
    """Features of a memory map are read in blocks, whatever their number."""
    features = images(60, 300)
    np.save(tmp_path / "features.npy", features)
    monkeypatch.setattr(pca, "EXACT_SIDE", 20)
    monkeypatch.setattr(products, "BLOCK_NUMBERS", 2000)
    largest = []
    block = pca.Design.block

    def watched(design, rows):
        found = block(design, rows)
        largest.append(found.size)
        return found

    monkeypatch.setattr(pca.Design, "block", watched)
    pca.fit(np.load(tmp_path / "features.npy", mmap_mode="r"), N_COMPONENTS)
    assert max(largest) <= 2000


def test_no_components():
    with pytest.raises(InputError, match="n_components: expected a number above 0"):
        pca.fit(images(20, 5), 0)
