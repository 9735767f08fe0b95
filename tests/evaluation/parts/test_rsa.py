"""The RSA of a network, with EEG that sees images as known layers do."""

import json

import numpy as np
import pytest
from scipy import stats

from helpers.materials import TIMES_S, material_of
from img2eeg_jax.axes import WHITENED
from img2eeg_jax.errors import InputError
from img2eeg_jax.evaluation import rsa
from img2eeg_jax.evaluation.decoding import pairwise_accuracy
from img2eeg_jax.evaluation.figures import rsa as figures
from img2eeg_jax.evaluation.findings import Findings, NotApplicable
from img2eeg_jax.evaluation.metrics import METRICS
from img2eeg_jax.evaluation.parts import rsa as part

QUICK = {"n_permutations": 99, "n_bootstraps": 50, "n_splits": 2}
# The EEG sees as "early" does at this time, and as "late" at that.
EARLY_S, LATE_S = 0.1, 0.2


@pytest.fixture
def layers(rng):
    return {name: rng.standard_normal((24, 6)) for name in ("early", "late")}


@pytest.fixture
def eeg(rng, layers):
    """f64[image, repetition, channel, time], signal at two times."""
    signal = np.zeros((24, 1, 6, len(TIMES_S)))
    for layer, time_s in zip(layers.values(), (EARLY_S, LATE_S), strict=True):
        signal[:, 0, :, np.isclose(TIMES_S, time_s)] = layer
    return signal + 0.5 * rng.standard_normal((24, 6, 6, len(TIMES_S)))


@pytest.fixture
def material(layers, eeg):
    return material_of(layers, eeg, layers["late"][:, :, np.newaxis])


@pytest.fixture
def found(material):
    return part.find(material, **QUICK)


def rows(found, table="rsa", **values):
    columns = found.tables[table]
    chosen = np.all([columns[name] == value for name, value in values.items()], axis=0)
    return {name: of[chosen] for name, of in columns.items()}


@pytest.mark.parametrize("eeg_rdm", ["correlation", "crossnobis"])
class TestKnownTruth:
    def test_each_layer_peaks_where_it_should(self, found, eeg_rdm):
        for layer, time_s in (("early", EARLY_S), ("late", LATE_S)):
            of = rows(found, eeg_rdm=eeg_rdm, layer=layer)
            is_there = np.isclose(of["time_s"], time_s)
            assert (of["rsa_spearman"][is_there] > 0.45).all()
            assert (of["rsa_p_max"][is_there] == 1 / 100).all()
            assert (np.abs(of["rsa_spearman"][~is_there]) < 0.35).all()
            assert (of["rsa_p_max"] >= of["rsa_p"] - 1e-12).all()
            assert (
                found.scores["per_layer"][eeg_rdm][layer]["rsa_peak_time_s"] == time_s
            )
            assert found.scores["per_layer"][eeg_rdm][layer]["rsa_p_max"] == 1 / 100

    def test_the_window_is_the_mean_of_its_times(self, found, eeg_rdm):
        of = rows(found, eeg_rdm=eeg_rdm, layer="late")
        inside = (of["time_s"] > 0.09) & (of["time_s"] < 0.21)
        mean = found.scores["per_layer"][eeg_rdm]["late"]["rsa_spearman"]
        assert mean == pytest.approx(of["rsa_spearman"][inside].mean())
        (layer,) = rows(found, "rsa_layers", eeg_rdm=eeg_rdm, layer="late")[
            "rsa_spearman"
        ]
        assert layer == mean
        low, high = (
            found.scores["per_layer"][eeg_rdm]["late"][f"rsa_spearman_ci_{end}"]
            for end in ("low", "high")
        )
        assert low < mean < high

    def test_the_prediction_is_the_layer_it_was_made_of(self, found, eeg_rdm):
        of_layer = rows(found, eeg_rdm=eeg_rdm, layer="late")["rsa_spearman"]
        of_prediction = rows(found, eeg_rdm=eeg_rdm, layer=part.PREDICTED)
        np.testing.assert_allclose(of_prediction["rsa_spearman"], of_layer)


