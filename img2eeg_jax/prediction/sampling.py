"""Simulated single trials of what is predicted, for power analyses."""

import dataclasses
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from img2eeg_jax.errors import unexpected
from img2eeg_jax.prediction.prediction import Prediction
from img2eeg_jax.prediction.trust import per_z, trust_of

if TYPE_CHECKING:
    import mne


def sample_trials(
    predict: Callable[[Any], Prediction],
    pictures: Any,
    n_trials: int,
    seed: int = 0,
    *,
    unitless: bool = False,
) -> "mne.EpochsArray":
    """Simulates the trials of an experiment that shows each picture several times.

    A trial is the prediction with Gaussian noise, which has the covariance of single
    trials of the network's validation images (see `noise.TrialNoise`).

    What cannot be concluded: predictions vary less from image to image than responses
    do, the less the worse they are, so that an effect is rather larger than it is here;
    and what the noise of a brain has besides a covariance (drift, bursts of alpha, bad
    trials) is absent.

    Args:
      predict: an encoder with `trust.npz`.
      pictures: see `Encoder.__call__`.
      n_trials: trials of each picture.
      seed: of the noise; the same pictures in the same order get the same noise.
      unitless: see `Prediction.to_epochs`.

    Returns:
      The trials, picture by picture, in volts; each picture's name is an event.

    Raises:
      InputError: the network brings no `trust.npz`, or one that knows no noise;
        predictions have no unit, and `unitless` is false.
    """
    trials = draw_trials(predict(pictures), n_trials, seed)
    return trials.to_epochs(unitless=unitless)


def draw_trials(prediction: Prediction, n_trials: int, seed: int = 0) -> Prediction:
    """Adds the noise of single trials to a prediction.

    Args:
      prediction: of n images.
      n_trials: trials of each image, from 1.
      seed: of the noise.

    Returns:
      The trials as a prediction of n · n_trials images, whose names come n_trials times
      each, one after the other.

    Raises:
      InputError: see `sample_trials`.
    """
    if n_trials < 1:
        raise unexpected("`n_trials`", "at least 1", n_trials)
    noise = trust_of(prediction).noise
    if noise is None:
        raise unexpected(
            "prediction",
            "the noise of single trials, from validation images with repetitions",
            "none: each was shown once",
        )
    rng = np.random.default_rng(seed)
    scale = np.asarray(per_z(prediction), np.float32)
    # By image, whose draws do not depend on how many follow.
    trials = [one + noise.draw(n_trials, rng) * scale for one in prediction.data]
    familiarity = prediction.familiarity
    return dataclasses.replace(
        prediction,
        data=np.concatenate(trials) if trials else prediction.data,
        images=tuple(name for name in prediction.images for _ in range(n_trials)),
        trust=None,
        no_trust="these are simulated trials; it is known of what is predicted",
        familiarity=None if familiarity is None else familiarity.repeat(n_trials),
    )
