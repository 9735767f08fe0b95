"""Several subjects, and two networks on the same images."""

import dataclasses
import json

import numpy as np
import pytest
from scipy import stats

from helpers.materials import P17, material
from img2eeg_jax.axes import Axes
from img2eeg_jax.errors import InputError
from img2eeg_jax.evaluation import comparison
from img2eeg_jax.evaluation.findings import Findings, NotApplicable
from img2eeg_jax.evaluation.group import group, over_subjects
from img2eeg_jax.evaluation.parts import encoding

QUICK = {"n_splits": 10, "n_permutations": 19, "n_draws": 199}


def of(seed=0, **options):
    return encoding.find(material(seed, **options), **QUICK)


@pytest.fixture(scope="module")
def subjects():
    return {seed: of(seed) for seed in range(6)}


@pytest.fixture(scope="module")
def together(subjects):
    return group(subjects)


def test_over_subjects_equals_scipy(rng):
    values = rng.standard_normal((7, 2)) + 1
    found = over_subjects(values, 0.5)
    np.testing.assert_allclose(found[""], values.mean(axis=0))
    np.testing.assert_allclose(found["_se"], stats.sem(values))
    low, high = stats.t.interval(0.95, 6, values.mean(0), stats.sem(values))
    np.testing.assert_allclose(found["_ci_low"], low)
    np.testing.assert_allclose(found["_ci_high"], high)
    flips = np.array(np.meshgrid(*[[1, -1]] * 7)).reshape(7, -1).T
    means = flips @ (values - 0.5) / 7
    expected = (means >= (values - 0.5).mean(axis=0) - 1e-12).mean(axis=0)
    np.testing.assert_allclose(found["_p"], expected)
    assert "_p" not in over_subjects(values, None)


def test_scores_of_a_group(subjects, together):
    json.dumps(together.scores, allow_nan=False)
    for name in ("encoding_r", "noise_ceiling_lower", "noise_normalised_r"):
        values = [found.scores[name] for found in subjects.values()]
        assert together.scores[name] == pytest.approx(np.mean(values))
        assert together.scores[f"{name}_se"] == pytest.approx(stats.sem(values))
    # All six are above chance.
    assert together.scores["encoding_r_p"] == 1 / 64
    assert together.scores["n_subjects"] == 6
    assert together.scores["n_images"] == 40
    assert together.scores["encoding_r_cluster_p"] < 0.05
    assert any("cluster" in note for note in together.notes)
    # A mean of p, and a test of what has no chance, mean nothing.
    assert not {"permutation_p", "noise_ceiling_upper_p"} & set(together.scores)
    per_time = together.scores["per_time"]
    values = [found.scores["per_time"]["encoding_r"] for found in subjects.values()]
    np.testing.assert_allclose(per_time["encoding_r"], np.mean(values, axis=0))
    assert len(per_time["encoding_r_ci_low"]) == len(per_time["times_s"])


def test_tables_of_a_group(subjects, together):
    table = together.tables["encoding"]
    values = [found.tables["encoding"]["encoding_r"] for found in subjects.values()]
    np.testing.assert_allclose(table["encoding_r"], np.mean(values, axis=0))
    np.testing.assert_allclose(
        table["encoding_r_p_fdr"],
        stats.false_discovery_control(table["encoding_r_p"]),
    )
    is_peak = np.isclose(table["time_s"], 0.1)
    assert (table["encoding_r_cluster_p"][is_peak] < 0.05).all()
    assert (table["encoding_r_cluster_p"][table["time_s"] < 0] > 0.05).all()
    assert "encoding_r_cluster_p" in together.tables["encoding_times"]


