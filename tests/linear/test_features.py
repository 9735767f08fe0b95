"""Features of backbones in JAX: those of a network, of a function, of the pixels."""

import jax
import numpy as np
import pytest

from helpers.checkpoints import refusal
from helpers.linear import NetworkWithGrayLayer
from img2eeg_jax.checkpoints.description import Description
from img2eeg_jax.checkpoints.store import write_weights
from img2eeg_jax.linear import features
from img2eeg_jax.models.cornet_s import AREAS, CORnetS, normalise_pixels


def read(backbone, images, layers, pool="flat"):
    parts = [*backbone.features(images, layers, pool)]
    return {layer: np.concatenate([part[layer] for part in parts]) for layer in layers}


def test_a_function(gray, images):
    found = read(gray, images, ("mean", "gray"))
    expected = NetworkWithGrayLayer.gray(images)
    np.testing.assert_allclose(found["gray"], expected.reshape(5, -1), rtol=1e-5)
    np.testing.assert_allclose(found["mean"], expected.mean((1, 2)), rtol=1e-5)


def test_average_over_positions(gray, images):
    found = read(gray, images, ("mean", "gray"), "avg")
    np.testing.assert_allclose(found["gray"], found["mean"], rtol=1e-5)


def test_cornet_s(own, images):
    model = CORnetS(**own.network.arguments)
    apply = jax.jit(model.apply)
    logits, areas = apply(own.network.variables, normalise_pixels(images))
    found = read(own, images, own.layers)
    for layer, values in {**areas, "logits": logits}.items():
        expected = np.asarray(values).reshape(5, -1)
        error = np.linalg.norm(found[layer] - expected)
        assert error <= 1e-4 * np.linalg.norm(expected)
    pixels = np.asarray(normalise_pixels(images)).reshape(5, -1)
    np.testing.assert_allclose(found["pixels"], pixels, rtol=1e-5, atol=1e-6)


@pytest.mark.slow
def test_any_number_of_images_is_the_same(own):
    images = np.random.default_rng(0).integers(0, 256, (70, 32, 32, 3), np.uint8)
    many, few = (read(own, part, ("IT",))["IT"] for part in (images, images[66:]))
    np.testing.assert_allclose(many[66:], few, rtol=1e-4, atol=1e-5)


def test_pixels_need_no_network(images):
    backbone = features.pixels(32)
    assert backbone.layers == ("pixels",)
    found = read(backbone, images, ("pixels",))["pixels"]
    assert found.shape == (5, 32 * 32 * 3)


def test_of_a_checkpoint(own, images, tmp_path):
    description = Description("cornet_s", own.network.arguments, 32)
    write_weights(tmp_path / "net", own.network.variables, description)
    loaded = features.of_checkpoint(tmp_path / "net")
    assert loaded.digest == own.digest
    assert loaded.layers == (*AREAS, "logits", "pixels")
    assert loaded.name == "CORnet-S net"
    a, b = (read(one, images, ("V4",))["V4"] for one in (loaded, own))
    np.testing.assert_array_equal(a, b)


def test_the_digest_is_of_the_weights(own):
    same, other = (features.random_cornet_s(2, 32, seed) for seed in (5, 6))
    assert same.digest == own.digest != other.digest


@pytest.mark.parametrize("layers", [("V3",), (), ("V1", "V1"), ("V1", "V3")])
def test_unknown_layers_are_refused(own, layers, images):
    message = refusal(lambda: next(own.features(images, layers, "flat")))
    assert "V1, V2, V4, IT, logits, pixels" in message
    assert message.startswith("`layers`: expected different ones of ")


def test_rows_are_checked():
    values = np.ones((4, 3), np.float32)
    assert features.check_rows(values, 4, "x") is values
    assert refusal(lambda: features.check_rows(values, 5, "x")) == (
        "x: expected a row for each of 5 images, found 4 rows"
    )
    values[2, 1] = np.nan
    assert "NaN or infinity in row 2" in refusal(
        lambda: features.check_rows(values, 4, "x")
    )
    text = np.array([["a"], ["b"]])
    assert "numbers [image, feature]" in refusal(
        lambda: features.check_rows(text, 2, "x")
    )


def test_compiled_once(gray, images):
    read(gray, images, ("mean",))
    run = gray._runs[(("mean",), "flat")]
    read(gray, images, ("mean",))
    assert gray._runs[(("mean",), "flat")] is run
