"""Predictions: their units, parts, means and differences."""

import dataclasses

import numpy as np
import pytest

from img2eeg_jax.axes import UNKNOWN, VOLTS, WHITENED, Axes
from img2eeg_jax.checkpoints.description import Description
from img2eeg_jax.data.unwhitening import Unwhitening
from img2eeg_jax.data.zscore import ZScore
from img2eeg_jax.errors import InputError
from img2eeg_jax.prediction.prediction import Prediction
from img2eeg_jax.signal_layout import (
    CHANNEL_MEAN,
    CHANNELS_BY_TIMES,
    FEATURES,
    SignalLayout,
)

AXES = Axes(("O1", "Oz"), (0.1, 0.2, 0.3), "µV")
NAMES = ("pictures/dog.jpg", "pictures/old/dog.jpg", "car.jpg", "cat.png")
DATA = np.arange(24, dtype=np.float32).reshape(4, 2, 3)
ZSCORE = ZScore(DATA[0] * 1e-6, (DATA[1] + 1) * 1e-6)


def eeg(**changes):
    return dataclasses.replace(Prediction(DATA, AXES, NAMES, 3, ZSCORE), **changes)


def in_unit(unit):
    return dataclasses.replace(AXES, unit=unit)


def described(unit, zscore=ZSCORE, kind=CHANNELS_BY_TIMES, **data):
    axes = in_unit(unit)
    signal = SignalLayout.for_eeg(kind, axes, axes.times_s)
    return Description("realnet", {}, 8, signal, zscore, 3, data=data)


@pytest.mark.parametrize(
    ("data", "axes", "names"),
    [
        (DATA, AXES, NAMES[:1]),
        (DATA[:, :1], AXES, NAMES),
        (DATA, Axes.of_features(["a", "b"]), NAMES),
    ],
)
def test_what_does_not_fit_is_refused(data, axes, names):
    with pytest.raises(InputError, match=r"prediction: expected shape .*, found \(4"):
        Prediction(data, axes, names)


@pytest.mark.parametrize(
    ("trained_on", "zscore", "unit", "scale"),
    [
        (VOLTS, ZSCORE, "µV", 1e6),
        (WHITENED, ZSCORE, "whitened", 1),
        (UNKNOWN, ZSCORE, "z", None),
        (VOLTS, None, "z", None),
        (WHITENED, None, "z", None),
    ],
)
def test_the_unit_is_what_the_network_knows(trained_on, zscore, unit, scale):
    signal = DATA.reshape(4, 6) / 7
    prediction = Prediction.of_signal(signal, described(trained_on, zscore), NAMES)
    assert prediction.unit == prediction.axes.unit == unit
    expected = signal.reshape(DATA.shape)
    if scale is not None:
        expected = (expected * np.float64(zscore.std) + zscore.mean) * scale
    np.testing.assert_allclose(prediction.data, expected, rtol=1e-6)
    assert prediction.data.dtype == np.float32
    assert (prediction.subject, prediction.zscore) == (3, zscore)
    z = Prediction.of_signal(signal, described(trained_on, zscore), NAMES, in_z=True)
    assert z.unit == "z"
    np.testing.assert_array_equal(z.data.reshape(4, 6), signal)


def test_a_channel_mean_has_no_unit_of_single_channels():
    description = described(VOLTS, kind=CHANNEL_MEAN)
    prediction = Prediction.of_signal(DATA[:, 0], description, NAMES)
    assert (prediction.unit, prediction.ch_names) == ("z", ("mean",))
    assert prediction.zscore is None


