"""Responses to images of any kind: voxels, sensors, ratings; one matrix for each file.

They lie beside where EEG would, ``preprocessed_data/sub-XX/responses_PARTITION.npz``,
without pickles: `responses` f[image, repetition, feature], `feature_names` and `unit`.
"""

import dataclasses
import os
import pathlib
import zipfile
import zlib

import numpy as np

from img2eeg_jax.data.layout.paths import Label, eeg_path
from img2eeg_jax.errors import expecting, unexpected
from img2eeg_jax.files import replacing

KEYS = ("responses", "feature_names", "unit")


@dataclasses.dataclass(frozen=True, eq=False)
class Responses:
    """Responses of one subject to the images of a partition.

    Attributes:
      values: f32[image, repetition, feature].
      feature_names: of each feature, all different.
      unit: of the values, such as "beta"; "" of none.
    """

    values: np.ndarray
    feature_names: tuple[str, ...]
    unit: str

    @property
    def mean(self) -> np.ndarray:
        """f32[image, feature], over repetitions."""
        return self.values.mean(1)

    @property
    def reliability(self) -> np.ndarray:
        """f64[feature], the correlation over images of even and odd repetitions.

        Corrected for their number (Spearman and Brown, 2r / (1 + r)), so that it is of
        the mean over all; nan of one repetition or of a feature that is constant.
        """
        if self.values.shape[1] < 2:
            return np.full(len(self.feature_names), np.nan)
        halves = (
            self.values[:, first::2].mean(1, dtype=np.float64) for first in (0, 1)
        )
        with np.errstate(invalid="ignore", divide="ignore"):
            even, odd = ((half - half.mean(0)) / half.std(0) for half in halves)
            r = (even * odd).mean(0)
            return np.where(r > 0, 2 * r / (1 + r), r)

    def reliable(self, least: float) -> "Responses":
        """Keeps features of at least this reliability; best by training images.

        Raises:
          InputError: there are none.
        """
        return self.take(_at_least(self.reliability, least))

    def take(self, features: np.ndarray) -> "Responses":
        """Keeps the features i64[feature]."""
        names = tuple(self.feature_names[feature] for feature in features)
        return Responses(self.values[..., features], names, self.unit)


def responses_path(
    data_dir: str | os.PathLike, subject: Label, partition: str
) -> pathlib.Path:
    """Returns where the responses of a subject and partition lie."""
    folder = eeg_path(data_dir, subject, partition).parent
    return folder / f"responses_{partition}.npz"


def read_responses(
    data_dir: str | os.PathLike, subject: Label, partition: str
) -> Responses:
    """Reads and checks the responses of one subject and partition.

    Args:
      data_dir: folder that holds ``preprocessed_data``.
      subject: a subject's number or label.
      partition: ``"training"`` or ``"test"``.

    Raises:
      InputError: the file is missing, damaged, holds pickles, lacks a key, has arrays
        that do not fit together, or values that are not finite.
    """
    path = responses_path(data_dir, subject, partition)
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
    names = tuple(str(name) for name in names.ravel())
    if len(names) != values.shape[2] or len(set(names)) != len(names):
        raise unexpected(
            f"{path}: feature_names",
            f"{values.shape[2]} different ones",
            f"{len(names)}, {len(set(names))} of them different",
        )
    values = values.astype(np.float32)
    is_finite = np.isfinite(values).all((1, 2))
    if not is_finite.all():
        row = int(np.flatnonzero(~is_finite)[0])
        raise unexpected(
            f"{path}: responses", "finite numbers", f"others of image {row}"
        )
    return Responses(values, names, str(unit))


def write_responses(
    data_dir: str | os.PathLike, subject: Label, partition: str, responses: Responses
) -> None:
    """Writes responses where `read_responses` finds them, atomically.

    Raises:
      InputError: the file cannot be written.
    """
    path = responses_path(data_dir, subject, partition)
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as temporary, open(temporary, "wb") as file:
        np.savez(
            file,
            responses=responses.values,
            feature_names=np.array(responses.feature_names, dtype=str),
            unit=np.array(responses.unit, dtype=str),
        )


def _at_least(reliability: np.ndarray, least: float) -> np.ndarray:
    kept = np.flatnonzero(reliability >= least)
    if not len(kept):
        best = np.nan if np.isnan(reliability).all() else np.nanmax(reliability)
        raise unexpected(
            "features", f"a reliability of {least:g}", f"{best:.3g} at best"
        )
    return kept
