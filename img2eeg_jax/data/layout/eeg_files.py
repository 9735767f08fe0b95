"""Preprocessed EEG, and the record of how it was made."""

import dataclasses
import json
import os
import pathlib
from typing import Any

import numpy as np

from img2eeg_jax.axes import UNKNOWN, VOLTS, WHITENED, Axes
from img2eeg_jax.data.layout.image_set import ImageSet, is_digest_of
from img2eeg_jax.data.layout.paths import (
    Label,
    eeg_path,
    folders_in,
    metadata_path,
    noise_free_path,
    record_path,
    synthetic_path,
)
from img2eeg_jax.data.layout.unpickle import (
    as_names,
    entry,
    read_npy_dict,
    shortened,
    write_npy_dict,
)
from img2eeg_jax.errors import expecting, unexpected

# Unit → how the record of a preprocessing names it.
RECORDED_UNITS = {VOLTS: "V", WHITENED: "whitened, no unit"}
# (times listed, samples stored) of a 250 Hz variant in circulation: the last ones.
_LONG_TIMES_VARIANT = (300, 250)


@dataclasses.dataclass(frozen=True)
class PreprocessedEEG:
    """Epoched EEG of one subject and partition.

    Attributes:
      eeg: f32[image, repetition, channel, time].
      axes: its channels, times and unit.
    """

    eeg: np.ndarray
    axes: Axes

    def in_order_of(self, other: Axes) -> "PreprocessedEEG":
        """Returns the EEG with others' channels, where these are the same."""
        if not self.axes.has_channels_of(other):
            return self
        names = other.ch_names
        eeg = np.ascontiguousarray(self.axes.take(self.eeg, names))
        return PreprocessedEEG(eeg, dataclasses.replace(self.axes, ch_names=names))


def read_eeg(
    data_dir: str | os.PathLike, subject: Label, partition: str
) -> PreprocessedEEG:
    """Reads and checks the preprocessed EEG of one subject and partition.

    Args:
      data_dir: folder that holds ``preprocessed_data``.
      subject: subject number, from 1.
      partition: ``"training"`` or ``"test"``.

    Returns:
      The EEG, cast to float32, in the unit that `eeg_unit` tells.

    Raises:
      InputError: no such subject; or the file is missing, truncated or unsafe, lacks
        a key, has arrays whose shapes do not fit, or values that are not finite; or
        the record of its preprocessing is damaged.
    """
    path = eeg_path(data_dir, subject, partition)
    check_subject(path.parent)
    content = read_npy_dict(path)
    eeg = _as_epochs(entry(content, "preprocessed_eeg_data", path), path)
    ch_names = as_names(entry(content, "ch_names", path), "ch_names", path)
    times_s = _as_times(entry(content, "times", path), eeg.shape[3], path)
    if len(ch_names) != eeg.shape[2] or len(set(ch_names)) != len(ch_names):
        raise unexpected(
            path,
            f"{eeg.shape[2]} different ch_names for data of shape {eeg.shape}",
            f"{len(ch_names)} ({len(set(ch_names))} different)",
        )
    return PreprocessedEEG(eeg, Axes(ch_names, times_s, eeg_unit(data_dir, subject)))


def write_eeg(
    data_dir: str | os.PathLike, subject: Label, partition: str, eeg: PreprocessedEEG
) -> None:
    """Writes preprocessed EEG under the official names and keys, atomically.

    Args:
      data_dir: folder that holds, or will hold, ``preprocessed_data``.
      subject: subject number, from 1.
      partition: ``"training"`` or ``"test"``.
      eeg: what to write; the array keeps its dtype.
    """
    content = {
        "preprocessed_eeg_data": eeg.eeg,
        "ch_names": list(eeg.axes.ch_names),
        "times": np.array(eeg.axes.times_s),
    }
    write_npy_dict(eeg_path(data_dir, subject, partition), content)


def check_alignment(
    image_set: ImageSet, eeg: PreprocessedEEG, partition: str, path: str | os.PathLike
) -> None:
    """Checks that a partition has one EEG row for each image.

    Args:
      image_set: the images.
      eeg: the EEG of the same partition.
      partition: ``"training"`` or ``"test"``.
      path: the file that the EEG was read from, for the message.

    Raises:
      InputError: the numbers of rows and images differ.
    """
    n_images = len(image_set.files(partition))
    if len(eeg.eeg) != n_images:
        raise unexpected(
            path,
            f"{n_images} EEG rows, one for each {partition} image of "
            f"{metadata_path(image_set.root)}",
            len(eeg.eeg),
        )


