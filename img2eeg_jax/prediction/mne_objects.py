"""Predictions as MNE objects, in volts or, if the user says so, without a unit."""

import mne
import numpy as np
from mne.io.constants import FIFF

from img2eeg_jax.axes import MICROVOLTS
from img2eeg_jax.drawing import scalp
from img2eeg_jax.errors import unexpected
from img2eeg_jax.prediction.responses import Responses, told_simulated
from img2eeg_jax.prediction.tables import has_pandas, metadata_table
from img2eeg_jax.prediction.units import microvolts

# Of predictions at a single time, which have none.
_ANY_SFREQ_HZ = 1000.0


def to_evoked(prediction: Responses, unitless: bool = False) -> mne.EvokedArray:
    r"""Returns the response to a single image.

    Args:
      prediction: of one image, or a mean.
      unitless: whether values that are not in µV are taken as they are.

    Returns:
      MNE's object: volts, or numbers that FIFF says have no unit; `comment` is the
      image's name, in Latin-1 as FIFF has it (other signs as \uXXXX).

    Raises:
      InputError: see `to_epochs`.
    """
    return mne.EvokedArray(
        _values(prediction, unitless)[0],
        _info(prediction),
        tmin=prediction.times_s[0],
        comment=as_fiff(prediction.images[0]),
        verbose="error",
    )


def to_epochs(prediction: Responses, unitless: bool = False) -> mne.EpochsArray:
    r"""Returns the responses to all images, an epoch each.

    Args:
      prediction: the responses.
      unitless: whether values that are not in µV are taken as they are.

    Returns:
      MNE's object: volts, or numbers that FIFF says have no unit. Events are called by
      the images' names, in Latin-1 as FIFF has them (other signs as \uXXXX), whose
      folders are tags; with pandas, `metadata` has the names as they are.

    Raises:
      InputError: the prediction is neither in µV nor taken to be unitless, is no EEG,
        has no images, or its times are not evenly spaced.
    """
    names = [as_fiff(name) for name in prediction.images]
    numbers = {name: number for number, name in enumerate(dict.fromkeys(names))}
    onsets = np.arange(len(names)) * len(prediction.times_s)
    numbered = [numbers[name] for name in names]
    return mne.EpochsArray(
        _values(prediction, unitless),
        _info(prediction),
        np.stack([onsets, np.zeros_like(onsets), np.array(numbered, int)], axis=1),
        tmin=prediction.times_s[0] if len(prediction.times_s) else 0.0,
        event_id=numbers,
        metadata=metadata_table(prediction) if has_pandas() else None,
        verbose="error",
    )


def as_fiff(name: str) -> str:
    r"""Returns a name in Latin-1 without semicolons: other signs as \uXXXX or \xXX."""
    latin = name.encode("latin-1", errors="backslashreplace").decode("latin-1")
    return latin.replace(";", r"\x3b")


def _values(prediction: Responses, unitless: bool) -> np.ndarray:
    """Returns f64[image, channel, time], in volts if they can be."""
    if not prediction.is_eeg:
        raise unexpected("prediction", "EEG for MNE", "features")
    if not len(prediction):
        raise unexpected("prediction", "images for MNE", "none")
    if unitless and prediction.unit != MICROVOLTS:
        return prediction.data.astype(np.float64)
    return microvolts(prediction).astype(np.float64) * 1e-6


def _info(prediction: Responses) -> mne.Info:
    ch_names = prediction.ch_names
    sfreq_hz = _sfreq_hz(prediction.times_s)
    info = mne.create_info([*ch_names], sfreq_hz, ch_types="eeg", verbose="error")
    montage, _ = scalp.montage_of(ch_names)
    info.set_montage(montage, match_case=False, on_missing="ignore", verbose="error")
    scalp.tell_unknown(ch_names)
    has_unit = prediction.unit == MICROVOLTS
    if not has_unit:
        for channel in info["chs"]:
            channel["unit"] = FIFF.FIFF_UNIT_NONE
    about = ["predicted by img2eeg_jax", told_simulated(prediction)]
    about.append("" if has_unit else f"no unit: {prediction.unit}")
    info["description"] = "; ".join(filter(None, about))
    if prediction.subject is not None:
        info["subject_info"] = {"his_id": str(prediction.subject)}
    return info


def _sfreq_hz(times_s: np.ndarray) -> float:
    if len(times_s) < 2:
        return _ANY_SFREQ_HZ
    steps_s = np.diff(times_s)
    if np.ptp(steps_s) > 1e-3 * steps_s.mean():
        raise unexpected(
            "prediction",
            "evenly spaced times for MNE",
            f"steps of {steps_s.min():g} to {steps_s.max():g} s",
        )
    # Steps such as 0.01 s are not exact.
    return float(round((len(times_s) - 1) / (times_s[-1] - times_s[0]), 6))
