"""Raw recordings in the layout: continuous EEG and when which image came on.

    DATA_DIR/raw_data/sub-XX/ses-YY/raw_eeg_{training,test}.npy      as published
    DATA_DIR/raw_data/sub-XX/ses-YY/raw_eeg_{training,test}.vhdr     BrainVision
    DATA_DIR/source_data/sub-XX/ses-YY/*{training,test}*.vhdr        BrainVision

A trigger is the 1-based row of the image in its partition: the value of the stim
channel, or the number that ends the name of a BrainVision marker of type Stimulus.
"""

import dataclasses
import functools
import os
import pathlib
from collections.abc import Sequence
from typing import Any

import mne
import numpy as np

from img2eeg_jax.data import layout
from img2eeg_jax.data.sources import brainvision, markers, marks
from img2eeg_jax.data.sources.session import (
    Recording,
    Session,
    choose_channels,
    companions,
    load_channels,
    make_recording,
    not_eeg,
    session_folders,
)
from img2eeg_jax.errors import expecting, unexpected


@dataclasses.dataclass(frozen=True)
class _Read:
    """What is read of a recording.

    Attributes:
      raw: the chosen channels.
      events: i64[event, (sample, trigger)].
      no_eeg, left_out, notes: see `Recording`.
    """

    raw: mne.io.BaseRaw
    events: np.ndarray
    no_eeg: tuple[str, ...]
    left_out: dict[str, int] = dataclasses.field(default_factory=dict)
    notes: tuple[str, ...] = ()


def find_sessions(
    data_dir: str | os.PathLike,
    subject: layout.Label,
    rule: markers.MarkerRule = markers.DEFAULT,
) -> list[Session]:
    """Finds a subject's raw recordings.

    Args:
      data_dir: folder that holds ``raw_data`` or ``source_data``.
      subject: subject number, from 1, or another label.
      rule: which markers are the onsets of images.

    Returns:
      The sessions in ascending order; empty if the subject has no recordings.

    Raises:
      InputError: a session lacks the recording of a partition, or has several.
    """
    for name in ("raw_data", "source_data"):
        folder = layout.subject_folder(pathlib.Path(data_dir) / name, subject)
        sessions = [
            _session(label, path, rule)
            for label, path in session_folders(folder).items()
            # A folder such as ses-pre may hold something else.
            if isinstance(label, int) or _holds_recordings(path)
        ]
        if sessions:
            return sessions
    return []


def read_recording(
    path: pathlib.Path,
    partition: str,
    channels: str | Sequence[str],
    rule: markers.MarkerRule = markers.DEFAULT,
) -> Recording:
    """Reads a recording in the published format or in BrainVision's.

    Args:
      path: ``.npy`` or ``.vhdr``.
      partition: ``"training"`` or ``"test"``; each has files of its own.
      channels: see `choose_channels`.
      rule: which markers are the onsets of images.

    Raises:
      InputError: the file is missing, damaged or unsafe, has another form, no such
        channels, values that are not finite or no image onsets.
    """
    del partition
    read = _read_brainvision if path.suffix == ".vhdr" else _read_npy
    found = read(path, channels, rule.kind)
    events, n_ignored = rule.apply(found.events)
    onsets, triggers = events.T
    return make_recording(
        path,
        found.raw,
        onsets,
        triggers,
        left_out=found.left_out | {"ignored": n_ignored},
        no_eeg=found.no_eeg,
        notes=found.notes,
    )


def _holds_recordings(folder: pathlib.Path) -> bool:
    return any(path.suffix in (".npy", ".vhdr") for path in folder.iterdir())


def _session(
    number: layout.Label, folder: pathlib.Path, rule: markers.MarkerRule
) -> Session:
    files = _files_of(folder)
    others = {file: companions(file) for found in files.values() for file in found}
    read = functools.partial(read_recording, rule=rule)
    return Session(number, files, read, others, rule.options())


def _files_of(folder: pathlib.Path) -> dict[str, tuple[pathlib.Path, ...]]:
    files: dict[str, tuple[pathlib.Path, ...]] = {}
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
            there = ", ".join(sorted(path.name for path in folder.iterdir()))
            raise unexpected(
                folder,
                f"one {partition} recording, {name}.npy or .vhdr",
                ", ".join(path.name for path in found)
                or f"none among {there or 'no files'}",
            )
        files[partition] = (found[0],)
    return files


def _read_npy(path: pathlib.Path, channels: str | Sequence[str], kind: str) -> _Read:
    """Reads the published format; triggers have no `kind`."""
    del kind
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
    triggers = np.asarray(data[stim[0]], np.float64)
    events = markers.of_stim_values(triggers, path)
    info = mne.create_info([ch_names[row] for row in rows], sfreq_hz, "eeg")
    # A copy, so that the channels left out need no memory.
    eeg_v = np.array(data[rows], np.float64)
    raw = mne.io.RawArray(eeg_v, info, verbose="ERROR")
    no_eeg = not_eeg(ch_names, ch_types)
    return _Read(raw, events, no_eeg, notes=markers.note_on_held(triggers))


def _sampling_rate(value: Any, path: pathlib.Path) -> float:
    try:
        sfreq_hz = float(value)
    except (TypeError, ValueError):
        sfreq_hz = np.nan
    if not 0 < sfreq_hz < np.inf:
        raise unexpected(path, "sfreq in Hz above 0", f"{value!r}")
    return sfreq_hz


def _read_brainvision(
    path: pathlib.Path, channels: str | Sequence[str], kind: str
) -> _Read:
    """Reads BrainVision's; the markers of a type are triggers."""
    raw = brainvision.read_raw(path)
    stim = mne.pick_types(raw.info, stim=True)
    if len(stim):
        events, n_others = markers.of_stim_values(raw.get_data(stim[:1])[0], path), 0
    else:
        events, n_others = markers.of_markers(
            brainvision.read_markers(path), kind, path
        )
    no_eeg = not_eeg(raw.ch_names, raw.get_channel_types())
    # MNE's readers raise nearly anything on damaged files.
    with expecting(path, "a BrainVision recording", Exception):
        raw = load_channels(raw, channels, path)
    raw.set_annotations(
        marks.known(marks.of_annotations(raw.annotations), raw.info["sfreq"])
    )
    return _Read(raw, events, no_eeg, {"other markers": n_others})