def test_features_have_no_times():
    description = Description("realnet", {}, 8, SignalLayout("features", (6,)))
    prediction = Prediction.of_signal(DATA.reshape(4, 6), description, NAMES)
    assert (prediction.unit, prediction.ch_names) == (UNKNOWN, tuple("012345"))
    assert (prediction.is_eeg, len(prediction.times_s)) == (False, 0)
    assert prediction["car.jpg"].data.shape == (1, 6)
    assert prediction.grid.shape == (4, 6, 1)
    with pytest.raises(InputError, match="values in µV, found features"):
        prediction.microvolts  # noqa: B018
    with pytest.raises(InputError, match="none, for responses without times, found 0"):
        prediction.sel(window_s=(0, 0.1))


def test_features_are_predicted_in_their_own_unit():
    axes = Axes.of_features(["V1", "V2", "IT"], "beta")
    zscore = ZScore(np.float32([[1], [2], [3]]), np.float32([[10], [20], [30]]))
    layout = SignalLayout.for_eeg(FEATURES, axes, axes.times_s)
    description = Description("realnet", {}, 8, layout, zscore)
    signal = np.float32([[0, 1, -1], [2, 0, 0.5]])
    prediction = Prediction.of_signal(signal, description, NAMES[:2])
    np.testing.assert_array_equal(prediction.data, [[1, 22, -27], [21, 2, 18]])
    assert prediction.unit == "beta"
    chosen = prediction.sel(["IT", "V1"])
    np.testing.assert_array_equal(chosen.data, [[-27, 1], [18, 21]])
    assert chosen.axes == Axes.of_features(["IT", "V1"], "beta")
    np.testing.assert_array_equal(chosen.zscore.std, [[30], [10]])
    in_z = Prediction.of_signal(signal, description, NAMES[:2], in_z=True)
    np.testing.assert_array_equal(in_z.data, signal)
    assert in_z.unit == "z"


@pytest.mark.parametrize(
    ("key", "rows"),
    [
        ("car.jpg", [2]),
        ("pictures/dog.jpg", [0]),
        ("old/dog.jpg", [1]),
        (-1, [3]),
        (np.int64(1), [1]),
        (slice(1, 3), [1, 2]),
        (["cat.png", 0], [3, 0]),
        ([], []),
        (np.array([True, False, False, True]), [0, 3]),
    ],
)
def test_images_are_found(key, rows):
    familiarity = np.arange(4.0)
    chosen = eeg(familiarity=familiarity)[key]
    np.testing.assert_array_equal(chosen.data, DATA[rows])
    assert chosen.images == tuple(NAMES[row] for row in rows)
    np.testing.assert_array_equal(chosen.familiarity, familiarity[rows])
    assert (chosen.axes, chosen.subject, chosen.zscore) == (AXES, 3, ZSCORE)


@pytest.mark.parametrize(
    ("key", "message"),
    [
        (
            "dog.jpg",
            "image: expected one image called 'dog.jpg', found 2; pictures/dog",
        ),
        ("og.jpg", "found none; there are pictures/dog.jpg, pictures/old/dog.jpg, car"),
        ("", "image: expected one image called '', found none"),
        (4, "image: expected a number below 4, found 4"),
        (1.5, "image: expected a name or a number, found 1.5"),
        (np.array([True]), r"images: expected a mask of 4, found shape \(1,\)"),
    ],
)
def test_images_that_are_not_there(key, message):
    with pytest.raises(InputError, match=message):
        eeg()[key]


def test_images_come_one_by_one():
    assert [one.images for one in eeg()] == [(name,) for name in NAMES]
    assert len(eeg()) == 4


def test_channels_and_times_are_selected():
    part = eeg().sel(["Oz"], (0.2, 0.3))
    np.testing.assert_array_equal(part.data, DATA[:, 1:, 1:])
    np.testing.assert_array_equal(part.times_s, [0.2, 0.3])
    np.testing.assert_array_equal(part.zscore.std, ZSCORE.std[1:, 1:])
    assert (part.ch_names, part.unit) == (("Oz",), "µV")
    assert eeg().sel("Oz").ch_names == ("Oz",)
    np.testing.assert_array_equal(eeg().sel().data, DATA)
    with pytest.raises(InputError, match="channels: expected different names"):
        eeg().sel(channels="Cz")
    with pytest.raises(InputError, match="window: expected"):
        eeg().sel(window_s=(0.5, 0.6))