def test_numbers_are_the_librarys(found, layers, eeg):
    measured = rsa.rdm_over_time(eeg.mean(1))
    for method in ("spearman", "tau_a", "cosine", "whitened_cosine"):
        expected = rsa.compare(rsa.rdm(layers["early"]), measured, method)
        values = rows(found, eeg_rdm="correlation", layer="early")[f"rsa_{method}"]
        np.testing.assert_allclose(values, expected, atol=1e-12)
    covariance = rsa.residual_covariance(eeg)
    np.testing.assert_allclose(
        found.arrays["eeg_rdms/crossnobis"], rsa.crossnobis(eeg, covariance), rtol=1e-5
    )
    table = found.tables["rsa_reliability"]
    expected = rsa.split_half_reliability(eeg, 2, seed=0)
    np.testing.assert_allclose(table["rsa_split_half"], expected)


def test_all_names_are_metrics(found):
    keys = {"eeg_rdm", "layer", "time_s"}
    ends = {"rsa_spearman_ci_low", "rsa_spearman_ci_high"}
    for table in found.tables.values():
        assert set(table) - keys <= {*METRICS, *ends}
    scores = {name for name in found.scores if name.startswith("rsa_")}
    assert scores <= {*METRICS, *ends}
    of_prediction = found.scores["per_layer"]["correlation"][part.PREDICTED]
    assert of_prediction == {name: found.scores[name] for name in scores}
    json.dumps(found.scores, allow_nan=False)


def test_files_keep_it_all(found, tmp_path):
    found.save(tmp_path / "rsa.npz")
    again, _ = Findings.load(tmp_path / "rsa.npz")
    assert again.scores == found.scores
    assert set(again.arrays) == set(found.arrays)


def test_whitened_eeg_has_no_noise_covariance(layers, eeg):
    material = material_of(layers, eeg, layers["late"][:, :, None], unit=WHITENED)
    found = part.find(material, **QUICK)
    np.testing.assert_allclose(
        found.arrays["eeg_rdms/crossnobis"], rsa.crossnobis(eeg), rtol=1e-5, atol=1e-7
    )
    assert "the identity" in found.notes[-1]


def test_one_channel_leaves_out_what_needs_several(layers, eeg):
    material = material_of(layers, eeg[:, :, :1], layers["late"][:, :1, None])
    found = part.find(material, **QUICK)
    assert {*found.tables["rsa"]["eeg_rdm"]} == {"euclidean", "crossnobis"}
    assert "1 channel(s): no correlation over channels" in found.notes[0]
    assert {*found.tables["rsa_reliability"]["eeg_rdm"]} == {"euclidean"}


def test_one_repetition_leaves_out_what_needs_several(layers, eeg):
    found = part.find(
        material_of(layers, eeg[:, :1], layers["late"][:, :, None]), **QUICK
    )
    assert {*found.tables["rsa"]["eeg_rdm"]} == {"correlation"}
    assert "rsa_reliability" not in found.tables
    assert "One repetition" in found.notes[0]


def test_a_constant_prediction_is_told(layers, eeg, tmp_path):
    constant = np.tile(1e-6 * np.arange(6.0)[:, None], (24, 1, 1))
    found = part.find(material_of(layers, eeg, constant), **QUICK)
    of = rows(found, layer=part.PREDICTED)
    for name in (
        "rsa_spearman",
        "rsa_p",
        "rsa_p_max",
        "rsa_spearman_ci_low",
        "rsa_cosine",
    ):
        assert np.isnan(of[name]).all()
    assert (
        found.scores["per_layer"]["correlation"][part.PREDICTED]["rsa_spearman"] is None
    )
    assert (
        found.scores["per_layer"]["correlation"][part.PREDICTED]["rsa_peak_time_s"]
        is None
    )
    assert "predicted EEG: the same for all images" in "".join(found.notes)
    for plot in PLOTS:
        plot(tmp_path / "x.png", found)


