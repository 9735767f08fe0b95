"""The name map against the published key names and PyTorch's axis orders."""

import itertools

import jax
import numpy as np
import pytest

from helpers import tiny_network
from helpers.tiny_network import draw_variables
from img2eeg_jax.interop import names
from img2eeg_jax.models.cornet_s import CORnetS
from img2eeg_jax.models.realnet import ReAlNet

NORM = ("weight", "bias", "running_mean", "running_var")


def backbone_keys():
    """REFERENCE.md §2, spelled out."""
    keys = {"decoder.linear.weight", "decoder.linear.bias"}
    keys |= {"V1.conv1.weight", "V1.conv2.weight"}
    keys |= {f"V1.{norm}.{leaf}" for norm in ("norm1", "norm2") for leaf in NORM}
    for area, steps in [("V2", 2), ("V4", 4), ("IT", 2)]:
        for conv in ("conv_input", "skip", "conv1", "conv2", "conv3"):
            keys.add(f"{area}.{conv}.weight")
        norms = [f"norm{i}_{t}" for i in (1, 2, 3) for t in range(steps)]
        for norm, leaf in itertools.product(["norm_skip", *norms], NORM):
            keys.add(f"{area}.{norm}.{leaf}")
    return keys


def encoder_keys():
    keys = {f"realnet.{key}" for key in backbone_keys()}
    heads = ("fc_v1", "fc_v2", "fc_v4", "fc_it", "fc")
    return keys | {f"{head}.{leaf}" for head in heads for leaf in ("weight", "bias")}


def shapes_of(model, size):
    """Variables that take no memory: broadcast zeros."""
    shapes = jax.eval_shape(model.init, jax.random.key(0), np.zeros((1, size, size, 3)))
    return jax.tree.map(lambda leaf: np.broadcast_to(np.float32(0), leaf.shape), shapes)


@pytest.fixture(scope="module")
def variables():
    """Of a ReAlNet with 2 x 2 positions in IT, so that every head is permuted."""
    return draw_variables(tiny_network.realnet(), image_size=64)


@pytest.fixture(scope="module")
def state_dict(variables):
    return names.to_state_dict(variables)


class TestKeys:
    def test_cornet_s(self):
        found = names.to_state_dict(shapes_of(CORnetS(), 224))
        assert set(found) == backbone_keys()
        assert found["V1.conv1.weight"].shape == (64, 3, 7, 7)
        assert found["V4.norm2_3.running_var"].shape == (1024,)
        assert found["decoder.linear.weight"].shape == (1000, 512)

    def test_realnet(self):
        found = names.to_state_dict(shapes_of(ReAlNet(), 224))
        assert set(found) == encoder_keys()
        assert found["fc_v1.weight"].shape == (128, 200704)
        assert found["fc.weight"].shape == (340, 512)
        assert found["fc.bias"].shape == (340,)


class TestRoundTrip:
    @staticmethod
    def assert_same(actual, expected):
        assert jax.tree.structure(actual) == jax.tree.structure(expected)
        pairs = zip(jax.tree.leaves(actual), jax.tree.leaves(expected), strict=True)
        for a, b in pairs:
            assert a.dtype == b.dtype
            np.testing.assert_array_equal(a, b)

    def test_from_variables(self, variables, state_dict):
        self.assert_same(names.to_variables(state_dict), variables)

    def test_from_state_dict(self, state_dict):
        """From a state dict drawn in PyTorch's layout."""
        rng = np.random.default_rng(1)
        given = {
            name: rng.standard_normal(array.shape).astype(np.float32)
            for name, array in state_dict.items()
        }
        self.assert_same(names.to_state_dict(names.to_variables(given)), given)

    def test_backbone(self):
        variables = draw_variables(CORnetS(width=2, num_classes=3))
        state_dict = names.to_state_dict(variables)
        self.assert_same(names.to_variables(state_dict), variables)

    @pytest.mark.parametrize(
        ("old", "new"), [("realnet.", "realnet.module."), ("", "module.")]
    )
    def test_data_parallel_prefix(self, variables, state_dict, old, new):
        """As in encoder.pt, and as in CORnet-S's own checkpoint."""
        given = {name.replace(old, new, 1): array for name, array in state_dict.items()}
        assert any("module." in name for name in given)
        self.assert_same(names.to_variables(given), variables)

    def test_counters_are_passed_over(self, variables, state_dict):
        counters = {
            name.replace("running_mean", "num_batches_tracked"): np.int64(3)
            for name in state_dict
            if name.endswith("running_mean")
        }
        assert len(counters) == 2 + (1 + 6) + (1 + 12) + (1 + 6)
        self.assert_same(names.to_variables({**state_dict, **counters}), variables)


