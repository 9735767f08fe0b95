"""What the numbers of a signal mean: shapes, axes, windows, and what is measured."""

import json

import numpy as np
import pytest

from img2eeg_jax.axes import VOLTS, Axes
from img2eeg_jax.errors import InputError
from img2eeg_jax.signal_layout import FEATURES, SignalLayout

EPOCH_S = np.arange(-2, 8) / 10
AXES = Axes(("Oz", "Pz", "Cz"), EPOCH_S[3:7], VOLTS)


def draw(*shape):
    return np.random.default_rng(0).standard_normal(shape)


def test_channels_by_times():
    layout = SignalLayout.for_eeg("channels_x_times", AXES, EPOCH_S)
    assert (layout.shape, layout.size, layout.window) == ((3, 4), 12, None)
    assert layout.is_eeg
    assert layout.axes == layout.eeg == AXES
    signal = draw(2, 12)
    eeg = layout.to_eeg(signal)
    for channel in range(3):
        for time in range(4):
            np.testing.assert_array_equal(
                eeg[:, channel, time], signal[:, 4 * channel + time]
            )
    np.testing.assert_array_equal(layout.measured(eeg), eeg)


def test_channel_mean():
    """The signal covers the epoch; of it the trained window counts."""
    layout = SignalLayout.for_eeg("channel_mean", AXES, EPOCH_S)
    assert (layout.shape, layout.size, layout.window) == ((10,), 10, (3, 7))
    assert layout.is_eeg
    assert layout.eeg == AXES
    assert layout.axes == Axes(("mean",), AXES.times_s, VOLTS)
    signal = draw(2, 10)
    np.testing.assert_array_equal(layout.to_eeg(signal), signal[:, None, 3:7])
    eeg = draw(2, 3, 4)
    expected = (eeg[:, :1] + eeg[:, 1:2] + eeg[:, 2:]) / 3
    np.testing.assert_allclose(layout.measured(eeg), expected, rtol=1e-12)


def test_features():
    layout = SignalLayout(FEATURES, (7, 3))
    assert (layout.size, layout.is_eeg, layout.axes) == (21, False, None)


def test_unknown_kind():
    with pytest.raises(InputError, match="'channel_mean', found 'mean'"):
        SignalLayout.for_eeg("mean", AXES, EPOCH_S)


@pytest.mark.parametrize(
    "layout",
    [
        SignalLayout.for_eeg("channels_x_times", AXES, EPOCH_S),
        SignalLayout.for_eeg("channel_mean", AXES, EPOCH_S),
        SignalLayout(FEATURES, (7,)),
    ],
    ids=lambda layout: layout.kind,
)
def test_json(layout):
    assert SignalLayout.from_dict(json.loads(json.dumps(layout.to_dict()))) == layout
