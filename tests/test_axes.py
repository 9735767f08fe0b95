"""Channels and windows: by hand, and against a loop over names and times."""

import json

import hypothesis
import numpy as np
import pytest
from hypothesis import strategies as st

from helpers.refusing import refuse
from img2eeg_jax.axes import UNKNOWN, VOLTS, Axes
from img2eeg_jax.errors import InputError

CH_NAMES = ("TP9", "AF7", "AF8", "TP10")


@pytest.fixture
def axes():
    """4 channels, 100 times that miss round ones."""
    return Axes(CH_NAMES, np.arange(-20, 80) / 100 + 0.0008, VOLTS)


@pytest.fixture
def values():
    """12 images, 3 repetitions."""
    values = np.random.default_rng(0).normal(2e-6, 5e-6, size=(12, 3, 4, 100))
    return values.astype(np.float32)


def take_by_loop(axes, values, channels, window_s):
    """The rule in words: each sample within half a sample of the window."""
    half_s = 0.005 * (1 - 1e-6)
    rows = [axes.ch_names.index(name) for name in channels or axes.ch_names]
    samples = []
    for sample, time_s in enumerate(axes.times_s):
        first_s, last_s = window_s or (time_s, time_s)
        if first_s - half_s <= time_s <= last_s + half_s:
            samples.append(sample)
    taken = np.stack([values[..., row, :] for row in rows], -2)
    return np.stack([taken[..., sample] for sample in samples], -1)


def test_everything(axes, values):
    assert axes.take(values) is not values
    assert np.shares_memory(axes.take(values), values)
    np.testing.assert_array_equal(axes.take(values), values)
    assert axes.select() == axes
    assert axes.shape == (4, 100)


def test_channels_in_the_order_wanted(axes, values):
    taken = axes.take(values, ["TP10", "TP9"])
    np.testing.assert_array_equal(taken[:, :, 0], values[:, :, 3])
    np.testing.assert_array_equal(taken[:, :, 1], values[:, :, 0])
    selected = axes.select(["TP10", "TP9"])
    assert selected.ch_names == ("TP10", "TP9")
    assert selected.unit == VOLTS


@pytest.mark.parametrize(
    ("window_s", "first", "last"),
    [
        ((0.1, 0.3), 30, 50),
        ((0.0, 0.19), 20, 39),
        ((-0.2, 0.79), 0, 99),
        ((-5, 5), 0, 99),
        ((0.1041, 0.1139), 30, 31),
        ((0.1061, 0.1139), 31, 31),
    ],
)
def test_window(axes, values, window_s, first, last):
    times_s = axes.select(window_s=window_s).times_s
    np.testing.assert_array_equal(times_s, axes.times_s[first : last + 1])
    taken = axes.take(values, window_s=window_s)
    np.testing.assert_array_equal(taken, values[..., first : last + 1])


def test_equals_the_loop(axes, values):
    rng = np.random.default_rng(1)
    for _ in range(50):
        channels = rng.permutation(CH_NAMES)[: rng.integers(1, 5)].tolist()
        first_s, last_s = np.sort(rng.uniform(-0.19, 0.78, 2)).tolist()
        window_s = (first_s, last_s + 0.01)
        expected = take_by_loop(axes, values, channels, window_s)
        np.testing.assert_array_equal(axes.take(values, channels, window_s), expected)
        assert axes.select(channels, window_s).shape == expected.shape[-2:]
    np.testing.assert_array_equal(take_by_loop(axes, values, None, None), values)


def test_a_single_time_has_no_tolerance():
    axes = Axes(("Oz",), [0.1])
    assert axes.window((0.1, 0.1)) == slice(0, 1)
    refuse(lambda: axes.window((0.1001, 0.2)), "0.100 to 0.100 s")


