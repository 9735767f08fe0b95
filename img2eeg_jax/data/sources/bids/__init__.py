"""Raw recordings in BIDS.

    BIDS_ROOT/sub-01[/ses-01]/eeg/sub-01[_ses-01]_task-NAME[_run-1]_eeg.vhdr
    BIDS_ROOT/sub-01[/ses-01]/eeg/sub-01[_ses-01]_task-NAME[_run-1]_events.tsv
    BIDS_ROOT/sub-01[/ses-01]/eeg/sub-01[_ses-01]_task-NAME[_run-1]_channels.tsv
    DATA_DIR/image_set/{training,test}_images/CONCEPT/FILE

The events say which image came on when. An image's folder says which partition its
trials belong to, so a recording may hold trials of both. The channels' types, units and
status are taken where they are listed. Nothing else of the data set is read, so that
nothing else can be in the way.
"""

import functools
import os
import pathlib
from collections.abc import Callable, Mapping, Sequence

import mne
import numpy as np

from img2eeg_jax.data import layout
from img2eeg_jax.data.sources import brainvision, marks
from img2eeg_jax.data.sources.bids import edf
from img2eeg_jax.data.sources.bids.channels import (
    describe_channels,
    take_declared_units,
)
from img2eeg_jax.data.sources.bids.events import Events, images_by_name, read_events
from img2eeg_jax.data.sources.bids.files import find_table, read_table
from img2eeg_jax.data.sources.bids.selection import (
    Selection,
    names_of_recordings,
    refuse_same_trials,
)
from img2eeg_jax.data.sources.session import (
    Recording,
    Session,
    companions,
    load_channels,
    make_recording,
    not_eeg,
    session_folders,
)
from img2eeg_jax.errors import expecting, unexpected

# Ending of the recordings that BIDS admits as EEG → their reader. Annotations of EDF
# may be in any encoding: only marks in ASCII count among them.
_READERS: Mapping[str, Callable[..., mne.io.BaseRaw]] = {
    ".bdf": functools.partial(mne.io.read_raw_bdf, encoding="latin1"),
    ".edf": functools.partial(mne.io.read_raw_edf, encoding="latin1"),
    ".set": mne.io.read_raw_eeglab,
    ".vhdr": lambda path, verbose: brainvision.read_raw(path),
}
_FORMATS = {
    ".bdf": "BDF",
    ".edf": "EDF",
    ".set": "EEGLAB's format",
    ".vhdr": "BrainVision's format",
}


def find_sessions(
    bids_root: str | os.PathLike,
    subject: layout.Label,
    data_dir: str | os.PathLike,
    *,
    image_column: str = "stim_file",
    ignore_images: Sequence[str] = (),
    selection: Selection | None = None,
) -> list[Session]:
    """Finds a subject's recordings in a BIDS data set.

    Channels that ``channels.tsv`` marks as bad are kept, and are named in the bads of
    what is read; MNE does not reject epochs by them.

    Args:
      bids_root: the data set's folder.
      subject: its number, zeros before it or not, or its label.
      data_dir: folder that holds ``image_set``.
      image_column: column of ``events.tsv`` that names the image that came on:
        CONCEPT/FILE, after any other folders, or FILE alone if one image only is
        called so. Rows that have ``n/a`` there are no trials.
      ignore_images: names in that column that are no pictures of trials, such as
        ``"fixation.png"`` or ``"practice/*"``.
      selection: which recordings to use; all by default.

    Returns:
      The sessions in ascending order, each with its recordings in the order of runs;
      recordings outside of ``ses-`` folders are of session 1.

    Raises:
      InputError: there are no recordings of the subject; two of them are one; a
        session has no label; events are missing, damaged, name what is not an image
        of the data set, or two of them begin at once.
    """
    selection = selection or Selection()
    root = pathlib.Path(bids_root)
    images = images_by_name(layout.find_image_set(data_dir))
    folder = _subject_folder(root, subject)
    sessions = []
    for number, session_folder in _session_folders(folder).items():
        recordings = selection.recordings_in(session_folder)
        if not recordings:
            continue
        tables = {path: _events_table(path, root) for path in recordings}
        events = {
            path: read_events(table, image_column, images, ignore_images)
            for path, table in tables.items()
        }
        refuse_same_trials(events)
        described = {path: find_table(path, "channels", root) for path in recordings}
        sessions.append(
            Session(
                number,
                _files_by_partition(events),
                functools.partial(_read_recording, events, described),
                {
                    path: (*companions(path), *filter(None, (tables[path], channels)))
                    for path, channels in described.items()
                },
                {
                    "image_column": image_column,
                    "ignore_images": list(ignore_images),
                },
                tuple(note for path in events for note in _notes(path, events[path])),
            )
        )
    if not sessions:
        raise unexpected(
            folder,
            "recordings *_eeg.{vhdr,edf,bdf,set}" + str(selection),
            names_of_recordings(folder),
        )
    return sessions


