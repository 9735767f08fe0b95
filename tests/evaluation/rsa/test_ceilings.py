"""Ceilings against rsatoolbox's, and reliability of known EEG."""

import warnings

import numpy as np
import pytest

from helpers.scores import halvings
from img2eeg_jax.errors import InputError
from img2eeg_jax.evaluation import rsa

THEIRS = {
    "spearman": "spearman",
    "pearson": "corr",
    "cosine": "cosine",
    "whitened_cosine": "cosine_cov",
    "tau_a": "tau-a",
}


@pytest.fixture
def rdms(rng):
    """Those of 6 subjects, alike, of 9 images: f64[6, 36]."""
    return rng.random(36) + 0.5 * rng.random((6, 36))


@pytest.mark.parametrize("method", THEIRS)
class TestSubjects:
    def test_are_rsatoolboxs(self, rdms, method):
        pytest.importorskip("rsatoolbox")
        from rsatoolbox.inference import boot_noise_ceiling
        from rsatoolbox.rdm import RDMs

        with warnings.catch_warnings():
            # That it averages ranks for tau, as is done here.
            warnings.simplefilter("ignore")
            expected = boot_noise_ceiling(RDMs(rdms), THEIRS[method])
        found = rsa.subject_ceilings(rdms, method)
        np.testing.assert_allclose(found, expected, atol=1e-7)

    def test_are_ordered(self, rdms, method):
        lower, upper = rsa.subject_ceilings(rsa.square(rdms), method)
        assert 0 < lower < upper < 1

    def test_subjects_that_agree_leave_no_room(self, rdms, method):
        found = rsa.subject_ceilings(np.tile(rdms[:1], (3, 1)), method)
        np.testing.assert_allclose(found, [1, 1], rtol=1e-12)


def test_one_subject_has_no_ceilings(rdms):
    with pytest.raises(InputError, match="RDMs of 2 or more subjects"):
        rsa.subject_ceilings(rdms[:1])


def test_split_half_reliability_in_a_loop(rng):
    eeg = rng.standard_normal((8, 1, 4, 3)) + rng.standard_normal((8, 5, 4, 3))
    found = rsa.split_half_reliability(eeg, 6, seed=3)
    by_split = [
        [
            rsa.compare(
                rsa.rdm(eeg[:, half][..., t].mean(1)),
                rsa.rdm(eeg[:, other][..., t].mean(1)),
            )
            for t in range(3)
        ]
        for half, other in halvings(5, 6, seed=3)
    ]
    np.testing.assert_allclose(found, np.mean(by_split, axis=0), atol=1e-12)


def test_reliability_tells_signal_from_noise(rng):
    signal = np.array([0, 3.0]) * rng.standard_normal((40, 1, 6, 1))
    eeg = signal + rng.standard_normal((40, 8, 6, 2))
    noise, both = rsa.split_half_reliability(eeg, 5, seed=0)
    assert abs(noise) < 0.1
    assert both > 0.9