def read_record(data_dir: str | os.PathLike, subject: Label) -> dict[str, Any] | None:
    """Returns the record of a subject's preprocessing, None for EEG of other origin.

    Raises:
      InputError: the record is damaged.
    """
    path = record_path(data_dir, subject)
    expected = "the record of a preprocessing"
    with expecting(path, expected, OSError, ValueError):
        try:
            record = json.loads(path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return None
    if not isinstance(record, dict):
        raise unexpected(path, expected, type(record).__name__)
    return record


def is_simulated(data_dir: str | os.PathLike) -> bool:
    """Tells whether a data set was simulated, so that its responses are known."""
    return synthetic_path(data_dir).exists()


def eeg_unit(data_dir: str | os.PathLike, subject: Label) -> str:
    """Returns the unit of a subject's preprocessed EEG.

    Returns:
      `VOLTS` or `WHITENED`, as the record of the preprocessing says; `VOLTS` for
      simulated EEG; `UNKNOWN` for EEG that was preprocessed elsewhere.

    Raises:
      InputError: the record is damaged.
    """
    record = read_record(data_dir, subject)
    if record is None:
        return VOLTS if is_simulated(data_dir) else UNKNOWN
    units = {recorded: unit for unit, recorded in RECORDED_UNITS.items()}
    return units.get(record.get("unit", ""), UNKNOWN)


def check_image_list(image_set: ImageSet, subject: Label) -> None:
    """Checks that EEG preprocessed here is of these images, in this order.

    Raises:
      InputError: it is of another list of images, or its record is damaged.
    """
    record = read_record(image_set.root, subject)
    digest = (record or {}).get("image_list_sha256")
    # The first records have no digest of the list of images.
    if digest is not None and not is_digest_of(digest, image_set):
        raise unexpected(
            record_path(image_set.root, subject),
            f"EEG of the images in {metadata_path(image_set.root).parent}",
            "that the list of images has changed since the EEG was preprocessed; name "
            "them as before, or preprocess again with `overwrite` if the recordings "
            "fit the new list",
        )


def check_subject(folder: pathlib.Path) -> None:
    """Refuses a subject whose folder is not there; lists those that are."""
    if folder.is_dir():
        return
    raise unexpected(
        folder,
        "a folder of this subject's EEG",
        f"only these in {folder.parent}: {folders_in(folder.parent)}",
    )


def _as_epochs(values: Any, path: pathlib.Path) -> np.ndarray:
    """Casts to f32[image, repetition, channel, time] and checks every value."""
    if not isinstance(values, np.ndarray):
        raise unexpected(
            path,
            "an array of shape (image, repetition, channel, time)",
            type(values).__name__,
        )
    if values.dtype.kind not in "fiu" or values.ndim != 4 or not values.size:
        raise unexpected(
            path,
            "numbers of shape (image, repetition, channel, time)",
            f"{values.dtype} of shape {values.shape}",
        )
    # A value beyond float32 becomes infinite and is reported below.
    with np.errstate(over="ignore"):
        eeg = np.ascontiguousarray(values, np.float32)
    finite = np.isfinite(eeg).all(axis=(1, 2, 3))
    if not finite.all():
        raise unexpected(
            path,
            "finite EEG",
            f"NaN or infinite values in {np.sum(~finite)} of {len(eeg)} images, "
            f"first in image row {np.argmin(finite)}",
        )
    return eeg


def _as_times(values: Any, n_samples: int, path: pathlib.Path) -> np.ndarray:
    try:
        times_s = np.asarray(values, np.float64)
    except (TypeError, ValueError):
        times_s = np.empty((0, 0))
    if times_s.ndim == 1 and (times_s.size, n_samples) == _LONG_TIMES_VARIANT:
        times_s = times_s[-n_samples:]
    # `not all` also refuses NaN, which compares as False.
    if times_s.shape != (n_samples,) or not np.all(np.diff(times_s) > 0):
        raise unexpected(
            path,
            f"{n_samples} ascending times, one for each sample",
            f"{shortened(values)} of shape {times_s.shape}",
        )
    return times_s


def noise_free_response(
    data_dir: str | os.PathLike, subject: Label, partition: str
) -> np.ndarray | None:
    """Reads the responses without noise of a simulated data set.

    Args:
      data_dir: the data set.
      subject: subject number, from 1.
      partition: ``"training"`` or ``"test"``.

    Returns:
      f32[image, channel, time] in volts, or None if the data set is not simulated.

    Raises:
      InputError: the data set is simulated and its file is missing or damaged.
    """
    if not is_simulated(data_dir):
        return None
    path = noise_free_path(data_dir, subject, partition)
    return entry(read_npy_dict(path), "noise_free_eeg_data", path)


def write_noise_free(
    data_dir: str | os.PathLike,
    subject: Label,
    partition: str,
    response: np.ndarray,
    axes: Axes,
) -> None:
    """Writes responses without noise, f[image, channel, time] in volts, atomically."""
    content = {
        "noise_free_eeg_data": response.astype(np.float32),
        "ch_names": list(axes.ch_names),
        "times": np.array(axes.times_s),
    }
    write_npy_dict(noise_free_path(data_dir, subject, partition), content)