@pytest.mark.parametrize("channels", [["Oz"], [], ["TP9", "TP9"]])
def test_unknown_channel(axes, values, channels):
    refuse(lambda: axes.take(values, channels), "channels: ", "TP9, AF7, AF8, TP10")
    refuse(lambda: axes.select(channels), "channels: ", "TP9, AF7, AF8, TP10")


@pytest.mark.parametrize("window_s", [(1.0, 2.0), (0.3, 0.1), (-9, -1)])
def test_empty_window(axes, values, window_s):
    refuse(lambda: axes.take(values, window_s=window_s), "-0.199 to 0.791 s")
    refuse(lambda: axes.select(window_s=window_s), "-0.199 to 0.791 s")


def test_equal_are_channels_times_and_unit(axes):
    assert axes == Axes(list(CH_NAMES), list(axes.times_s), VOLTS)
    for other in (
        Axes(CH_NAMES[::-1], axes.times_s, VOLTS),
        Axes(CH_NAMES, axes.times_s + 1e-4, VOLTS),
        Axes(CH_NAMES, axes.times_s[:-1], VOLTS),
        Axes(CH_NAMES, axes.times_s),
        CH_NAMES,
    ):
        assert axes != other
    assert Axes(CH_NAMES, axes.times_s).unit == UNKNOWN


def test_json_keeps_them_exactly(axes):
    assert Axes.from_dict(json.loads(json.dumps(axes.to_dict()))) == axes


def test_times_are_a_copy_that_does_not_change(axes):
    times_s = np.arange(3.0)
    mine = Axes(("Oz",), times_s)
    times_s[0] = 9
    assert mine.times_s[0] == 0
    with pytest.raises(ValueError, match="read-only"):
        mine.times_s[0] = 9


# Times are -0.199 to 0.791 s, 10 ms apart.
@pytest.mark.parametrize(
    ("window_s", "covered"),
    [
        ((0.0, 0.6), None),
        # Half a sample beyond either end is none.
        ((-0.203, 0.795), None),
        ((0.0, 0.9), "0.001 to 0.791 s of the window 0 to 0.9 s"),
        ((-1, 0.2), "-0.199 to 0.201 s of the window -1 to 0.2 s"),
        ((-5, 10), "-0.199 to 0.791 s of the window -5 to 10 s"),
    ],
)
def test_window_that_is_cut_tells_what_the_data_cover(axes, window_s, covered):
    expected = covered and f"the data cover {covered}"
    assert axes.cut(window_s) == expected


@pytest.mark.parametrize("window_s", [(0, 600), (-200, 0.8), (-10.1, 0.0)])
def test_milliseconds_are_refused(axes, values, window_s):
    for call in (axes.window, axes.cut, lambda w: axes.take(values, window_s=w)):
        refuse(
            lambda call=call: call(window_s), "window: expected seconds", "at most 10"
        )


@pytest.mark.parametrize(
    ("rounding", "is_equal"),
    [
        (lambda times_s: times_s + 1e-16, True),
        (lambda times_s: times_s.astype(np.float32), True),
        (lambda times_s: np.round(times_s, 7), True),
        (lambda times_s: times_s + 1e-4, False),
        (lambda times_s: times_s[:-1], False),
    ],
)
def test_rounding_makes_no_other_times(axes, rounding, is_equal):
    assert (Axes(CH_NAMES, rounding(axes.times_s), VOLTS) == axes) is is_equal


def test_names_that_mean_the_same():
    axes = Axes(("FP1", "Oz ", "e\u0301", "a", "A"), np.arange(3.0))
    other = Axes(("\u00e9", "Fp1", "OZ", "A", "a"), np.arange(3.0))
    assert axes.has_channels_of(other)
    assert axes.channel_rows(other.ch_names) == [2, 0, 1, 4, 3]
    assert not axes.has_channels_of(Axes(("Fp1", "Oz", "e", "a", "A"), np.arange(3.0)))


