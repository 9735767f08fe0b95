"""The whole of preprocessing: a subject's recordings in, EEG in the layout out."""

import csv
import hashlib
import json
import os
import pathlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from tqdm import tqdm

from img2eeg_jax.data import layout
from img2eeg_jax.data.preprocessing.choices import Choices
from img2eeg_jax.data.preprocessing.epochs import REASONS, Trials, read_trials
from img2eeg_jax.data.preprocessing.record import describe_recording, make_record
from img2eeg_jax.data.preprocessing.sessions import (
    choose_sessions,
    keep_repetitions,
    merge_sessions,
    whiten_session,
)
from img2eeg_jax.data.sources.session import Session
from img2eeg_jax.errors import counted, unexpected
from img2eeg_jax.files import check_room, scratch_dir

# So many triggers of no image are listed.
_MOST_SHOWN = 8
# Partition → session number → the trials that were kept.
_Kept = dict[str, dict[layout.Label, Trials]]


def preprocess(
    data_dir: str | os.PathLike,
    subject: layout.Label,
    choices: Choices,
    sessions: Sequence[Session],
    *,
    max_bytes: float = 1e9,
    log: Callable[[str], None] = print,
) -> None:
    """Preprocesses a subject's recordings and writes the result into the layout.

    What is written appears under its names when all of it is there; the two EEG files
    come last, so that a run that was stopped is seen to be incomplete.

    Args:
      data_dir: folder in the THINGS-EEG2 layout, with its images.
      subject: number from 1, or another label.
      choices: how to preprocess.
      sessions: the recordings, see `recordings.find_sessions`.
      max_bytes: memory for the blocks in which epochs and covariances are computed;
        beside them come one recording and the result.
      log: called with one line for each recording.

    Raises:
      InputError: recordings, images and choices do not fit each other.
    """
    image_set = layout.find_image_set(data_dir)
    name = layout.subject_name(subject)
    chosen = choose_sessions(sessions, choices, name)
    kept, recordings = _keep_trials(chosen, choices, image_set, max_bytes, log, name)
    for partition, by_number in kept.items():
        if not by_number:
            raise unexpected(
                name, f"{partition} trials in one of {len(chosen)} sessions", "none"
            )
    axes = next(iter(kept["training"].values())).axes
    whiteners = {
        session: trials.whitener
        for by_session in kept.values()
        for session, trials in by_session.items()
        if trials.whitener is not None
    }
    record = make_record(choices, axes, recordings, image_set, whiteners)
    path = layout.record_path(data_dir, subject)
    with scratch_dir(path.parent.parent, path.parent.name) as scratch:
        check_room(scratch, sum(trials.eeg.nbytes for trials in _all(kept)))
        for partition in layout.PARTITIONS:
            n_images = len(image_set.files(partition))
            # The trials of a partition are freed when they are merged.
            eeg, rows = _merge(kept.pop(partition), n_images, partition, choices)
            _write_trials(scratch / f"trials_{partition}.csv", rows)
            layout.write_eeg(scratch, subject, partition, eeg)
            record[f"{partition}_repetitions"] = eeg.eeg.shape[1]
            log(f"{name}: {_describe_result(eeg, partition, recordings)}")
            del eeg
        text = json.dumps(record, indent=2) + "\n"
        (scratch / path.name).write_text(text, encoding="utf-8")
        _move_into_place(scratch, path, subject)


def _keep_trials(
    sessions: Sequence[Session],
    choices: Choices,
    image_set: layout.ImageSet,
    max_bytes: float,
    log: Callable[[str], None],
    name: str,
) -> tuple[_Kept, list[dict[str, Any]]]:
    """Returns all sessions' trials, whitened, and what the record says of them."""
    kept: _Kept = {partition: {} for partition in layout.PARTITIONS}
    described: dict[str, list[dict]] = {partition: [] for partition in kept}
    seen: dict[str, dict[bytes, str]] = {partition: {} for partition in kept}
    n_files = sum(
        len(files) for session in sessions for files in session.files.values()
    )
    with tqdm(desc=name, total=n_files, unit="recording", disable=None) as bar:
        for session in sessions:
            for note in session.notes:
                log(note)
            trials = {}
            for partition, files in session.files.items():
                if not files:
                    continue
                read = read_trials(session, partition, choices, max_bytes)
                description = describe_recording(session, partition)
                described[partition].append(description | read.counts)
                log(f"{read.where}: {_describe(read.counts)}")
                _check_counted_once(read, seen[partition])
                for note in dict.fromkeys(read.notes):
                    log(f"{read.where}: {note}")
                _check_conditions(read, image_set, partition)
                trials[partition] = keep_repetitions(read, partition, choices)
                bar.update(len(files))
            first = (_all(kept) or list(trials.values()))[0]
            trials = {name: mine.alike(first) for name, mine in trials.items()}
            for partition, mine in whiten_session(trials, choices, max_bytes).items():
                kept[partition][session.number] = mine
    return kept, [*described["training"], *described["test"]]


