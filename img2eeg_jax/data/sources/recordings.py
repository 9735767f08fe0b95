"""Raw recordings of one session: continuous EEG and when which image came on.

    DATA_DIR/raw_data/sub-XX/ses-YY/raw_eeg_{training,test}.npy      as published
    DATA_DIR/raw_data/sub-XX/ses-YY/raw_eeg_{training,test}.vhdr     BrainVision
    DATA_DIR/source_data/sub-XX/ses-YY/*{training,test}*.vhdr        BrainVision

A trigger is the 1-based row of the image in its partition: the value of the stim
channel, or the number that ends the name of a BrainVision marker of type Stimulus.
"""

import contextlib
import dataclasses
import os
import pathlib
import re
from collections.abc import Callable, Sequence
from typing import Any

import mne
import numpy as np

from img2eeg_jax.data import layout
from img2eeg_jax.errors import InputError, unexpected

# The trigger of THINGS-EEG2's target trials, in which subjects press a button.
TARGET = 99999
# The channels that the official preprocessing keeps.
_OFFICIAL_CHANNELS = re.compile(r"[OP]")
# Beyond it, float64 does not hold every integer.
_LARGEST_TRIGGER = 2**53


@dataclasses.dataclass(frozen=True)
class Recording:
    """Continuous EEG of one partition and its image onsets.

    Attributes:
      path: the file it was read from.
      raw: the chosen EEG channels, in volts.
      onsets: i64[trial], samples from the start of the recording, ascending.
      conditions: i64[trial], row of the image in its partition, from 0.
      n_targets: target trials left out.
    """

    path: pathlib.Path
    raw: mne.io.BaseRaw
    onsets: np.ndarray
    conditions: np.ndarray
    n_targets: int = 0


@dataclasses.dataclass(frozen=True)
class Session:
    """The recordings of one session.

    Attributes:
      number: from 1.
      files: partition → its files; none if the session lacks the partition.
      read: called with a file, the partition and the channels (see `choose_channels`).
      companions: file → the others that are read with it, such as its markers.
      options: what was chosen in finding trials, such as the column of events.
    """

    number: int
    files: dict[str, tuple[pathlib.Path, ...]]
    read: Callable[[pathlib.Path, str, str | Sequence[str]], Recording]
    companions: dict[pathlib.Path, tuple[pathlib.Path, ...]] = dataclasses.field(
        default_factory=dict
    )
    options: dict[str, str] = dataclasses.field(default_factory=dict)


def find_sessions(data_dir: str | os.PathLike, subject: int) -> list[Session]:
    """Finds a subject's raw recordings.

    Args:
      data_dir: folder that holds ``raw_data`` or ``source_data``.
      subject: subject number, from 1.

    Returns:
      The sessions in ascending order; empty if the subject has no recordings.

    Raises:
      InputError: a session lacks the recording of a partition, or has several.
    """
    for name in ("raw_data", "source_data"):
        folder = pathlib.Path(data_dir) / name / layout.subject_name(subject)
        numbered = numbered_folders(folder, "ses")
        if numbered:
            return [_session(number, path) for number, path in numbered.items()]
    return []


def companions(path: pathlib.Path) -> tuple[pathlib.Path, ...]:
    """Returns the files that a recording's format splits off and that are there.

    Args:
      path: a recording; BrainVision's header names its data and its markers, EEGLAB's
        ``.set`` may keep its data in an ``.fdt``.
    """
    names = []
    if path.suffix.lower() == ".vhdr":
        with contextlib.suppress(OSError):
            header = path.read_text(encoding="latin-1")
            named = re.findall(r"(?m)^(?:DataFile|MarkerFile)\s*=\s*(.+?)\s*$", header)
            names = [name.replace("$b", path.stem) for name in named]
    elif path.suffix.lower() == ".set":
        names = [f"{path.stem}.fdt"]
    found = [path.with_name(pathlib.PurePath(name).name) for name in names]
    return tuple(file for file in found if file.is_file())


