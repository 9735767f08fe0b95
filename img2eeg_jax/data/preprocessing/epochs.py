"""Epochs: a recording is filtered, cut around image onsets and resampled, in MNE."""

import collections
import dataclasses
import pathlib
from collections.abc import Sequence

import mne
import numpy as np

from img2eeg_jax.axes import VOLTS, Axes
from img2eeg_jax.data.preprocessing import resampling
from img2eeg_jax.data.preprocessing.amplitude import check_amplitude, to_volts
from img2eeg_jax.data.preprocessing.choices import Choices
from img2eeg_jax.data.sources import marks
from img2eeg_jax.data.sources.session import Recording, Session
from img2eeg_jax.errors import expecting, unexpected

# Arrays of a block's size that MNE holds at a time while it cuts and resamples epochs.
_ARRAYS_A_BLOCK = 8
# Why found trials are left out.
REASONS = ("rejected", "outside", "marked as bad", "across a break")
# MNE's reasons for leaving out trials that reach beyond the ends of a recording.
_OUTSIDE = frozenset({"NO_DATA", "TOO_SHORT"})


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
      counts: trials found, and how many were left out as what: targets and other
        events, beyond the recording's ends, marked as bad, across a break, rejected.
      notes: lines on what else was left out.
      whitener: f64[channel, channel], what whitened them, 1 / V; None if nothing did.
    """

    eeg: np.ndarray
    axes: Axes
    conditions: np.ndarray
    onsets: np.ndarray
    file_rows: np.ndarray
    files: tuple[pathlib.Path, ...]
    raw_sfreq_hz: float
    counts: dict[str, int]
    notes: tuple[str, ...] = ()
    whitener: np.ndarray | None = None

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

    def alike(self, other: "Trials") -> "Trials":
        """Returns the trials with channels in the order, and the names, of others.

        Raises:
          InputError: they have other channels or times.
        """
        mine, others, file = self.axes, other.axes, other.files[0]
        if not mine.has_channels_of(others):
            raise unexpected(
                self.files[0],
                f"the channels of {file} ({', '.join(others.ch_names)})",
                ", ".join(mine.ch_names),
            )
        if not mine.has_times_of(others):
            raise unexpected(
                self.files[0],
                f"the {len(others.times_s)} times of {file}",
                f"{len(mine.times_s)} from a sampling rate of {self.raw_sfreq_hz:g} Hz",
            )
        if mine.ch_names == others.ch_names:
            return self
        eeg = mine.take(self.eeg, others.ch_names)
        axes = dataclasses.replace(mine, ch_names=others.ch_names)
        return dataclasses.replace(self, eeg=eeg, axes=axes)


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
      InputError: as `epoch_recording`, or the recordings differ in channels or times.
    """
    parts: list[Trials] = []
    for file in session.files[partition]:
        recording = session.read(file, partition, choices.channels)
        part = epoch_recording(recording, choices, max_bytes)
        parts.append(part.alike(parts[0]) if parts else part)
    counts: collections.Counter[str] = collections.Counter()
    for part in parts:
        counts.update(part.counts)
    return dataclasses.replace(
        parts[0],
        eeg=np.concatenate([part.eeg for part in parts]),
        conditions=np.concatenate([part.conditions for part in parts]),
        onsets=np.concatenate([part.onsets for part in parts]),
        file_rows=np.repeat(np.arange(len(parts)), [len(part.eeg) for part in parts]),
        files=sum((part.files for part in parts), ()),
        counts=dict(counts),
        notes=sum((part.notes for part in parts), ()),
    )


def epoch_recording(recording: Recording, choices: Choices, max_bytes: float) -> Trials:
    """Filters a recording, and cuts and resamples its epochs.

    Args:
      recording: the recording; its EEG is filtered in place.
      choices: how.
      max_bytes: memory for blocks of epochs.

    Raises:
      InputError: a choice does not fit the recording, its amplitude is none of EEG, or
        no epoch is left.
    """
    raw, path = recording.raw, recording.path
    choices.check_for(raw.info["sfreq"], path)
    if choices.raw_unit is None:
        check_amplitude(raw, path)
    else:
        to_volts(raw, choices.raw_unit)
    with expecting(
        path, "a recording that can be preprocessed so", ValueError, RuntimeError
    ):
        if choices.bandpass_hz is not None:
            # A step where the recorder was paused must not ring.
            raw.filter(
                *choices.bandpass_hz, skip_by_annotation=marks.BREAK, verbose="ERROR"
            )
        return _epoch(recording, choices, max_bytes)


def _epoch(recording: Recording, choices: Choices, max_bytes: float) -> Trials:
    raw = recording.raw
    sfreq_hz = raw.info["sfreq"]
    n_samples = round((choices.epoch_s[1] - choices.epoch_s[0]) * sfreq_hz) + 1
    n_bytes = len(raw.ch_names) * n_samples * 8 * _ARRAYS_A_BLOCK
    step = max(1, int(max_bytes // n_bytes))
    eeg, n_kept, kept = np.empty(0), 0, []
    counter: collections.Counter[str] = collections.Counter()
    for start in range(0, len(recording.onsets), step):
        onsets = recording.onsets[start : start + step] + raw.first_samp
        epochs = _cut(raw, onsets, choices)
        counter.update(filter(None, map(_why_left_out, epochs.drop_log)))
        if len(epochs):
            block, times_s = resampling.on_grid(epochs, choices)
            if not kept:
                eeg = np.empty((len(recording.onsets), *block.shape[1:]))
            eeg[n_kept : n_kept + len(block)] = block
            n_kept += len(block)
            kept.append(epochs.selection + start)
        # Its block of the recording is freed before the next one is cut.
        del epochs
    counts = {name: counter[name] for name in REASONS}
    if not kept:
        found = ", ".join(f"{n} {name}" for name, n in counts.items() if n)
        raise unexpected(
            recording.path, f"epochs of {len(recording.onsets)} trials", found
        )
    rows = np.concatenate(kept)
    return Trials(
        eeg=eeg[:n_kept],
        axes=Axes(raw.ch_names, times_s, VOLTS),
        conditions=recording.conditions[rows],
        onsets=recording.onsets[rows],
        file_rows=np.zeros_like(rows),
        files=(recording.path,),
        raw_sfreq_hz=sfreq_hz,
        counts={"trials": len(recording.onsets), **recording.left_out, **counts},
        notes=_notes(recording, choices),
    )


def _notes(recording: Recording, choices: Choices) -> tuple[str, ...]:
    """Returns the recording's lines, and one on channels that were not named."""
    if choices.channels != "all" or not recording.no_eeg:
        return recording.notes
    names = ", ".join(recording.no_eeg)
    line = f"`channels=all` leaves out what is no EEG by type or name: {names}"
    return (*recording.notes, line)


def _why_left_out(log: tuple[str, ...]) -> str | None:
    """Returns why a trial was left out, from MNE's log of it; None if it was not."""
    reasons = set(log)
    if not reasons:
        return None
    if reasons & _OUTSIDE:
        return "outside"
    if marks.BREAK in reasons:
        return "across a break"
    # MNE names the channels that it rejects by.
    return "marked as bad" if marks.BAD in reasons else "rejected"


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
        # Loading leaves out trials that `marks.known` marks.
        preload=True,
        on_outside="ignore",
        verbose="ERROR",
    )
