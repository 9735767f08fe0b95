"""When which image came on: triggers of a stim channel, and markers by their type."""

import pathlib
import re

import mne
import numpy as np

from img2eeg_jax.errors import expecting, unexpected

# Above this number float64 does not hold every integer.
_LARGEST_TRIGGER = 2**53


def of_stim_values(stim: np.ndarray, sfreq_hz: float, path: pathlib.Path) -> np.ndarray:
    """Finds the triggers of a stim channel that is an array.

    Args:
      stim: f[1, sample].
      sfreq_hz: its sampling rate.
      path: of the recording, for messages.

    Returns:
      i64[event, (sample, trigger)], see `of_stim_channel`.

    Raises:
      InputError: see `of_stim_channel`.
    """
    info = mne.create_info(["stim"], sfreq_hz, "stim")
    raw = mne.io.RawArray(np.asarray(stim, np.float64), info, verbose="ERROR")
    return of_stim_channel(raw, "stim", path)


def of_stim_channel(
    raw: mne.io.BaseRaw, stim_channel: str, path: pathlib.Path
) -> np.ndarray:
    """Finds triggers by MNE's defaults, as the official preprocessing does.

    A trigger at the first sample is no event, nor is one that follows a larger one
    without a zero between.

    Args:
      raw: the recording.
      stim_channel: name of the channel.
      path: of the recording, for messages.

    Returns:
      i64[event, (sample, trigger)], samples counted from the recording's start.

    Raises:
      InputError: the channel holds something else than integers from 0.
    """
    # By row: MNE takes a channel's name for a type where both are "stim".
    values = raw.get_data([raw.ch_names.index(stim_channel)])
    # MNE would take absolute values and drop decimals; NaN compares as False.
    is_trigger = (values >= 0) & (values <= _LARGEST_TRIGGER)
    is_trigger &= values == np.rint(values)
    if not is_trigger.all():
        raise unexpected(
            path,
            "triggers, integers from 0, on the stim channel",
            f"{values[~is_trigger][0]:g}",
        )
    with expecting(path, "triggers on the stim channel", ValueError):
        events = mne.find_events(raw, stim_channel, verbose="ERROR")
    return events[:, [0, 2]] - [raw.first_samp, 0]


def of_annotations(raw: mne.io.BaseRaw) -> np.ndarray:
    """Reads markers such as `Stimulus/S 12`; those of other types are no triggers.

    Returns:
      i64[event, (sample, trigger)], samples counted from the recording's start.
    """
    triggers = {
        name: int(match[1])
        for name in set(raw.annotations.description)
        if (match := re.fullmatch(r"Stimulus/.*?(\d+)", name))
    }
    if not triggers:
        return np.empty((0, 2), np.int64)
    events, _ = mne.events_from_annotations(raw, event_id=triggers, verbose="ERROR")
    return events[:, [0, 2]] - [raw.first_samp, 0]
