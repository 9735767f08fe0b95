"""Predictions in files."""

import os
import pathlib

import numpy as np

from img2eeg_jax.files import replacing
from img2eeg_jax.prediction.responses import Responses


def npz_arrays(prediction: Responses) -> dict[str, np.ndarray]:
    """Returns the arrays of `write_npz`, the names of images aside."""
    whose = {} if prediction.subject is None else {"subject": prediction.subject}
    about = {"unit": prediction.unit, "simulated": prediction.simulated, **whose}
    if prediction.axes is None:
        return {"signal": prediction.data, **_as_arrays(about)}
    arrays = {
        "eeg": prediction.data,
        "ch_names": np.array(prediction.ch_names),
        "times_s": np.array(prediction.times_s),
        **_as_arrays(about),
    }
    if prediction.zscore is not None:
        arrays["zscore_mean"] = prediction.zscore.mean
        arrays["zscore_std"] = prediction.zscore.std
    if prediction.unwhitening is not None:
        arrays["unwhitening_ch_names"] = np.array(prediction.unwhitening.ch_names)
        arrays["unwhitening_v"] = prediction.unwhitening.matrix
    return arrays


def _as_arrays(values: dict) -> dict[str, np.ndarray]:
    return {name: np.array(value) for name, value in values.items()}


def write_npz(prediction: Responses, path: str | os.PathLike) -> None:
    """Writes or replaces an `.npz` file.

    It holds `images`, the names; `eeg` f32[image, channel, time] in `unit` with
    `ch_names`, `times_s` (seconds from image onset), `simulated` and, where they are
    known, `subject`, `zscore_mean` and `zscore_std` [channel, time] (z · std + mean is
    in volts, or whitened), `unwhitening_v` [channel, channel] with its
    `unwhitening_ch_names`. What is not EEG gives `signal` f32[image, feature] instead
    of `eeg` and its axes.

    Raises:
      InputError: it cannot be written.
    """
    arrays = {"images": np.array(prediction.images), **npz_arrays(prediction)}
    with replacing(pathlib.Path(path)) as temporary, open(temporary, "wb") as file:
        np.savez(file, **arrays)
