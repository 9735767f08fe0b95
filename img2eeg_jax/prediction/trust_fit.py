"""Runs a network over images that it was not trained on, to fit `Trust`."""

import itertools
from collections.abc import Iterable

import numpy as np

from img2eeg_jax.checkpoints.load import Checkpoint
from img2eeg_jax.devices.parallel import DataParallel
from img2eeg_jax.prediction import familiarity
from img2eeg_jax.prediction.network import Network
from img2eeg_jax.prediction.trust import Trust, digest


def fit_trust(
    checkpoint: Checkpoint,
    images: Iterable[np.ndarray],
    trials: np.ndarray,
    training_images: Iterable[np.ndarray],
    parallel: DataParallel | None = None,
) -> Trust:
    """Measures how far the predictions of a network can be trusted.

    Args:
      checkpoint: the network, which predicts EEG.
      images: u8[height, width, 3] each, of the network's size, that it was not trained
        on: those for validation.
      trials: f32[image, repetition, channel, time], their z-scored responses, of the
        channels (or their mean) and times that the network predicts.
      training_images: the same of images that it was trained on, of which
        `familiarity.N_IMAGES` are enough.
      parallel: the devices; None for all local ones.

    Returns:
      What they tell of the network.
    """
    signal = checkpoint.description.signal
    network = Network.of_checkpoint(checkpoint, parallel)
    run = network.compiled(familiarity.make_features_step(checkpoint.model))
    outputs = np.concatenate(list(run(itertools.chain(images, training_images))))
    predicted, features = np.split(outputs, [signal.size], axis=1)
    held_out, training = np.split(features, [len(trials)])
    return Trust.fit(
        axes=signal.axes,
        predicted=signal.to_eeg(predicted[: len(trials)]),
        trials=trials,
        network=digest(checkpoint.variables),
        familiarity=familiarity.Familiarity.fit(training, held_out),
    )