def _all(kept: _Kept) -> list[Trials]:
    return [trials for by_number in kept.values() for trials in by_number.values()]


def _check_conditions(
    trials: Trials, image_set: layout.ImageSet, partition: str
) -> None:
    n_images = len(image_set.files(partition))
    triggers = np.unique(trials.conditions) + 1
    beyond = ",".join(map(str, triggers[triggers > n_images][:_MOST_SHOWN]))
    if beyond:
        raise unexpected(
            trials.where,
            f"triggers of the {counted(n_images, f'{partition} image')}",
            f"{beyond}; `ignore_markers={beyond}` leaves such out",
        )


def _check_counted_once(trials: Trials, seen: dict[bytes, str]) -> None:
    """Refuses a trial whose EEG, to the bit, is another's of the same image.

    Args:
      trials: of a session.
      seen: digest of a trial → where it is from; those of `trials` are added.
    """
    for row, epoch in enumerate(trials.eeg):
        if np.ptp(epoch) == 0:
            continue
        digest = hashlib.blake2b(np.ascontiguousarray(epoch), digest_size=16)
        digest.update(trials.conditions[row].tobytes())
        file = trials.files[trials.file_rows[row]]
        where = f"{file} at sample {trials.onsets[row]}"
        other = seen.setdefault(digest.digest(), where)
        if other != where:
            at = f"the EEG at sample {trials.onsets[row]} also in {other}"
            copied = "one recording is a copy of the other"
            raise unexpected(file, "each trial once", f"{at}; {copied}")


def _describe(counts: Mapping[str, int]) -> str:
    left_out = [f"{n} {name}" for name, n in counts.items() if n and name != "trials"]
    return f"{counted(counts['trials'], 'trial')}" + (
        f" ({', '.join(left_out)} left out)" if left_out else ""
    )


def _describe_result(
    eeg: layout.PreprocessedEEG, partition: str, recordings: Sequence[Mapping[str, Any]]
) -> str:
    """Returns how many trials are kept of each image, and how many are not."""
    n_images, n_repetitions = eeg.eeg.shape[:2]
    n_epochs = sum(
        entry["trials"] - sum(entry[name] for name in REASONS)
        for entry in recordings
        if entry["partition"] == partition
    )
    n_more = n_epochs - n_images * n_repetitions
    more = (
        f" ({counted(n_more, 'trial')} of images with more left out)" if n_more else ""
    )
    images = counted(n_images, f"{partition} image")
    return f"{counted(n_repetitions, 'trial')} of each of {images}{more}"


def _merge(
    kept: Mapping[layout.Label, Trials], n_images: int, partition: str, choices: Choices
) -> tuple[layout.PreprocessedEEG, list[tuple]]:
    """Returns the EEG of a partition, and a row of the table for each trial."""
    numbers, sessions = zip(*kept.items(), strict=True)
    eeg, origin = merge_sessions(sessions, n_images, partition, choices)
    rows = []
    for image, repetitions in enumerate(origin.tolist(), start=1):
        for repetition, (session, row) in enumerate(repetitions):
            trials = sessions[session]
            file = trials.files[trials.file_rows[row]].name
            onset = trials.onsets[row]
            rows.append((image, repetition, numbers[session], file, onset))
    return layout.PreprocessedEEG(eeg, sessions[0].axes), rows


def _write_trials(path: pathlib.Path, rows: Sequence[tuple]) -> None:
    with open(path, "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(("image", "repetition", "session", "file", "onset_sample"))
        writer.writerows(rows)


def _move_into_place(
    scratch: pathlib.Path, record: pathlib.Path, subject: layout.Label
) -> None:
    """Moves a subject's new files beside its record; the two EEG files come last."""
    folder = record.parent
    folder.mkdir(exist_ok=True)
    training, test = (
        layout.eeg_path(scratch, subject, partition) for partition in layout.PARTITIONS
    )
    # While one of the EEG files is missing, the folder counts as incomplete.
    (folder / test.name).unlink(missing_ok=True)
    tables = sorted(scratch.glob("trials_*.csv"))
    for path in (scratch / record.name, *tables, training, test):
        os.replace(path, folder / path.name)
