"""The test of the noise ceiling: a naive loop, closed forms, its own claim."""

import itertools

import numpy as np
import pytest
from scipy import stats

from helpers.scores import simulate
from img2eeg_jax.errors import InputError
from img2eeg_jax.evaluation.ceiling_test import agreement, ceiling_p


@pytest.mark.parametrize("n_repetitions", [2, 3, 11])
def test_the_true_one_is_the_mean_r_of_pairs_of_groups(rng, n_repetitions):
    _, _, eeg = simulate(rng, n_repetitions=n_repetitions)
    groups = [eeg[:, k::8].mean(axis=1) for k in range(min(8, n_repetitions))]
    found = agreement(eeg, n_permutations=2, seed=0)
    assert found.shape == (3, 2, 3)
    for channel, time in itertools.product(range(2), range(3)):
        expected = np.mean(
            [
                stats.pearsonr(a[:, channel, time], b[:, channel, time])[0]
                for a, b in itertools.combinations(groups, 2)
            ]
        )
        assert found[0, channel, time] == pytest.approx(expected, abs=1e-5)


def test_shuffled_ones_are_r_of_shuffled_images():
    """Of two repetitions of 3 images there are 6 orders, and r of each."""
    eeg = np.array([[0.0, 0], [1, 1], [3, 3]])[:, :, None, None]
    found = agreement(eeg, n_permutations=6000, seed=0)[1:].ravel()
    orders = [*itertools.permutations([0.0, 1, 3])]
    expected = sorted(stats.pearsonr([0, 1, 3], order)[0] for order in orders)
    values, counts = np.unique(found.round(4), return_counts=True)
    np.testing.assert_allclose(values, np.unique(np.round(expected, 4)), atol=1e-4)
    # Two of the orders have the same r.
    assert stats.chisquare(counts, 1000 * np.array([1, 2, 1, 1, 1])).pvalue > 1e-3
    assert ceiling_p(agreement(eeg, n_permutations=6000, seed=1)) == pytest.approx(
        1 / 6, abs=0.02
    )


def test_p_is_uniform_where_repetitions_do_not_agree(rng):
    p = []
    for seed in range(100):
        # Times go together, as those of EEG do.
        eeg = rng.standard_normal((15, 4, 5, 3)).cumsum(-1)
        r = agreement(eeg, n_permutations=99, seed=seed)
        p += [*ceiling_p(r.mean(axis=2))]
    assert stats.kstest(p, stats.uniform.cdf).pvalue > 1e-3
    assert np.mean(np.array(p) <= 0.05) == pytest.approx(0.05, abs=0.03)


def test_p_of_a_response_is_as_small_as_it_can_be(rng):
    _, _, eeg = simulate(rng, n_images=40, n_repetitions=20)
    r = agreement(eeg, n_permutations=199, seed=0)
    np.testing.assert_array_equal(ceiling_p(r), 1 / 200)


def test_what_is_undefined(rng):
    _, _, eeg = simulate(rng)
    eeg[:, :, 0, 0] = 0.3
    p = ceiling_p(agreement(eeg, n_permutations=9, seed=0))
    assert np.isnan(p[0, 0])
    assert np.isfinite(p[1]).all()
    assert np.isnan(agreement(eeg[:, :1], n_permutations=3, seed=0)).all()
    with pytest.raises(InputError, match="EEG: expected"):
        agreement(eeg[0], seed=0)
    with pytest.raises(ValueError, match="`n_permutations`: expected at least 1"):
        agreement(eeg, n_permutations=0, seed=0)
