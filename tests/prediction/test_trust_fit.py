"""From a network and validation images to predictions that know how far they go."""

import dataclasses
import logging

import jax
import numpy as np
import pytest

from helpers import tiny_network
from helpers.tiny_network import IMAGE_SIZE, draw_variables, realnet
from img2eeg_jax.axes import VOLTS, Axes
from img2eeg_jax.checkpoints.description import Description
from img2eeg_jax.checkpoints.load import Checkpoint
from img2eeg_jax.data.zscore import ZScore
from img2eeg_jax.errors import InputError
from img2eeg_jax.prediction.encoder import Encoder
from img2eeg_jax.prediction.familiarity import make_features_step
from img2eeg_jax.prediction.network import Network
from img2eeg_jax.prediction.subjects import SubjectEncoders
from img2eeg_jax.prediction.trust import Trust, file_of
from img2eeg_jax.prediction.trust_fit import fit_trust
from img2eeg_jax.signal_layout import CHANNELS_BY_TIMES, SignalLayout

pytestmark = pytest.mark.usefixtures("quick_compilation")

AXES = Axes(("O1", "Oz", "O2"), np.arange(5) / 100, VOLTS)
N_TRAINING, N_HELD_OUT, N_REPETITIONS = 150, 110, 3


def draw(n, seed):
    """Draws images of one kind: gratings, each of its own."""
    rng = np.random.default_rng(seed)
    angle, period, phase, contrast = (
        rng.uniform(*bounds, (n, 1, 1))
        for bounds in ((0, np.pi), (4, 12), (0, 6), (20, 90))
    )
    y, x = np.indices((IMAGE_SIZE, IMAGE_SIZE))
    waves = np.sin((x * np.cos(angle) + y * np.sin(angle)) / period * 6 + phase)
    colour = rng.uniform(0.5, 1, (n, 1, 1, 3))
    return (128 + (contrast * waves)[..., np.newaxis] * colour).astype(np.uint8)


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    """A network whose folder has what training would write to it."""
    description = Description(
        "realnet",
        tiny_network.REALNET_ARGUMENTS,
        IMAGE_SIZE,
        signal=SignalLayout.for_eeg(CHANNELS_BY_TIMES, AXES, AXES.times_s),
        zscore=ZScore(*np.float32([np.zeros(AXES.shape), np.full(AXES.shape, 1e-6)])),
        data={"image_list_sha256": "", "preprocessing": None, "simulated": True},
    )
    folder = tmp_path_factory.mktemp("trusted")
    one = Checkpoint(folder, 1, description, draw_variables(realnet()))
    images = draw(N_HELD_OUT, 1)
    rng = np.random.default_rng(2)
    noise = rng.standard_normal((N_HELD_OUT, N_REPETITIONS, *AXES.shape))
    # A subject who differs from the prediction by 2 everywhere, but for noise.
    trials = Encoder(one).predict_z(images).data[:, np.newaxis] + 2 + noise
    fit_trust(one, images, trials, draw(N_TRAINING, 3)).save(file_of(folder))
    return one


def test_what_validation_images_tell(checkpoint):
    trust = Trust.load(checkpoint.path)
    assert (trust.n_images, trust.n_repetitions) == (N_HELD_OUT, N_REPETITIONS)
    np.testing.assert_allclose(trust.noise.sd, 1, atol=0.15)
    np.testing.assert_allclose(trust.residual, np.sqrt(4 + 1 / 3), atol=0.15)
    np.testing.assert_allclose(trust.error, 2, atol=0.15)


