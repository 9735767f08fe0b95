"""Marks that leave trials out: segments that are bad, and breaks of a recording."""

import re
from collections.abc import Iterable

import mne
import numpy as np

# Descriptions that annotations of bad segments, and of breaks, are given here; MNE
# takes all that begin with BAD for bad.
BAD, BREAK = "BAD", "BAD_break"
# MNE's BAD_..., BrainVision's Bad Interval, and MNE's marks written as comments.
_BAD = re.compile(r"(?:Comment/)?BAD(?:[_ ].*)?", re.IGNORECASE | re.DOTALL)
# BrainVision's pauses, EEGLAB's cuts, MNE's joints.
_BREAK = re.compile(r"New Segment(?:/.*)?|(?:EDGE )?boundary", re.IGNORECASE)

# Seconds from the recording's start, duration in seconds, and name.
Mark = tuple[float, float, str]


def leaves_out(description: str) -> bool:
    """Tells whether what overlaps a mark is no trial.

    Any other name, such as badger, decides nothing.
    """
    return bool(_BAD.fullmatch(description) or _BREAK.fullmatch(description))


def of_annotations(annotations: mne.Annotations) -> list[Mark]:
    """Returns a recording's annotations, from its start."""
    columns = (annotations.onset, annotations.duration, annotations.description)
    return list(zip(*columns, strict=True))


def known(marks: Iterable[Mark], sfreq_hz: float) -> mne.Annotations:
    """Returns the marks that leave trials out, as MNE's epochs understand them.

    Args:
      marks: of a recording; those count of which `leaves_out` is true.
      sfreq_hz: its sampling rate.

    Returns:
      Annotations named `BAD`, and breaks `BREAK`. These have no duration: EEGLAB's is
      that of what was cut out. An epoch that holds samples from before and after one
      overlaps it.
    """
    onsets_s, durations_s, names = [], [], []
    for onset_s, duration_s, name in filter(lambda mark: leaves_out(mark[2]), marks):
        is_break = bool(_BREAK.fullmatch(name))
        # On a sample, so that an epoch that begins with it does not overlap it.
        onsets_s.append(np.rint(onset_s * sfreq_hz) / sfreq_hz)
        durations_s.append(0.0 if is_break else duration_s)
        names.append(BREAK if is_break else BAD)
    return mne.Annotations(onsets_s, durations_s, names)
