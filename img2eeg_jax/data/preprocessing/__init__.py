"""From raw recordings to epochs in the layout: the official preprocessing, in MNE.

Epochs are cut, baseline-corrected and resampled, repetitions are chosen, each session
is whitened (see `whitening`), and sessions are merged. The defaults are those of
Gifford et al. 2022; every choice is recorded beside the result:

    preprocessed_data/sub-XX/preprocessing.json           choices, versions, counts
    preprocessed_data/sub-XX/trials_{training,test}.csv   where each repetition is from
"""

import csv
import dataclasses
import hashlib
import importlib.metadata
import json
import os
import pathlib
from collections.abc import Callable, Sequence
from typing import Any

import mne
import numpy as np
from tqdm import tqdm

from img2eeg_jax.axes import Axes
from img2eeg_jax.data import layout
from img2eeg_jax.data.preprocessing import whitening
from img2eeg_jax.data.sources.recordings import Recording, Session
from img2eeg_jax.errors import InputError, unexpected
from img2eeg_jax.files import check_room, scratch_dir

# Arrays of a block's size that MNE holds at a time while it cuts and resamples epochs.
_ARRAYS_A_BLOCK = 8
_PACKAGES = ("img2eeg_jax", "mne", "numpy", "scipy")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Choices:
    """What can be chosen; the defaults are the official preprocessing.

    Attributes:
      channels: ``"official"`` (names that start with O or P), ``"all"``, or names.
      epoch_s: first and last time of an epoch, seconds from image onset.
      baseline_s: first and last time of the baseline; None as an end means the end of
        the epoch, None instead of the pair no baseline correction.
      sfreq_hz: sampling rate of the result.
      bandpass_hz: low and high edge of a filter of the whole recording, None for none.
      reject_uv: largest peak-to-peak amplitude of a channel in an epoch that is kept.
      mvnn: ``"time"``, ``"epochs"`` or ``"off"``, see `whitening`.
      mvnn_partitions: ``"both"``, or ``"training"`` to keep test data out of the
        covariance.
      sessions: numbers of the sessions to use; None for all.
      training_repetitions: kept of each training image in each session where it occurs;
        None for all, as many as every image has over all sessions.
      test_repetitions: the same for test images.
      seed: of the choice and the order of repetitions.
    """

    channels: str | tuple[str, ...] = "official"
    epoch_s: tuple[float, float] = (-0.2, 0.8)
    baseline_s: tuple[float | None, float | None] | None = (None, 0.0)
    sfreq_hz: float = 100.0
    bandpass_hz: tuple[float, float] | None = None
    reject_uv: float | None = None
    mvnn: str = "time"
    mvnn_partitions: str = "both"
    sessions: tuple[int, ...] | None = None
    training_repetitions: int | None = 2
    test_repetitions: int | None = 20
    seed: int = 20200220

    def repetitions(self, partition: str) -> int | None:
        """Returns the number kept per session, or None for all."""
        if partition == "training":
            return self.training_repetitions
        return self.test_repetitions

    def to_dict(self) -> dict[str, Any]:
        """Returns the choices as JSON keeps them."""
        return json.loads(json.dumps(dataclasses.asdict(self)))


@dataclasses.dataclass(frozen=True)
class Trials:
    """Epochs of one session and partition.

    Attributes:
      eeg: f64[trial, channel, time], in volts, or unitless once whitened.
      conditions: i64[trial], row of the image, from 0.
      onsets: i64[trial], sample of the raw recording at which the image came on.
      file_rows: i64[trial], row of its recording in `files`.
      files: the recordings.
      ch_names: the name of each channel.
      times_s: f64[time], seconds from image onset.
      raw_sfreq_hz: sampling rate of the recording.
      counts: trials found, left out as targets, beyond the recording's ends, rejected.
    """

    eeg: np.ndarray
    conditions: np.ndarray
    onsets: np.ndarray
    file_rows: np.ndarray
    files: tuple[pathlib.Path, ...]
    ch_names: tuple[str, ...]
    times_s: np.ndarray
    raw_sfreq_hz: float
    counts: dict[str, int]


