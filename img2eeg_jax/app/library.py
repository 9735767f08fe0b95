"""The encoders that the page offers: found in folders, loaded when chosen, kept."""

import collections
import pathlib
from collections.abc import Mapping, Sequence

from img2eeg_jax.checkpoints import pretrained
from img2eeg_jax.checkpoints.load import load_whole
from img2eeg_jax.data import layout
from img2eeg_jax.errors import InputError, unexpected
from img2eeg_jax.prediction.encoder import MEAN, Encoder
from img2eeg_jax.prediction.streaming import Predictor

FOLDERS = ("runs", "weights")

# Encoders that are kept in memory; the one that was used longest ago goes.
_KEPT = 3
# How deep below runs/ and weights/ a checkpoint may lie.
_DEPTH = 3


class Library:
    """Encoders by name, and of each the subjects that it has."""

    def __init__(self, folders: Mapping[str, str]):
        """Offers checkpoints, name → path; loads none yet."""
        self._folders = dict(folders)
        self._loaded: collections.OrderedDict[tuple[str, str], Predictor] = (
            collections.OrderedDict()
        )
        # Of each encoder, text as the page has it → subject.
        self._subjects: dict[str, dict[str, int | str]] = {}

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the encoders, in the order in which they are offered."""
        return tuple(self._folders)

    def path(self, name: str) -> str:
        """Returns where an encoder was found.

        Raises:
          InputError: there is none of this name.
        """
        if name not in self._folders:
            raise unexpected("encoder", f"one of {', '.join(self.names)}", repr(name))
        return self._folders[name]

    def subjects(self, name: str) -> Mapping[str, int | str]:
        """Returns whose EEG an encoder predicts, "mean" last; {} of a single one.

        Raises:
          InputError: there is no such encoder, or it cannot be read.
        """
        if name not in self._subjects:
            path = self.path(name)
            labels: Sequence[int | str] = ()
            if not pretrained.is_on_hub(path):
                labels = tuple(layout.labelled_folders(pathlib.Path(path)))
            if not labels:
                labels = load_whole(path).description.subjects or ()
            several = (*labels, MEAN) if len(labels) > 1 else ()
            self._subjects[name] = {str(label): label for label in several}
        return self._subjects[name]

    def load(self, name: str, subject: str = "") -> Predictor:
        """Returns an encoder.

        Args:
          name: of `names`.
          subject: of `subjects`; "" for the only one, or the first of several.

        Raises:
          InputError: there is no such encoder or subject, or it cannot be read.
        """
        several = self.subjects(name)
        subject = subject or next(iter(several), "")
        if subject and subject not in several:
            known = ", ".join(several) or "none to choose"
            raise unexpected("subject", f"one of {known}", repr(subject))
        key = name, subject
        if key not in self._loaded:
            self._loaded[key] = Encoder.from_pretrained(
                self.path(name), subject=several.get(subject)
            )
            while len(self._loaded) > _KEPT:
                self._loaded.popitem(last=False)
        self._loaded.move_to_end(key)
        return self._loaded[key]


def find(checkpoints: Sequence[str], folders: Sequence[str] = FOLDERS) -> Library:
    """Finds encoders: those that were named, or else all in some folders.

    Args:
      checkpoints: what `Encoder.from_pretrained` takes; () to search.
      folders: that are searched.

    Raises:
      InputError: there is none.
    """
    found = list(checkpoints)
    if not found:
        for folder in map(pathlib.Path, folders):
            found += [str(path) for path in _below(folder, _DEPTH)]
    if not found:
        raise unexpected(
            " and ".join(f"{folder}/" for folder in folders),
            "a trained network (train one, or name one by `checkpoint`)",
            "none",
        )
    return Library({path: path for path in found})


def _below(folder: pathlib.Path, depth: int) -> list[pathlib.Path]:
    if not folder.is_dir():
        return []
    if _is_checkpoint(folder) or _has_subjects(folder):
        return [folder]
    if depth == 0:
        return []
    parts = sorted(part for part in folder.iterdir() if not part.is_symlink())
    return [path for part in parts for path in _below(part, depth - 1)]


def _has_subjects(folder: pathlib.Path) -> bool:
    try:
        parts = layout.labelled_folders(folder)
    except InputError:
        return False
    return bool(parts) and all(map(_is_checkpoint, parts.values()))


def _is_checkpoint(folder: pathlib.Path) -> bool:
    return pretrained.is_at(folder) or (folder / "checkpoints").is_dir()