@pytest.mark.parametrize("names", [("b", "B"), ("x",), ("Oz", "OZ")])
def test_names_that_do_not_tell_channels_apart(names):
    axes = Axes(("Oz", "b ", "B "), np.arange(3.0))
    refuse(lambda: axes.channel_rows(names), "different names out of Oz, b , B ")


@hypothesis.given(
    sfreq_hz=st.sampled_from([1, 50, 100, 128, 250, 256, 1000 / 3, 512, 1000, 2048]),
    start=st.integers(-300, 100),
    shift=st.floats(0, 1),
    n_times=st.integers(2, 60),
    data=st.data(),
)
def test_window_of_any_grid(sfreq_hz, start, shift, n_times, data):
    """Samples that are named are taken, and none that is further off than half of one.

    Ends that are samples' times take these, whatever rounding did to either; ends
    between two samples are left to the rule of half a sample.
    """
    times_s = (np.arange(start, start + n_times) + shift) / sfreq_hz
    hypothesis.assume(np.abs(times_s).max() < 9)
    axes = Axes(("Oz",), times_s)
    first = data.draw(st.integers(0, n_times - 1))
    last = data.draw(st.integers(first, n_times - 1))
    rounding = data.draw(st.sampled_from([0.0, 1e-12, -1e-12, 1e-6, -1e-6]))
    for wobble in (rounding, rounding * np.array([1, -1])):
        window_s = tuple(sorted((times_s[[first, last]] + wobble).tolist()))
        assert axes.window(window_s) == slice(first, last + 1)
        assert axes.cut(window_s) is None
    inside = st.floats(float(times_s[0]), float(times_s[-1]))
    low_s, high_s = sorted([data.draw(inside), data.draw(inside)])
    half_s = 0.5 / sfreq_hz
    taken = np.zeros(n_times, bool)
    try:
        taken[axes.window((low_s, high_s))] = True
    except InputError:
        # Both ends in the middle between two samples, by rounding.
        assert high_s - low_s < 2e-6 * half_s
    is_within = (low_s <= times_s) & (times_s <= high_s)
    assert taken[is_within].all()
    is_near = (low_s - half_s <= times_s) & (times_s <= high_s + half_s)
    assert not taken[~is_near].any()
    assert taken.sum() >= is_near.sum() - 2
    values = np.arange(n_times)[np.newaxis]
    if taken.any():
        found = axes.take(values, window_s=(low_s, high_s))[0]
        np.testing.assert_array_equal(found, np.flatnonzero(taken))
        # A window that holds another one takes all that the other does.
        wider = axes.take(values, window_s=(times_s[0], high_s))[0]
        assert set(found.tolist()) <= set(wider.tolist())


def test_features_have_no_times():
    axes = Axes.of_features(["b", "a", "c"], "beta")
    assert (axes.shape, axes.has_times, str(axes)) == ((3, 1), False, "3 features")
    assert axes == Axes.of_features(("b", "a", "c"), "beta")
    assert axes != Axes.of_features(("b", "a", "d"), "beta")
    values = np.arange(6.0).reshape(2, 3, 1)
    np.testing.assert_array_equal(
        axes.take(values, ["c", "b"])[..., 0], [[2, 0], [5, 3]]
    )
    assert axes.select(["c", "b"]) == Axes.of_features(["c", "b"], "beta")
    again = json.loads(json.dumps(axes.to_dict(), allow_nan=False))
    assert Axes.from_dict(again) == axes
    message = "window: expected none, for responses without times, found 0 to 0.1 s"
    with pytest.raises(InputError, match=message):
        axes.window((0, 0.1))


def test_a_name_is_looked_for_among_very_many():
    axes = Axes.of_features([f"voxel_{n}" for n in range(5000)])
    assert axes.channel_rows(axes.ch_names[::-1]) == [*range(4999, -1, -1)]
    message = "out of voxel_0, .*voxel_99 and 4900 more, found voxel_5000$"
    with pytest.raises(InputError, match=message):
        axes.channel_rows(["voxel_5000"])
