"""What a state dict is recognised as, and what is refused, on tiny networks."""

import dataclasses
import re

import jax
import numpy as np
import pytest

from helpers import torch_networks as plain
from helpers.tiny_network import draw_variables
from img2eeg_jax.axes import Axes
from img2eeg_jax.checkpoints.description import Description
from img2eeg_jax.errors import InputError
from img2eeg_jax.interop import convert
from img2eeg_jax.models.realnet import ReAlNet


def arrays(network, **options):
    state_dict = plain.seeded_state_dict(network, **options)
    return {name: tensor.numpy() for name, tensor in state_dict.items()}


def tiny_encoder(signal_size=12, data_parallel=True):
    return plain.ReAlNet(signal_size, **plain.TINY_ENCODER, data_parallel=data_parallel)


@pytest.fixture(scope="module")
def encoder_original():
    return arrays(tiny_encoder())


@pytest.fixture
def encoder(encoder_original):
    return dict(encoder_original)


def round_trip(tensors, container=None):
    network = convert.recognise(tensors, is_published=True)
    variables, description = convert.from_state_dict(tensors, network, container)
    return convert.to_state_dict(variables, description, step=3)


@pytest.mark.parametrize(
    ("make", "label", "kind"),
    [
        (lambda: plain.cornet_s(**plain.TINY), "CORnet-S", "cornet_s"),
        (lambda: plain.cornet_s(False, **plain.TINY), "CORnet-S", "cornet_s"),
        (tiny_encoder, "ReAlNet encoder", "realnet"),
        (lambda: tiny_encoder(data_parallel=False), "ReAlNet encoder", "realnet"),
        (lambda: tiny_encoder(100), "Image2EEG encoder", "realnet"),
    ],
)
@pytest.mark.parametrize("counters", [True, False])
def test_kinds_and_their_round_trip(make, label, kind, counters):
    tensors = arrays(make(), counters=counters)
    network = convert.recognise(tensors, is_published=True)
    assert (convert.label(network), network.kind) == (label, kind)
    assert network.model["width"] == 4
    assert network.model["num_classes"] == 10
    back, container = round_trip(tensors, "state_dict")
    assert container == "state_dict"
    assert list(back) == list(tensors)
    for name, array in tensors.items():
        assert back[name].dtype == array.dtype
        assert back[name].shape == array.shape
        np.testing.assert_array_equal(back[name], array)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float64"])
def test_round_trip_in_other_precisions(encoder, dtype):
    # What float16 and bfloat16 can hold, float32 and float64 can, too.
    for name in encoder:
        if not name.endswith("num_batches_tracked"):
            encoder[name] = encoder[name].astype("float16").astype("bfloat16")
            encoder[name] = encoder[name].astype(dtype)
    back, _ = round_trip(encoder)
    for name, array in encoder.items():
        assert back[name].dtype == array.dtype, name
        assert back[name].tobytes() == array.tobytes(), name


def test_the_description_names_channels_and_times():
    network = convert.recognise(arrays(tiny_encoder(340)), is_published=True)
    _, description = convert.from_state_dict(arrays(tiny_encoder(340)), network)
    assert description.signal.kind == "channels_x_times"
    axes = description.signal.axes
    assert axes.ch_names[:3] == ("Pz", "P3", "P7")
    assert len(axes.ch_names) == 17
    np.testing.assert_allclose(axes.times_s, np.arange(20) / 100, atol=1e-12)
    assert axes.unit == "unknown"
    assert description.image_size == 32
    assert description.model["signal_shape"] == (17, 20)
    assert description.zscore is description.config is description.data is None


def test_a_channel_mean_counts_from_sample_20_to_40():
    signal = convert.recognise(arrays(tiny_encoder(100)), is_published=True).signal
    assert (signal.kind, signal.shape, signal.window) == (
        "channel_mean",
        (100,),
        (20, 40),
    )
    np.testing.assert_allclose(signal.axes.times_s, np.arange(20) / 100, atol=1e-12)
    assert signal.axes.ch_names == ("mean",)
    assert len(signal.eeg.ch_names) == 17


def test_other_sizes_are_features():
    signal = convert.recognise(arrays(tiny_encoder(1024))).signal
    assert (signal.kind, signal.shape) == ("features", (1024,))
    assert not signal.is_eeg


@pytest.mark.parametrize("prefix", ["model._orig_mod.", "encoder."])
def test_wrapped_names_and_their_round_trip(encoder, prefix):
    expected, _ = convert.from_state_dict(encoder, convert.recognise(encoder))
    wrapped = {prefix + name: array for name, array in encoder.items()}
    network = convert.recognise(wrapped)
    found, description = convert.from_state_dict(wrapped, network)
    jax.tree.map(np.testing.assert_array_equal, found, expected)
    back, _ = convert.to_state_dict(found, description)
    assert list(back) == list(wrapped)
    for name, array in wrapped.items():
        np.testing.assert_array_equal(back[name], array)


