"""What ``channels.tsv`` says of a recording: types, units, and which are bad."""

from collections.abc import Mapping

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
# Unit in the header of an EDF file → the factor by which MNE makes volts of its values;
# the third is µV in Shift JIS.
_VOLTS_IN_MNE = {
    "\u03bcV": 1e-6,
    "\u00b5V": 1e-6,
    "\x83\xcaV": 1e-6,
    "uV": 1e-6,
    "mV": 1e-3,
}


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


def take_declared_units(
    raw: mne.io.BaseRaw, in_file: Mapping[str, str], table: Table | None
) -> None:
    """Makes volts of an EDF or BDF recording, whose header may name any unit or none.

    The unit in the file counts, or if it names none, that of ``channels.tsv``.

    Args:
      raw: the recording, some of its channels, loaded; changed in place.
      in_file: from `edf.read_units`.
      table: its ``channels.tsv``, if it has one.
    """
    declared = {} if table is None else _by_name(table)
    for name in raw.ch_names:
        own = in_file.get(name, "")
        listed = declared.get(same_form(name.strip()), {}).get("units", "")
        unit = units.named(own) or units.named(listed) or "V"
        factor = units.VOLTS[unit] / _VOLTS_IN_MNE.get(own, 1.0)
        if factor != 1:
            raw.apply_function(lambda eeg, factor=factor: eeg * factor, picks=[name])
        # The unit that the numbers were taken for, which a later choice of another unit
        # starts from.
        raw._orig_units[name] = unit


def _by_name(table: Table) -> dict[str, Mapping[str, str]]:
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
    # Of channels that only the recording or only the table names, it cannot be told
    # which is which.
    if unlisted and lacking:
        raise unexpected(
            table.path,
            f"the recording's channels {', '.join(unlisted)}",
            f"{', '.join(lacking)}, which it does not have",
        )
