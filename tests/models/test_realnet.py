"""Sizes of the networks, worked out by hand, and how a small one trains."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from helpers.compilation import compile_quickly
from helpers.tiny_network import (
    IMAGE_SIZE,
    REALNET_ARGUMENTS,
    assert_trees_close,
    draw_variables,
)
from img2eeg_jax.models.cornet_s import CORnetS, RecurrentBlock, normalise_pixels
from img2eeg_jax.models.layers import TRANSFORMED, transformed_kernels
from img2eeg_jax.models.realnet import ReAlNet

# Width, height and channels at 224 pixels (REFERENCE.md §1).
AREA_SHAPES = {
    "V1": (56, 56, 64),
    "V2": (28, 28, 128),
    "V4": (14, 14, 256),
    "IT": (7, 7, 512),
}


def images(size=224, batch=2):
    return jax.ShapeDtypeStruct((batch, size, size, 3), jnp.float32)


def shapes(model, size=224):
    """Returns (outputs, variables) as shapes."""
    return jax.eval_shape(model.init_with_output, jax.random.key(0), images(size))


def count(tree):
    return sum(int(np.prod(leaf.shape)) for leaf in jax.tree.leaves(tree))


def block_parameters(channels_in, channels, steps):
    """A recurrent block, layer by layer (REFERENCE.md §1)."""
    wide = 4 * channels
    conv_input, skip = channels_in * channels, channels * channels
    conv1, conv2, conv3 = channels * wide, 3 * 3 * wide * wide, wide * channels
    norm_skip, norms = 2 * channels, steps * (2 * wide + 2 * wide + 2 * channels)
    return conv_input + skip + conv1 + conv2 + conv3 + norm_skip + norms


def cornet_s_parameters():
    v1 = 7 * 7 * 3 * 64 + 3 * 3 * 64 * 64 + 2 * (64 + 64)
    blocks = [(64, 128, 2), (128, 256, 4), (256, 512, 2)]
    decoder = 512 * 1000 + 1000
    return v1 + sum(block_parameters(*block) for block in blocks) + decoder


class TestPublishedNetworks:
    def test_cornet_s(self):
        (logits, areas), variables = shapes(CORnetS())
        assert logits.shape == (2, 1000)
        assert {name: area.shape[1:] for name, area in areas.items()} == AREA_SHAPES
        assert count(variables["params"]) == cornet_s_parameters() == 53_416_616
        # A mean and a variance for each scale and bias of a batch norm.
        convolutions_and_decoder = sum(
            int(np.prod(leaf.shape))
            for path, leaf in jax.tree_util.tree_leaves_with_path(variables["params"])
            if path[-1].key == "kernel"
        )
        norms = cornet_s_parameters() - convolutions_and_decoder - 1000
        assert count(variables["batch_stats"]) == norms

    @pytest.mark.parametrize(
        ("signal_shape", "size"), [((17, 20), 340), ((100,), 100), ((1024,), 1024)]
    )
    def test_realnet(self, signal_shape, size):
        (logits, signal), variables = shapes(ReAlNet(signal_shape=signal_shape))
        assert logits.shape == (2, 1000)
        assert signal.shape == (2, size)
        flat = {"V1": 200704, "V2": 100352, "V4": 50176, "IT": 25088}
        assert flat == {area: np.prod(shape) for area, shape in AREA_SHAPES.items()}
        heads = sum(inputs * 128 + 128 for inputs in flat.values())
        last = 512 * size + size
        expected = cornet_s_parameters() + heads + last
        assert count(variables["params"]) == expected

    def test_defaults_are_the_published_ones(self):
        _, variables = shapes(ReAlNet())
        assert variables["params"]["fc"]["kernel"].shape == (512, 340)


class TestArguments:
    def test_areas(self):
        _, variables = shapes(ReAlNet(areas=("IT", "V2"), features=8), 64)
        assert {name for name in variables["params"] if name.startswith("fc")} == {
            "fc",
            "fc_it",
            "fc_v2",
        }
        assert variables["params"]["fc"]["kernel"].shape == (16, 340)
        assert variables["params"]["fc_v2"]["kernel"].shape == (8 * 8 * 128, 8)

    def test_features_are_in_the_order_of_the_areas(self):
        areas = ("IT", "V1", "V4")
        model = ReAlNet(
            signal_shape=(3,), areas=areas, features=2, width=1, num_classes=2
        )
        params = (variables := draw_variables(model))["params"]
        for number, area in enumerate(areas):
            # A feature is ReLU(0 · output + 1 + number), whatever the image.
            head = params[f"fc_{area.lower()}"]
            head["kernel"] = np.zeros_like(head["kernel"])
            head["bias"] = np.full_like(head["bias"], 1 + number)
        # Signal i is the sum of the two features in place i.
        pairs = np.repeat(np.eye(3, dtype=np.float32), 2, axis=0)
        params["fc"] = {"kernel": pairs, "bias": np.zeros(3, np.float32)}
        image = np.zeros((1, IMAGE_SIZE, IMAGE_SIZE, 3), np.float32)
        _, signal = jax.jit(model.apply)(variables, image)
        np.testing.assert_array_equal(signal, [[2, 4, 6]])

    def test_width_and_image_size(self):
        (_, areas), _ = shapes(CORnetS(width=4, num_classes=10), 64)
        assert {name: area.shape[1:] for name, area in areas.items()} == {
            "V1": (16, 16, 4),
            "V2": (8, 8, 8),
            "V4": (4, 4, 16),
            "IT": (2, 2, 32),
        }

    def test_odd_image_size_rounds_up(self):
        (_, areas), _ = shapes(CORnetS(width=4, num_classes=10), 50)
        sides = {name: area.shape[1] for name, area in areas.items()}
        # 50 → 25 (conv1) → 13 (pool) → 7 → 4 → 2
        assert sides == {"V1": 13, "V2": 7, "V4": 4, "IT": 2}

    @pytest.mark.parametrize("dtype", [jnp.bfloat16, "bfloat16"], ids=["type", "name"])
    def test_bfloat16(self, dtype):
        model = ReAlNet(width=4, features=8, dtype=dtype)
        (logits, signal), variables = shapes(model, 32)
        assert logits.dtype == signal.dtype == jnp.float32
        assert all(leaf.dtype == jnp.float32 for leaf in jax.tree.leaves(variables))
        (_, areas), _ = shapes(CORnetS(width=4, dtype=dtype), 32)
        assert all(area.dtype == jnp.bfloat16 for area in areas.values())


BATCH = 5


class Tiny:
    """A training pass of ReAlNet at its smallest, as `settings` say."""

    def __init__(self, **settings):
        self.model = ReAlNet(**REALNET_ARGUMENTS | settings)
        self.variables = draw_variables(self.model)
        shape = (BATCH, IMAGE_SIZE, IMAGE_SIZE, 3)
        self.images = np.random.default_rng(0).standard_normal(shape, np.float32)

    def outputs(self, params, train):
        """Returns logits and signal; and of each area output and statistics."""
        (logits, signal), changed = self.model.apply(
            self.variables | {"params": params},
            self.images,
            train=train,
            mutable=["batch_stats", "intermediates"],
            capture_intermediates=lambda module, _: module.name == "realnet",
        )
        ((_, areas),) = changed["intermediates"]["realnet"]["__call__"]
        statistics = changed["batch_stats"]["realnet"]
        return {
            "logits": logits,
            "signal": signal,
            "areas": areas,
            "statistics": statistics,
        }

    def loss(self, params):
        outputs = self.outputs(params, train=True)
        loss = sum((outputs[name] ** 2).mean() for name in ("logits", "signal"))
        return loss, outputs

    def train(self):
        """Returns the outputs in training, and the gradients of a loss."""
        grad = compile_quickly(jax.grad(self.loss, has_aux=True))
        gradients, outputs = grad(self.variables["params"])
        return outputs | {"gradients": gradients}

    def kept_activations(self):
        """Returns how many of them the backward pass finds."""
        params = self.variables["params"]
        vjp = jax.eval_shape(lambda x: jax.vjp(self.loss, x, has_aux=True)[1], params)
        shapes = [leaf.shape for leaf in jax.tree.leaves(vjp)]
        return sum(len(shape) == 4 and shape[0] == BATCH for shape in shapes)


@pytest.fixture(scope="module")
def plain():
    return Tiny().train()


class TestRemat:
    @pytest.mark.parametrize("remat", ["elementwise", "areas"])
    def test_same_numbers(self, remat, plain):
        # Two programs round differently: 1e-7, grown through the network's 40 layers.
        assert_trees_close(Tiny(remat=remat).train(), plain, 1e-4)

    def test_what_is_kept(self):
        """Of areas their inputs; of "elementwise" what convolutions give, too."""
        kept = {
            remat: Tiny(remat=remat).kept_activations()
            for remat in ("none", "elementwise", "areas")
        }
        # conv_input and skip, and three in each of the steps.
        convolutions = 2 + (2 + 3 * 2) + (2 + 3 * 4) + (2 + 3 * 2)
        assert kept["areas"] == 4
        assert kept["elementwise"] == 4 + convolutions
        # A batch norm that rectifies keeps its output; see `normalise_batch`.
        assert kept["none"] > kept["elementwise"] + convolutions / 2


def assert_unchanged(found, expected):
    jax.tree.map(np.testing.assert_array_equal, found, expected)


def assert_all_differ(found, expected):
    """Every leaf does somewhere."""
    pairs = zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True)
    assert not any(np.array_equal(*pair) for pair in pairs)


class TestFrozenAreas:
    def test_the_first_two(self, plain):
        tiny = Tiny(frozen_areas=("V1", "V2"))
        statistics = tiny.variables["batch_stats"]["realnet"]
        found = tiny.train()
        in_eval = compile_quickly(functools.partial(tiny.outputs, train=False))
        expected = in_eval(tiny.variables["params"])
        gradients = found["gradients"]["realnet"]
        zeros = jax.tree.map(np.zeros_like, gradients)
        for area in ("V1", "V2"):
            np.testing.assert_allclose(
                found["areas"][area], expected["areas"][area], 1e-5, 1e-5
            )
            assert_all_differ(found["areas"][area], plain["areas"][area])
            assert_unchanged(found["statistics"][area], statistics[area])
            assert_unchanged(gradients[area], zeros[area])
        for area in ("V4", "IT"):
            assert_all_differ(found["areas"][area], expected["areas"][area])
            assert_all_differ(found["statistics"][area], statistics[area])
            assert_all_differ(gradients[area], zeros[area])
        # What reads frozen areas is trained.
        for head in ("fc_v1", "fc_v2"):
            for gradient in found["gradients"][head].values():
                assert np.any(gradient)

    def test_one_in_the_middle(self):
        """Gradients pass through it: no other way leads from IT to V1."""
        tiny = Tiny(frozen_areas=("V2",), areas=("IT",))
        statistics = tiny.variables["batch_stats"]["realnet"]
        found = tiny.train()
        variables = {name: x["realnet"]["V2"] for name, x in tiny.variables.items()}
        block = RecurrentBlock(features=8, steps=2)
        in_eval = block.apply(variables, found["areas"]["V1"], False, None)
        np.testing.assert_allclose(found["areas"]["V2"], in_eval, 1e-5, 1e-5)
        assert_unchanged(found["statistics"]["V2"], statistics["V2"])
        for area in ("V1", "V4", "IT"):
            assert_all_differ(found["statistics"][area], statistics[area])
            gradients = jax.tree.leaves(found["gradients"]["realnet"][area])
            assert all(np.any(gradient) for gradient in gradients)


def test_normalise_pixels():
    image = np.array([0, 128, 255], np.uint8).reshape(1, 1, 1, 3)
    # ImageNet's statistics (REFERENCE.md §1), one colour each.
    expected = [-0.485 / 0.229, (128 / 255 - 0.456) / 0.224, (1 - 0.406) / 0.225]
    np.testing.assert_allclose(normalise_pixels(image).ravel(), expected, rtol=1e-6)


def test_kernels_that_are_transformed_once_predict_the_same():
    """Those of V4 are; without its kernel the network cannot have made them again."""
    model, size, n_images = CORnetS(width=16, num_classes=3), 128, 16
    pixels = np.random.default_rng(0).random((n_images, size, size, 3), np.float32)
    images = jnp.asarray(pixels)
    variables = draw_variables(model, image_size=size)
    kept = transformed_kernels(model, size, variables, n_images)
    found = kept[TRANSFORMED]["V4"]["conv2"]
    assert {name: (len(rows), len(rows[0])) for name, rows in found.items()} == {
        "stride_1": (4, 4),
        "stride_2": (5, 5),
    }
    apply = compile_quickly(lambda variables: model.apply(variables, images)[0])
    expected = np.asarray(apply(variables))
    variables["params"]["V4"]["conv2"]["kernel"][:] = 0
    predicted = apply({**variables, **kept})
    np.testing.assert_allclose(predicted, expected, rtol=1e-5, atol=1e-5)
    assert np.abs(apply(variables) - expected).max() > 0.01


def test_small_networks_have_no_kernels_to_transform():
    model = ReAlNet(**REALNET_ARGUMENTS)
    variables = draw_variables(model)
    assert transformed_kernels(model, IMAGE_SIZE, variables, 16) == {}
