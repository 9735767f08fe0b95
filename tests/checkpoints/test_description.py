"""Descriptions: through JSON and back, of one subject, of format 1, and compared."""

import dataclasses
import json

import numpy as np
import pytest

from helpers import tiny_network
from helpers.checkpoints import TRAINED_1
from img2eeg_jax.axes import UNKNOWN, VOLTS, WHITENED, Axes
from img2eeg_jax.checkpoints.description import FORMAT, Description
from img2eeg_jax.data.zscore import ZScore
from img2eeg_jax.errors import InputError
from img2eeg_jax.models.cornet_s import CORnetS
from img2eeg_jax.models.realnet import ReAlNet
from img2eeg_jax.signal_layout import FEATURES, SignalLayout

EPOCH_S = np.arange(-2, 8) / 10
AXES = Axes(("Oz", "Pz", "Cz"), EPOCH_S[3:8], VOLTS)
CORNET = Description("cornet_s", {"width": 2, "num_classes": 3}, 32)

# What differs from `TRAINED_1` where weights were converted.
MEAN_1 = {
    "format": 1,
    "kind": "realnet",
    "model": {**TRAINED_1["model"], "signal_shape": [10]},
    "image_size": 224,
    "signal": {
        "kind": "channel_mean",
        "shape": [10],
        "ch_names": ["mean"],
        "times_s": [0.1, 0.2, 0.3, 0.4, 0.5],
        "window": [3, 8],
    },
    "ch_names": ["Oz", "Pz", "Cz"],
    "zscore": None,
    "subject": None,
    "torch": {"container": None, "dtypes": {"fc.bias": "float32"}},
    "initial_weights": "encoder.pt",
    "source": {"name": "encoder.pt", "sha256": "0" * 64},
}
FEATURES_1 = {
    **MEAN_1,
    "signal": {
        "kind": "features",
        "shape": [10],
        "ch_names": [],
        "times_s": [],
        "window": None,
    },
    "ch_names": [],
}
CORNET_1 = {
    **MEAN_1,
    "kind": "cornet_s",
    "model": {"width": 2, "num_classes": 3},
    "signal": None,
    "ch_names": [],
}


def draw_zscore(*shape, seed=0):
    mean, std = np.random.default_rng(seed).random((2, *shape), np.float32)
    return ZScore(mean, std)


def describe(kind="channels_x_times", axes=AXES, **changes):
    signal = SignalLayout.for_eeg(kind, axes, EPOCH_S)
    entries = {
        "kind": "realnet",
        "model": {**tiny_network.REALNET_ARGUMENTS, "signal_shape": signal.shape},
        "image_size": 32,
        "signal": signal,
        "zscore": draw_zscore(3, 5),
        "subject": 2,
        "data": {"image_list_sha256": "ab", "preprocessing": {"sfreq_hz": 100}},
    }
    return Description(**{**entries, **changes})


def through_json(description):
    return Description.from_dict(json.loads(json.dumps(description.to_dict())))


class TestJSON:
    @pytest.mark.parametrize(
        "description",
        [
            CORNET,
            describe(),
            describe("channel_mean", config={"areas": ["IT"], "seed": 1}),
            describe(signal=SignalLayout(FEATURES, (7,)), zscore=None, data=None),
            describe(zscore=draw_zscore(2, 3, 5), subject=None, subjects=(1, 10)),
            describe(source={"name": "x"}, torch={"dtypes": {"fc.bias": "float16"}}),
        ],
        ids=["cornet_s", "eeg", "mean", "features", "shared", "converted"],
    )
    def test_round_trip(self, description):
        again = through_json(description)
        assert again == description
        # Arrays too, bit for bit, and the very same types.
        assert again.to_dict() == description.to_dict()
        assert again.build_model() == description.build_model()

    def test_every_difference_is_one(self):
        """Equality, which the round trip is told by, sees every field."""
        for field in dataclasses.fields(Description):
            other = dataclasses.replace(CORNET, **{field.name: {"a": 1}})
            assert other != CORNET, field.name

    def test_model(self):
        description = through_json(describe())
        arguments = {**tiny_network.REALNET_ARGUMENTS, "signal_shape": (3, 5)}
        assert description.build_model() == ReAlNet(**arguments)
        changed = description.build_model(axis_name="batch")
        assert changed == ReAlNet(**arguments, axis_name="batch")
        assert CORNET.build_model() == CORnetS(2, 3)

    @pytest.mark.parametrize("found", [0, FORMAT + 1, "1", None])
    def test_unknown_format(self, found):
        entries = {**describe().to_dict(), "format": found}
        words = f"expected a description of format 1 to 3, found format {found!r}$"
        with pytest.raises(InputError, match=words):
            Description.from_dict(entries)

    @pytest.mark.parametrize("name", ["format", "kind", "signal", "subjects"])
    def test_what_is_missing(self, name):
        entries = describe().to_dict()
        del entries[name]
        with pytest.raises((KeyError, TypeError)):
            Description.from_dict(entries)


