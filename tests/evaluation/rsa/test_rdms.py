"""RDMs against SciPy's, in blocks and at once."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial import distance

from img2eeg_jax.errors import InputError
from img2eeg_jax.evaluation import rsa
from img2eeg_jax.evaluation.rsa import rdms


@pytest.fixture
def features(rng):
    """f32[image, ...], far from 0, as activations are."""
    return (rng.standard_normal((23, 3, 4, 2)) + 2).astype(np.float32)


@pytest.mark.parametrize("metric", rsa.METRICS)
class TestAgainstScipy:
    def test_at_once(self, features, metric):
        expected = distance.pdist(features.reshape(23, -1).astype(np.float64), metric)
        np.testing.assert_allclose(rsa.rdm(features, metric), expected, atol=1e-12)

    def test_in_blocks(self, features, metric, monkeypatch):
        monkeypatch.setattr(rdms, "_ROWS", 5)
        monkeypatch.setattr(rdms, "_BLOCK_VALUES", 23 * 7)
        expected = distance.pdist(features.reshape(23, -1).astype(np.float64), metric)
        np.testing.assert_allclose(rsa.rdm(features, metric), expected, atol=1e-12)

    def test_of_each_time(self, rng, metric):
        response = rng.standard_normal((9, 5, 4))
        expected = [distance.pdist(response[..., t], metric) for t in range(4)]
        found = rsa.rdm_over_time(response, metric)
        np.testing.assert_allclose(found, expected, atol=1e-12)

    def test_copies_are_the_same_without_rounding(self, features, metric):
        features[7] = features[3]
        matrix = rsa.square(rsa.rdm(features, metric))
        assert matrix[3, 7] == 0
        np.testing.assert_array_equal(matrix[3, :3], matrix[:3, 3])
        np.testing.assert_allclose(matrix[3, 8:], matrix[7, 8:], rtol=1e-12)

    def test_is_symmetric_with_zero_diagonal(self, features, metric):
        matrix = rsa.square(rsa.rdm(features, metric))
        np.testing.assert_array_equal(matrix, matrix.T)
        assert (np.diagonal(matrix) == 0).all()
        assert (matrix >= 0).all()

    def test_a_constant_predictor_has_no_distances(self, rng, metric):
        """All images alike, whatever rounding makes of their features."""
        one = (rng.standard_normal(1000) * 1e3 + 7).astype(np.float32)
        assert (rsa.rdm(np.tile(one, (11, 1)), metric) == 0).all()


def test_correlation_ignores_scale_and_offset(features):
    expected = rsa.rdm(features)
    scales, offsets = np.arange(1, 24), np.linspace(-1e4, 1e4, 23)
    other = features.reshape(23, -1).astype(np.float64) * scales[:, None]
    found = rsa.rdm(other + offsets[:, None])
    np.testing.assert_allclose(found, expected, atol=1e-9)


def test_a_constant_pattern_has_no_correlation(features):
    features[4] = 0.1
    matrix = rsa.square(rsa.rdm(features))
    is_four = np.zeros((23, 23), bool)
    is_four[4], is_four[:, 4], is_four[4, 4] = True, True, False
    np.testing.assert_array_equal(np.isnan(matrix), is_four)


def test_float32_result_and_memory_maps(features, tmp_path):
    np.save(tmp_path / "features.npy", features)
    mapped = np.load(tmp_path / "features.npy", mmap_mode="r")
    found = rsa.rdm(mapped, dtype=np.float32)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, rsa.rdm(features), rtol=1e-6)


@given(st.integers(2, 12), st.integers(0, 3))
def test_square_and_condensed_are_scipys(n_images, n_stacked):
    n_pairs = n_images * (n_images - 1) // 2
    vectors = np.random.default_rng(0).random((*[2] * n_stacked, n_pairs))
    squares = rsa.square(vectors)
    for index in np.ndindex(vectors.shape[:-1]):
        np.testing.assert_array_equal(
            squares[index], distance.squareform(vectors[index])
        )
    np.testing.assert_array_equal(rsa.condensed(squares), vectors)


def test_a_stack_of_as_many_rdms_as_pairs_is_no_square(rng):
    three_of_three = rng.random((3, 3)) + 1
    np.testing.assert_array_equal(rsa.condensed(three_of_three), three_of_three)


@pytest.mark.parametrize(
    ("rdm", "message"),
    [
        (np.arange(16.0).reshape(4, 4), r"RDM: expected a symmetric.*, found 15 on"),
        (
            np.arange(25).reshape(5, 5) * (1 - np.eye(5)),
            "RDM: expected .*, found halves that differ by up to 16",
        ),
        (np.ones(4), r"RDM: expected .* n \(n - 1\) / 2 pairs, found shape \(4,\)"),
        (np.array(["a"]), "RDM: expected numbers"),
    ],
)
def test_what_is_no_rdm(rdm, message):
    with pytest.raises(InputError, match=message):
        rsa.condensed(rdm)


def test_bad_features(features):
    with pytest.raises(InputError, match=r"features: expected .* 2 or more images"):
        rsa.rdm(features[:1])
    features[0, 0, 0, 0] = np.nan
    with pytest.raises(InputError, match="features: expected finite values"):
        rsa.rdm(features)
    with pytest.raises(ValueError, match="`metric`: expected one of"):
        rsa.rdm(features, "pearson")
