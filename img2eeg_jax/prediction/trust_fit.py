"""Runs a network over images that it was not trained on, to fit `Trust`."""

import itertools
from collections.abc import Iterable

import numpy as np

from img2eeg_jax.checkpoints.description import Description
from img2eeg_jax.checkpoints.load import Checkpoint
from img2eeg_jax.data.layout import Label
from img2eeg_jax.data.shards.store import Shards
from img2eeg_jax.devices.parallel import DataParallel
from img2eeg_jax.prediction.familiarity import Familiarity, make_features_step
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
      trials: f32[image, repetition, channel, time], their z-scored responses, see
        `read_trials`.
      training_images: the same of images that it was trained on, of which
        `familiarity.N_IMAGES` are enough.
      parallel: the devices; None for all local ones.

    Returns:
      What they tell of the network.
    """
    signal = checkpoint.description.encoder_signal
    predicted, known = run_over(
        checkpoint, images, len(trials), training_images, parallel
    )
    return Trust.fit(
        axes=signal.axes,
        predicted=signal.to_eeg(predicted),
        trials=trials,
        network=digest(checkpoint.variables),
        familiarity=known,
    )


def run_over(
    checkpoint: Checkpoint,
    images: Iterable[np.ndarray],
    n_images: int,
    training_images: Iterable[np.ndarray],
    parallel: DataParallel | None = None,
) -> tuple[np.ndarray, Familiarity]:
    """Runs a network made of CORnet-S over images that it was not trained on.

    Args:
      checkpoint: see `fit_trust`.
      images: see `fit_trust`.
      n_images: how many there are.
      training_images: see `fit_trust`.
      parallel: see `fit_trust`.

    Returns:
      (f32[image, size of the signal] predicted, what is familiar to the network).
    """
    network = Network.of_checkpoint(checkpoint, parallel)
    run = network.compiled(make_features_step(checkpoint.model))
    outputs = np.concatenate(list(run(itertools.chain(images, training_images))))
    size = checkpoint.description.encoder_signal.size
    predicted, features = np.split(outputs, [size], axis=1)
    held_out, training = np.split(features, [n_images])
    return predicted[:n_images], Familiarity.fit(training, held_out)


def read_trials(
    description: Description, shards: Shards, subject: Label, rows: np.ndarray
) -> np.ndarray:
    """Reads the trials of training images, of what a network predicts.

    Args:
      description: of the network.
      shards: hold the subject's EEG.
      subject: whose.
      rows: i64[image], of the EEG of the training partition.

    Returns:
      f32[image, repetition, channel, time], z-scored, of the channels (or their mean)
      and times that the network predicts.
    """
    signal = description.encoder_signal
    trials = shards.eeg(subject).read_rows(
        "training", rows, signal.axes.ch_names, tuple(signal.axes.times_s[[0, -1]])
    )
    if description.zscore is not None:
        trials = description.zscore.apply(trials, out=trials)
    return signal.measured(trials)
