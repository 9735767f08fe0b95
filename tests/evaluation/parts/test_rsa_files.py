"""RSA of a network with RDMs from files, of pictures in a folder."""

import json

import numpy as np
import pytest
from PIL import Image

from helpers.encoders import encoder_of
from helpers.materials import material_of
from img2eeg_jax.errors import InputError
from img2eeg_jax.evaluation import rsa
from img2eeg_jax.evaluation.figures import rsa as figures
from img2eeg_jax.evaluation.findings import NotApplicable
from img2eeg_jax.evaluation.metrics import METRICS
from img2eeg_jax.evaluation.parts import rsa_files as part
from img2eeg_jax.evaluation.rsa.rdm_files import RDMs
from img2eeg_jax.evaluation.rsa_scores import Sampling
from img2eeg_jax.models.realnet import ReAlNet
from img2eeg_jax.prediction.encoder import LAYERS

pytestmark = pytest.mark.usefixtures("quick_compilation")

QUICK = {"n_permutations": 99, "n_bootstraps": 50}
SAMPLING = Sampling(99, 50)
N_IMAGES, SIZE = 8, 32


@pytest.fixture
def known(rng):
    """Features of 20 images, and RDMs of 4 subjects who see as the first layer."""
    layers = {name: rng.standard_normal((20, 5)) for name in ("one", "other")}
    subjects = rsa.rdm(layers["one"]) + 0.5 * rng.random((4, 190))
    return layers, RDMs("fMRI", subjects)


def test_the_true_layer_is_found(known):
    layers, subjects = known
    found = part.compare_layers(layers, [(subjects, np.arange(20))], SAMPLING)
    table = found.tables["rsa_files"]
    assert [*table["layer"]] == ["one", "other"]
    expected = [
        np.mean([rsa.compare(rsa.rdm(layer), s) for s in subjects.values])
        for layer in layers.values()
    ]
    np.testing.assert_allclose(table["rsa_spearman"], expected)
    lower, upper = rsa.subject_ceilings(subjects.values)
    np.testing.assert_allclose(table["rsa_ceiling_lower"], lower)
    np.testing.assert_allclose(table["rsa_ceiling_upper"], upper)
    assert table["rsa_p"][0] == 1 / 100 < 0.05 < table["rsa_p"][1]
    assert (
        table["rsa_spearman_ci_low"][0] < expected[0] < table["rsa_spearman_ci_high"][0]
    )
    assert found.scores["per_file"]["fMRI"]["one"]["rsa_spearman"] == pytest.approx(
        expected[0]
    )
    json.dumps(found.scores, allow_nan=False)
    ends = {"rsa_spearman_ci_low", "rsa_spearman_ci_high"}
    assert {name for name in table if name.startswith("rsa")} <= {*METRICS, *ends}


def test_rows_in_any_order_and_of_some_images(known, rng):
    layers, subjects = known
    rows = rng.permutation(20)[:12]
    some = rsa.condensed(rsa.square(subjects.values)[:, rows][:, :, rows])
    found = part.compare_layers(layers, [(RDMs("some", some), rows)], SAMPLING)
    expected = part.compare_layers(
        {name: of[rows] for name, of in layers.items()},
        [(RDMs("some", some), np.arange(12))],
        SAMPLING,
    )
    assert found.scores == expected.scores
    assert found.scores["per_file"]["some"]["one"]["rsa_spearman"] > 0.8


def test_a_constant_layer_is_told(known):
    layers, subjects = known
    layers["other"] = np.tile(layers["other"][:1], (20, 1))
    found = part.compare_layers(layers, [(subjects, np.arange(20))], SAMPLING)
    assert np.isnan(found.tables["rsa_files"]["rsa_spearman"][1])
    assert found.scores["per_file"]["fMRI"]["other"]["rsa_p"] is None
    assert found.notes == ("other: constant for fMRI: its RSA is undefined.",)


