"""Halvings of the repetitions: which there are, and the means of them."""

import math

import numpy as np
import pytest
from scipy import stats

from helpers.scores import halvings, simulate
from img2eeg_jax.evaluation import halvings as module
from img2eeg_jax.evaluation.correlation import correlate_over_images, unit_columns
from img2eeg_jax.evaluation.halvings import half_split_means, halves


@pytest.mark.parametrize("n_repetitions", [2, 5, 8])
def test_halves_are_disjoint_complete_and_of_floor_and_ceil_size(n_repetitions):
    for half, other in halvings(n_repetitions, n_splits=20, seed=3):
        assert len(half) == n_repetitions // 2
        assert sorted(half + other) == list(range(n_repetitions))


def test_halvings_are_random_and_a_function_of_the_seed():
    drawn = halvings(8, n_splits=4000, seed=3)
    assert drawn == halvings(8, n_splits=4000, seed=3)
    assert drawn != halvings(8, n_splits=4000, seed=4)
    _, counts = np.unique([half for half, _ in drawn], axis=0, return_counts=True)
    # All 70 choices of 4 from 8 are equally likely.
    assert len(counts) == math.comb(8, 4)
    assert stats.chisquare(counts).pvalue > 1e-3


def test_half_means_equal_a_loop_over_small_blocks(rng, monkeypatch):
    monkeypatch.setattr(module, "_BLOCK_VALUES", 100)
    _, _, eeg = simulate(rng, n_repetitions=5)
    blocks = list(half_split_means(eeg, n_splits=3, seed=1))
    assert len(blocks) > 1
    for part, of_split in ((1, 0), (2, 1)):
        means = np.concatenate([block[part] for block in blocks], axis=2)
        for split, members in enumerate(halvings(5, n_splits=3, seed=1)):
            expected = eeg[:, members[of_split]].mean(axis=1)
            np.testing.assert_allclose(
                means[:, split], expected.reshape(len(eeg), -1), atol=1e-12
            )


@pytest.mark.parametrize("shape", [(4, 1, 2, 3), (4, 2, 3)])
def test_half_means_refuse_what_has_no_halves(shape):
    with pytest.raises(ValueError, match="at least 2 repetitions"):
        next(half_split_means(np.zeros(shape), 1, 0))


def test_half_means_refuse_no_splits():
    with pytest.raises(ValueError, match="`n_splits`: expected at least 1, found 0"):
        next(half_split_means(np.zeros((4, 2, 1, 1)), 0, 0))


def test_r_of_halves_equals_that_of_their_means(rng, monkeypatch):
    monkeypatch.setattr(module, "_BLOCK_VALUES", 100)
    prediction, _, eeg = simulate(rng, n_repetitions=5)
    # Far from 0, as a baseline would be, and constant in one column.
    eeg = eeg + 1e3
    eeg[:, :, 1, 2] = 0.7
    unit = unit_columns(prediction.reshape(len(prediction), -1))
    blocks = [*halves(eeg, 3, 1)]
    assert len(blocks) > 1
    ((_, half, other),) = half_split_means_of_all(eeg)
    expected = [
        correlate_over_images(unit[:, None], half).mean(0),
        correlate_over_images(other, half).mean(0),
    ]
    for part in blocks:
        found = part.mean_r(unit[:, part.columns]), part.mean_r_of_others()
        for values, of in zip(found, expected, strict=True):
            np.testing.assert_allclose(values, of[part.columns], atol=1e-9)
        mean = unit_columns(half[..., part.columns]).mean(axis=1)
        np.testing.assert_allclose(part.mean_unit(), mean, atol=1e-9)
    assert np.isnan(blocks[-1].mean_r_of_others()[-1])


def half_split_means_of_all(eeg):
    """Returns the means of the halves in one block."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "_BLOCK_VALUES", 10**6)
        return [*half_split_means(eeg, 3, 1)]