def test_mean_over_images():
    mean = eeg(familiarity=np.arange(4.0)).mean()
    np.testing.assert_array_equal(mean.data[0], DATA.mean(0))
    assert (mean.images, mean.familiarity) == (("mean of 4 images",), None)
    assert eeg()[0].mean().images == NAMES[:1]
    with pytest.raises(InputError, match="mean: expected images"):
        eeg()[:0].mean()


def test_differences():
    one = eeg(subject=4)["car.jpg"] - eeg(simulated=True)["cat.png"]
    np.testing.assert_array_equal(one.data, DATA[2:3] - DATA[3:4])
    assert one.images == ("car.jpg - cat.png",)
    assert (one.subject, one.simulated, one.unit) == (None, True, "µV")
    # z-scores' difference · std is the difference in the unit: no mean.
    np.testing.assert_array_equal(one.zscore.mean, np.zeros((2, 3)))
    np.testing.assert_array_equal(one.zscore.std, ZSCORE.std)
    centred = eeg() - eeg().mean()
    np.testing.assert_allclose(centred.data, DATA - DATA.mean(0))
    assert centred.images[3] == "cat.png - mean of 4 images"
    np.testing.assert_array_equal((eeg()[0] - eeg()).data, DATA[0] - DATA)


@pytest.mark.parametrize(
    "other",
    [eeg()[:2], eeg()[:0], eeg().sel("O1"), eeg(axes=in_unit("z"))],
    ids=["images", "none", "channels", "unit"],
)
def test_differences_of_what_does_not_fit(other):
    with pytest.raises(InputError, match="difference: expected"):
        eeg() - other


@pytest.mark.parametrize(
    ("unit", "message"),
    [
        ("z", "values in µV, found z-scores: .* `unitless`"),
        ("whitened", "values in µV, found whitened EEG, .* prepared again"),
    ],
)
def test_microvolts_or_why_not(unit, message):
    np.testing.assert_array_equal(eeg().microvolts, DATA)
    with pytest.raises(InputError, match=message):
        _ = eeg(axes=in_unit(unit)).microvolts


def test_whitened_eeg_goes_back():
    """W⁻¹ by hand: of diag(1/2, 1/4) and [[0, 1], [1, 0]]; in volts."""
    record = {
        "ch_names": ["O1", "Oz"],
        "whitening": [
            {"session": 1, "matrix": [[0.5, 0], [0, 0.25]]},
            {"session": 2, "matrix": [[0, 1], [1, 0]]},
        ],
    }
    matrix = np.array([[1, 0.5], [0.5, 2]])
    whitened = eeg(
        axes=in_unit("whitened"), unwhitening=Unwhitening.from_record(record)
    )
    np.testing.assert_array_equal(whitened.unwhitening.matrix, matrix)
    back = whitened.unwhitened()
    np.testing.assert_allclose(back.microvolts, 1e6 * (matrix @ DATA))
    assert (back.zscore, back.unwhitening) == (None, None)
    other_order = whitened.sel(["Oz", "O1"]).unwhitened()
    np.testing.assert_allclose(other_order.data, back.data[:, ::-1])
    with pytest.raises(InputError, match=r"all 2 that were whitened.*, found Oz"):
        whitened.sel("Oz").unwhitened()
    with pytest.raises(InputError, match="maps it back"):
        _ = whitened.microvolts
    with pytest.raises(InputError, match="whitening is recorded, found no way back"):
        eeg(axes=in_unit("whitened")).unwhitened()
    with pytest.raises(InputError, match="expected whitened EEG, found values in 'µV'"):
        eeg().unwhitened()
    for none in (None, {}, {"ch_names": ["O1"], "whitening": []}):
        assert Unwhitening.from_record(none) is None
