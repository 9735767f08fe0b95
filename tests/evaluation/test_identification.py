"""Identification against naive rankings, drawn sets and SciPy."""

import numpy as np
import pytest
from scipy import stats

from img2eeg_jax.errors import InputError
from img2eeg_jax.evaluation import identification
from img2eeg_jax.evaluation.identification import (
    Ranking,
    averages,
    best_features,
    checked_responses,
    mean_rank_test,
    rank,
    steps_to,
    unit_rows,
)


def simulate(rng, n_images=8, n_features=12, n_candidates=30, noise=1.5):
    """Returns measured responses, predictions, and predictions of candidates."""
    signal = rng.standard_normal((n_images, n_features))
    measured = signal + noise * rng.standard_normal(signal.shape)
    return measured, 3 + 2 * signal, rng.standard_normal((n_candidates, n_features))


def pearson(a, b):
    return np.array([[stats.pearsonr(x, y)[0] for y in b] for x in a])


def test_ranks_equal_naive_ones(rng, monkeypatch):
    monkeypatch.setattr(identification, "_BLOCK_VALUES", 20)
    measured, predicted, candidates = simulate(rng)
    blocks = (candidates[i : i + 7] for i in range(0, 30, 7))
    found = rank(measured, predicted, np.arange(8), blocks, seed=0)
    r, beside = pearson(measured, predicted), pearson(measured, candidates)
    own = np.diag(r)[:, None]
    assert found.before[0].tolist() == (r > own).sum(1).tolist()
    assert found.before[1].tolist() == (beside > own).sum(1).tolist()
    assert (
        found.ranks.tolist() == (1 + (r > own).sum(1) + (beside > own).sum(1)).tolist()
    )
    assert (found.n_images, found.n_candidates) == (8, 30)
    assert found.ties.tolist() == [0] * 8
    assert found.before.sum() > 0


def test_several_responses_to_an_image(rng):
    measured, predicted, _ = simulate(rng)
    right = np.array([3, 3, 0])
    found = rank(measured[right], predicted, right, seed=0)
    alone = rank(measured, predicted, np.arange(8), seed=0)
    assert found.before[0].tolist() == alone.before[0, right].tolist()


@pytest.mark.parametrize("k", [1, 5])
@pytest.mark.parametrize("set_size", [2, 5, 8, 11, 30, 38])
def test_curve_equals_sets_that_are_drawn(rng, k, set_size):
    """The publication draws sets; the mean over all of them is what is computed."""
    measured, predicted, candidates = simulate(rng)
    found = rank(measured, predicted, np.arange(8), [candidates], seed=0)
    r, beside = pearson(measured, predicted), pearson(measured, candidates)
    hits = np.zeros(8)
    n_draws = 2000
    for _ in range(n_draws):
        for i in range(8):
            others = np.delete(r[i], i)
            if set_size <= 8:
                rivals = rng.permutation(others)[: set_size - 1]
            else:
                rivals = [*others, *rng.permutation(beside[i])[: set_size - 8]]
            hits[i] += np.count_nonzero(rivals > r[i, i]) < k
    drawn = hits / n_draws
    # Five standard errors of a share of 2,000.
    np.testing.assert_allclose(found.top(k, set_size), drawn, atol=5 * 0.5 / 2000**0.5)


def test_all_images_need_no_draw(rng):
    measured, predicted, candidates = simulate(rng)
    found = rank(measured, predicted, np.arange(8), [candidates], seed=0)
    for k in (1, 5):
        np.testing.assert_array_equal(found.top(k, 38), found.ranks <= k)
        np.testing.assert_array_equal(found.top(k, 8), found.before[0] < k)
    np.testing.assert_array_equal(found.top(1, 1), 1)
    for size in (0, 39):
        with pytest.raises(ValueError, match=f"expected 1 to 38, found {size}"):
            found.top(1, size)


def test_predictions_that_are_all_the_same_are_at_chance(rng):
    """Ties count neither for nor against; nothing else would be fair."""
    n = 400
    measured = rng.standard_normal((n, 6))
    same = np.broadcast_to(rng.standard_normal(6), (n, 6))
    found = rank(measured, same, np.arange(n), [same, same], seed=0)
    assert found.ranks.mean() == pytest.approx(1.5 * n, rel=0.1)
    assert found.top(1, 2).mean() == pytest.approx(0.5, abs=0.05)
    assert found.ties.tolist() == [3 * n - 1] * n
    assert mean_rank_test(measured, same, seed=0) == (pytest.approx((n + 1) / 2), 1.0)


