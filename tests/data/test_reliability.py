"""Reliability: of known signal and noise, and which channels are kept by it."""

import types

import numpy as np
import pytest

from img2eeg_jax.axes import Axes
from img2eeg_jax.data.reliability import reliable_channels, split_half_reliability
from img2eeg_jax.errors import InputError

SIGNAL = np.array([0, 0.5, 1, 2])
AXES = Axes.of_features([f"voxel_{n}" for n in range(4)], "beta")


def trials(n_images, n_repetitions=4, seed=0):
    """f[image, repetition, feature, 1]: a share of signal that rises from none."""
    rng = np.random.default_rng(seed)
    signal = rng.standard_normal((n_images, 1, 4, 1)) * SIGNAL[:, np.newaxis]
    return signal + rng.standard_normal((n_images, n_repetitions, 4, 1))


def halves_of(values):
    return np.stack([values[:, first::2].mean(1) for first in (0, 1)])


def subject(values):
    """What `SubjectEEG` gives of trials."""

    def means(partition, channels, window_s, halves_of=()):
        assert (partition, window_s) == ("training", None)
        own = AXES.take(values, channels)
        halves = np.full((2, len(halves_of), *own.shape[2:]), np.nan)
        for place in range(min(2, values.shape[1])):
            halves[place] = own[list(halves_of), place::2].mean(1)
        return own.mean(1), halves

    n_repetitions = {"training": values.shape[1]}
    return types.SimpleNamespace(axes=AXES, means=means, n_repetitions=n_repetitions)


def test_is_of_the_mean_over_all_repetitions():
    found = split_half_reliability(halves_of(trials(20_000)))[:, 0]
    np.testing.assert_allclose(found, SIGNAL**2 / (SIGNAL**2 + 1 / 4), atol=0.03)


def test_is_spearman_and_browns_and_nan_where_constant():
    values = trials(50, n_repetitions=2)
    values[..., 0, :] = 3
    with np.errstate(all="raise"):
        found = split_half_reliability(halves_of(values))[:, 0]
    assert np.isnan(found[0])
    r = np.corrcoef(values[:, 0, 3, 0], values[:, 1, 3, 0])[0, 1]
    assert found[3] == pytest.approx(2 * r / (1 + r), abs=1e-12)


def test_reliable_features_are_kept():
    of = subject(trials(2000))
    assert reliable_channels(of, 0.7) == ("voxel_2", "voxel_3")
    assert reliable_channels(of, 0.7, ("voxel_3", "voxel_0")) == ("voxel_3",)


@pytest.mark.parametrize(
    ("n_repetitions", "message"),
    [
        (1, "at least 2 repetitions of .*, found 1"),
        (4, "at least 0.999, found 0.9.* at"),
    ],
)
def test_none_is_reliable(n_repetitions, message):
    of = subject(trials(300, n_repetitions))
    with pytest.raises(InputError, match=message):
        reliable_channels(of, 0.999)
