"""What ``preprocessing.json`` says: how EEG was made, from what, and is it stale?"""

import importlib.metadata
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from img2eeg_jax import provenance
from img2eeg_jax.axes import Axes
from img2eeg_jax.data import layout
from img2eeg_jax.data.preprocessing.choices import Choices
from img2eeg_jax.data.sources import markers
from img2eeg_jax.data.sources.session import Session
from img2eeg_jax.provenance import SourceFile

_PACKAGES = ("img2eeg_jax", "mne", "numpy", "scipy")


def make_record(
    choices: Choices,
    axes: Axes,
    recordings: Sequence[Mapping[str, Any]],
    image_set: layout.ImageSet,
    whiteners: Mapping[layout.Label, np.ndarray],
) -> dict[str, Any]:
    """Returns the record of a preprocessing.

    Format 1 had no whiteners.

    Args:
      choices: how it was done.
      axes: of what came out.
      recordings: from `describe_recording`, with the counts of trials.
      image_set: the images whose EEG it is.
      whiteners: session → f64[channel, channel], what whitened its EEG, 1 / V; empty if
        nothing did. `data.unwhitening` reads them.
    """
    return {
        "format": 2,
        "choices": choices.to_dict(),
        "unit": layout.RECORDED_UNITS[axes.unit],
        "ch_names": list(axes.ch_names),
        "versions": {name: importlib.metadata.version(name) for name in _PACKAGES},
        "recordings": list(recordings),
        "image_list_sha256": layout.image_list_digest(image_set),
        "whitening": [
            {"session": session, "matrix": whitener.tolist()}
            for session, whitener in whiteners.items()
        ],
    }


def describe_recording(session: Session, partition: str) -> dict[str, Any]:
    """Returns what the record says of the recordings of a session and partition."""
    files = [
        SourceFile.of(path, with_sha256=True).to_list()
        for path in _sources(session, partition)
    ]
    return {
        "session": session.number,
        "partition": partition,
        **session.options,
        "files": files,
    }


def difference(
    record: dict[str, Any], choices: Choices, sessions: Sequence[Session]
) -> str | None:
    """Returns how EEG was preprocessed otherwise, in words, or None if it was not.

    Args:
      record: from `layout.read_record`.
      choices: what it is compared with.
      sessions: the recordings that are there now; if none, they are not compared.
    """
    # Choices that came later were the default before.
    recorded = Choices().to_dict() | record.get("choices", {})
    other = provenance.difference(recorded, choices.to_dict())
    if other or not sessions:
        return other
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
    found = (
        _other_recording(made_from[key], session, key[1])
        for key, session in present.items()
    )
    return next(filter(None, found), None)


def _other_recording(
    recorded: Mapping[str, Any], session: Session, partition: str
) -> str | None:
    """Returns how a session's recordings or their trials differ, in words, or None."""
    # The first records do not say by which markers, nor which pictures are ignored.
    defaults = {**markers.DEFAULT.options(), "ignore_images": []}
    other = provenance.difference(defaults | dict(recorded), session.options)
    if other:
        return other
    files = {path.name: path for path in _sources(session, partition)}
    described = recorded.get("files", [])
    if files.keys() != {name for name, *_ in described}:
        return f"other recordings in session {session.number}"
    # The first records tell of each file its name and size only.
    changed = provenance.changed_file(described, files)
    return changed and f"other recordings ({files[changed]} has changed)"


def _sources(session: Session, partition: str) -> list[pathlib.Path]:
    """Returns all files that the trials of a session and partition are read from."""
    return [
        path
        for file in session.files[partition]
        for path in (file, *session.companions.get(file, ()))
    ]