def test_predictions_that_are_all_the_same_are_at_chance_among_candidates(rng):
    n = 20_000
    same = [np.ones((count, 6)) for count in (4, 6)]
    found = rank(
        rng.standard_normal((n, 6)),
        same[0],
        rng.integers(4, size=n),
        [same[1]],
        seed=0,
    )
    # 5 standard errors of a share.
    for k in (1, 5):
        assert found.top(k, 10).mean() == pytest.approx(k / 10, abs=2.5 / n**0.5)
    shares = np.bincount(found.ranks, minlength=11)[1:] / n
    np.testing.assert_allclose(shares, 0.1, atol=1.5 / n**0.5)


def test_a_response_without_a_pattern_has_no_r():
    flat = np.array([[0.1, 0.1, 0.1], [0.0, 0.0, 0.0], [1.0, 2.0, 3.0]])
    units = unit_rows(flat)
    np.testing.assert_array_equal(units[:2], 0)
    np.testing.assert_allclose(units[2], [-(0.5**0.5), 0, 0.5**0.5])


def test_mean_rank(rng):
    measured, predicted, _ = simulate(rng, n_images=20, noise=2)
    mean, p = mean_rank_test(measured, predicted, n_permutations=499, seed=0)
    ranks = rank(measured, predicted, np.arange(20), seed=0).ranks
    assert mean == pytest.approx(ranks.mean())
    assert p == 1 / 500
    _, p = mean_rank_test(measured, predicted[::-1], n_permutations=499, seed=0)
    assert p > 0.05


def test_best_features(rng):
    prediction = rng.standard_normal((50, 2, 3))
    measured = rng.standard_normal((50, 2, 3))
    measured[:, 1, 0] += 5 * prediction[:, 1, 0]
    measured[:, 0, 2] += 3 * prediction[:, 0, 2]
    measured[:, 0, 0] -= 9 * prediction[:, 0, 0]
    prediction[:, 1, 1] = 1
    assert best_features(prediction, measured, 2).tolist() == [2, 3]
    r = [
        stats.pearsonr(prediction[:, c, t], measured[:, c, t])[0]
        for c, t in ((0, 0), (0, 1), (0, 2), (1, 0), (1, 2))
    ]
    expected = np.array([0, 1, 2, 3, 5])[np.argsort(r)[-4:]]
    assert best_features(prediction, measured, 4).tolist() == sorted(expected)
    assert best_features(prediction, measured, 9).tolist() == list(range(6))


def test_averages(rng):
    """Repetition k is 2**k, so that a sum spells what was averaged."""
    eeg = np.broadcast_to(2.0 ** np.arange(5)[:, None], (3, 5, 1))
    means, images, counts = averages(eeg, (1, 2, 5), n_draws=4, seed=0)
    assert counts.tolist() == [1] * 12 + [2] * 12 + [5] * 3
    assert images.tolist() == [0, 1, 2] * 9
    spelled = [int(value).bit_count() for value in (means[:, 0] * counts).round()]
    assert spelled == counts.tolist()
    assert len(np.unique(means[:12])) > 1


def test_steps():
    assert steps_to(80) == (1, 2, 5, 10, 20, 50, 80)
    assert steps_to(1) == (1,)
    assert steps_to(200)[-2:] == (100, 200)


def test_more_repetitions_identify_more(rng):
    signal = rng.standard_normal((30, 20))
    eeg = signal[:, None] + 4 * rng.standard_normal((30, 20, 20))
    responses, right, counts = averages(eeg, (1, 5, 20), n_draws=10, seed=0)
    top = rank(responses, signal, right, seed=0).top(1, 30)
    shares = [top[counts == n].mean() for n in (1, 5, 20)]
    assert shares[0] < shares[1] < shares[2]
    assert shares[0] > 2 / 30


def test_bad_input(rng):
    measured, predicted, _ = simulate(rng)
    with pytest.raises(InputError, match=r"candidates: expected \[image, 12\]"):
        rank(measured, predicted, np.arange(8), [predicted[:, 1:]], seed=0)
    with pytest.raises(InputError, match=r"predictions: expected \[image, 12\]"):
        rank(measured, predicted[:, 1:], np.arange(8), seed=0)
    eeg = np.zeros((4, 2, 1, 2))
    with pytest.raises(InputError, match="expected at least 3 channel-times, found 2"):
        checked_responses(eeg[:, 0], eeg)


def test_ranking_is_what_it_holds():
    ranking = Ranking(np.array([[0, 2], [3, 0]]), np.array([0, 0]), 4, 10)
    assert ranking.ranks.tolist() == [4, 3]
    # Three of ten candidates before it, two drawn: by hand 7/10 * 6/9.
    assert ranking.top(1, 6).tolist() == [pytest.approx(42 / 90), 0]
