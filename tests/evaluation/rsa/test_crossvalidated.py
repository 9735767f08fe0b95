"""Cross-validated distances against loops, rsatoolbox and scikit-learn."""

import itertools
import warnings

import numpy as np
import pytest
from sklearn.covariance import ledoit_wolf

from img2eeg_jax.errors import InputError
from img2eeg_jax.evaluation import rsa


@pytest.fixture
def eeg(rng):
    """f64[image, repetition, channel, time] with noise that channels share."""
    mixing = rng.standard_normal((5, 5))
    noise = np.einsum("irct,cd->irdt", rng.standard_normal((7, 4, 5, 3)), mixing)
    return rng.standard_normal((7, 1, 5, 3)) + noise + 10


def naive(eeg, precision):
    """Mean over all pairs of different repetitions, by the definition."""
    n_images, n_repetitions, n_channels, n_times = eeg.shape
    return [
        [
            np.mean(
                [
                    (eeg[a, r, :, t] - eeg[b, r, :, t])
                    @ precision
                    @ (eeg[a, s, :, t] - eeg[b, s, :, t])
                    / n_channels
                    for r, s in itertools.permutations(range(n_repetitions), 2)
                ]
            )
            for a, b in itertools.combinations(range(n_images), 2)
        ]
        for t in range(n_times)
    ]


def test_by_the_definition(eeg):
    np.testing.assert_allclose(
        rsa.crossnobis(eeg), naive(eeg, np.eye(5)), rtol=1e-8, atol=1e-10
    )
    covariance = rsa.residual_covariance(eeg)
    expected = naive(eeg, np.linalg.inv(covariance))
    np.testing.assert_allclose(
        rsa.crossnobis(eeg, covariance), expected, rtol=1e-8, atol=1e-10
    )


@pytest.mark.parametrize("is_whitened", [True, False])
def test_is_rsatoolboxs(eeg, is_whitened):
    """Which leaves out one repetition in turn."""
    toolbox = pytest.importorskip("rsatoolbox")
    covariance = None if is_whitened else rsa.residual_covariance(eeg)
    noise = None if is_whitened else np.linalg.inv(covariance)
    found = rsa.crossnobis(eeg, covariance)
    images, repetitions = np.divmod(np.arange(28), 4)
    for time in range(3):
        data = toolbox.data.Dataset(
            eeg[..., time].reshape(28, 5),
            obs_descriptors={"image": images, "repetition": repetitions},
        )
        with warnings.catch_warnings():
            # It casts nan to integers.
            warnings.simplefilter("ignore")
            theirs = toolbox.rdm.calc_rdm(
                data, "crossnobis", "image", noise=noise, cv_descriptor="repetition"
            )
        np.testing.assert_allclose(
            found[time], theirs.dissimilarities[0], rtol=1e-7, atol=1e-9
        )


def test_residual_covariance_is_sklearns(eeg):
    estimates = []
    for time in range(3):
        residuals = eeg[..., time] - eeg[..., time].mean(axis=1, keepdims=True)
        estimates.append(ledoit_wolf(residuals.reshape(28, 5), assume_centered=True)[0])
    # 28 trials, of which 7 means were taken away.
    expected = np.mean(estimates, axis=0) * 28 / 21
    np.testing.assert_allclose(rsa.residual_covariance(eeg), expected, rtol=1e-10)


def test_no_difference_is_0_on_average(rng):
    """As far as 2,016 pairs tell; squared distances of means would be 0.05."""
    noise = rng.standard_normal((64, 40, 6, 1))
    found = rsa.crossnobis(noise).mean()
    assert abs(found) < 0.012


def test_known_distances(rng):
    """Two groups of images, 3 apart in each channel: 9 on average."""
    group = np.repeat([0, 3.0], 8)[:, None, None, None]
    eeg = group + rng.standard_normal((16, 60, 6, 1))
    matrix = rsa.square(rsa.crossnobis(eeg, np.eye(6))[0])
    assert abs(matrix[:8, 8:].mean() - 9) < 0.6
    assert abs(matrix[:8, :8].mean()) < 0.05


def test_offsets_of_repetitions_do_not_matter(eeg, rng):
    offsets = 100 * rng.standard_normal((1, 4, 5, 3))
    np.testing.assert_allclose(
        rsa.crossnobis(eeg + offsets), rsa.crossnobis(eeg), atol=1e-9
    )


def test_one_channel(rng):
    eeg = rng.standard_normal((5, 3, 1, 2))
    np.testing.assert_allclose(rsa.crossnobis(eeg), naive(eeg, np.eye(1)), atol=1e-12)


def test_refusals(eeg):
    with pytest.raises(InputError, match="2 or more images, repetitions"):
        rsa.crossnobis(eeg[:, :1])
    with pytest.raises(InputError, match=r"noise covariance: expected shape \(5, 5\)"):
        rsa.crossnobis(eeg, np.eye(4))
    with pytest.raises(InputError, match=r"noise covariance: .*not positive definite"):
        rsa.crossnobis(eeg, np.ones((5, 5)))
    eeg[0, 0, 0, 0] = np.inf
    with pytest.raises(InputError, match="noise covariance: expected finite"):
        rsa.residual_covariance(eeg)