def test_layers_have_clusters_of_their_own(rng):
    r = rng.standard_normal((6, 2, 8)) * 0.1
    r[:, 1, 3:6] += 1
    keys = {
        "layer": np.repeat(["V1", "IT"], 8),
        "time_s": np.tile(np.arange(8) / 10, 2),
    }
    found = group(
        {
            k: Findings("encoding", tables={"t": keys | {"encoding_r": one.ravel()}})
            for k, one in enumerate(r)
        }
    )
    p = found.tables["t"]["encoding_r_cluster_p"].reshape(2, 8)
    assert (p[0] > 0.05).all()
    np.testing.assert_array_equal(p[1] < 0.05, [0, 0, 0, 1, 1, 1, 0, 0])


def test_what_subjects_do_not_share(subjects):
    other = of(7, ch_names=P17[2:6])
    found = group({0: subjects[0], 1: other})
    assert "encoding" not in found.tables
    assert any("differ in the rows of encoding" in note for note in found.notes)
    assert set(found.scores["per_channel"]) == {"P7", "O1", "Oz"}
    with pytest.raises(NotApplicable):
        group({0: subjects[0]})
    with pytest.raises(NotApplicable):
        group({0: Findings("leaks"), 1: Findings("leaks")})


def test_difference_of_two_networks(subjects):
    better = of(0, spread=0.2)
    found = comparison.compare(better, subjects[0])
    scores = found.scores
    expected = better.scores["encoding_r"] - subjects[0].scores["encoding_r"]
    assert scores["encoding_r_difference"] == pytest.approx(expected)
    assert scores["encoding_r_difference_ci_low"] > 0
    assert scores["encoding_r_difference_p"] == pytest.approx(2 / 200)
    table = found.tables["encoding"]
    np.testing.assert_allclose(
        table["encoding_r_difference"],
        better.tables["encoding"]["encoding_r"]
        - subjects[0].tables["encoding"]["encoding_r"],
    )
    same = comparison.compare(better, better).scores
    assert same["encoding_r_difference"] == 0
    assert same["encoding_r_difference_p"] == 1
    # Paired: far narrower than either's own interval would make it.
    widths = [
        one.scores["encoding_r_ci_high"] - one.scores["encoding_r_ci_low"]
        for one in (better, subjects[0])
    ]
    width = (
        scores["encoding_r_difference_ci_high"] - scores["encoding_r_difference_ci_low"]
    )
    assert width < np.hypot(*widths)


def test_networks_of_other_channels_are_compared_where_both_predict(subjects):
    numbers = material(0)
    part = material(0)
    rows, times = [3, 0], slice(2, 20)
    part.measured.eeg = numbers.measured.eeg[:, :, rows, times]
    part.measured.noise_free = numbers.measured.noise_free[:, rows, times]
    axes = numbers.prediction.axes
    part.prediction = dataclasses.replace(
        numbers.prediction,
        data=numbers.prediction.data[:, rows, times],
        axes=Axes(["O1", "Pz"], axes.times_s[times]),
    )
    found = comparison.compare(subjects[0], encoding.find(part, **QUICK))
    table = found.tables["encoding"]
    np.testing.assert_allclose(table["encoding_r_difference"], 0, atol=1e-9)
    assert found.scores["ch_names"] == ["Pz", "O1"]
    assert len(table["time_s"]) == 2 * 18


def test_what_cannot_be_compared(subjects):
    one = subjects[0]
    with pytest.raises(InputError, match="the same EEG, halvings and seed"):
        comparison.compare(one, subjects[1])
    with pytest.raises(InputError, match="the same test images, found others"):
        comparison.compare(one, of(0, n_images=39))
    with pytest.raises(InputError, match="a channel and a time in common"):
        comparison.compare(one, of(0, ch_names=P17[5:9]))
    fewer = encoding.find(material(0), **QUICK | {"n_draws": 9})
    with pytest.raises(InputError, match="199 draws of both, found 9"):
        comparison.compare(one, fewer)


def test_a_group_of_differences_has_two_sides():
    pairs = {
        seed: comparison.compare(of(seed, spread=1.5), of(seed, spread=0.2))
        for seed in range(5)
    }
    found = group(pairs)
    assert found.scores["encoding_r_difference"] < 0
    assert found.scores["encoding_r_difference_p"] == 2 / 32
