"""Saliency and optimised pictures of a linear network, whose gradient is its kernel."""

import dataclasses
import logging

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from helpers.encoders import AXES, ZSCORE, encoder_of
from img2eeg_jax.checkpoints import description as descriptions
from img2eeg_jax.errors import InputError
from img2eeg_jax.models.cornet_s import PIXEL_STD
from img2eeg_jax.models.layers import Linear
from img2eeg_jax.prediction.gradients import roughness
from img2eeg_jax.signal_layout import SignalLayout

SIZE = 4


class Weighted(nn.Module):
    """Signals that are weighted sums of the normalised pixels."""

    @nn.compact
    def __call__(self, images, train=False, mask=None):
        return None, Linear(15, name="fc")(images.reshape(len(images), -1))


@pytest.fixture
def make(tmp_path, monkeypatch):
    monkeypatch.setitem(descriptions.MODELS, "realnet", Weighted)

    def encoder(**options):
        return encoder_of(tmp_path, Weighted(), image_size=SIZE, **options)

    return encoder


@pytest.fixture
def encoder(make):
    return make()


@pytest.fixture
def slope(encoder):
    """f64[height, width, 3, channel, time], µV per full range of a pixel."""
    kernel = np.float64(encoder.checkpoint.variables["params"]["fc"]["kernel"])
    of_pixel = kernel.reshape(SIZE, SIZE, 3, *AXES.shape) * ZSCORE.std * 1e6
    return of_pixel / np.reshape(PIXEL_STD, (1, 1, 3, 1, 1))


@pytest.fixture(scope="module")
def pictures():
    return np.random.default_rng(0).integers(0, 256, (3, SIZE, SIZE, 3), np.uint8)


def test_saliency_is_the_slope(encoder, slope, pictures):
    found = encoder.saliency(pictures, "oz", 0.02)
    assert found.shape == (3, SIZE, SIZE, 3)
    assert found.dtype == np.float32
    # A linear network's is the same for all pictures.
    for one in found:
        np.testing.assert_allclose(one, slope[..., 1, 2], rtol=1e-5)


@pytest.mark.parametrize(
    ("channel", "times_s", "chosen"),
    [
        (["O2", "O1"], (0.01, 0.03), np.s_[..., [0, 2], 1:4]),
        ("Oz", None, np.s_[..., [1], :]),
        (None, np.float32(0.04), np.s_[..., :, 4:]),
        (None, None, np.s_[..., :, :]),
    ],
)
def test_saliency_of_a_mean(encoder, slope, pictures, channel, times_s, chosen):
    (found,) = encoder.saliency(pictures[0], channel, times_s)
    expected = slope[chosen].mean((-2, -1))
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)


def test_pictures_of_any_size(encoder):
    larger = np.zeros((9, 7, 3))
    assert encoder.saliency(larger, "Oz", 0.0).shape == (1, SIZE, SIZE, 3)


def test_function_is_the_encoder(encoder, slope, pictures):
    function, weights = encoder.function()
    pixels = pictures / np.float32(255)
    np.testing.assert_allclose(
        function(weights, pixels), encoder(pictures).data, rtol=1e-5, atol=1e-5
    )
    gradient = jax.grad(lambda pixels: function(weights, pixels)[0, 1, 2])(pixels)
    np.testing.assert_allclose(gradient[0], slope[..., 1, 2], rtol=1e-5)
    assert not gradient[1:].any()


def test_a_mean_is_increased_to_its_largest(encoder, slope, pictures):
    """Of a linear network: every pixel goes to the end that its weight points to."""
    z_slope = (slope / (ZSCORE.std * 1e6))[..., 1, 1:3].mean(-1)
    found = encoder.optimise(
        pictures[0],
        ("Oz", (0.01, 0.02)),
        n_steps=30,
        learning_rate=0.1,
        smoothness=0,
        progress=False,
    )
    np.testing.assert_array_equal(found.image, np.where(z_slope > 0, 255, 0))
    before, after = (
        ((part.data[0] - ZSCORE.mean * 1e6) / (ZSCORE.std * 1e6))[1, 1:3].mean()
        for part in (found.before, found.after)
    )
    assert found.objective.shape == (30,)
    np.testing.assert_allclose(found.objective[0], before, rtol=1e-4)
    np.testing.assert_allclose(found.objective[-1], after, rtol=1e-4)
    np.testing.assert_array_equal(found.after.data, encoder(found.image).data)
    assert (np.diff(found.objective) > -1e-6).all()


