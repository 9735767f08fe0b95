"""Whitening, against scikit-learn's own estimator called once per covariance."""

import numpy as np
import pytest
import scipy.linalg
from sklearn.discriminant_analysis import _cov

from img2eeg_jax.data.preprocessing import whitening
from img2eeg_jax.errors import InputError

N_CHANNELS, N_TIMES = 5, 7


def make_epochs(n_conditions, n_repetitions, seed=0):
    rng = np.random.default_rng(seed)
    shape = (n_conditions, n_repetitions, N_CHANNELS, N_TIMES)
    mixing = rng.standard_normal((N_CHANNELS, N_CHANNELS))
    # Volts: estimators must not lose themselves in small numbers.
    return 1e-5 * np.einsum("ij,crjt->crit", mixing, rng.standard_normal(shape))


def covariance_by_loop(groups, variant):
    """The definition: one call of scikit-learn for each covariance."""
    of_conditions = []
    for epochs in groups:
        for condition in epochs:  # repetition, channel, time
            if variant == "time":
                estimates = [
                    _cov(condition[:, :, t], "auto") for t in range(condition.shape[2])
                ]
            else:
                estimates = [_cov(repetition.T, "auto") for repetition in condition]
            of_conditions.append(np.mean(estimates, 0))
    return np.mean(of_conditions, 0)


@pytest.mark.parametrize("variant", whitening.VARIANTS)
@pytest.mark.parametrize("n_repetitions", [2, 3, 20])
def test_covariance_is_scikit_learns(variant, n_repetitions):
    groups = [make_epochs(6, n_repetitions)]
    expected = covariance_by_loop(groups, variant)
    result = whitening.noise_covariance(groups, variant)
    np.testing.assert_allclose(
        result, expected, rtol=1e-12, atol=1e-12 * expected.max()
    )


@pytest.mark.parametrize("variant", whitening.VARIANTS)
def test_conditions_count_alike_whatever_their_repetitions(variant):
    groups = [make_epochs(4, 2), make_epochs(3, 5, seed=1)]
    expected = covariance_by_loop(groups, variant)
    result = whitening.noise_covariance(groups, variant)
    np.testing.assert_allclose(
        result, expected, rtol=1e-12, atol=1e-12 * expected.max()
    )


@pytest.mark.parametrize("variant", whitening.VARIANTS)
def test_blocks_change_nothing(variant):
    groups = [make_epochs(9, 3)]
    whole = whitening.noise_covariance(groups, variant)
    one_condition_at_a_time = whitening.noise_covariance(groups, variant, max_bytes=1)
    np.testing.assert_allclose(one_condition_at_a_time, whole, rtol=1e-12)


@pytest.mark.parametrize("variant", whitening.VARIANTS)
def test_constant_channel_is_scikit_learns(variant):
    epochs = make_epochs(4, 3)
    epochs[:, :, 2] = 3e-6
    expected = covariance_by_loop([epochs], variant)
    result = whitening.noise_covariance([epochs], variant)
    np.testing.assert_allclose(
        result, expected, rtol=1e-12, atol=1e-12 * expected.max()
    )


def test_input_is_left_as_it_was():
    epochs = make_epochs(4, 3)
    before = epochs.copy()
    whitening.noise_covariance([epochs], "time")
    np.testing.assert_array_equal(epochs, before)


def test_whitener_is_the_inverse_square_root():
    covariance = whitening.noise_covariance([make_epochs(20, 4)], "epochs")
    whitener = whitening.whitener(covariance)
    np.testing.assert_allclose(
        whitener @ covariance @ whitener, np.eye(N_CHANNELS), atol=1e-10
    )
    expected = np.linalg.inv(scipy.linalg.sqrtm(covariance))
    np.testing.assert_allclose(whitener, expected, rtol=1e-9)


def test_whiten_mixes_channels_only():
    epochs = make_epochs(3, 2)
    whitener = np.random.default_rng(2).standard_normal((N_CHANNELS, N_CHANNELS))
    expected = np.einsum("ij,crjt->crit", whitener, epochs)
    whitening.whiten(epochs, whitener)
    np.testing.assert_allclose(epochs, expected, rtol=1e-12)


@pytest.mark.parametrize("variant", whitening.VARIANTS)
def test_one_observation_is_refused(variant):
    epochs = make_epochs(4, 1)[..., :1]
    with pytest.raises(InputError, match="at least 2 observations"):
        whitening.noise_covariance([epochs], variant)


def test_unknown_variant_is_refused():
    with pytest.raises(InputError, match="'times'"):
        whitening.noise_covariance([make_epochs(2, 2)], "times")


def test_covariance_without_inverse_is_refused():
    with pytest.raises(InputError, match="positive definite"):
        whitening.whitener(np.diag([1.0, 0.0]))
