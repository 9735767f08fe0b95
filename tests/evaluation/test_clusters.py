"""Clusters over channels and times: neighbours, a known effect, no effect."""

import numpy as np
import pytest

from img2eeg_jax.errors import InputError
from img2eeg_jax.evaluation.clusters import cluster_p, neighbours

CHANNELS = ["Oz", "O1", "O2", "Pz", "P3", "P4", "Fz", "F3", "F4"]


def test_neighbours_are_near_and_mutual():
    found = neighbours(CHANNELS).toarray()
    np.testing.assert_array_equal(found, found.T)
    assert found.diagonal().all()
    pairs = {
        (a, b)
        for a, row in zip(CHANNELS, found, strict=True)
        for b, is_one in zip(CHANNELS, row, strict=True)
        if is_one
    }
    assert {("Oz", "O1"), ("Oz", "O2"), ("Pz", "P3"), ("Fz", "F4")} <= pairs
    assert not {("Oz", "Fz"), ("O1", "F4"), ("O1", "F3")} & pairs


def test_unknown_channels_have_no_neighbours():
    found = neighbours(["Oz", "mean", "O1", "O2", "oz", "Pz", "P3"]).toarray()
    alone = [False] * 7
    # Of a place that comes twice neither is known.
    for row in (0, 1, 4):
        assert found[row].tolist() == [*alone[:row], True, *alone[row + 1 :]]
    # Of three all are neighbours.
    assert neighbours(["Oz", "Fz", "Pz"]).toarray().all()


def test_one_effect_is_one_cluster(rng):
    values = 0.2 * rng.standard_normal((8, len(CHANNELS), 12))
    values[:, :3, 4:8] += 1
    p = cluster_p(values, CHANNELS)
    assert p.shape == values.shape[1:]
    # All flips of 8 subjects but the true one have a smaller cluster.
    np.testing.assert_array_equal(p[:3, 4:8] < 0.01, True)
    assert (p[6:] > 0.05).all()
    # One side: the opposite effect is none.
    assert (cluster_p(-values, CHANNELS) > 0.05).all()
    both = cluster_p(-values, CHANNELS, is_two_sided=True)
    np.testing.assert_array_equal(both[:3, 4:8] < 0.02, True)


def test_clusters_grow_over_neighbours_only(rng):
    """A short effect is part of a neighbour's long one, or is alone and small."""
    values = 0.2 * rng.standard_normal((9, 2, 12))
    values[:, 0, 2:10] += 1
    values[:, 1, 5] += 1
    of_neighbours = cluster_p(values, ["Oz", "O1"])
    assert of_neighbours[1, 5] == of_neighbours[0, 5] < 0.05
    of_strangers = cluster_p(values, ["A", "B"])
    assert of_strangers[1, 5] > of_strangers[0, 5]


def test_times_alone_and_subjects_that_are_alike(rng):
    values = 0.2 * rng.standard_normal((8, 12))
    values[:, 4:8] += 1
    p = cluster_p(values)
    assert (p[4:8] < 0.01).all()
    assert (cluster_p(np.zeros((3, 5))) == 1).all()


def test_a_cluster_comes_by_chance_in_one_of_twenty(rng):
    smallest = [
        cluster_p(rng.standard_normal((6, 3, 8)), ["Oz", "O1", "O2"]).min()
        for _ in range(60)
    ]
    # 60 draws of 5 %: more than 8 come in one of a thousand.
    assert np.count_nonzero(np.array(smallest) <= 0.05) <= 8


def test_one_subject_is_refused():
    with pytest.raises(InputError, match="at least 2, found 1"):
        cluster_p(np.ones((1, 4)))