@pytest.mark.parametrize("ending", ["png", "svg"])
@pytest.mark.parametrize("plot", [figures.plot_rsa_files, figures.plot_file_rdms])
def test_figures(known, tmp_path, plot, ending):
    layers, subjects = known
    one = RDMs("EEG", subjects.values[:1])
    measured = [(rdms, np.arange(20)) for rdms in (subjects, one)]
    plot(tmp_path / f"x.{ending}", part.compare_layers(layers, measured, SAMPLING))
    assert (tmp_path / f"x.{ending}").stat().st_size > 1000


@pytest.fixture(scope="module")
def material(tmp_path_factory):
    folder = tmp_path_factory.mktemp("network")
    arguments = {"width": 2, "num_classes": 5}
    model = ReAlNet(signal_shape=(3, 5), features=4, **arguments)
    arguments |= {"signal_shape": (3, 5), "features": 4}
    encoder = encoder_of(folder, model, arguments, image_size=SIZE)
    eeg = np.zeros((2, 1, 1, 1))
    return material_of({}, eeg, eeg[:, 0], encoder=encoder)


@pytest.fixture
def pictures(tmp_path, rng):
    folder = tmp_path / "pictures"
    folder.mkdir()
    for i in range(N_IMAGES):
        pixels = rng.integers(0, 256, (SIZE, SIZE, 3), np.uint8)
        Image.fromarray(pixels).save(folder / f"p{i}.png")
    return folder


class TestFiles:
    def test_from_files_to_scores(self, material, pictures, tmp_path, rng):
        """The network's own V4 in another order is found as such."""
        own = rsa.rdm(material.encoder.features(pictures, "V4"))
        order = rng.permutation(N_IMAGES)
        np.save(tmp_path / "v4.npy", rsa.square(own)[np.ix_(order, order)])
        np.save(tmp_path / "random.npy", rng.random(len(own)))
        (tmp_path / "order.txt").write_text("\n".join(f"p{i}.png" for i in order))
        found = part.find(
            material,
            images=pictures,
            rdms=[tmp_path / "v4.npy", tmp_path / "random.npy"],
            orders=[tmp_path / "order.txt", ""],
            **QUICK,
        )
        scores = {
            file: {layer: of["rsa_spearman"] for layer, of in by_layer.items()}
            for file, by_layer in found.scores["per_file"].items()
        }
        assert scores["v4"]["V4"] == pytest.approx(1, abs=1e-6)
        assert {*scores["random"]} == {*LAYERS, "predicted EEG"}
        predicted = rsa.rdm(found_signal(material, pictures))
        expected = rsa.compare(predicted, np.load(tmp_path / "random.npy"))
        assert scores["random"]["predicted EEG"] == pytest.approx(expected, abs=1e-6)

    def test_what_does_not_fit(self, material, pictures, tmp_path, rng):
        np.save(tmp_path / "a.npy", rng.random(21))
        arguments = {"images": pictures, "rdms": [tmp_path / "a.npy"], **QUICK}
        with pytest.raises(InputError, match=r"a.npy: expected RDMs of 8 .*, found 7"):
            part.find(material, **arguments)
        with pytest.raises(InputError, match="`orders`: expected none, or 1, found 2"):
            part.find(material, orders=["a", "b"], **arguments)
        (tmp_path / "order.txt").write_text("p1.png\np2.png")
        with pytest.raises(InputError, match=r"order.txt: expected 7 images, found 2"):
            part.find(material, orders=[tmp_path / "order.txt"], **arguments)
        np.save(tmp_path / "a.npy", rng.random(10))
        (tmp_path / "order.txt").write_text("\n".join("01234"))
        with pytest.raises(InputError, match="a: expected RDMs of 6 or more images"):
            part.find(material, orders=[tmp_path / "order.txt"], **arguments)

    def test_without_files_there_is_nothing_to_find(self, material, pictures):
        with pytest.raises(NotApplicable, match="no pictures and RDMs"):
            part.find(material, images=pictures)


def found_signal(material, pictures):
    paths = sorted(pictures.iterdir())
    return material.encoder.signal(np.stack([Image.open(path) for path in paths]))
