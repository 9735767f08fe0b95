"""Responses to images of any kind: voxels, sensors, ratings; one matrix for each file.

They lie beside where EEG would, ``preprocessed_data/sub-XX/responses_PARTITION.npz``,
without pickles: `responses` f[image, repetition, feature], `feature_names` and `unit`.
In memory they are as EEG is, with axes that are features: f[image, repetition, feature,
1].
"""

import os
import pathlib
import zipfile
import zlib
from collections.abc import Sequence
from typing import Any

import numpy as np

from img2eeg_jax.axes import UNKNOWN, Axes
from img2eeg_jax.data.layout.eeg_files import PreprocessedEEG, check_subject
from img2eeg_jax.data.layout.paths import Label, eeg_path
from img2eeg_jax.errors import expecting, unexpected
from img2eeg_jax.files import replacing

KEYS = ("responses", "feature_names", "unit")


def responses_path(
    data_dir: str | os.PathLike, subject: Label, partition: str
) -> pathlib.Path:
    """Returns where the responses of a subject and partition lie."""
    folder = eeg_path(data_dir, subject, partition).parent
    return folder / f"responses_{partition}.npz"


def read_responses(
    data_dir: str | os.PathLike, subject: Label, partition: str
) -> PreprocessedEEG:
    """Reads and checks the responses of one subject and partition.

    Args:
      data_dir: folder that holds ``preprocessed_data``.
      subject: a subject's number or label.
      partition: ``"training"`` or ``"test"``.

    Returns:
      f32[image, repetition, feature, 1], with the features and their unit.

    Raises:
      InputError: no such subject; or the file is missing, damaged, holds pickles, lacks
        a key, has arrays that do not fit together, or values that are not finite.
    """
    path = responses_path(data_dir, subject, partition)
    check_subject(path.parent)
    # A file of one array is not opened as an archive is: a TypeError.
    damage = (OSError, ValueError, TypeError, EOFError, zipfile.BadZipFile, zlib.error)
    with (
        expecting(path, f"an .npz of {', '.join(KEYS)}, without pickles", *damage),
        np.load(path, allow_pickle=False) as file,
    ):
        missing = [key for key in KEYS if key not in file]
        if missing:
            raise unexpected(path, f"{', '.join(KEYS)}", f"no {missing[0]}")
        values, names, unit = (file[key] for key in KEYS)
    if values.ndim != 3 or 0 in values.shape or values.dtype.kind not in "fiu":
        raise unexpected(
            f"{path}: responses",
            "numbers of image × repetition × feature",
            f"{values.dtype} of shape {values.shape}",
        )
    names = tuple(_text(name) for name in names.ravel())
    if len(names) != values.shape[2] or len(set(names)) != len(names):
        raise unexpected(
            f"{path}: feature_names",
            f"{values.shape[2]} different ones",
            f"{len(names)}, {len(set(names))} of them different",
        )
    with np.errstate(over="ignore"):
        values = values.astype(np.float32)
    is_finite = np.isfinite(values).all((1, 2))
    if not is_finite.all():
        row = int(np.flatnonzero(~is_finite)[0])
        raise unexpected(
            f"{path}: responses",
            "finite numbers of float32",
            f"others of image {row}",
        )
    if unit.size != 1:
        raise unexpected(f"{path}: unit", "one", f"an array of shape {unit.shape}")
    axes = Axes.of_features(names, _text(unit.item()) or UNKNOWN)
    return PreprocessedEEG(values[..., np.newaxis], axes)


def _text(name: Any) -> str:
    """Returns a name, which other tools write as bytes, too."""
    return name.decode() if isinstance(name, bytes) else str(name)


def write_responses(
    data_dir: str | os.PathLike,
    subject: Label,
    partition: str,
    responses: np.ndarray,
    feature_names: Sequence[str],
    unit: str = "",
) -> None:
    """Writes responses where `read_responses` finds them, atomically.

    Args:
      data_dir: folder that holds, or will hold, ``preprocessed_data``.
      subject: a subject's number or label.
      partition: ``"training"`` or ``"test"``.
      responses: f[image, repetition, feature]; the array keeps its dtype.
      feature_names: of each feature, all different.
      unit: of the values, such as "beta"; "" of none.

    Raises:
      InputError: the file cannot be written.
    """
    path = responses_path(data_dir, subject, partition)
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as temporary, open(temporary, "wb") as file:
        np.savez(
            file,
            responses=responses,
            feature_names=np.array(feature_names, dtype=str),
            unit=np.array(unit, dtype=str),
        )