def test_own_channels_and_times(encoder):
    ends = convert.recognise(encoder, ch_names=["A", "B", "C"], times_s=[0.1, 0.25])
    expected = Axes(["A", "B", "C"], [0.1, 0.15, 0.2, 0.25], "unknown")
    assert ends.signal.axes == expected
    every = convert.recognise(
        encoder, ch_names=["A", "B", "C"], times_s=[0.1, 0.11, 0.12, 0.14]
    )
    np.testing.assert_array_equal(every.signal.axes.times_s, [0.1, 0.11, 0.12, 0.14])
    assert every.signal.shape == (3, 4)
    with pytest.raises(InputError, match="5 channels × 2 times, found one of 12"):
        convert.recognise(encoder, ch_names=list("ABCDE"), times_s=[0, 1])
    with pytest.raises(InputError, match="3 channels × 3 times, found one of 12"):
        convert.recognise(encoder, ch_names=list("ABC"), times_s=[0, 1, 2])
    with pytest.raises(InputError, match="together"):
        convert.recognise(encoder, ch_names=list("ABC"))
    with pytest.raises(InputError, match=r"expected seconds .* found 0.0 to 400"):
        convert.recognise(encoder, ch_names=list("ABC"), times_s=[0, 400])


@pytest.mark.parametrize(
    ("size", "published"),
    [
        (340, "340: 17 channels × 20 times, 0 to 0.19 s"),
        (100, "100: the mean channel × 20 times, 0 to 0.19 s"),
    ],
)
def test_as_many_outputs_as_a_published_network(size, published):
    tensors = arrays(tiny_encoder(size))
    expected = (
        f"expected `ch_names` and `times_s` of the {size} outputs, or `is_published` "
        f"if they are the published network's ({published}), found neither"
    )
    with pytest.raises(InputError, match=re.escape(expected)):
        convert.recognise(tensors)
    named = convert.recognise(tensors, ch_names=list("ABCDE"), times_s=[0.1, 0.3])
    assert named.signal.shape == (5, size // 5)


def refused(tensors, **meaning):
    """Returns the message with which a state dict is refused."""
    with pytest.raises(InputError) as caught:
        convert.from_state_dict(tensors, convert.recognise(tensors, **meaning))
    return str(caught.value)


def test_every_missing_name_is_told(encoder):
    del encoder["fc_it.bias"], encoder["realnet.module.V4.norm2_3.running_var"]
    message = refused(encoder)
    assert "missing: " in message
    assert "fc_it.bias" in message
    assert "realnet.V4.norm2_3.running_var" in message
    # The counter beside it has lost its batch norm only in this file.
    assert "left over" not in message


@pytest.mark.parametrize("name", ["fc_v3.weight", "realnet.module.V2.conv4.weight"])
def test_what_is_left_over_is_told(encoder, name):
    encoder[name] = np.zeros((2, 2), np.float32)
    assert f"left over: {name}" in refused(encoder)


def test_a_renamed_key_is_told_twice(encoder):
    encoder["realnet.module.V4.conv7.weight"] = encoder.pop(
        "realnet.module.V4.conv1.weight"
    )
    message = refused(encoder)
    assert "missing: realnet.V4.conv1.weight" in message
    assert "left over: realnet.module.V4.conv7.weight" in message


@pytest.mark.parametrize(
    "name",
    [
        "realnet.module.V1.conv1.weight",
        "realnet.module.V2.conv1.weight",
        "realnet.module.decoder.linear.weight",
        "fc_v1.weight",
        "fc_it.weight",
        "fc.weight",
    ],
)
def test_a_transposed_kernel_is_told(encoder, name):
    array = encoder[name]
    encoder[name] = array.swapaxes(0, 1)
    message = refused(encoder)
    assert f"{name} of shape {encoder[name].shape} instead of {array.shape}" in message
    assert message.count("instead of") == 1


def test_a_signal_of_two_sizes_is_told(encoder):
    encoder["fc.bias"] = encoder["fc.bias"][:5]
    assert "fc.weight of shape (12, 32) instead of (5, 32)" in refused(encoder)


def test_a_name_twice(encoder):
    name = "realnet.module.V1.conv1.weight"
    encoder["realnet.V1.conv1.weight"] = encoder[name]
    assert "left over: realnet.V1.conv1.weight" in refused(encoder)
    del encoder["realnet.V1.conv1.weight"]
    teacher = {f"teacher.{name}": array for name, array in encoder.items()}
    message = refused(encoder | teacher)
    assert f"left over: {next(iter(teacher))}, " in message
    assert f" and {len(teacher) - 10} more; `part` takes one of several" in message
    student = {f"student.{name}": array for name, array in encoder.items()}
    assert refused(student | teacher).endswith("networks: student, teacher")


def test_a_counter_of_nothing(encoder):
    encoder["realnet.module.V1.conv1.num_batches_tracked"] = np.int64(3)
    assert "left over: realnet.module.V1.conv1.num_batches_tracked" in refused(encoder)


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (np.float32("nan"), "with values that are NaN or infinite"),
        (np.float16("inf"), "with values that are NaN or infinite"),
        (np.float64(1 / 3), "with float64 values that float32 cannot hold"),
        (np.float64(1e300), "with float64 values that float32 cannot hold"),
        (np.int8(3), "of dtype int8"),
        (np.complex64(1j), "of dtype complex64"),
    ],
)
def test_values_that_float32_cannot_hold(encoder, value, reason):
    encoder["fc.bias"] = np.zeros(12, value.dtype)
    encoder["fc.bias"][3] = value
    assert f"fc.bias {reason}" in refused(encoder)