def difference(
    record: dict[str, Any], choices: Choices, sessions: Sequence[Session]
) -> str | None:
    """Returns how EEG was preprocessed otherwise, in words, or None if it was not.

    Args:
      record: from `read_record`.
      choices: what it is compared with.
      sessions: the recordings that are there now; if none, they are not compared.
    """
    recorded, expected = record.get("choices", {}), choices.to_dict()
    different = [
        f"{key} {recorded.get(key)} instead of {value}"
        for key, value in expected.items()
        if recorded.get(key) != value
    ]
    if different:
        return ", ".join(different)
    return _other_recordings(record, choices, sessions) if sessions else None


def _other_recordings(record, choices, sessions):
    """Returns how recordings or their trials differ, in words, or None."""
    used = choices.sessions or [session.number for session in sessions]
    present = {
        (session.number, partition): session
        for partition in layout.PARTITIONS
        for session in sessions
        if session.number in used and session.files[partition]
    }
    made_from = {
        (entry.get("session"), entry.get("partition")): entry
        for entry in record.get("recordings", [])
    }
    if present.keys() != made_from.keys():
        return "other recordings"
    for (number, partition), session in present.items():
        entry = made_from[number, partition]
        for key, value in session.options.items():
            if entry.get(key) != value:
                return f"{key} {entry.get(key)} instead of {value}"
        described = entry.get("files", [])
        paths = _sources(session, partition)
        if [path.name for path in paths] != [name for name, *_ in described]:
            return f"other recordings in session {number}"
        for path, (_, *recorded) in zip(paths, described, strict=True):
            if not _is_same(path, recorded):
                return f"other recordings ({path} has changed)"
    return None


def _is_same(path, recorded):
    """Compares a file with [bytes, mtime in ns, SHA-256]; reads it if it was moved."""
    status = path.stat()
    n_bytes, *rest = recorded
    if status.st_size != n_bytes:
        return False
    # Records of earlier versions have the size only.
    return not rest or status.st_mtime_ns == rest[0] or _sha256(path) == rest[1]


def _sources(session, partition):
    """Returns all files that the trials of a session and partition are read from."""
    return [
        path
        for file in session.files[partition]
        for path in (file, *session.companions.get(file, ()))
    ]