def numbered_folders(parent: str | os.PathLike, prefix: str) -> dict[int, pathlib.Path]:
    """Finds folders such as ``ses-1`` or ``ses-01``.

    Args:
      parent: where to look.
      prefix: ``"sub"`` or ``"ses"``.

    Returns:
      Number, from 1 → folder, by ascending number; other folders are left out.

    Raises:
      InputError: two folders have one number.
    """
    folders: dict[int, pathlib.Path] = {}
    for path in sorted(pathlib.Path(parent).glob(f"{prefix}-*")):
        match = re.fullmatch(rf"{prefix}-0*([1-9]\d*)", path.name)
        if not match or not path.is_dir():
            continue
        other = folders.setdefault(int(match[1]), path)
        if other != path:
            raise unexpected(
                parent,
                f"one folder {prefix}-{match[1]}",
                f"{other.name} and {path.name}",
            )
    return dict(sorted(folders.items()))


def read_recording(
    path: pathlib.Path, partition: str, channels: str | Sequence[str]
) -> Recording:
    """Reads a recording in the published format or in BrainVision's.

    Args:
      path: ``.npy`` or ``.vhdr``.
      partition: ``"training"`` or ``"test"``; each has files of its own.
      channels: see `choose_channels`.

    Raises:
      InputError: the file is missing, damaged or unsafe, has another form, no such
        channels, values that are not finite or no image onsets.
    """
    del partition
    read = _read_brainvision if path.suffix == ".vhdr" else _read_npy
    raw, events = read(path, channels)
    return make_recording(path, raw, events[:, 0], events[:, 1])


