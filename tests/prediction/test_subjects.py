"""Several subjects' encoders: each one's prediction, and their mean."""

import dataclasses
import os
import re

import numpy as np
import pytest

from helpers.tiny_network import IMAGE_SIZE, Toy, draw_batch, draw_variables
from img2eeg_jax.axes import VOLTS, Axes
from img2eeg_jax.checkpoints import description as descriptions
from img2eeg_jax.checkpoints.description import Description
from img2eeg_jax.checkpoints.store import write_weights
from img2eeg_jax.data.layout import subject_name
from img2eeg_jax.data.zscore import ZScore
from img2eeg_jax.errors import InputError
from img2eeg_jax.prediction.encoder import Encoder
from img2eeg_jax.prediction.subjects import SubjectEncoders
from img2eeg_jax.signal_layout import CHANNELS_BY_TIMES, SignalLayout

pytestmark = pytest.mark.usefixtures("quick_compilation")

AXES = Axes(("O1", "Oz", "O2"), np.arange(5) / 100, VOLTS)
IMAGES = draw_batch(9)["image"]


@pytest.fixture(autouse=True)
def _toy(monkeypatch):
    def toy(signal_shape):
        return Toy(signal_size=int(np.prod(signal_shape)))

    monkeypatch.setitem(descriptions.MODELS, "realnet", toy)


def statistics(rng, *n):
    shape = (*n, *AXES.shape)
    mean, std = rng.standard_normal(shape), rng.uniform(1, 9, shape)
    return ZScore(np.float32(1e-6 * mean), np.float32(1e-6 * std))


def description(zscore, axes=AXES, n=(), **whose):
    signal = SignalLayout.for_eeg(CHANNELS_BY_TIMES, axes, axes.times_s)
    model = {"signal_shape": (*n, *AXES.shape)}
    return Description(
        "realnet", model, IMAGE_SIZE, signal=signal, zscore=zscore, **whose
    )


def write_own(folder, subject, axes=AXES):
    """A network of one subject."""
    whole = description(
        statistics(np.random.default_rng(subject)), axes, subject=subject
    )
    variables = draw_variables(Toy(), subject)
    write_weights(folder / subject_name(subject), variables, whole)


@pytest.fixture
def own(tmp_path):
    """A folder of three subjects' networks."""
    for subject in (1, 2, 12):
        write_own(tmp_path / "all", subject)
    return tmp_path / "all"


@pytest.fixture
def shared(tmp_path):
    """A network that three subjects share."""
    rng = np.random.default_rng(0)
    whole = description(statistics(rng, 3), n=(3,), subjects=(1, 2, 12))
    variables = draw_variables(Toy(signal_size=45))
    write_weights(tmp_path / "shared", variables, whole)
    return tmp_path / "shared"


@pytest.mark.parametrize("which", ["own", "shared"])
def test_each_subject_s_and_their_mean(request, which):
    folder = request.getfixturevalue(which)
    expected = {
        subject: Encoder.from_pretrained(folder, subject=subject)(IMAGES)
        for subject in (12, 1, 2)
    }
    encoders = Encoder.from_pretrained(folder, subject=[12, 1])
    found = encoders(IMAGES)
    assert tuple(found) == encoders.subjects == (12, 1)
    assert len({one.data.tobytes() for one in expected.values()}) == 3
    for subject, prediction in found.items():
        one = expected[subject]
        assert prediction.subject == one.subject == subject
        assert prediction.unit == one.unit == "µV"
        assert prediction.images == one.images
        np.testing.assert_allclose(prediction.data, one.data, rtol=1e-4, atol=1e-4)
    mean = Encoder.from_pretrained(folder, subject="mean")(IMAGES)
    assert (mean.subject, mean.unit, mean.zscore) == ("mean", "µV", None)
    assert mean.axes == expected[1].axes
    average = np.mean([one.data for one in expected.values()], axis=0)
    np.testing.assert_allclose(mean.data, average, rtol=1e-4, atol=1e-4)


def test_one_of_them_and_the_cards(own):
    encoders = Encoder.from_pretrained(own, subject=(1, 2))
    assert isinstance(encoders, SubjectEncoders)
    assert encoders[2].description.subject == 2
    assert str(encoders).count("Encoder") == 2
    with pytest.raises(InputError, match="subject: expected one of 1, 2, found 3"):
        encoders[3]


def test_what_only_one_has_is_told(shared):
    encoders = Encoder.from_pretrained(shared, subject=[12, 1])
    for name in ("export", "saliency", "features", "trust"):
        expected = f"`{name}` is of one subject's encoder: expected encoders[12].{name}"
        with pytest.raises(AttributeError, match=re.escape(expected)):
            getattr(encoders, name)
    assert not hasattr(encoders, "nothing")
    assert encoders[12].features is not None


@pytest.mark.parametrize("which", ["own", "shared"])
def test_saved_by_subject(request, tmp_path, which):
    encoders = Encoder.from_pretrained(request.getfixturevalue(which), subject=[12, 1])
    encoders.save_pretrained(tmp_path / "saved")
    assert sorted(os.listdir(tmp_path / "saved")) == ["sub-01", "sub-12"]
    again = Encoder.from_pretrained(tmp_path / "saved", subject=[12, 1])
    found, expected = again(IMAGES), encoders(IMAGES)
    for subject in (12, 1):
        np.testing.assert_allclose(
            found[subject].data, expected[subject].data, rtol=1e-4, atol=1e-4
        )
    with pytest.raises(InputError, match="sub-12"):
        encoders.save_pretrained(tmp_path / "saved")


def test_trials_need_what_is_known_of_one(own):
    for subject, why in (([1, 2], "no trust.npz in"), ("mean", "a mean over subjects")):
        with pytest.raises(InputError, match=f"found none: .*{why}"):
            Encoder.from_pretrained(own, subject=subject).sample_trials(IMAGES, 3)


def test_stream_of_several(own):
    encoders = Encoder.from_pretrained(own, subject="mean")
    parts = list(encoders.stream(np.concatenate([IMAGES] * 8)))
    assert [len(part) for part in parts] == [16, 16, 16, 16, 8]
    again = np.concatenate([part.data for part in parts])
    np.testing.assert_array_equal(again[9:18], again[:9])


def test_subjects_that_are_not_there(own, shared, tmp_path):
    for folder in (own, shared):
        expected = f"{folder}: expected subjects out of 1, 2, 12, found 7"
        with pytest.raises(InputError, match=re.escape(expected)):
            Encoder.from_pretrained(folder, subject=[1, 7])
        with pytest.raises(InputError, match="subject: expected at least one"):
            Encoder.from_pretrained(folder, subject=[])
    with pytest.raises(InputError, match="expected a checkpoint"):
        Encoder.from_pretrained(own, subject=7)
    with pytest.raises(InputError, match="expected a checkpoint"):
        Encoder.from_pretrained(tmp_path / "none", subject="mean")
    with pytest.raises(InputError, match="`revision`: expected none beside a local"):
        Encoder.from_pretrained(own, subject=1, revision="v1")


def test_a_mean_of_what_differs_is_refused(own):
    other = dataclasses.replace(AXES, unit="whitened")
    write_own(own, 3, other)
    both = Encoder.from_pretrained(own, subject=[1, 3])(IMAGES[:1])
    assert [one.unit for one in both.values()] == ["µV", "whitened"]
    with pytest.raises(InputError, match="expected the channels, times and unit of"):
        Encoder.from_pretrained(own, subject="mean")
