"""Initial weights from a checkpoint: its outputs are found by names and times."""

import dataclasses

import numpy as np
import pytest

from helpers import tiny_network
from helpers.checkpoints import CORNET, DESCRIPTION
from helpers.tiny_network import draw_variables, realnet
from img2eeg_jax.axes import Axes
from img2eeg_jax.checkpoints.description import Description
from img2eeg_jax.checkpoints.store import write_weights
from img2eeg_jax.errors import InputError
from img2eeg_jax.models.cornet_s import CORnetS
from img2eeg_jax.signal_layout import SignalLayout
from img2eeg_jax.training.networks import load_initial

NAMES, TIMES_S = ("Oz", "Pz", "Cz"), np.arange(1, 6) / 10


def signal_of(names=NAMES, times_s=TIMES_S):
    axes = Axes(names, times_s)
    return SignalLayout.for_eeg("channels_x_times", axes, times_s)


@pytest.fixture(scope="module")
def variables():
    return draw_variables(realnet())


@pytest.fixture(scope="module")
def checkpoint(variables, tmp_path_factory):
    folder = tmp_path_factory.mktemp("initial") / "encoder"
    description = dataclasses.replace(DESCRIPTION, signal=signal_of())
    write_weights(folder, variables, description)
    return folder


def load(checkpoint, signal):
    arguments = tiny_network.REALNET_ARGUMENTS | {"signal_shape": signal.shape}
    model = realnet().clone(**arguments)
    return load_initial(checkpoint, model, tiny_network.IMAGE_SIZE, signal)


@pytest.mark.parametrize(
    ("names", "times_s"), [(("Cz", "Oz", "Pz"), TIMES_S), (("Pz",), TIMES_S[1:4])]
)
def test_outputs_by_name(checkpoint, variables, names, times_s):
    found = load(checkpoint, signal_of(names, times_s))
    for entry, last in variables["params"]["fc"].items():
        for i, name in enumerate(names):
            for k, time_s in enumerate(times_s):
                place = NAMES.index(name) * 5 + list(TIMES_S).index(time_s)
                np.testing.assert_array_equal(
                    found["params"]["fc"][entry][..., i * len(times_s) + k],
                    last[..., place],
                )
    before = variables["params"]["fc_v1"]["kernel"]
    np.testing.assert_array_equal(found["params"]["fc_v1"]["kernel"], before)


@pytest.mark.parametrize(
    ("signal", "words"),
    [
        (signal_of(("Oz", "Pz", "Fz")), "channels: .* found Fz$"),
        (signal_of(times_s=TIMES_S + 0.1), "times: .* without 0.6 s$"),
        (SignalLayout("features", (15,)), "expected one of features"),
    ],
)
def test_others_of_the_same_shape(checkpoint, signal, words):
    with pytest.raises(InputError, match=f"^{checkpoint}: .*{words}"):
        load(checkpoint, signal)


def test_backbone_alone_goes_with_any_signal(tmp_path):
    arguments = {**CORNET, "width": 4, "num_classes": 10}
    backbone = draw_variables(CORnetS(**arguments))
    write_weights(tmp_path / "x", backbone, Description("cornet_s", arguments, 32))
    found = load(tmp_path / "x", signal_of(("Fz",)))
    assert set(found["params"]) == {"realnet"}
