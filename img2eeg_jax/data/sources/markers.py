"""When which image came on: triggers of a stim channel, and markers by their type."""

import collections
import dataclasses
import pathlib
import re
from collections.abc import Sequence

import mne
import numpy as np

from img2eeg_jax.errors import counted, unexpected

# Above this number float64 does not hold every integer.
_LARGEST_TRIGGER = 2**53
# Triggers that are nearer to each other, in samples, are a port that has not settled.
_SHORTEST_TRIGGER = 2
# BrainVision's type of markers that segments begin with.
_SEGMENT = "New Segment"


@dataclasses.dataclass(frozen=True)
class Marker:
    """A marker of a recording.

    Attributes:
      kind: its type, such as "Stimulus".
      name: what it is called, such as "S 12".
      sample: where it begins, from the recording's start.
      n_samples: how long it is.
    """

    kind: str
    name: str
    sample: int
    n_samples: int


@dataclasses.dataclass(frozen=True)
class MarkerRule:
    """Which markers are the onsets of images.

    Attributes:
      kind: the type of the markers that are; of a stim channel, all are.
      ignored: numbers that are no images, such as that of a fixation cross.
    """

    kind: str = "Stimulus"
    ignored: tuple[int, ...] = ()

    def options(self) -> dict[str, str | list[int]]:
        """Returns the rule as JSON keeps it, under the names of its flags."""
        return {"marker_type": self.kind, "ignore_markers": list(self.ignored)}

    def apply(self, events: np.ndarray) -> tuple[np.ndarray, int]:
        """Returns the events that are not ignored, and how many are."""
        is_ignored = np.isin(events[:, 1], self.ignored)
        return events[~is_ignored], int(is_ignored.sum())


DEFAULT = MarkerRule()


def of_stim_values(stim: np.ndarray, path: pathlib.Path) -> np.ndarray:
    """Finds the triggers of a stim channel: each change to another value than 0.

    A trigger may be held for any number of samples, and begin at the first one. In
    recordings whose triggers take one sample, as the published, it is the same as MNE's
    `find_events`.

    Args:
      stim: f[sample].
      path: of the recording, for messages.

    Returns:
      i64[event, (sample, trigger)].

    Raises:
      InputError: the channel holds something else than integers from 0, or triggers
        that follow each other at once.
    """
    # NaN compares as False.
    is_trigger = (stim >= 0) & (stim <= _LARGEST_TRIGGER) & (stim == np.rint(stim))
    if not is_trigger.all():
        raise unexpected(
            path,
            "triggers, integers from 0, on the stim channel",
            f"{stim[~is_trigger][0]:g}",
        )
    triggers = stim.astype(np.int64)
    onsets = np.flatnonzero((np.diff(triggers, prepend=0) != 0) & (triggers != 0))
    short = onsets[:-1][np.diff(onsets) < _SHORTEST_TRIGGER]
    if len(short):
        values = triggers[short[0] : short[0] + _SHORTEST_TRIGGER]
        raise unexpected(
            path,
            f"triggers at least {_SHORTEST_TRIGGER} samples apart",
            f"{', '.join(map(str, values))} from sample {short[0]} on",
        )
    return np.stack([onsets, triggers[onsets]], 1)


def note_on_held(stim: np.ndarray) -> tuple[str, ...]:
    """Returns a line on what a stim channel f[sample] without zeros cannot tell."""
    held = (stim[1:] != stim[:-1]) & (stim[1:] != 0) & (stim[:-1] != 0)
    if not held.any():
        return ()
    changes = counted(held.sum(), "change")
    return (
        f"{changes} of trigger without 0 between; an image that comes twice in a row "
        "is one trial then",
    )


def of_markers(
    found: Sequence[Marker], kind: str, path: pathlib.Path
) -> tuple[np.ndarray, int]:
    """Reads markers such as `S 12` of one type.

    Args:
      found: all markers of the recording.
      kind: the type of those that are triggers; their names end with a number.
      path: of the recording, for messages.

    Returns:
      (i64[event, (sample, trigger)], how many markers are no triggers; those that
      segments begin with do not count).

    Raises:
      InputError: there are markers, and none is a trigger; or a number is too large.
    """
    others = [marker for marker in found if marker.kind != _SEGMENT]
    events = [
        (marker.sample, int(number[0]))
        for marker in others
        if marker.kind.casefold() == kind.casefold()
        and (number := re.search(r"\d+$", marker.name))
    ]
    if others and not events:
        counts = collections.Counter(marker.kind for marker in others)
        raise unexpected(
            path,
            f"image onsets, markers of type {kind} whose names end with a number",
            ", ".join(f"{n} of type {name}" for name, n in sorted(counts.items()))
            + f", such as {others[0].name}; `marker_type` says which type to take",
        )
    largest = max((trigger for _, trigger in events), default=0)
    if largest > _LARGEST_TRIGGER:
        raise unexpected(
            path, "BrainVision markers that are numbers of images", largest
        )
    return np.array(events, np.int64).reshape(-1, 2), len(others) - len(events)


def as_annotations(found: Sequence[Marker], sfreq_hz: float) -> mne.Annotations:
    """Returns markers as MNE's annotations, named `TYPE/NAME`."""
    return mne.Annotations(
        [marker.sample / sfreq_hz for marker in found],
        [marker.n_samples / sfreq_hz for marker in found],
        [f"{marker.kind}/{marker.name}" for marker in found],
    )
