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
    assert (layout.size, layout.is_eeg, layout.eeg) == (21, False, None)
    assert layout.axes.ch_names == tuple(map(str, range(21)))
    names = Axes.of_features(["V1", "V2", "IT"], "beta")
    layout = SignalLayout.for_eeg(FEATURES, names, names.times_s)
    assert (layout.shape, layout.axes, layout.window) == ((3,), names, None)
    signal = draw(2, 3)
    np.testing.assert_array_equal(layout.to_eeg(signal), signal[..., np.newaxis])
    again = json.loads(json.dumps(layout.to_dict(), allow_nan=False))
    assert SignalLayout.from_dict(again) == layout


def test_features_are_found_by_their_names():
    one, other = (
        SignalLayout.for_eeg(FEATURES, Axes.of_features(names), EPOCH_S[:1])
        for names in (["V2", "IT"], ["V1", "V2", "IT"])
    )
    assert one.places_in(other).tolist() == [1, 2]
    with pytest.raises(InputError, match="channels: expected different names"):
        other.places_in(one)


def test_unknown_kind():
    with pytest.raises(InputError, match="'channel_mean' or 'features', found 'mean'"):
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


def layout_of(names, times_s, kind="channels_x_times"):
    return SignalLayout.for_eeg(kind, Axes(names, times_s, VOLTS), EPOCH_S)


class TestPlaces:
    """Where the numbers of one signal are in another: checked by what they mean."""

    @pytest.mark.parametrize(
        ("names", "times_s"),
        [
            (("Oz", "Pz", "Cz"), EPOCH_S[3:7]),
            (("Cz", "Oz", "Pz"), EPOCH_S[3:7]),
            (("Pz",), EPOCH_S[4:6]),
            (("Cz", "Pz"), EPOCH_S[3:7] + 0.008),
            (("Cz", "Pz"), EPOCH_S[3:7] - 1e-16),
        ],
        ids=["same", "order", "part", "8 ms", "rounding"],
    )
    def test_channels_by_times(self, names, times_s):
        other = layout_of(AXES.ch_names, AXES.times_s)
        # Each number says which channel and time it is of: 1000 · channel + ms.
        meaning = [[1000 * c + 100 * t for t in (1, 2, 3, 4)] for c in range(3)]
        places = layout_of(names, times_s).places_in(other)
        found = np.ravel(meaning)[places].reshape(len(names), len(times_s))
        for name, row in zip(names, found, strict=True):
            channel = AXES.ch_names.index(name)
            np.testing.assert_allclose(row, 1000 * channel + 1e3 * times_s, atol=10)

    def test_channel_mean(self):
        other = layout_of(AXES.ch_names, EPOCH_S[3:7], "channel_mean")
        same = layout_of(("Cz", "Oz", "Pz"), EPOCH_S[4:7], "channel_mean")
        np.testing.assert_array_equal(same.places_in(other), np.arange(10))
        # Names are compared as everywhere: case and forms of Unicode are no other ones.
        same = layout_of(("CZ", "oz", "PZ"), EPOCH_S[3:7], "channel_mean")
        np.testing.assert_array_equal(same.places_in(other), np.arange(10))
        # Of an epoch that starts 200 ms earlier, the window is two samples later.
        axes = Axes(AXES.ch_names, EPOCH_S[3:7], VOLTS)
        epoch_s = np.arange(-4, 8) / 10
        longer = SignalLayout.for_eeg("channel_mean", axes, epoch_s)
        places = longer.places_in(other)
        assert longer.window == (5, 9)
        np.testing.assert_array_equal(places[5:9], np.arange(3, 7))
        assert (places.min(), places.max()) == (0, 9)

    @pytest.mark.parametrize(
        ("wanted", "words"),
        [
            (layout_of(("Oz", "Fpz"), EPOCH_S[3:7]), "channels: .*, found Fpz$"),
            (
                layout_of(AXES.ch_names, EPOCH_S[2:6]),
                r"times: expected 4, 0 to 0.3 s, found 4, 0.1 to 0.4 s, without 0 s$",
            ),
            (layout_of(("Oz",), EPOCH_S[3:7] + 0.02), "times: .* without 0.12 s$"),
            (
                layout_of(AXES.ch_names, EPOCH_S[3:7], "channel_mean"),
                "expected one of channel_mean, found channels_x_times$",
            ),
            (
                SignalLayout(FEATURES, (12,)),
                "expected one of features, found channels_x_times$",
            ),
        ],
        ids=["channel", "time", "off", "mean", "features"],
    )
    def test_what_is_lacking(self, wanted, words):
        with pytest.raises(InputError, match=words):
            wanted.places_in(layout_of(AXES.ch_names, AXES.times_s))

    def test_other_means(self):
        wanted = layout_of(("Oz", "Pz"), EPOCH_S[3:7], "channel_mean")
        other = layout_of(("Oz", "Cz"), EPOCH_S[3:7], "channel_mean")
        with pytest.raises(InputError, match="the mean of Oz, Pz, found that of Oz, C"):
            wanted.places_in(other)

    def test_features(self):
        one = SignalLayout(FEATURES, (7,))
        np.testing.assert_array_equal(one.places_in(one), np.arange(7))
        with pytest.raises(InputError, match=r"shape \(7,\), found \(8,\)"):
            one.places_in(SignalLayout(FEATURES, (8,)))
        with pytest.raises(InputError, match="one of features, found none"):
            one.places_in(None)