def test_against_another_network(material, layers, rng):
    """Which shares one layer, and has an own one that tells nothing."""
    others = {"early": layers["early"], "late": rng.standard_normal((24, 6))}
    found = part.find(material, against=others, **QUICK)
    early = rows(found, "rsa_shares", eeg_rdm="correlation", layer="early")
    assert np.isnan(early["rsa_partial"]).all()
    np.testing.assert_allclose(early["rsa_unique"], 0, atol=1e-12)
    late = rows(found, "rsa_shares", eeg_rdm="correlation", layer="late")
    (place,) = np.flatnonzero(np.isclose(late["time_s"], LATE_S))
    expected = rsa.partial(
        found.arrays["eeg_rdms/correlation"][place],
        rsa.rdm(layers["late"]),
        rsa.rdm(others["late"]),
    )
    np.testing.assert_allclose(late["rsa_partial"][place], expected, rtol=1e-6)
    assert late["rsa_unique"][place] > 0.4 > 0.1 > late["rsa_unique_of_other"][place]
    with pytest.raises(InputError, match="`against`: expected 24 images of late"):
        part.find(material, against={"late": others["late"][:5]}, **QUICK)


def test_pairwise_decoding_is_one_more_rdm(material, layers):
    found = part.find(material, decoding=True, **QUICK)
    of = rows(found, eeg_rdm="decoding", layer="early")
    accuracy = pairwise_accuracy(material.whole[0], seed=0, progress=False)
    for time, r in enumerate(of["rsa_spearman"]):
        expected = stats.spearmanr(rsa.rdm(layers["early"]), accuracy[:, time])
        np.testing.assert_allclose(r, expected.statistic, atol=1e-12)


def test_few_images_have_nothing_to_permute(layers, eeg):
    few = {name: of[:5] for name, of in layers.items()}
    with pytest.raises(NotApplicable, match="5 test images, 6 are needed"):
        part.find(material_of(few, eeg[:5], few["late"][:, :, None]), **QUICK)


def test_ceilings_over_subjects(found, material, layers, rng):
    other = material_of(
        layers,
        material.whole[0] + 0.5 * rng.standard_normal((24, 6, 6, len(TIMES_S))),
        layers["late"][:, :, None],
    )
    both = {1: found, 2: part.find(other, **QUICK)}
    table = part.subject_ceilings(both)
    lower, upper = table["rsa_ceiling_lower"], table["rsa_ceiling_upper"]
    is_signal = np.isin(np.round(table["time_s"], 3), (EARLY_S, LATE_S))
    assert (lower[is_signal] > 0.6).all()
    assert (lower <= upper).all()
    stacked = np.stack([of.arrays["eeg_rdms/crossnobis"][4] for of in both.values()])
    expected = rsa.subject_ceilings(stacked)
    row = (table["eeg_rdm"] == "crossnobis") & (table["time_s"] == TIMES_S[4])
    np.testing.assert_allclose([lower[row][0], upper[row][0]], expected)


PLOTS = (figures.plot_rsa_over_time, figures.plot_rsa_map, figures.plot_rdms)


class TestFigures:
    @pytest.mark.parametrize("ending", ["png", "svg"])
    @pytest.mark.parametrize("plot", PLOTS)
    def test_are_written(self, found, plot, ending, tmp_path):
        plot(tmp_path / f"x.{ending}", found)
        assert (tmp_path / f"x.{ending}").stat().st_size > 1000

    def test_of_one_time(self, layers, eeg, tmp_path):
        material = material_of(
            layers, eeg[..., 4:5], layers["late"][:, :, None], window_s=(-0.1, -0.1)
        )
        found = part.find(material, **QUICK)
        for plot in PLOTS:
            plot(tmp_path / "x.png", found)

    def test_lines_are_the_table(self, found, monkeypatch):
        collected = []
        monkeypatch.setattr(
            figures.canvas, "save", lambda figure, path: collected.append(figure)
        )
        figures.plot_rsa_over_time("x.png", found)
        axes = collected[0].axes[1]
        (line,) = (line for line in axes.lines if line.get_label() == "late")
        expected = rows(found, eeg_rdm="crossnobis", layer="late")
        np.testing.assert_allclose(line.get_xdata(), 1e3 * expected["time_s"])
        np.testing.assert_allclose(line.get_ydata(), expected["rsa_spearman"])
        figures.plot_rsa_map("x.png", found)
        mesh = collected[1].axes[0].collections[0]
        expected = rows(found, eeg_rdm="correlation", layer="early")["rsa_spearman"]
        np.testing.assert_allclose(mesh.get_array()[0], expected)
