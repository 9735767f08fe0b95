"""The part of pairwise decoding: what is written of it, and drawn."""

import json
import types

import numpy as np
import pytest

from img2eeg_jax.axes import Axes, Z
from img2eeg_jax.evaluation.decoding import decoding_scores
from img2eeg_jax.evaluation.figures.decoding import plot_decoding
from img2eeg_jax.evaluation.findings import Findings, NotApplicable
from img2eeg_jax.evaluation.metrics import METRICS
from img2eeg_jax.evaluation.parts import decoding as part
from img2eeg_jax.prediction.prediction import Prediction

QUICK = {"n_permutations": 99}
TIMES_S = np.arange(6) / 20 - 0.1


def material_of(prediction, eeg, window_s=(0.1, 0.15)):
    """Returns what the part reads of a `Material`."""
    axes = Axes(tuple(map(str, range(eeg.shape[2]))), TIMES_S[: eeg.shape[3]], Z)
    return types.SimpleNamespace(
        prediction=Prediction(prediction, axes, range(len(prediction))),
        measured=types.SimpleNamespace(eeg=eeg),
        window_s=window_s,
        seed=0,
        log=lambda line: None,
    )


@pytest.fixture
def material(rng):
    """Images differ from 0.1 s on, and predictions know how."""
    signal = rng.standard_normal((10, 4, 6)) * (TIMES_S > 0.09)
    eeg = signal[:, None] + rng.standard_normal((10, 8, 4, 6))
    return material_of(signal, eeg)


@pytest.fixture
def findings(material):
    return part.find(material, **QUICK)


def test_scores_are_those_of_the_window(material, findings):
    own = decoding_scores(material.prediction.data, material.measured.eeg, seed=0)
    scores, inside = findings.scores, slice(4, 6)
    for name in (
        "decoding_accuracy",
        "decoding_ceiling_lower",
        "decoding_ceiling_upper",
    ):
        of = getattr(own, name)
        assert scores[name] == pytest.approx(of[:, inside].mean())
        np.testing.assert_allclose(findings.tables["decoding"][name], of.mean(0))
    assert scores["window_s"] == pytest.approx([0.1, 0.15])
    low, high = (scores[f"decoding_accuracy_ci_{end}"] for end in ("low", "high"))
    assert 0.5 < low < scores["decoding_accuracy"] < high <= 1
    assert scores["decoding_p"] == scores["decoding_p_corrected"] == 1 / 100
    counts = {"n_pairs": 45, "n_pseudo_trials": 4, "n_splits": 1, "n_images": 10}
    assert counts.items() <= scores.items()


def test_times_without_a_response_are_at_chance(findings):
    table = findings.tables["decoding"]
    before = table["time_s"] < 0.09
    # A prediction of nothing is at 0.5 whatever is measured.
    np.testing.assert_array_equal(table["decoding_accuracy"][before], 0.5)
    assert (table["decoding_p_corrected"][before] == 1).all()
    assert (table["decoding_p_corrected"][~before] < 0.05).all()
    assert (table["decoding_p"] <= table["decoding_p_corrected"]).all()


def test_findings_can_be_kept_and_drawn(tmp_path, findings):
    json.dumps(findings.scores, allow_nan=False)
    assert {m.name for m in METRICS.values() if m.part == "decoding"} == {
        name for name in findings.tables["decoding"] if name in METRICS
    }
    findings.save(tmp_path / "decoding.npz")
    again, _ = Findings.load(tmp_path / "decoding.npz")
    for kind in ("png", "svg"):
        plot_decoding(tmp_path / f"x.{kind}", again)
        assert (tmp_path / f"x.{kind}").stat().st_size > 5000


def test_a_single_time_and_channel(rng, tmp_path):
    prediction = rng.standard_normal((5, 1, 1))
    eeg = prediction[:, None] + rng.standard_normal((5, 4, 1, 1))
    material = material_of(prediction, eeg, window_s=(-0.1, -0.1))
    findings = part.find(material, **QUICK)
    assert "one channel: the classifiers are thresholds" in findings.notes
    plot_decoding(tmp_path / "x.png", findings)


@pytest.mark.parametrize(
    ("shape", "why"), [((5, 1, 2, 2), "one repetition"), ((1, 4, 2, 2), "no pair")]
)
def test_what_cannot_be_decoded_says_so(rng, shape, why):
    eeg = rng.standard_normal(shape)
    with pytest.raises(NotApplicable, match=why):
        part.find(material_of(eeg[:, 0], eeg))