class TestOfSubject:
    def test_takes_the_subject_s_share(self):
        zscore = draw_zscore(2, 3, 5)
        arguments = {**tiny_network.REALNET_ARGUMENTS, "signal_shape": (2, 3, 5)}
        shared = describe(
            model=arguments, zscore=zscore, subject=None, subjects=(1, 10)
        )
        for position, subject in enumerate((1, 10)):
            own = shared.of_subject(subject)
            assert (own.subject, own.subjects) == (subject, None)
            assert own.model["signal_shape"] == (3, 5)
            assert own.signal == shared.signal
            np.testing.assert_array_equal(own.zscore.mean, zscore.mean[position])
            np.testing.assert_array_equal(own.zscore.std, zscore.std[position])

    @pytest.mark.parametrize(
        ("subjects", "subject", "words"),
        [
            ((1, 10), 2, r"expected one of the subjects \[1, 10\] .*, found 2"),
            ((1, 10), None, r"expected one of the subjects \[1, 10\] .*, found none"),
            (None, 2, r"expected one of the subjects \[\] .*, found 2"),
        ],
    )
    def test_of_others(self, subjects, subject, words):
        with pytest.raises(InputError, match=words):
            describe(subjects=subjects).of_subject(subject)


class TestFormat1:
    def test_trained(self):
        found = Description.from_dict(TRAINED_1)
        assert found.kind == "realnet"
        assert found.build_model() == ReAlNet(
            (3, 5), ("V1", "IT"), 8, 4, 10, bn_updates=2, dtype="float32"
        )
        assert (found.image_size, found.subject, found.subjects) == (32, 4, None)
        assert found.signal.axes == Axes(AXES.ch_names, TRAINED_1["signal"]["times_s"])
        assert found.signal.axes.unit == UNKNOWN
        assert (found.signal.shape, found.signal.window) == ((3, 5), None)
        np.testing.assert_array_equal(found.zscore.std, np.full((3, 5), 2))
        assert found.config == TRAINED_1["config"]
        assert (found.data, found.source, found.torch) == (None, None, None)

    def test_shared(self):
        entries = {**TRAINED_1, "subject": None, "subjects": [1, 10]}
        assert Description.from_dict(entries).subjects == (1, 10)

    def test_channel_mean(self):
        found = Description.from_dict(MEAN_1)
        assert found.signal.eeg.ch_names == ("Oz", "Pz", "Cz")
        assert found.signal.axes.ch_names == ("mean",)
        assert (found.signal.shape, found.signal.window) == ((10,), (3, 8))
        assert found.signal.axes.unit == UNKNOWN
        assert (found.zscore, found.config) == (None, None)
        assert (found.torch, found.source) == (MEAN_1["torch"], MEAN_1["source"])
        assert found.initial_weights == "encoder.pt"

    def test_without_eeg(self):
        features = Description.from_dict(FEATURES_1)
        assert features.signal == SignalLayout(FEATURES, (10,))
        cornet = Description.from_dict(CORNET_1)
        assert cornet.signal is None
        assert cornet.build_model() == CORnetS(2, 3)

    @pytest.mark.parametrize("entries", [TRAINED_1, MEAN_1, FEATURES_1, CORNET_1])
    def test_is_written_in_the_format_of_today(self, entries):
        before = json.dumps(entries)
        found = Description.from_dict(entries)
        assert json.dumps(entries) == before
        assert found.to_dict()["format"] == FORMAT
        assert through_json(found) == found


class TestDataDifference:
    def test_the_same(self):
        assert describe().data_difference(through_json(describe())) is None
        # What the run does with the data, and when they were made, are other matters.
        other = describe(
            config={"num_epochs": 9},
            initial_weights="x",
            data={"image_list_sha256": "ab", "preprocessing": None},
        )
        assert describe().data_difference(other) is None
        assert CORNET.data_difference(CORNET) is None

    @pytest.mark.parametrize(
        ("changes", "words"),
        [
            ({"zscore": draw_zscore(3, 5, seed=1)}, "data with another zscore"),
            ({"zscore": None}, "data with another zscore"),
            ({"kind": "channel_mean"}, "data with another signal"),
            (
                {"axes": Axes(("Oz", "Pz", "C1"), AXES.times_s, VOLTS)},
                "data with another signal",
            ),
            (
                {"axes": Axes(AXES.ch_names, AXES.times_s + 0.1, VOLTS)},
                "data with another signal",
            ),
            (
                {"axes": dataclasses.replace(AXES, unit=WHITENED)},
                "EEG in another unit, 'whitened'",
            ),
            ({"data": {"image_list_sha256": "cd"}}, "another list of images"),
        ],
    )
    def test_what_differs(self, changes, words):
        assert describe().data_difference(describe(**changes)) == words

    def test_format_1_fits_any_unit_and_any_images(self):
        old = Description.from_dict(TRAINED_1)
        new = describe(axes=old.signal.eeg, zscore=old.zscore)
        for unit in (VOLTS, WHITENED, UNKNOWN):
            axes = dataclasses.replace(old.signal.eeg, unit=unit)
            new = describe(axes=axes, zscore=old.zscore)
            assert old.data_difference(new) is None
            assert new.data_difference(old) is None
        other = describe(axes=old.signal.eeg)
        assert old.data_difference(other) == "data with another zscore"