def find_subjects(bids_root: str | os.PathLike) -> tuple[layout.Label, ...]:
    """Returns the subjects of a BIDS data set that have recordings of EEG.

    Raises:
      InputError: two labels, such as 1 and 01, are one number.
    """
    return tuple(
        subject
        for subject, folder in layout.labelled_folders(bids_root).items()
        if any(folder.glob("eeg/sub-*_eeg.*")) or any(folder.glob("*/eeg/sub-*_eeg.*"))
    )


def _subject_folder(bids_root: pathlib.Path, subject: layout.Label) -> pathlib.Path:
    folder = layout.subject_folder(bids_root, subject)
    if not folder.is_dir():
        found = layout.folders_in(bids_root)
        raise unexpected(bids_root, f"a folder {folder.name}", found)
    return folder


def _session_folders(folder: pathlib.Path) -> dict[layout.Label, pathlib.Path]:
    """Returns session → folder, ascending; without sessions there is one, 1."""
    labelled = session_folders(folder)
    if labelled and any(folder.glob("eeg/sub-*_eeg.*")):
        raise unexpected(
            folder,
            "recordings in sessions or without",
            f"eeg beside {min(labelled.values()).name}",
        )
    return labelled or {1: folder}


def _files_by_partition(
    events: Mapping[pathlib.Path, Events],
) -> dict[str, tuple[pathlib.Path, ...]]:
    return {
        partition: tuple(
            path for path, mine in events.items() if partition in mine.partitions
        )
        for partition in layout.PARTITIONS
    }


def _events_table(recording: pathlib.Path, root: pathlib.Path) -> pathlib.Path:
    path = find_table(recording, "events", root)
    if path is None:
        raise unexpected(
            recording,
            "events beside it, *_events.tsv",
            "none; if it is of another task, `task` chooses",
        )
    return path


def _notes(path: pathlib.Path, events: Events) -> list[str]:
    notes = []
    if events.n_ignored:
        notes.append(f"{path}: {events.n_ignored} events of ignored images left out")
    if not len(events.onsets_s):
        notes.append(f"{path}: no images among its events, left out")
    return notes


def _read_recording(
    events: Mapping[pathlib.Path, Events],
    described: Mapping[pathlib.Path, pathlib.Path | None],
    path: pathlib.Path,
    partition: str,
    channels: str | Sequence[str],
) -> Recording:
    """Reads the trials of one partition; `Session.read` says more."""
    table = described[path]
    channel_table = read_table(table, is_complete=False) if table else None
    suffix = path.suffix.lower()
    in_file = edf.read_units(path) if suffix in edf.SUFFIXES else None
    # MNE's readers raise nearly anything on damaged files.
    with expecting(path, f"a recording in {_FORMATS[suffix]}", Exception):
        raw = _READERS[suffix](path, verbose="ERROR")
        if channel_table is not None:
            describe_channels(raw, channel_table)
        no_eeg = not_eeg(raw.ch_names, raw.get_channel_types())
        raw = load_channels(raw, channels, path)
        if in_file is not None:
            take_declared_units(raw, in_file, channel_table)
    sfreq_hz = raw.info["sfreq"]
    mine = events[path]
    found = [*marks.of_annotations(raw.annotations), *mine.marks]
    raw.set_annotations(marks.known(found, sfreq_hz), verbose="ERROR")
    here = mine.partitions == partition
    onsets = np.rint(mine.onsets_s[here] * sfreq_hz).astype(np.int64)
    # Triggers count images from 1.
    triggers = mine.conditions[here] + 1
    return make_recording(path, raw, onsets, triggers, no_eeg=no_eeg)