class TestWrappers:
    """What stands around the networks' own names in files of other people."""

    @pytest.mark.parametrize(
        "prefix",
        ["_orig_mod.", "model.", "net.", "encoder.", "model._orig_mod.module.", "a.b."],
    )
    @pytest.mark.parametrize("keys", [backbone_keys, encoder_keys])
    def test_before_all(self, prefix, keys):
        found = names.canonical_names([prefix + key for key in keys()])
        assert found == {prefix + key: key for key in keys()}

    @pytest.mark.parametrize(
        ("old", "new"),
        [
            ("realnet.", "realnet._orig_mod.module."),
            ("realnet.", "realnet.module._fsdp_wrapped_module."),
            ("realnet.", "backbone."),
            ("realnet.", ""),
            ("V2.", "V2._orig_mod."),
            ("linear.", "_checkpoint_wrapped_module.linear."),
            ("fc", "heads.fc"),
        ],
    )
    def test_in_between(self, old, new):
        wrapped = {key.replace(old, new, 1): key for key in encoder_keys()}
        assert any(key != name for key, name in wrapped.items())
        assert names.canonical_names(wrapped) == wrapped

    def test_what_is_no_weight_stays(self):
        others = ["V2.conv1.lora_A.weight", "layer1.0.conv1.weight", "fc_v3.bias"]
        assert names.canonical_names(others) == {name: name for name in others}
        assert names.canonical_names(["model.module.x"]) == {
            "model.module.x": "model.x"
        }

    def test_two_networks_meet_in_the_same_names(self):
        found = names.canonical_names(
            ["student.V1.conv1.weight", "ema.V1.conv1.weight"]
        )
        assert set(found.values()) == {"V1.conv1.weight"}


class TestAxes:
    def test_convolution(self):
        """Element [out, in, row, column] lies at [row, column, in, out]."""
        torch_weight = np.arange(2 * 3 * 5 * 7, dtype=np.float32).reshape(2, 3, 5, 7)
        variables = names.to_variables({"V2.conv2.weight": torch_weight})
        kernel = variables["params"]["V2"]["conv2"]["kernel"]
        assert kernel.shape == (5, 7, 3, 2)
        for o, i, h, w in np.ndindex(torch_weight.shape):
            assert kernel[h, w, i, o] == torch_weight[o, i, h, w]

    def test_linear(self):
        weight = np.arange(6, dtype=np.float32).reshape(2, 3)
        given = {"decoder.linear.weight": weight, "fc.weight": weight}
        params = names.to_variables(given)["params"]
        np.testing.assert_array_equal(params["decoder"]["linear"]["kernel"], weight.T)
        np.testing.assert_array_equal(params["fc"]["kernel"], weight.T)

    def test_batch_norm(self):
        leaves = {f"V1.norm1.{leaf}": np.full(2, i) for i, leaf in enumerate(NORM)}
        variables = names.to_variables(leaves)
        params = variables["params"]["V1"]["norm1"]
        stats = variables["batch_stats"]["V1"]["norm1"]
        assert (params["scale"][0], params["bias"][0]) == (0, 1)
        assert (stats["mean"][0], stats["var"][0]) == (2, 3)

    @pytest.mark.parametrize(
        ("area", "channels", "side"), [("v1", 4, 16), ("v2", 8, 8), ("it", 32, 2)]
    )
    def test_head(self, variables, state_dict, area, channels, side):
        """PyTorch flattens channel x row x column, we row x column x channel."""
        rng = np.random.default_rng(2)
        nchw = rng.standard_normal((3, channels, side, side))
        weight = state_dict[f"fc_{area}.weight"]
        expected = np.zeros((3, len(weight)))
        for c, h, w in np.ndindex(channels, side, side):
            column = weight[:, c * side * side + h * side + w]
            expected += nchw[:, c, h, w, None] * column
        ours = nchw.transpose(0, 2, 3, 1).reshape(3, -1)
        ours = ours @ variables["params"][f"fc_{area}"]["kernel"]
        np.testing.assert_allclose(ours, expected, rtol=1e-10)


class TestErrors:
    @pytest.mark.parametrize(
        "name",
        [
            "optimizer",
            "epoch",
            "V1.conv1.bias",
            "V2.norm1_0.scale",
            "layer1.0.conv1.weight",
            "V1.conv3.weight",
            "V5.conv1.weight",
            "V2.conv2_0.weight",
            "bn1.weight",
            "fc_v3.weight",
            "realnet.fc.weight",
        ],
    )
    def test_unknown_key(self, name):
        with pytest.raises(ValueError, match=f"{name}: expected a weight of"):
            names.to_variables({name: np.zeros(2)})

    def test_given_twice(self):
        given = {"V1.conv1.weight": np.zeros((1, 1, 1, 1))}
        given["module.V1.conv1.weight"] = given["V1.conv1.weight"]
        with pytest.raises(ValueError, match="twice"):
            names.to_variables(given)

    def test_head_of_another_backbone(self, state_dict):
        given = {**state_dict, "fc_it.weight": np.zeros((8, 33))}
        with pytest.raises(ValueError, match=r"fc_it.weight: expected 32 .*found 33"):
            names.to_variables(given)

    def test_head_without_its_area(self, state_dict):
        given = {"fc_it.weight": state_dict["fc_it.weight"]}
        with pytest.raises(ValueError, match=r"realnet.IT.norm3_0.weight"):
            names.to_variables(given)

    def test_unknown_variable(self):
        with pytest.raises(ValueError, match="V1/conv1/bias"):
            names.to_state_dict({"params": {"V1": {"conv1": {"bias": np.zeros(2)}}}})
