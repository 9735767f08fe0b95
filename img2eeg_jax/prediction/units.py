"""Units of predictions: µV, whitened or z, and the ways between them."""

import dataclasses
from typing import TypeVar

import numpy as np

from img2eeg_jax.axes import MICROVOLTS, VOLTS, WHITENED, Axes, Z
from img2eeg_jax.data.zscore import ZScore
from img2eeg_jax.errors import unexpected
from img2eeg_jax.prediction.responses import Responses

# `Prediction`, which comes back as what it was.
P = TypeVar("P", bound=Responses)

_UV_PER_V = 1e6

_NO_WAY_BACK = (
    "no way back (a mean over subjects has none, nor has EEG whose preprocessing "
    "recorded no whitening; prepared again, it does)"
)

# Unit of the EEG that a network was trained on → (that of predictions, how many).
_OF_PREDICTIONS = {VOLTS: (MICROVOLTS, _UV_PER_V), WHITENED: (WHITENED, 1.0)}


def unit_of_predictions(trained_on: Axes, zscore: ZScore | None) -> str:
    """Returns "µV", "whitened" or "z"; of features the unit that they have."""
    return _unit_and_scale(trained_on, zscore)[0]


def _unit_and_scale(
    trained_on: Axes, zscore: ZScore | None
) -> tuple[str, float | None]:
    """Returns the unit of predictions, and how many one of the trained unit is.

    The second is None where predictions stay what the network puts out.
    """
    if not trained_on.has_times:
        return trained_on.unit, None if zscore is None else 1.0
    none: tuple[str, float | None] = (Z, None)
    return none if zscore is None else _OF_PREDICTIONS.get(trained_on.unit, none)


def factor_and_offset(
    trained_on: Axes, zscore: ZScore | None
) -> tuple[np.ndarray, np.ndarray]:
    """Returns what gives z-scores the unit that they can have: z · factor + offset.

    Args:
      trained_on: the responses that the network was trained on, and their unit.
      zscore: the statistics of these responses; None if they are not known.

    Returns:
      f64[channel, time] each; or 1 and 0, f64[1, 1], where z-scores stay what they are.
    """
    _, scale = _unit_and_scale(trained_on, zscore)
    if scale is None or zscore is None:
        return np.ones((1, 1)), np.zeros((1, 1))
    std, mean = (np.asarray(x, np.float64) for x in (zscore.std, zscore.mean))
    return std * scale, mean * scale


def from_z(z: np.ndarray, axes: Axes, zscore: ZScore | None) -> tuple[np.ndarray, Axes]:
    """Gives z-scores the unit that they can have.

    Args:
      z: f32[image, channel, time], z-scores.
      axes: of them, with the unit of the EEG that the network was trained on.
      zscore: the statistics of that EEG; None if they are not known.

    Returns:
      (f32[image, channel, time], axes with its unit: "µV" of volts, "whitened", of
      features their own, or "z" where the unit or the statistics are not known).
    """
    unit = unit_of_predictions(axes, zscore)
    if unit != Z:
        factor, offset = factor_and_offset(axes, zscore)
        # By image, so that float64 takes no memory to speak of.
        each = [one * factor + offset for one in z]
        z = np.stack(each, dtype=np.float32) if each else z
    return z, dataclasses.replace(axes, unit=unit)


def microvolts(prediction: Responses) -> np.ndarray:
    """Returns the values f32[image, channel, time] if they are in µV.

    Raises:
      InputError: they are not; the message says what can be done.
    """
    if prediction.unit != MICROVOLTS:
        raise unexpected("prediction", "values in µV", _why_none(prediction))
    return prediction.data


def _why_none(prediction: Responses) -> str:
    if not prediction.is_eeg:
        return "features, which are no EEG"
    if prediction.unit != WHITENED:
        return (
            "z-scores: the network does not tell the unit, or the statistics, of the "
            "EEG that it was trained on; `unitless` exports them as they are"
        )
    back = f"there is {_NO_WAY_BACK}"
    if prediction.unwhitening is not None:
        back = "`unwhitened()` maps it back"
    return f"whitened EEG, which has no unit: {back}; `unitless` exports it as it is"


def unwhitened(prediction: P) -> P:
    """Maps a prediction of whitened EEG back to µV.

    Raises:
      InputError: it is not whitened, nobody recorded how it was, or channels that were
        whitened together are not all there.
    """
    if prediction.unit != WHITENED:
        raise unexpected("prediction", "whitened EEG", f"values in {prediction.unit!r}")
    if prediction.unwhitening is None:
        raise unexpected(
            "prediction",
            "EEG whose whitening is recorded",
            _NO_WAY_BACK,
        )
    volts = prediction.unwhitening.to_volts(prediction.data, prediction.ch_names)
    return dataclasses.replace(
        prediction,
        data=(volts * _UV_PER_V).astype(np.float32),
        axes=dataclasses.replace(prediction.axes, unit=MICROVOLTS),
        zscore=None,
        unwhitening=None,
        trust=None,
        no_trust="this is mapped back from whitening; it is known of whitened EEG",
    )
