"""Raw recordings in BIDS, read through MNE-BIDS: the extra ``bids``.

    BIDS_ROOT/sub-01[/ses-01]/eeg/sub-01[_ses-01]_task-NAME[_run-1]_eeg.vhdr
    BIDS_ROOT/sub-01[/ses-01]/eeg/sub-01[_ses-01]_task-NAME[_run-1]_events.tsv
    DATA_DIR/image_set/{training,test}_images/CONCEPT/FILE

The events say which image came on when. An image's folder says which partition its
trials belong to, so a recording may hold trials of both.
"""

import collections
import csv
import dataclasses
import functools
import math
import os
import pathlib
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from img2eeg_jax.data import layout
from img2eeg_jax.data.sources.session import (
    Recording,
    Session,
    companions,
    load_channels,
    make_recording,
    numbered_folders,
)
from img2eeg_jax.errors import expecting, unexpected

# What BIDS admits as EEG.
_SUFFIXES = frozenset({".bdf", ".edf", ".set", ".vhdr"})
# How BIDS writes that there is no value.
_NO_VALUE = frozenset({"", "n/a"})
_FOLDERS = frozenset(f"{partition}_images" for partition in layout.PARTITIONS)
# No recording is as long, and seconds times Hz must stay an integer.
_MAX_ONSET_S = 1e9

# What an image may be called → (partition, row) of all images that are called so.
_Images = Mapping[str, Sequence[tuple[str, int]]]


@dataclasses.dataclass(frozen=True)
class Events:
    """The image onsets of a recording, in the order of its events.

    Attributes:
      onsets_s: f64[trial], seconds from the start of the recording.
      partitions: str[trial], ``"training"`` or ``"test"``.
      conditions: i64[trial], row of the image in its partition, from 0.
    """

    onsets_s: np.ndarray
    partitions: np.ndarray
    conditions: np.ndarray


def find_sessions(
    bids_root: str | os.PathLike,
    subject: int,
    data_dir: str | os.PathLike,
    *,
    image_column: str = "stim_file",
    task: str | None = None,
) -> list[Session]:
    """Finds a subject's recordings in a BIDS data set.

    Channels that ``channels.tsv`` marks as bad are kept, and are named in the bads of
    what is read; MNE does not reject epochs by them.

    Args:
      bids_root: the data set's folder.
      subject: subject number; its label is the number, zeros before it or not.
      data_dir: folder that holds ``image_set``.
      image_column: column of ``events.tsv`` that names the image that came on:
        CONCEPT/FILE, after any other folders, or FILE alone if one image only is
        called so. Rows that have ``n/a`` there are left out.
      task: label of the task to use; None for all.

    Returns:
      The sessions in ascending order, each with its recordings in the order of runs;
      recordings outside of ``ses-`` folders are of session 1.

    Raises:
      InputError: MNE-BIDS is not installed; there are no recordings of the subject;
        a session has no number; events are missing, damaged,
        name what is not an image of the data set, or two of them begin at once.
    """
    _import_mne_bids()
    image_set = layout.find_image_set(data_dir)
    images = _images_by_name(image_set)
    folder = _subject_folder(pathlib.Path(bids_root), subject)
    sessions = []
    for number, session_folder in _session_folders(folder).items():
        events = {
            path: _read_events(path, image_column, images)
            for path in _recordings_in(session_folder, task)
        }
        if events:
            files = _files_by_partition(events)
            read = functools.partial(_read_recording, events)
            others = {path: _companions(path) for path in events}
            options = {"image_column": image_column}
            sessions.append(Session(number, files, read, others, options))
    if not sessions:
        raise unexpected(
            folder,
            "recordings *_eeg.{vhdr,edf,bdf,set}"
            + (f" of task-{task}" if task else ""),
            "none",
        )
    return sessions


def find_subjects(bids_root: str | os.PathLike) -> tuple[int, ...]:
    """Returns the subjects of a BIDS data set whose labels are numbers, ascending.

    Raises:
      InputError: two labels, such as 1 and 01, are one number.
    """
    return tuple(numbered_folders(bids_root, "sub"))


def _import_mne_bids() -> Any:
    try:
        import mne_bids
    except ImportError as error:
        raise unexpected(
            "BIDS",
            "the package mne-bids",
            "it missing: pip install 'img2eeg_jax[bids]'",
        ) from error
    return mne_bids


def _subject_folder(bids_root: pathlib.Path, subject: int) -> pathlib.Path:
    folders = numbered_folders(bids_root, "sub")
    if subject not in folders:
        found = sorted(path.name for path in bids_root.glob("sub-*"))
        raise unexpected(
            bids_root,
            f"a folder {layout.subject_name(subject)}",
            ", ".join(found) or "no subjects",
        )
    return folders[subject]


def _session_folders(folder: pathlib.Path) -> dict[int, pathlib.Path]:
    """Returns session number → folder, ascending."""
    numbered = numbered_folders(folder, "ses")
    others = set(folder.glob("ses-*")) - set(numbered.values())
    if others:
        raise unexpected(
            folder, "sessions numbered from 1, such as ses-01", min(others).name
        )
    return numbered or {1: folder}


def _recordings_in(folder: pathlib.Path, task: str | None) -> list[pathlib.Path]:
    """Returns the recordings of a session, in the order of runs."""

    def run(path: pathlib.Path) -> int:
        match = re.search(r"_run-(\d+)_", path.name)
        return int(match[1]) if match else 0

    found = [
        path
        for path in folder.glob("eeg/sub-*_eeg.*")
        if path.suffix.lower() in _SUFFIXES
        and (task is None or f"_task-{task}_" in path.name)
    ]
    return sorted(found, key=lambda path: (run(path), path.name))