def make_recording(
    path: pathlib.Path, raw: mne.io.BaseRaw, onsets: np.ndarray, triggers: np.ndarray
) -> Recording:
    """Builds a recording out of EEG and triggers, without target trials.

    Args:
      path: the file, for messages.
      raw: EEG channels only, in volts.
      onsets: i64[trial], samples from the start.
      triggers: i64[trial], 1-based rows of images.

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
        raise unexpected(path, "triggers from 1", triggers[triggers < 1][0])
    repeated = onsets[1:][np.diff(onsets) == 0]
    if len(repeated):
        raise unexpected(
            path, "one image at a time", f"two that begin at sample {repeated[0]}"
        )
    return Recording(path, raw, onsets, triggers - 1, int(is_target.sum()))


def choose_channels(
    ch_names: Sequence[str], channels: str | Sequence[str], path: str | os.PathLike
) -> list[int]:
    """Returns the rows of the chosen channels.

    Args:
      ch_names: the EEG channels of a recording.
      channels: ``"official"``, those whose names start with O or P, ``"all"``, or
        names, which are taken in the order given.
      path: the file, for the message.

    Raises:
      InputError: there are no such channels, or names occur twice.
    """
    if not ch_names or not channels:
        raise unexpected(path, "EEG channels and a choice", "none")
    _refuse_twice(ch_names, path)
    if channels == "all":
        return list(range(len(ch_names)))
    if channels == "official":
        rows = [i for i, name in enumerate(ch_names) if _OFFICIAL_CHANNELS.match(name)]
        if rows:
            return rows
        raise unexpected(
            path,
            "channels whose names start with O or P",
            f"{', '.join(ch_names)}; choose others",
        )
    if isinstance(channels, str):
        channels = (channels,)
    _refuse_twice(channels, path)
    missing = [name for name in channels if name not in ch_names]
    if missing:
        raise unexpected(
            path,
            f"the channels {', '.join(channels)}",
            f"no {', '.join(missing)} among {', '.join(ch_names)}",
        )
    return [ch_names.index(name) for name in channels]


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


def _refuse_twice(names, path):
    twice = [name for row, name in enumerate(names) if name in names[:row]]
    if twice:
        raise unexpected(path, "channels of different names", f"{twice[0]} twice")


def _session(number: int, folder: pathlib.Path) -> Session:
    files = _files_of(folder)
    others = {file: companions(file) for found in files.values() for file in found}
    return Session(number, files, read_recording, others)


def _files_of(folder: pathlib.Path) -> dict[str, tuple[pathlib.Path, ...]]:
    files = {}
    for partition in layout.PARTITIONS:
        name = f"raw_eeg_{partition}"
        found = [
            path
            for path in (folder / f"{name}.npy", folder / f"{name}.vhdr")
            if path.is_file()
        ] or sorted(
            path
            for path in folder.glob(f"*{partition}*.vhdr")
            # macOS writes hidden files ._NAME.vhdr.
            if not path.name.startswith(".")
        )
        if len(found) != 1:
            raise unexpected(
                folder,
                f"one {partition} recording, {name}.npy or .vhdr",
                ", ".join(path.name for path in found) or "none",
            )
        files[partition] = (found[0],)
    return files


def _read_npy(path, channels):
    """Returns the chosen channels as RawArray, and i64[event, (sample, trigger)]."""
    content = layout.read_npy_dict(path)
    data = layout.entry(content, "raw_eeg_data", path)
    ch_names = layout.as_names(
        layout.entry(content, "ch_names", path), "ch_names", path
    )
    # The published files have ch_types, their documentation says ch_type.
    key = "ch_type" if "ch_type" in content else "ch_types"
    ch_types = layout.as_names(layout.entry(content, key, path), key, path)
    sfreq_hz = _sampling_rate(layout.entry(content, "sfreq", path), path)
    if not isinstance(data, np.ndarray) or data.dtype.kind not in "fiu":
        raise unexpected(
            path,
            "an array of numbers as raw_eeg_data",
            getattr(data, "dtype", type(data).__name__),
        )
    if data.ndim != 2 or 0 in data.shape:
        raise unexpected(path, "raw_eeg_data of shape (channel, sample)", data.shape)
    if not len(ch_names) == len(ch_types) == len(data):
        raise unexpected(
            path,
            f"{len(data)} ch_names and {key}, one for each row",
            f"{len(ch_names)} and {len(ch_types)}",
        )
    stim = [row for row, kind in enumerate(ch_types) if kind == "stim"]
    if len(stim) != 1:
        raise unexpected(
            path,
            "one channel of type stim",
            f"{len(stim)} in {', '.join(sorted(set(ch_types)))}",
        )
    eeg = [row for row, kind in enumerate(ch_types) if kind == "eeg"]
    chosen = choose_channels([ch_names[row] for row in eeg], channels, path)
    rows = [eeg[index] for index in chosen]
    events = _find_events(data[stim], sfreq_hz, path)
    info = mne.create_info([ch_names[row] for row in rows], sfreq_hz, "eeg")
    # A copy, so that the channels left out need no memory.
    eeg_v = np.array(data[rows], np.float64)
    return mne.io.RawArray(eeg_v, info, verbose="ERROR"), events


def _sampling_rate(value: Any, path: pathlib.Path) -> float:
    try:
        sfreq_hz = float(value)
    except (TypeError, ValueError):
        sfreq_hz = np.nan
    if not 0 < sfreq_hz < np.inf:
        raise unexpected(path, "sfreq in Hz above 0", f"{value!r}")
    return sfreq_hz


def _find_events(stim, sfreq_hz, path):
    """Returns i64[event, (sample, trigger)] of a stim channel [1, sample]."""
    info = mne.create_info(["stim"], sfreq_hz, "stim")
    raw = mne.io.RawArray(np.asarray(stim, np.float64), info, verbose="ERROR")
    return _events_of_raw(raw, "stim", path)


def _events_of_raw(raw, stim_channel, path):
    """Finds triggers by MNE's defaults, as the official preprocessing does.

    A trigger at the first sample is no event, nor is one that follows a larger one
    without a zero between.
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
    try:
        events = mne.find_events(raw, stim_channel, verbose="ERROR")
    except ValueError as error:
        raise unexpected(path, "triggers on the stim channel", error) from error
    return events[:, [0, 2]] - [raw.first_samp, 0]


def _read_brainvision(path, channels):
    try:
        raw = mne.io.read_raw_brainvision(path, verbose="ERROR")
        stim = mne.pick_types(raw.info, stim=True)
        if len(stim):
            events = _events_of_raw(raw, raw.ch_names[stim[0]], path)
        else:
            events = _events_of_markers(raw)
        return load_channels(raw, channels, path), events
    except InputError:
        raise
    # MNE's readers raise nearly anything on damaged files.
    except Exception as error:
        raise unexpected(path, "a BrainVision recording", error) from error


def _events_of_markers(raw):
    """Reads markers such as `Stimulus/S 12`; those of other types are no triggers."""
    triggers = {
        name: int(match[1])
        for name in set(raw.annotations.description)
        if (match := re.fullmatch(r"Stimulus/.*?(\d+)", name))
    }
    if not triggers:
        return np.empty((0, 2), np.int64)
    events, _ = mne.events_from_annotations(raw, event_id=triggers, verbose="ERROR")
    return events[:, [0, 2]] - [raw.first_samp, 0]
