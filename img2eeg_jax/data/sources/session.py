"""A recording and a session: what every format of recordings is read into."""

import dataclasses
import os
import pathlib
import re
from collections.abc import Callable, Mapping, Sequence

import mne
import numpy as np

from img2eeg_jax.axes import find_channel
from img2eeg_jax.data import layout
from img2eeg_jax.data.sources import brainvision
from img2eeg_jax.errors import unexpected

# The trigger of THINGS-EEG2's target trials, in which subjects press a button.
TARGET = 99999
# The channels that the official preprocessing keeps.
_OFFICIAL_CHANNELS = re.compile(r"[OP]")
# Names that recorders and labs give to channels that are no EEG, BioSemi's external
# ones among them.
_NO_EEG = re.compile(
    r"[HV]?E[OCM]G|[HV]EO|EKG|photo|(light)?diode|light|audio|sound|mic|gsr|eda|scr"
    r"|resp|pleth|ppg|puls|temp|acc|gyr|[xyz]_dir|aux|trig|stim|sti\s?\d|status|marker"
    r"|sync|ttl|sample|counter|timestamp|battery|exg|erg\d|emg|ear_?clip|saturation",
    re.IGNORECASE,
)


@dataclasses.dataclass(frozen=True)
class Recording:
    """Continuous EEG of one partition and its image onsets.

    Attributes:
      path: the file it was read from.
      raw: the chosen EEG channels, in volts.
      onsets: i64[trial], samples from the start of the recording, ascending.
      conditions: i64[trial], row of the image in its partition, from 0.
      left_out: what → how many of its events are no trials: ``"targets"`` and others.
      no_eeg: the file's channels that are not EEG, see `not_eeg`.
      notes: lines on what the file cannot tell.
    """

    path: pathlib.Path
    raw: mne.io.BaseRaw
    onsets: np.ndarray
    conditions: np.ndarray
    left_out: Mapping[str, int]
    no_eeg: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True)
class Session:
    """The recordings of one session.

    Attributes:
      number: from 1, or another label.
      files: partition → its files; none if the session lacks the partition.
      read: called with a file, the partition and the channels (see `choose_channels`).
      companions: file → the others that are read with it, such as its markers.
      options: what was chosen in finding trials, such as the column of events.
      notes: lines on what was left out.
    """

    number: layout.Label
    files: dict[str, tuple[pathlib.Path, ...]]
    read: Callable[[pathlib.Path, str, str | Sequence[str]], Recording]
    companions: dict[pathlib.Path, tuple[pathlib.Path, ...]] = dataclasses.field(
        default_factory=dict
    )
    options: Mapping[str, str | list[str] | list[int]] = dataclasses.field(
        default_factory=dict
    )
    notes: tuple[str, ...] = ()


def make_recording(
    path: pathlib.Path,
    raw: mne.io.BaseRaw,
    onsets: np.ndarray,
    triggers: np.ndarray,
    left_out: Mapping[str, int] | None = None,
    no_eeg: tuple[str, ...] = (),
    notes: tuple[str, ...] = (),
) -> Recording:
    """Builds a recording out of EEG and triggers, without target trials.

    Args:
      path: the file, for messages.
      raw: EEG channels only, in volts.
      onsets: i64[trial], samples from the start.
      triggers: i64[trial], 1-based rows of images.
      left_out: what → how many were left out already.
      no_eeg: see `Recording`.
      notes: see `Recording`.

    Raises:
      InputError: values are not finite, a trigger is not positive, two come at once,
        or there are none.
    """
    for row, name in enumerate(raw.ch_names):
        if not np.isfinite(raw.get_data([row])).all():
            raise unexpected(
                path, "finite EEG", f"NaN or infinite values in channel {name}"
            )
    is_target = triggers == TARGET
    onsets, triggers = onsets[~is_target], triggers[~is_target]
    order = np.argsort(onsets, kind="stable")
    onsets, triggers = onsets[order], triggers[order]
    if not len(onsets):
        raise unexpected(path, "image onsets", "none")
    if triggers.min() < 1:
        found = triggers[triggers < 1][0]
        advice = f"{found}; `ignore_markers={found}` leaves such out"
        raise unexpected(path, "triggers from 1", advice)
    repeated = onsets[1:][np.diff(onsets) == 0]
    if len(repeated):
        raise unexpected(
            path, "one image at a time", f"two that begin at sample {repeated[0]}"
        )
    counts = {"targets": int(is_target.sum()), **(left_out or {})}
    return Recording(path, raw, onsets, triggers - 1, counts, no_eeg, notes)