def test_predictions_bring_it(checkpoint, caplog):
    encoder = Encoder(checkpoint)
    assert "simulated EEG in V" in str(encoder)
    assert "(110 images, means over 3)" in str(encoder)
    alike, noise = (
        draw(40, 4),
        np.random.default_rng(5).integers(0, 256, (9, 32, 32, 3)),
    )
    with caplog.at_level(logging.WARNING):
        eeg = encoder(alike)
        other = encoder(noise.astype(np.uint8), [f"noise-{i}" for i in range(9)])
    assert eeg.simulated
    assert eeg.unit == "µV"
    assert eeg.familiarity.shape == (40,)
    assert np.mean(eeg.familiarity > 1) < 0.1
    is_far = other.familiarity > 1
    assert is_far.mean() > 0.5
    # One line a call, of those that are unfamiliar.
    message = caplog.messages[-1]
    first = f"noise-{is_far.argmax()}"
    assert f"{is_far.sum()} of 9 ({first}, " in message
    assert "trained on simulated EEG" in message
    np.testing.assert_allclose(eeg.data, encoder.predict_z(alike).data, atol=1e-4)
    low, high = eeg.interval()
    np.testing.assert_allclose((high - low) / 2, 1.98 * 2, rtol=0.1)
    assert eeg.plot(0) is not None
    trials = encoder.sample_trials(alike[:2], 5, seed=1)
    assert trials.get_data().shape == (10, *AXES.shape)
    np.testing.assert_allclose(trials.get_data().std() * 1e6, eeg.data.std(), rtol=0.9)
    assert trials.event_id == {"0": 0, "1": 1}


def test_subjects_who_share_a_network_bring_it(checkpoint):
    subjects = (1, 2)
    zscore = checkpoint.description.zscore
    description = dataclasses.replace(
        checkpoint.description,
        model={**tiny_network.REALNET_ARGUMENTS, "signal_shape": (2, *AXES.shape)},
        zscore=ZScore(*np.stack([[zscore.mean] * 2, [zscore.std] * 2])),
        subjects=subjects,
    )
    variables = jax.tree.map(np.array, checkpoint.variables)
    variables["params"]["fc"] = {
        name: np.concatenate([value, value], axis=-1)
        for name, value in variables["params"]["fc"].items()
    }
    shared = Checkpoint(checkpoint.path, 1, description, variables)
    images = draw(3, 4)
    expected = Encoder(checkpoint)(images)
    found = SubjectEncoders([shared], subjects)(images)
    for subject in subjects:
        one = found[subject]
        assert one.trust is not None
        np.testing.assert_allclose(one.data, expected.data, atol=1e-3)
        np.testing.assert_allclose(one.familiarity, expected.familiarity, rtol=1e-3)
    trials = SubjectEncoders([shared], subjects).sample_trials(images, 4, seed=1)
    one = Encoder(checkpoint).sample_trials(images, 4, seed=1)
    np.testing.assert_allclose(trials[1].get_data(), one.get_data(), atol=1e-9)
    assert np.ptp(trials[2].get_data() - trials[1].get_data()) > 1e-7
    mean = SubjectEncoders([shared], None, is_mean=True)(images)
    assert mean.trust is None
    np.testing.assert_allclose(mean.familiarity, expected.familiarity, rtol=1e-3)


def test_it_is_of_one_network_only(checkpoint):
    changed = jax.tree.map(np.array, checkpoint.variables)
    changed["params"]["fc"]["bias"][0] += 1
    encoder = Encoder(dataclasses.replace(checkpoint, variables=changed))
    assert encoder.trust is None
    eeg = encoder(draw(1, 6))
    assert eeg.trust is None
    assert eeg.familiarity is None
    with pytest.raises(InputError, match=r"trust\.npz is of another checkpoint of the"):
        eeg.interval()


def test_a_folder_without_it(checkpoint, tmp_path):
    eeg = Encoder(dataclasses.replace(checkpoint, path=tmp_path))(draw(1, 6))
    with pytest.raises(InputError, match=f"found none: no trust.npz in {tmp_path}"):
        eeg.interval()


def test_distances_do_not_depend_on_the_size_of_batches(checkpoint):
    """The step tells them: of one image, of a padded batch, and of full ones."""
    encoder, images = Encoder(checkpoint), draw(70, 4)
    whole = encoder(images).familiarity
    one = [encoder(image).familiarity[0] for image in images[:3]]
    np.testing.assert_allclose(whole[:3], one, rtol=1e-3)
    rows = np.concatenate(list(features_of(checkpoint)(images)))
    known = encoder.trust.familiarity
    apart = np.asarray(known.distance(rows[:, encoder.description.signal.size :]))
    np.testing.assert_allclose(whole, apart, rtol=1e-3)


def features_of(checkpoint):
    """Returns what runs the network and gives its features."""
    network = Network(checkpoint.variables, checkpoint.description.precision)
    return network.compiled(make_features_step(checkpoint.model))