@pytest.mark.parametrize(
    "name",
    [
        "realnet.module.V1.norm2.weight",
        "realnet.module.decoder.linear.bias",
        "fc_v1.bias",
        "fc_v1.weight",
        "fc.bias",
    ],
)
def test_a_tensor_without_values(encoder, name):
    encoder[name] = encoder[name][:0]
    assert f"{name} of shape (0" in refused(encoder, is_published=True)


def test_an_encoder_without_heads(encoder):
    backbone = {name: a for name, a in encoder.items() if not name.startswith("fc")}
    message = refused(backbone, is_published=True)
    assert "missing: fc.bias, fc.weight, " in message
    assert "fc_v4.weight" in message


@pytest.mark.parametrize("image_size", [12, 20, 28, 44, 64, 92, 220, 224, 252])
def test_image_sizes(image_size):
    arguments = plain.TINY_ENCODER | {"image_size": image_size}
    tensors = arrays(plain.ReAlNet(12, **arguments))
    network = convert.recognise(tensors)
    assert network.image_size == image_size
    convert.from_state_dict(tensors, network)


def test_a_head_that_is_missing_as_a_whole(encoder):
    del encoder["fc_v1.weight"], encoder["fc_v1.bias"]
    assert refused(encoder).endswith("missing: fc_v1.bias, fc_v1.weight")


def test_areas_in_another_order():
    """PyTorch takes them in the order of the cortex; the signal stays the same."""
    areas = ("IT", "V1")
    model = ReAlNet((6,), areas, features=8, width=4, num_classes=10)
    variables = draw_variables(model)
    arguments = {"areas": areas, "features": 8, "width": 4, "num_classes": 10}
    tensors, _ = convert.to_state_dict(
        variables, Description("realnet", arguments, image_size=32)
    )
    network = convert.recognise(tensors)
    assert network.model["areas"] == ("V1", "IT")
    again, _ = convert.from_state_dict(tensors, network)
    image = np.random.default_rng(0).standard_normal((2, 32, 32, 3), np.float32)
    _, expected = model.apply(variables, image)
    _, found = network.build_model().apply(again, image)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


def test_counters_of_a_file_halved_as_a_whole(encoder):
    halved = {name: array.astype(np.float16) for name, array in encoder.items()}
    back, _ = round_trip(halved)
    for name, array in halved.items():
        assert back[name].dtype == np.float16
        np.testing.assert_array_equal(back[name], array)
    name = "realnet.module.V1.norm1.num_batches_tracked"
    for value in ("inf", "1.5"):
        assert f"{name} is no count" in refused(halved | {name: np.float16(value)})


def test_channels_of_a_network_without_a_signal():
    with pytest.raises(
        InputError, match="expected an encoder beside `ch_names` and `times_s`"
    ):
        convert.recognise(arrays(plain.cornet_s(**plain.TINY)), ch_names=["Oz"])


def test_another_network():
    tensors = {f"layer{k}.0.conv1.weight": np.zeros((4, 4, 3, 3)) for k in range(5)}
    with pytest.raises(InputError, match=r"found 5 tensors such as layer0.0.conv1"):
        convert.recognise(tensors)
    with pytest.raises(InputError, match=r"found 0 tensors$"):
        convert.recognise({})


def test_a_network_trained_here_gets_the_published_names():
    """Names, order aside, are those of the PyTorch module; counters count updates."""
    network = tiny_encoder()
    tensors = arrays(network)
    variables, description = convert.from_state_dict(
        tensors, convert.recognise(tensors)
    )
    arguments = {**description.model, "bn_updates": 2}
    description = dataclasses.replace(description, model=arguments, torch=None)
    back, container = convert.to_state_dict(variables, description, step=5)
    assert container is None
    assert set(back) == set(network.state_dict())
    counters = {back[name].item() for name in back if "num_batches" in name}
    assert counters == {10}
    np.testing.assert_array_equal(back["fc_v1.weight"], tensors["fc_v1.weight"])