def choose_channels(
    ch_names: Sequence[str], channels: str | Sequence[str], path: str | os.PathLike
) -> list[int]:
    """Returns the rows of the chosen channels.

    Args:
      ch_names: the EEG channels of a recording.
      channels: ``"official"``, those whose names start with O or P, ``"all"``, or
        names, which are taken in the order given. Unless they are named, channels
        whose names are not those of EEG are left out.
      path: the file, for the message.

    Raises:
      InputError: there are no such channels, or names occur twice.
    """
    if not ch_names or not channels:
        raise unexpected(path, "EEG channels and a choice", "none")
    _refuse_twice(ch_names, path)
    if channels in ("all", "official"):
        expected, start = {
            "all": ("channels that are EEG by name", re.compile("")),
            "official": ("channels whose names start with O or P", _OFFICIAL_CHANNELS),
        }[channels]
        rows = [
            row
            for row, name in enumerate(ch_names)
            if start.match(name) and not _NO_EEG.match(name)
        ]
        if rows:
            return rows
        raise unexpected(
            path, expected, f"{', '.join(ch_names)}; `channels` takes others by name"
        )
    if isinstance(channels, str):
        channels = (channels,)
    _refuse_twice(channels, path)
    rows_of = {name: find_channel(name, ch_names) for name in channels}
    missing = [name for name, row in rows_of.items() if row is None]
    if missing:
        raise unexpected(
            path,
            f"the channels {', '.join(channels)}",
            f"no {', '.join(missing)} among {', '.join(ch_names)}",
        )
    return [row for row in rows_of.values() if row is not None]


def not_eeg(ch_names: Sequence[str], ch_types: Sequence[str]) -> tuple[str, ...]:
    """Returns the channels that are not EEG by type or name, without triggers.

    Args:
      ch_names: the names of all channels of a recording.
      ch_types: the type of each.
    """
    return tuple(
        name
        for name, kind in zip(ch_names, ch_types, strict=True)
        if kind != "stim" and (kind != "eeg" or _NO_EEG.match(name))
    )


def load_channels(
    raw: mne.io.BaseRaw, channels: str | Sequence[str], path: str | os.PathLike
) -> mne.io.BaseRaw:
    """Loads the chosen EEG channels into memory, those marked as bad too.

    Args:
      raw: a recording; it loses its other channels.
      channels: see `choose_channels`.
      path: the file, for the message.

    Raises:
      InputError: there are no such channels.
    """
    rows = mne.pick_types(raw.info, eeg=True, exclude=())
    chosen = choose_channels([raw.ch_names[row] for row in rows], channels, path)
    return raw.pick(rows[chosen]).load_data(verbose="ERROR")


def companions(path: pathlib.Path) -> tuple[pathlib.Path, ...]:
    """Returns the files that a recording's format splits off and that are there.

    Args:
      path: a recording; BrainVision's header has files of data and markers, EEGLAB's
        ``.set`` may keep its data in an ``.fdt``.

    Raises:
      InputError: BrainVision's header is damaged.
    """
    if path.suffix.lower() == ".vhdr":
        return brainvision.companions(path)
    data = path.with_suffix(".fdt")
    return (data,) if path.suffix.lower() == ".set" and data.is_file() else ()


def session_folders(folder: pathlib.Path) -> dict[layout.Label, pathlib.Path]:
    """Returns session → folder, numbers ascending, then other labels.

    Raises:
      InputError: a folder ``ses-`` has no label, or two have one.
    """
    labelled = layout.labelled_folders(folder, "ses")
    others = set(folder.glob("ses-*")) - set(labelled.values())
    others = {path for path in others if path.is_dir()}
    if others:
        raise unexpected(
            folder,
            "sessions named ses- and letters or digits, such as ses-01 or ses-pre",
            min(others).name,
        )
    return labelled


def _refuse_twice(names: Sequence[str], path: str | os.PathLike) -> None:
    twice = [name for row, name in enumerate(names) if name in names[:row]]
    if twice:
        raise unexpected(path, "channels of different names", f"{twice[0]} twice")
