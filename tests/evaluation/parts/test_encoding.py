"""The part `encoding` puts together what its modules find."""

import json

import numpy as np
import pytest

from helpers.materials import material
from img2eeg_jax.evaluation.findings import Findings
from img2eeg_jax.evaluation.metrics import METRICS, SUFFIXES
from img2eeg_jax.evaluation.parts import encoding

QUICK = {"n_splits": 10, "n_permutations": 99, "n_draws": 99}


@pytest.fixture(scope="module")
def found():
    return encoding.find(material(), **QUICK)


def test_every_score_is_in_the_table_of_metrics(found):
    about = {"channel", "time_s"}
    for name in {*found.tables["encoding"], *found.tables["encoding_times"]} - about:
        endings = [end for end in ("", *SUFFIXES) if name.removesuffix(end) in METRICS]
        assert endings, name


def test_tables_are_tidy(found):
    table, times = found.tables["encoding"], found.tables["encoding_times"]
    assert {len(column) for column in table.values()} == {5 * 25}
    assert {len(column) for column in times.values()} == {25}
    row = np.flatnonzero((table["channel"] == "P7") & np.isclose(table["time_s"], 0.1))
    assert len(row) == 1
    at = np.isclose(table["time_s"], 0.1)
    (time,) = np.flatnonzero(np.isclose(times["time_s"], 0.1))
    for name in ("encoding_r", "noise_ceiling_lower", "permutation_r_mean"):
        assert table[name][at].mean() == pytest.approx(times[name][time])
    inside = np.abs(table["time_s"] - 0.1) < 0.031
    assert found.scores["encoding_r"] == pytest.approx(
        table["encoding_r"][inside].mean()
    )


def test_scores_are_ordered_and_significant(found):
    scores = found.scores
    assert (
        scores["encoding_r_ci_low"]
        < scores["encoding_r"]
        < scores["encoding_r_ci_high"]
    )
    assert scores["noise_ceiling_lower"] < scores["noise_ceiling_upper"]
    assert scores["permutation_p"] == scores["noise_ceiling_p"] == 1 / 100
    assert scores["peak_s"] == pytest.approx(0.1, abs=0.021)
    assert 0 < scores["onset_s"] <= scores["peak_s"]
    assert scores["onset_s_ci_low"] <= scores["onset_s"] <= scores["onset_s_ci_high"]
    assert scores["encoding_r"] < scores["best_possible_r"]


def test_averages_are_ratios_of_averages(found):
    scores = found.scores
    lower, n = scores["noise_ceiling_lower"], 8
    reliability = 2 * lower / (1 + lower)
    assert scores["n_repetitions"] == n
    assert scores["reliability"] == pytest.approx(reliability)
    r = scores["encoding_r_all_repetitions"] / np.sqrt(reliability)
    assert scores["noise_normalised_r"] == pytest.approx(r)
    assert scores["explained_fraction"] == pytest.approx(r**2)
    assert any("undefined at" in note for note in found.notes)


def test_findings_are_kept_whole(found, tmp_path):
    json.dumps(found.scores, allow_nan=False)
    found.save(tmp_path / "encoding.npz")
    again, _ = Findings.load(tmp_path / "encoding.npz")
    assert again.scores == found.scores
    assert again.notes == found.notes
    np.testing.assert_array_equal(
        again.tables["encoding"]["channel"], found.tables["encoding"]["channel"]
    )
    for name, draws in found.arrays.items():
        np.testing.assert_array_equal(again.arrays[name], draws)


def test_a_single_repetition(recwarn):
    found = encoding.find(material(n_repetitions=1), **QUICK)
    scores = found.scores
    for name in ("encoding_r", "noise_normalised_r", "noise_ceiling_p"):
        assert scores[name] is None, name
    assert scores["encoding_r_all_repetitions_ci_low"] is not None
    # The latencies are of r with the one there is.
    assert scores["peak_s"] is not None
    assert any("single repetition" in note for note in found.notes)


def test_noise_has_no_onset():
    numbers = material(seed=3)
    data = numbers.prediction.data
    data[:] = np.random.default_rng(1).standard_normal(data.shape)
    scores = encoding.find(numbers, **QUICK).scores
    assert scores["permutation_p"] > 0.05
    assert scores["onset_s"] is None
    assert scores["onset_s_ci_high"] is None


def test_a_constant_prediction_is_told():
    numbers = material()
    numbers.prediction.data[:, 1] = 1.0
    found = encoding.find(numbers, **QUICK)
    assert found.scores["per_channel"]["P3"]["encoding_r"] == 0
    assert any("at 25 of 125 channels" in note for note in found.notes)
