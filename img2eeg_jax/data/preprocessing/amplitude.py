"""Whether a recording's values can be volts of EEG, and how they become volts."""

import pathlib

import mne
import numpy as np

from img2eeg_jax.data.sources import units
from img2eeg_jax.errors import unexpected

# SD of EEG within a second: a channel at rest has more, and no head has as much.
_SMALLEST_V, _LARGEST_V = 1e-7, 1e-2


def check_amplitude(raw: mne.io.BaseRaw, path: pathlib.Path) -> None:
    """Checks that a recording's values may be EEG in volts.

    What counts is the SD within seconds, of most channels: neither offsets nor slow
    drifts, and no single channel that is flat or lost.

    Args:
      raw: its EEG channels.
      path: its file, for the message.

    Raises:
      InputError: the SD is none of EEG.
    """
    sd_v = float(np.median([_sd_within_seconds(raw, row) for row in _rows(raw)]))
    if _SMALLEST_V <= sd_v <= _LARGEST_V:
        return
    raise unexpected(
        path,
        f"EEG in volts, with an SD of {_SMALLEST_V * 1e6:g} to {_LARGEST_V * 1e6:g} µV",
        f"an SD of {sd_v * 1e6:g} µV; `raw_unit=uV` takes its numbers for µV, "
        "`raw_unit=V` as they are",
    )


def to_volts(raw: mne.io.BaseRaw, unit: str) -> None:
    """Takes a recording's numbers for those of a unit, whatever its file says.

    Args:
      raw: its EEG channels, in place; volts by the unit that the file has for each, or
        if it has none, as its numbers are.
      unit: one of `units.VOLTS`.
    """
    # MNE keeps them for those who write files.
    declared = getattr(raw, "_orig_units", {}) or {}
    for name in raw.ch_names:
        in_file = units.named(declared.get(name, "")) or "V"
        factor = units.VOLTS[unit] / units.VOLTS[in_file]
        if factor != 1:
            raw.apply_function(lambda eeg, factor=factor: eeg * factor, picks=[name])


def _rows(raw: mne.io.BaseRaw) -> range:
    return range(len(raw.ch_names))


def _sd_within_seconds(raw: mne.io.BaseRaw, row: int) -> float:
    """Returns the median, over the seconds of a recording, of a channel's SD in V."""
    values = raw.get_data([row])[0]
    n_samples = max(2, round(raw.info["sfreq"]))
    n_seconds = max(1, len(values) // n_samples)
    seconds = np.array_split(values, n_seconds)
    return float(np.median([second.std() for second in seconds]))
