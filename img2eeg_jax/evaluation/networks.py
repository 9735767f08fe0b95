"""Which networks are scored against whose EEG."""

import functools
import os
import pathlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from img2eeg_jax.checkpoints.load import load_whole
from img2eeg_jax.checkpoints.pretrained import is_on_hub
from img2eeg_jax.data import layout
from img2eeg_jax.data.layout import Label
from img2eeg_jax.errors import unexpected
from img2eeg_jax.prediction.encoder import Encoder
from img2eeg_jax.prediction.subjects import SubjectEncoders

# Whose EEG → what gives the network; None for the subject that it was trained on, or
# the only one of the data.
Networks = Mapping[Label | None, Callable[[], Encoder]]


def networks_of(
    encoder: Any, which: str = "best", subjects: Sequence[Label] = ()
) -> Networks:
    """Returns the networks to be scored, loaded when they are asked for.

    Args:
      encoder: an `Encoder`, `SubjectEncoders`, or what `load_checkpoint` takes; or a
        folder with one of these for each subject, as ``sub-01``.
      which: "best" or "last" checkpoints.
      subjects: against whose EEG; () for each network's own. One subject's network may
        be scored against others' EEG.

    Raises:
      InputError: there is no such checkpoint, or none of a subject.
    """
    if isinstance(encoder, SubjectEncoders):
        return _some(encoder.encoders, subjects, "`encoder`")
    if isinstance(encoder, Encoder):
        return {whose: lambda: encoder for whose in subjects or (None,)}
    if not is_on_hub(encoder):
        folders = layout.labelled_folders(pathlib.Path(encoder))
        if folders:
            return {
                whose: functools.partial(_load, folder, which)
                for whose, folder in _chosen(folders, subjects, encoder).items()
            }
    whole = load_whole(encoder, which)
    if whole.description.subjects:
        return _some(SubjectEncoders([whole]).encoders, subjects, encoder)
    alone = Encoder(whole)
    return {whose: lambda: alone for whose in subjects or (None,)}


def _load(folder: str | os.PathLike, which: str) -> Encoder:
    return Encoder(load_whole(folder, which))


def _some(
    encoders: Mapping[Label, Encoder], subjects: Sequence[Label], where: Any
) -> Networks:
    return {
        whose: functools.partial(_same, encoder)
        for whose, encoder in _chosen(encoders, subjects, where).items()
    }


def _same(encoder: Encoder) -> Encoder:
    return encoder


def _chosen(
    known: Mapping[Label, Any], subjects: Sequence[Label], where: Any
) -> Mapping[Label, Any]:
    for whose in subjects:
        if whose not in known:
            names = ", ".join(map(str, known))
            raise unexpected(where, f"subjects out of {names}", whose)
    return {whose: known[whose] for whose in subjects or known}
