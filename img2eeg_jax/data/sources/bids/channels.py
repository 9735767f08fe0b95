"""What ``channels.tsv`` says of a recording: types, units, and which are bad."""

import pathlib

import mne
import numpy as np

from img2eeg_jax.data.sources import units
from img2eeg_jax.data.sources.bids.files import NO_VALUE, Table, same_form
from img2eeg_jax.errors import unexpected

# BIDS's types → MNE's; those that are not listed are no EEG either.
_TYPES = {
    "EEG": "eeg",
    "EOG": "eog",
    "HEOG": "eog",
    "VEOG": "eog",
    "ECG": "ecg",
    "EMG": "emg",
    "TRIG": "stim",
}
# What MNE takes EDF's values for volts by; the third is µV in Shift JIS.
_VOLTS_IN_MNE = {
    "\u03bcV": 1e-6,
    "\u00b5V": 1e-6,
    "\x83\xcaV": 1e-6,
    "uV": 1e-6,
    "mV": 1e-3,
}
# The channels of markers in EDF and BDF, which MNE leaves out.
_NO_CHANNELS = ("EDF Annotations", "BDF Annotations")


def describe_channels(raw: mne.io.BaseRaw, table: Table) -> None:
    """Gives a recording's channels their types, and names those that are bad.

    Channels are matched by name, in whatever order they are listed. Those that are not
    listed stay as the recording's format has them.

    Args:
      raw: the recording.
      table: its ``channels.tsv``.

    Raises:
      InputError: EEG channels have names that are not listed, while others are listed
        that the recording lacks.
    """
    rows = _by_name(table)
    names = {same_form(name.strip()): name for name in raw.ch_names}
    _check_names(raw, table, names)
    types = {
        name: _TYPES.get(kind.upper(), "misc")
        for key, name in names.items()
        if (kind := rows.get(key, {}).get("type", "")) not in NO_VALUE
    }
    raw.set_channel_types(types, on_unit_change="ignore", verbose="ERROR")
    raw.info["bads"] = [
        name
        for key, name in names.items()
        if rows.get(key, {}).get("status", "").lower() == "bad"
    ]


def to_volts(
    raw: mne.io.BaseRaw, path: pathlib.Path, table: Table | None
) -> dict[str, float]:
    """Returns what an EDF or BDF recording's values are to be multiplied by.

    The unit in the file counts, or if it names none, that of ``channels.tsv``.

    Args:
      raw: the recording, with all channels.
      path: its file.
      table: its ``channels.tsv``, if it has one.

    Returns:
      Channel → factor; empty where MNE has volts already.
    """
    if path.suffix.lower() not in (".edf", ".bdf"):
        return {}
    declared = {} if table is None else _by_name(table)
    factors = {}
    in_file = _units_in_file(path)
    if len(in_file) != len(raw.ch_names):
        return {}
    for name, unit in zip(raw.ch_names, in_file, strict=True):
        listed = declared.get(same_form(name.strip()), {}).get("units", "")
        in_volts = _volts(unit) or _volts(listed) or 1.0
        factor = in_volts / _VOLTS_IN_MNE.get(unit, 1.0)
        if factor != 1:
            factors[name] = factor
    return factors


def _by_name(table: Table) -> dict[str, dict[str, str]]:
    return {same_form(row["name"]): row for _, row in table.rows if "name" in row}


def _check_names(raw: mne.io.BaseRaw, table: Table, names: dict[str, str]) -> None:
    rows = _by_name(table)
    is_eeg = np.array(raw.get_channel_types()) == "eeg"
    eeg = {name for name, is_one in zip(raw.ch_names, is_eeg, strict=True) if is_one}
    unlisted = [name for key, name in names.items() if key not in rows and name in eeg]
    lacking = [
        key
        for key, row in rows.items()
        if key not in names and row.get("type", "EEG").upper() == "EEG"
    ]
    # Which is which cannot be told.
    if unlisted and lacking:
        raise unexpected(
            table.path,
            f"the recording's channels {', '.join(unlisted)}",
            f"{', '.join(lacking)}, which it does not have",
        )


def _volts(unit: str) -> float | None:
    """Returns how many volts a unit is, None if it is none of voltage."""
    return units.VOLTS.get(units.named(unit))


def _units_in_file(path: pathlib.Path) -> list[str]:
    """Returns the unit that the header of an EDF or BDF file names for each channel."""
    with open(path, "rb") as file:
        n_signals = int(file.read(256)[252:])
        header = file.read(n_signals * (16 + 80 + 8)).decode("latin-1")
    labels = [header[16 * row : 16 * (row + 1)].strip() for row in range(n_signals)]
    start = n_signals * 96
    named = [header[start + 8 * row :][:8].strip() for row in range(n_signals)]
    return [
        unit
        for label, unit in zip(labels, named, strict=True)
        if label not in _NO_CHANNELS
    ]