def _files_by_partition(
    events: Mapping[pathlib.Path, Events],
) -> dict[str, tuple[pathlib.Path, ...]]:
    return {
        partition: tuple(
            path for path, mine in events.items() if partition in mine.partitions
        )
        for partition in layout.PARTITIONS
    }


def _images_by_name(image_set: layout.ImageSet) -> _Images:
    images = collections.defaultdict(list)
    for partition in layout.PARTITIONS:
        for row, path in enumerate(image_set.files(partition)):
            # FILE, CONCEPT/FILE and training_images/CONCEPT/FILE.
            for n_parts in (1, 2, 3):
                name = "/".join(path.parts[-n_parts:])
                images[name].append((partition, row))
    return dict(images)


def _find_images(name: str, images: _Images) -> Sequence[tuple[str, int]]:
    """Returns (partition, row) of the images that a name of any length may mean."""
    parts = name.replace("\\", "/").split("/")
    # Folders that are named must be those of the image: others may hold its namesake.
    n_parts = 3 if len(parts) > 2 and parts[-3] in _FOLDERS else 2
    return images.get("/".join(parts[-n_parts:]), ())


def _read_events(recording: pathlib.Path, image_column: str, images: _Images) -> Events:
    """Reads and checks the events of a recording."""
    path = _events_path(recording)
    trials, lines = [], {}
    for line, row in _read_table(path, ("onset", image_column)):
        name = row[image_column].strip()
        if name in _NO_VALUE:
            continue
        found = _find_images(name, images)
        if len(found) != 1:
            raise unexpected(
                path,
                f"in line {line} the name of one image of the data set, or n/a",
                f"{name}, the name of {len(found) or 'none'}",
            )
        onset_s = _as_seconds(row["onset"], path, line)
        other = lines.setdefault(onset_s, line)
        if other != line:
            raise unexpected(
                path,
                "one image at a time",
                f"two at {onset_s:g} s in lines {other} and {line}",
            )
        trials.append((onset_s, *found[0]))
    onsets_s, partitions, conditions = zip(*trials, strict=True) if trials else [()] * 3
    return Events(
        np.array(onsets_s, np.float64),
        np.array(partitions, np.str_),
        np.array(conditions, np.int64),
    )


def _bids_path(recording: pathlib.Path) -> Any:
    """Returns a recording's path as a `mne_bids.BIDSPath`."""
    return _import_mne_bids().get_bids_path_from_fname(recording, check=False)


def _events_path(recording: pathlib.Path) -> pathlib.Path:
    """Finds a recording's events, which may lie in a folder above it."""
    # MNE-BIDS raises several kinds on file names that BIDS does not admit.
    with expecting(recording, "a file name as in BIDS", Exception):
        path = _bids_path(recording).find_matching_sidecar(
            suffix="events", extension=".tsv", on_error="ignore"
        )
    if path is None:
        raise unexpected(
            recording,
            "events beside it, *_events.tsv",
            "none; it may be of another task",
        )
    return pathlib.Path(path)


def _companions(recording: pathlib.Path) -> tuple[pathlib.Path, ...]:
    """Returns the files beside a recording that decide what its trials are."""
    channels = _bids_path(recording).find_matching_sidecar(
        suffix="channels", extension=".tsv", on_error="ignore"
    )
    tables = [_events_path(recording), *([pathlib.Path(channels)] if channels else [])]
    return (*companions(recording), *tables)


def _read_table(
    path: pathlib.Path, columns: Sequence[str]
) -> Iterator[tuple[int, dict[str, str]]]:
    """Yields (line number, row as dict) of a table that has the columns."""
    with (
        expecting(path, "a table of events", OSError, ValueError, csv.Error),
        open(path, newline="", encoding="utf-8-sig") as file,
    ):
        table = csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE)
        header = table.fieldnames or []
        rows = [(table.line_num, row) for row in table]
    for column in columns:
        if column not in header:
            raise unexpected(path, f"a column {column}", ", ".join(header))
    for line, row in rows:
        # DictReader fills short rows with None, and files what is too much under None.
        if None in row or None in row.values():
            raise unexpected(
                path,
                f"{len(header)} values in line {line}",
                "more" if None in row else "fewer",
            )
        yield line, row


def _as_seconds(text: str, path: pathlib.Path, line: int) -> float:
    try:
        onset_s = float(text)
    except ValueError:
        onset_s = math.nan
    # NaN compares as False.
    if not abs(onset_s) < _MAX_ONSET_S:
        raise unexpected(path, f"in line {line} an onset in seconds", text)
    return onset_s


def _read_recording(
    events: Mapping[pathlib.Path, Events],
    path: pathlib.Path,
    partition: str,
    channels: str | Sequence[str],
) -> Recording:
    """Reads the trials of one partition; `Session.read` says more."""
    # MNE's readers raise nearly anything on damaged files.
    with expecting(path, "a recording that MNE-BIDS reads", Exception):
        raw = _import_mne_bids().read_raw_bids(_bids_path(path), verbose="ERROR")
        raw = load_channels(raw, channels, path)
    here = events[path].partitions == partition
    onsets = np.rint(events[path].onsets_s[here] * raw.info["sfreq"]).astype(np.int64)
    # Triggers count images from 1.
    triggers = events[path].conditions[here] + 1
    return make_recording(path, raw, onsets, triggers)