def test_towards_a_pattern(encoder, pictures):
    """The 15 numbers that another picture gives are met by one with the same."""
    goal = encoder(pictures[1])
    options = dict(n_steps=300, learning_rate=0.01, smoothness=0, progress=False)
    found = encoder.optimise(pictures[0], goal, **options)
    std = ZSCORE.std * 1e6
    start, end = (
        -np.square((part.data - goal.data) / std).mean()
        for part in (found.before, found.after)
    )
    np.testing.assert_allclose(found.objective[0], start, rtol=1e-4)
    assert start < -0.3
    assert end > 0.01 * start
    # An array in µV means the same.
    again = encoder.optimise(pictures[0], goal.data[0], **options)
    np.testing.assert_array_equal(again.image, found.image)


def test_smoothness_smooths(encoder):
    """From grey, towards a mean, with the usual weight of the prior."""
    rough, smooth = (
        encoder.optimise(
            None, ("Oz", 0.02), n_steps=40, smoothness=weight, progress=False
        )
        for weight in (0.0, None)
    )
    assert rough.before.data.shape == (1, 3, 5)
    first, second = (
        float(roughness(one.image[None] / 255.0)) for one in (rough, smooth)
    )
    assert second < first / 4
    assert smooth.objective[-1] > smooth.objective[0]


def test_roughness():
    """Counted by hand: differences 1, 0 (down) and 0, 1 (across), of 2 each."""
    image = jnp.array([[0.0, 0.0], [1.0, 0.0]])[None, ..., None]
    assert float(roughness(image)) == 0.5 + 0.5


def test_compiles_once(encoder, pictures, caplog):
    def use():
        encoder.saliency(pictures, "Oz", 0.01)
        encoder.optimise(pictures[0], ("O1", 0.0), n_steps=1, progress=False)
        encoder.optimise(pictures[0], np.zeros(AXES.shape), n_steps=1, progress=False)

    use()
    with caplog.at_level(logging.WARNING), jax.log_compiles():
        use()
    assert not [one for one in caplog.records if "XLA compilation" in one.message]


def test_features_have_no_channels(make, pictures):
    encoder = make(signal=SignalLayout("features", (15,)), zscore=None)
    with pytest.raises(InputError, match="a network that predicts EEG"):
        encoder.saliency(pictures, "Oz", 0.0)
    found = encoder.optimise(
        pictures[0], np.zeros(15), n_steps=40, smoothness=0, progress=False
    )
    assert found.objective[-1] > found.objective[0] / 2


def test_what_is_wrong_is_named(encoder, pictures):
    one = pictures[0]
    goal = encoder(one)
    other = dataclasses.replace(goal, axes=dataclasses.replace(goal.axes, unit="z"))
    for call, expected in (
        (lambda: encoder.saliency(one, "Cz", 0.0), "channels: expected different"),
        (lambda: encoder.saliency(one, "Oz", 0.5), "window: expected a window in"),
        (lambda: encoder.saliency(one, "Oz", 100), "window: expected seconds"),
        (lambda: encoder.optimise(one, ("Cz", 0.0)), "channels: expected different"),
        (lambda: encoder.optimise(one, ("Oz",)), r"`towards`: expected \(channel, t"),
        (lambda: encoder.optimise(one, np.zeros((3, 4))), r"of shape \[3, 5\]"),
        (lambda: encoder.optimise(one, np.full((3, 5), np.nan)), "finite numbers"),
        (lambda: encoder.optimise(one, encoder(pictures)), "a prediction of one image"),
        (lambda: encoder.optimise(one, other), "a prediction of one image"),
        (lambda: encoder.optimise(pictures, goal), "picture: expected one, found 3"),
        (lambda: encoder.optimise(one, goal, n_steps=0), "`n_steps`: expected 1 or"),
    ):
        with pytest.raises(InputError, match=expected) as error:
            call()
        assert "\n" not in str(error.value)
