"""Epochs: a recording is filtered, cut around image onsets and resampled, in MNE."""

import dataclasses
import pathlib
from collections.abc import Sequence

import mne
import numpy as np

from img2eeg_jax.axes import VOLTS, Axes
from img2eeg_jax.data.preprocessing.choices import Choices
from img2eeg_jax.data.sources.session import Recording, Session
from img2eeg_jax.errors import expecting, unexpected

# Arrays of a block's size that MNE holds at a time while it cuts and resamples epochs.
_ARRAYS_A_BLOCK = 8


@dataclasses.dataclass(frozen=True)
class Trials:
    """Epochs of one session and partition.

    Attributes:
      eeg: f64[trial, channel, time].
      axes: channels, times from image onset, and unit.
      conditions: i64[trial], row of the image, from 0.
      onsets: i64[trial], sample of the raw recording at which the image came on.
      file_rows: i64[trial], row of its recording in `files`.
      files: the recordings.
      raw_sfreq_hz: sampling rate of the recording.
      counts: trials found, left out as targets, beyond the recording's ends, rejected.
    """

    eeg: np.ndarray
    axes: Axes
    conditions: np.ndarray
    onsets: np.ndarray
    file_rows: np.ndarray
    files: tuple[pathlib.Path, ...]
    raw_sfreq_hz: float
    counts: dict[str, int]

    @property
    def where(self) -> str:
        """The recordings, for messages."""
        return names_of(self.files)

    def take(self, rows: np.ndarray) -> "Trials":
        """Returns the trials of some rows."""
        return dataclasses.replace(
            self,
            eeg=self.eeg[rows],
            conditions=self.conditions[rows],
            onsets=self.onsets[rows],
            file_rows=self.file_rows[rows],
        )


def names_of(files: Sequence[pathlib.Path]) -> str:
    """Returns the first of some files and how many more there are, for messages."""
    shown = [str(file) for file in files[:1]]
    return ", ".join(shown) + (f" and {len(files) - 1} more" if len(files) > 1 else "")


def read_trials(
    session: Session, partition: str, choices: Choices, max_bytes: float
) -> Trials:
    """Returns the trials of all recordings of a session and partition, in turn.

    Args:
      session: the session; it has recordings of the partition.
      partition: ``"training"`` or ``"test"``.
      choices: how to preprocess.
      max_bytes: memory for blocks of epochs.

    Raises:
      InputError: as `epoch_recording`, or the recordings differ in channels or rates.
    """
    parts = []
    for file in session.files[partition]:
        recording = session.read(file, partition, choices.channels)
        parts.append(epoch_recording(recording, choices, max_bytes))
    check_alike(parts)
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


def check_alike(parts: Sequence[Trials]) -> None:
    """Checks that channels and sampling rates, and so times, are the same.

    Raises:
      InputError: they are not.
    """
    for part in parts[1:]:
        first, file = parts[0], parts[0].files[0]
        if part.axes.ch_names != first.axes.ch_names:
            raise unexpected(
                part.files[0],
                f"the channels of {file} ({', '.join(first.axes.ch_names)})",
                ", ".join(part.axes.ch_names),
            )
        if part.raw_sfreq_hz != first.raw_sfreq_hz:
            raise unexpected(
                part.files[0],
                f"the sampling rate of {file}, {first.raw_sfreq_hz:g} Hz",
                f"{part.raw_sfreq_hz:g} Hz",
            )


def epoch_recording(recording: Recording, choices: Choices, max_bytes: float) -> Trials:
    """Filters a recording, and cuts and resamples its epochs.

    Args:
      recording: the recording; its EEG is filtered in place.
      choices: how.
      max_bytes: memory for blocks of epochs.

    Raises:
      InputError: no epoch is left, or MNE refuses a choice.
    """
    with expecting(
        recording.path,
        "a recording that can be preprocessed so",
        ValueError,
        RuntimeError,
    ):
        return _epoch(recording, choices, max_bytes)


def _epoch(recording: Recording, choices: Choices, max_bytes: float) -> Trials:
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
            f"{n_rejected} of {len(recording.onsets)} rejected and the others beyond "
            "the recording",
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
        axes=Axes(raw.ch_names, times_s, VOLTS),
        conditions=recording.conditions[rows],
        onsets=recording.onsets[rows],
        file_rows=np.zeros_like(rows),
        files=(recording.path,),
        raw_sfreq_hz=sfreq_hz,
        counts=counts,
    )


def _cut(raw: mne.io.BaseRaw, onsets: np.ndarray, choices: Choices) -> mne.Epochs:
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
        # Loading leaves out trials in segments that BrainVision or BIDS mark as bad.
        preload=True,
        on_outside="ignore",
        verbose="ERROR",
    )