def _sha256(path):
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def preprocess(
    data_dir: str | os.PathLike,
    subject: int,
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
      subject: subject number, from 1.
      choices: how to preprocess.
      sessions: the recordings, see `recordings.find_sessions`.
      max_bytes: memory for the blocks in which epochs and covariances are computed;
        beside them come one recording and the result.
      log: called with one line for each recording.

    Raises:
      InputError: recordings, images and choices do not fit each other.
    """
    image_set = layout.find_image_set(data_dir)
    n_images = {name: len(image_set.files(name)) for name in layout.PARTITIONS}
    chosen = _choose_sessions(sessions, choices, layout.subject_name(subject))
    kept: dict[str, list[tuple[int, Trials]]] = {name: [] for name in n_images}
    bar = tqdm(
        desc=layout.subject_name(subject),
        total=sum(len(files) for session in chosen for files in session.files.values()),
        unit="recording",
        disable=None,
    )
    described = {}
    for session in chosen:
        trials = {}
        for partition, files in session.files.items():
            if not files:
                continue
            read = _read_trials(session, partition, choices, max_bytes)
            description = _describe_recording(session, partition)
            described[session.number, partition] = description | read.counts
            log(f"{_names(read.files)}: {_describe(read.counts)}")
            _check_conditions(read, n_images[partition], partition)
            trials[partition] = keep_repetitions(read, partition, choices)
            bar.update(len(files))
        earlier = [trials for pairs in kept.values() for _, trials in pairs]
        _check_axes([*earlier[:1], *trials.values()])
        whiten_session(trials, choices, max_bytes)
        for partition, partition_trials in trials.items():
            kept[partition].append((session.number, partition_trials))
    bar.close()
    for partition, sessions_kept in kept.items():
        if not sessions_kept:
            raise unexpected(
                layout.subject_name(subject),
                f"{partition} trials in one of {len(chosen)} sessions",
                "none",
            )
    record = _record(choices, kept, described)
    record["image_list_sha256"] = layout.image_list_digest(image_set)
    _write(data_dir, subject, choices, n_images, kept, record)


def epoch_recording(recording: Recording, choices: Choices, max_bytes: float) -> Trials:
    """Filters a recording, and cuts and resamples its epochs.

    Args:
      recording: the recording; its EEG is filtered in place.
      choices: how.
      max_bytes: memory for blocks of epochs.

    Raises:
      InputError: no epoch is left, or MNE refuses a choice.
    """
    try:
        return _epoch(recording, choices, max_bytes)
    except InputError:
        raise
    except (ValueError, RuntimeError) as error:
        raise unexpected(
            recording.path, "a recording that can be preprocessed so", error
        ) from error


def keep_repetitions(trials: Trials, partition: str, choices: Choices) -> Trials:
    """Keeps the chosen number of repetitions of each condition, at random.

    Args:
      trials: epochs of a session, in the order of time.
      partition: ``"training"`` or ``"test"``.
      choices: how many, and the seed.

    Returns:
      The trials kept, by ascending condition, repetitions in random order.

    Raises:
      InputError: a condition of the session has fewer.
    """
    wanted = choices.repetitions(partition)
    rows = []
    for condition, mine in _rows_by_condition(trials.conditions):
        if wanted is not None and len(mine) < wanted:
            raise unexpected(
                _names(trials.files),
                f"{wanted} repetitions of image {condition + 1}",
                f"{len(mine)}; ask for fewer or for all",
            )
        rows.append(mine[shuffled(len(mine), choices.seed)[:wanted]])
    return _take(trials, np.concatenate(rows))


def whiten_session(
    trials: dict[str, Trials], choices: Choices, max_bytes: float
) -> None:
    """Whitens the EEG of a session in place.

    Args:
      trials: partition → epochs of the session, by ascending condition; a session
        may lack a partition.
      choices: which covariance.
      max_bytes: memory for blocks of covariances.

    Raises:
      InputError: there are too few repetitions, or the covariance has no inverse.
    """
    if choices.mvnn == "off":
        return
    both = choices.mvnn_partitions == "both"
    used = [name for name in trials if both or name == "training"]
    if not used:
        raise unexpected(
            f"{_names(trials['test'].files)}: MVNN",
            "training trials in the same session to whiten by",
            "none",
        )
    files = _names([file for partition in used for file in trials[partition].files])
    try:
        covariances = [
            whitening.noise_covariance(
                _groups(trials[partition]), choices.mvnn, max_bytes
            )
            for partition in used
        ]
        whitener = whitening.whitener(np.mean(covariances, 0))
    except ValueError as error:
        raise InputError(f"{files}: MVNN: {error}") from error
    for partition_trials in trials.values():
        whitening.whiten(partition_trials.eeg, whitener)


def shuffled(n: int, seed: int) -> np.ndarray:
    """Returns a permutation of 0 … n − 1, scikit-learn's shuffle of arange(n)."""
    order = np.arange(n)
    np.random.RandomState(seed).shuffle(order)
    return order


def merge_sessions(
    sessions: Sequence[Trials], n_images: int, partition: str, choices: Choices
) -> tuple[np.ndarray, np.ndarray]:
    """Merges the trials of all sessions; frees their EEG on the way.

    Args:
      sessions: trials kept of each session, ascending.
      n_images: images of the partition.
      partition: its name, for messages.
      choices: whether to keep all repetitions, and the seed.

    Returns:
      (f64[image, repetition, channel, time], i64[image, repetition, 2]: number of the
      session in `sessions` and row of its trials).

    Raises:
      InputError: an image has no trial, or another number of them than others have.
    """
    origin = _origins([trials.conditions for trials in sessions], n_images)
    counts = np.array([len(mine) for mine in origin])
    files = _names([file for trials in sessions for file in trials.files])
    if not counts.all():
        raise unexpected(
            files,
            f"trials of all {n_images} {partition} images",
            f"none of {np.sum(counts == 0)}, first of image {np.argmin(counts) + 1}",
        )
    n_repetitions = counts.min()
    if choices.repetitions(partition) is None:
        origin = [
            mine[np.sort(shuffled(len(mine), choices.seed)[:n_repetitions])]
            for mine in origin
        ]
    elif counts.max() != n_repetitions:
        raise unexpected(
            files,
            f"as many repetitions of each {partition} image",
            (
                f"{n_repetitions} of image {np.argmin(counts) + 1} and {counts.max()} "
                "of "
                f"image {np.argmax(counts) + 1}; a session may be missing"
            ),
        )
    order = shuffled(n_repetitions, choices.seed)
    origin = np.stack(origin)[:, order]
    eeg = np.empty((n_images, n_repetitions, *sessions[0].eeg.shape[1:]))
    for number, trials in enumerate(sessions):
        here = origin[..., 0] == number
        eeg[here] = trials.eeg[origin[here][:, 1]]
    return eeg, origin


def _choose_sessions(sessions, choices, name):
    numbers = [session.number for session in sessions]
    if choices.sessions is None:
        return sessions
    missing = [str(number) for number in choices.sessions if number not in numbers]
    if missing:
        raise unexpected(
            name,
            f"the sessions {', '.join(missing)}",
            ", ".join(map(str, numbers)) or "none",
        )
    return [session for session in sessions if session.number in choices.sessions]


def _read_trials(session, partition, choices, max_bytes):
    """Returns the trials of all files of a session and partition, in turn."""
    parts = []
    for file in session.files[partition]:
        recording = session.read(file, partition, choices.channels)
        parts.append(epoch_recording(recording, choices, max_bytes))
    _check_axes(parts)
    counts = {
        name: sum(part.counts[name] for part in parts) for name in parts[0].counts
    }
    return dataclasses.replace(
        parts[0],
        eeg=np.concatenate([part.eeg for part in parts]),
        conditions=np.concatenate([part.conditions for part in parts]),
        onsets=np.concatenate([part.onsets for part in parts]),
        file_rows=np.repeat(np.arange(len(parts)), [len(part.eeg) for part in parts]),
        files=sum((part.files for part in parts), ()),
        counts=counts,
    )


def _epoch(recording, choices, max_bytes):
    raw = recording.raw
    sfreq_hz = raw.info["sfreq"]
    if sfreq_hz < choices.sfreq_hz:
        raise unexpected(
            recording.path,
            f"a sampling rate of at least {choices.sfreq_hz:g} Hz",
            f"{sfreq_hz:g} Hz",
        )
    if choices.bandpass_hz is not None:
        raw.filter(*choices.bandpass_hz, verbose="ERROR")
    n_samples = round((choices.epoch_s[1] - choices.epoch_s[0]) * sfreq_hz) + 1
    n_bytes = len(raw.ch_names) * n_samples * 8 * _ARRAYS_A_BLOCK
    step = max(1, int(max_bytes // n_bytes))
    parts, kept, n_rejected = [], [], 0
    for start in range(0, len(recording.onsets), step):
        onsets = recording.onsets[start : start + step] + raw.first_samp
        epochs = _cut(raw, onsets, choices)
        n_rejected += sum(
            bool(log) and not set(log) & {"NO_DATA", "TOO_SHORT"}
            for log in epochs.drop_log
        )
        if len(epochs):
            epochs.resample(choices.sfreq_hz, verbose="ERROR")
            times_s = epochs.times
            parts.append(epochs.get_data(copy=False))
            kept.append(epochs.selection + start)
    if not parts:
        raise unexpected(
            recording.path,
            "epochs to keep",
            (
                f"{n_rejected} of {len(recording.onsets)} rejected and the others "
                "beyond "
                "the recording"
            ),
        )
    rows = np.concatenate(kept)
    counts = {
        "trials": len(recording.onsets),
        "targets": recording.n_targets,
        "rejected": int(n_rejected),
        "outside": len(recording.onsets) - len(rows) - int(n_rejected),
    }
    return Trials(
        eeg=np.concatenate(parts),
        conditions=recording.conditions[rows],
        onsets=recording.onsets[rows],
        file_rows=np.zeros_like(rows),
        files=(recording.path,),
        ch_names=tuple(raw.ch_names),
        times_s=times_s,
        raw_sfreq_hz=sfreq_hz,
        counts=counts,
    )


def _cut(raw, onsets, choices):
    events = np.stack([onsets, np.zeros_like(onsets), np.ones_like(onsets)], 1)
    reject = None
    if choices.reject_uv is not None:
        reject = {"eeg": choices.reject_uv * 1e-6}
    return mne.Epochs(
        raw,
        events,
        tmin=choices.epoch_s[0],
        tmax=choices.epoch_s[1],
        baseline=choices.baseline_s,
        reject=reject,
        # Marks of bad segments, which BrainVision and BIDS may hold, leave out trials.
        preload=True,
        on_outside="ignore",
        verbose="ERROR",
    )


def _rows_by_condition(conditions):
    """Yields (condition, its rows in order), by ascending condition."""
    order = np.argsort(conditions, kind="stable")
    values, first = np.unique(conditions[order], return_index=True)
    yield from zip(values.tolist(), np.split(order, first[1:]), strict=True)


def _groups(trials):
    """Returns epochs by condition: f64[condition, repetition, channel, time] each."""
    values, counts = np.unique(trials.conditions, return_counts=True)
    counts_by_trial = np.repeat(counts, counts)
    return [
        trials.eeg[counts_by_trial == n].reshape(-1, n, *trials.eeg.shape[1:])
        if len(np.unique(counts)) > 1
        else trials.eeg.reshape(len(values), n, *trials.eeg.shape[1:])
        for n in np.unique(counts)
    ]


def _origins(conditions_by_session, n_images):
    """Returns, for each image, i64[trial, (session, row)] in the order of sessions."""
    sessions = np.concatenate(
        [np.full(len(c), number) for number, c in enumerate(conditions_by_session)]
    )
    rows = np.concatenate([np.arange(len(c)) for c in conditions_by_session])
    conditions = np.concatenate(conditions_by_session)
    pairs = np.stack([sessions, rows], 1)[np.argsort(conditions, kind="stable")]
    return np.split(pairs, np.cumsum(np.bincount(conditions, minlength=n_images))[:-1])


def _take(trials, rows):
    return dataclasses.replace(
        trials,
        eeg=trials.eeg[rows],
        conditions=trials.conditions[rows],
        onsets=trials.onsets[rows],
        file_rows=trials.file_rows[rows],
    )


def _check_conditions(trials, n_images, partition):
    largest = trials.conditions.max()
    if largest >= n_images:
        raise unexpected(
            _names(trials.files),
            f"triggers of the {n_images} {partition} images",
            largest + 1,
        )


def _check_axes(parts):
    """Checks that channels and sampling rates, and so times, are the same."""
    for part in parts[1:]:
        if part.ch_names != parts[0].ch_names:
            raise unexpected(
                part.files[0],
                f"the channels of {parts[0].files[0]} ({', '.join(parts[0].ch_names)})",
                ", ".join(part.ch_names),
            )
        if part.raw_sfreq_hz != parts[0].raw_sfreq_hz:
            raise unexpected(
                part.files[0],
                (
                    f"the sampling rate of {parts[0].files[0]}, "
                    f"{parts[0].raw_sfreq_hz:g} "
                    "Hz"
                ),
                f"{part.raw_sfreq_hz:g} Hz",
            )


def _names(files: Sequence[pathlib.Path]) -> str:
    shown = [str(file) for file in files[:1]]
    return ", ".join(shown) + (f" and {len(files) - 1} more" if len(files) > 1 else "")


def _describe(counts):
    left_out = [f"{n} {name}" for name, n in counts.items() if n and name != "trials"]
    return f"{counts['trials']} trials" + (
        f" ({', '.join(left_out)} left out)" if left_out else ""
    )


def _record(choices, kept, described):
    """Returns what preprocessing.json says.

    `described` has what it says of each (session, partition).
    """
    trials = kept["training"][0][1]
    return {
        "format": 1,
        "choices": choices.to_dict(),
        "unit": "V" if choices.mvnn == "off" else "whitened, no unit",
        "ch_names": list(trials.ch_names),
        "versions": {name: importlib.metadata.version(name) for name in _PACKAGES},
        "recordings": [
            described[number, partition]
            for partition, sessions in kept.items()
            for number, _ in sessions
        ],
    }


def _describe_recording(session, partition):
    files = []
    for path in _sources(session, partition):
        status = path.stat()
        files.append([path.name, status.st_size, status.st_mtime_ns, _sha256(path)])
    return {
        "session": session.number,
        "partition": partition,
        **session.options,
        "files": files,
    }


def _write(data_dir, subject, choices, n_images, kept, record):
    folder, record_name = os.path.split(layout.record_path(data_dir, subject))
    folder = pathlib.Path(folder)
    n_bytes = sum(
        trials.eeg.nbytes for sessions in kept.values() for _, trials in sessions
    )
    with scratch_dir(folder.parent, folder.name) as scratch:
        check_room(scratch, n_bytes)
        for partition in layout.PARTITIONS:
            numbers, sessions = zip(*kept.pop(partition), strict=True)
            eeg, origin = merge_sessions(
                sessions, n_images[partition], partition, choices
            )
            _write_trials(
                scratch / f"trials_{partition}.csv", numbers, sessions, origin
            )
            axes = Axes(sessions[0].ch_names, sessions[0].times_s)
            # The trials are no longer needed, and the result is copied in writing.
            del sessions
            layout.write_eeg(
                scratch, subject, partition, layout.PreprocessedEEG(eeg, axes)
            )
            record[f"{partition}_repetitions"] = eeg.shape[1]
            del eeg
        (scratch / record_name).write_text(
            json.dumps(record, indent=2) + "\n", encoding="utf-8"
        )
        folder.mkdir(exist_ok=True)
        new = {
            partition: layout.eeg_path(scratch, subject, partition)
            for partition in layout.PARTITIONS
        }
        # While one of the EEG files is missing, the folder counts as incomplete.
        (folder / new["test"].name).unlink(missing_ok=True)
        for path in (
            scratch / record_name,
            *sorted(scratch.glob("trials_*.csv")),
            new["training"],
            new["test"],
        ):
            os.replace(path, folder / path.name)


def _write_trials(path, numbers, sessions, origin):
    with open(path, "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(("image", "repetition", "session", "file", "onset_sample"))
        for image, repetitions in enumerate(origin.tolist()):
            for repetition, (session, row) in enumerate(repetitions):
                trials = sessions[session]
                file_name = trials.files[trials.file_rows[row]].name
                writer.writerow(
                    (
                        image + 1,
                        repetition,
                        numbers[session],
                        file_name,
                        trials.onsets[row],
                    )
                )
