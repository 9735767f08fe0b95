"""Shards where they lie, and what is in them.

    SHARDS_DIR/things_eeg2/images-64/2.0.0    images of 64x64 pixels, for all subjects
    SHARDS_DIR/things_eeg2/sub-01/2.0.0       EEG of one subject

SHARDS_DIR is a folder, or an address that TensorFlow can write to, such as
``gs://BUCKET/shards``. What lies at an address is copied into the cache to be read.
"""

import contextlib
import hashlib
import io
import json
import os
import pathlib
import shutil
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
from absl import logging

from img2eeg_jax.axes import UNKNOWN, WHITENED, Axes
from img2eeg_jax.data import layout
from img2eeg_jax.data.shards.images import ShardedImages
from img2eeg_jax.data.shards.tensorflow_setup import as_numpy, tf, tfds
from img2eeg_jax.data.sources import http
from img2eeg_jax.errors import InputError, unexpected
from img2eeg_jax.files import scratch_dir

# The builder's name, and the version of what it writes.
NAME = "things_eeg2"
VERSION = "2.0.0"
# What TFDS knows of a configuration, and what we add to it.
INFO_FILE = "dataset_info.json"
METADATA_FILE = "metadata.json"

# One block of THINGS-EEG2's test partition is 35 MB.
_EXAMPLES_AT_A_TIME = 64


def is_remote(shards_dir: str | os.PathLike) -> bool:
    """Tells whether shards lie, or shall lie, at an address and not in a folder."""
    return "://" in os.fspath(shards_dir)


def images_name(image_size: int) -> str:
    """Returns the name of the configuration that holds images of a size in pixels."""
    return f"images-{image_size}"


def config_dir(shards_dir: str | os.PathLike, name: str) -> str:
    """Returns the folder or address of a configuration, such as sub-01."""
    return f"{os.fspath(shards_dir)}/{NAME}/{name}/{VERSION}"


def exists(shards_dir: str | os.PathLike, name: str) -> bool:
    """Tells whether a configuration is there and complete.

    Raises:
      InputError: there is no access to the address.
    """
    path = f"{config_dir(shards_dir, name)}/{INFO_FILE}"
    try:
        return tf.io.gfile.exists(path)
    except tf.errors.OpError as error:
        raise unexpected(shards_dir, "shards or a place for them", error) from error


def read_metadata(shards_dir: str | os.PathLike, name: str) -> dict[str, Any]:
    """Returns what describes all examples of a configuration.

    Raises:
      InputError: there is no such description, or it is damaged.
    """
    return _read_json(f"{config_dir(shards_dir, name)}/{METADATA_FILE}")


def count_examples(shards_dir: str | os.PathLike, name: str) -> dict[str, int]:
    """Returns the number of examples of each partition of a configuration.

    Raises:
      InputError: there is no such description, or it is damaged.
    """
    path = f"{config_dir(shards_dir, name)}/{INFO_FILE}"
    try:
        return {
            split["name"]: sum(map(int, split["shardLengths"]))
            for split in _read_json(path)["splits"]
        }
    except (KeyError, TypeError) as error:
        raise unexpected(path, "the description of shards", error) from error


def read_axes(shards_dir: str | os.PathLike, subject: int) -> Axes:
    """Returns the channels, times and unit of a subject's EEG.

    Raises:
      InputError: there are no such shards, or their description is damaged.
    """
    name = layout.subject_name(subject)
    metadata = _open_metadata(shards_dir, name)
    try:
        return _axes(metadata)
    except KeyError as error:
        raise unexpected(
            f"{config_dir(shards_dir, name)}/{METADATA_FILE}",
            "the channels and times of EEG",
            f"no {error}",
        ) from error


def check_same_images(
    shards_dir: str | os.PathLike, image_size: int, subjects: Sequence[int]
) -> None:
    """Checks that subjects' EEG and the images were built from one list of images.

    Args:
      shards_dir: a folder or an address.
      image_size: height and width in pixels.
      subjects: subject numbers, from 1.

    Raises:
      InputError: they were not, or there are no such shards.
    """
    images = images_name(image_size)
    lists = {
        name: _open_metadata(shards_dir, name)["image_list_sha256"]
        for name in (images, *map(layout.subject_name, subjects))
    }
    for name, found in lists.items():
        if found != lists[images]:
            raise unexpected(
                config_dir(shards_dir, name),
                f"EEG of the images of {images}",
                "EEG of another list of images",
            )


def load_images(
    shards_dir: str | os.PathLike, image_size: int, partition: str
) -> ShardedImages:
    """Opens all images of a partition, and checks the files that hold them.

    Args:
      shards_dir: a folder or an address.
      image_size: height and width in pixels.
      partition: ``"training"`` or ``"test"``.

    Returns:
      u8[image, image_size, image_size, 3], in row order; rows are read when asked for.

    Raises:
      InputError: there are no such shards, or they are damaged.
    """
    with _opened(shards_dir, images_name(image_size), partition) as builder:
        split = builder.info.splits[partition]
        return ShardedImages(
            split.filepaths, split.shard_lengths, (image_size, image_size, 3)
        )


def load_eeg(
    shards_dir: str | os.PathLike, subject: int, partition: str
) -> layout.PreprocessedEEG:
    """Reads the EEG of one subject and partition, every repetition.

    Args:
      shards_dir: a folder or an address.
      subject: subject number, from 1.
      partition: ``"training"`` or ``"test"``.

    Returns:
      The EEG, in row order.

    Raises:
      InputError: there are no such shards, or they are damaged.
    """
    return _load_eeg(shards_dir, subject, partition, lambda eeg, first: eeg)


def load_mean_eeg(
    shards_dir: str | os.PathLike,
    subject: int,
    partition: str,
    *,
    take: Callable[[np.ndarray], np.ndarray] = lambda eeg: eeg,
    halves_of: Sequence[int] | np.ndarray = (),
) -> tuple[np.ndarray, np.ndarray]:
    """Reads EEG as `load_eeg` does, averaged over repetitions block by block.

    Args:
      shards_dir: a folder or an address.
      subject: subject number, from 1.
      partition: ``"training"`` or ``"test"``.
      take: selects of f64[image, channel, time]; what it leaves is never in memory as a
        whole.
      halves_of: rows of the partition of which every other repetition is averaged, too.

    Returns:
      f32[image, channel', time'], the mean over repetitions, computed in float64; and
      f32[2, row, channel', time'], those over repetitions at even and at odd places of
      the rows `halves_of`. Of a single repetition the last is NaN.

    Raises:
      InputError: there are no such shards, or they are damaged.
    """
    rows = np.asarray(halves_of, np.int64)
    halves = None

    def average(eeg: np.ndarray, first: int) -> np.ndarray:
        nonlocal halves
        mean = take(eeg.mean(1, np.float64))
        if halves is None:
            halves = np.full((2, len(rows), *mean.shape[1:]), np.nan, np.float32)
        here = np.flatnonzero((rows >= first) & (rows < first + len(eeg)))
        if len(here):
            of_rows = eeg[rows[here] - first]
            for place in range(min(2, of_rows.shape[1])):
                halves[place, here] = take(of_rows[:, place::2].mean(1, np.float64))
        return mean

    return _load_eeg(shards_dir, subject, partition, average).eeg, halves


@contextlib.contextmanager
def quiet_tfds() -> Iterator[None]:
    """Silences TFDS, which announces downloads and warns of custom configurations."""
    verbosity = logging.get_verbosity()
    logging.set_verbosity(logging.ERROR)
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            yield
    finally:
        logging.set_verbosity(verbosity)


def upload(folder: pathlib.Path, shards_dir: str, name: str) -> None:
    """Copies a configuration to an address, in the place of an older one.

    Args:
      folder: the local copy, complete.
      shards_dir: the address.
      name: of the configuration.

    Raises:
      InputError: it cannot be written to.
    """
    target = config_dir(shards_dir, name)
    last = f"{target}/{INFO_FILE}"
    try:
        # Without this file the rest does not count, for us and for TFDS.
        if tf.io.gfile.exists(last):
            tf.io.gfile.remove(last)
        if tf.io.gfile.exists(target):
            tf.io.gfile.rmtree(target)
        tf.io.gfile.makedirs(target)
        for path in sorted(folder.iterdir(), key=lambda path: path.name == INFO_FILE):
            tf.io.gfile.copy(str(path), f"{target}/{path.name}", overwrite=True)
    except tf.errors.OpError as error:
        raise unexpected(target, "a place to write shards to", error) from error


def _read_json(path: str) -> dict[str, Any]:
    try:
        with tf.io.gfile.GFile(path) as file:
            return json.loads(file.read())
    except (tf.errors.OpError, ValueError) as error:
        raise unexpected(path, "the description of shards", error) from error


def _open_metadata(shards_dir: str | os.PathLike, name: str) -> dict[str, Any]:
    if not exists(shards_dir, name):
        raise unexpected(config_dir(shards_dir, name), f"shards of {name}", "none")
    return read_metadata(shards_dir, name)


@contextlib.contextmanager
def _opened(
    shards_dir: str | os.PathLike, name: str, partition: str
) -> Iterator[tfds.core.DatasetBuilder]:
    """Yields the builder that reads a configuration; tells of damage found meanwhile.

    Raises:
      InputError: there are no such shards, or they are damaged.
    """
    folder = config_dir(shards_dir, name)
    metadata = _open_metadata(shards_dir, name)
    local = _cached(folder, metadata) if is_remote(shards_dir) else pathlib.Path(folder)
    try:
        with quiet_tfds():
            builder = tfds.builder_from_directory(local)
        yield builder
    except (tf.errors.OpError, OSError, ValueError, KeyError) as error:
        if is_remote(shards_dir):
            shutil.rmtree(local, ignore_errors=True)
        raise unexpected(
            folder,
            f"complete shards of the {partition} partition",
            f"{' '.join(str(error).split())}; delete the folder to build them again",
        ) from error


def _cached(folder: str, metadata: dict[str, Any]) -> pathlib.Path:
    """Returns the local copy of a configuration that lies at an address."""
    digest = hashlib.sha256(folder.encode()).hexdigest()[:16]
    target = http.cache_dir() / "shards" / digest
    if _holds(target, metadata):
        return target
    with scratch_dir(target.parent, target.name) as scratch:
        copy = scratch / "copy"
        copy.mkdir()
        try:
            for name in tf.io.gfile.listdir(folder):
                tf.io.gfile.copy(f"{folder}/{name}", str(copy / name))
        except tf.errors.OpError as error:
            raise unexpected(
                folder, f"shards that can be copied to {target.parent}", error
            ) from error
        shutil.rmtree(target, ignore_errors=True)
        try:
            os.replace(copy, target)
        except OSError:
            # Another process of this machine was faster.
            if not _holds(target, metadata):
                raise
    return target


def _holds(folder: pathlib.Path, metadata: dict[str, Any]) -> bool:
    """Tells whether a local copy is of shards with this description."""
    try:
        return _read_json(str(folder / METADATA_FILE)) == metadata
    except InputError:
        return False


def _load_eeg(
    shards_dir: str | os.PathLike,
    subject: int,
    partition: str,
    reduce: Callable[[np.ndarray, int], np.ndarray],
) -> layout.PreprocessedEEG:
    """Reads EEG in blocks f32[image, repetition, channel, time], each reduced.

    `reduce` is told the row of a block's first image, too.
    """
    name = layout.subject_name(subject)
    with _opened(shards_dir, name, partition) as builder:
        with quiet_tfds():
            dataset = builder.as_dataset(
                split=partition,
                batch_size=_EXAMPLES_AT_A_TIME,
                read_config=tfds.ReadConfig(try_autocache=False),
            )
        n_examples = builder.info.splits[partition].num_examples
        eeg, rows = None, []
        for block in as_numpy(dataset):
            values = reduce(block["eeg"], len(rows))
            if eeg is None:
                eeg = np.empty((n_examples, *values.shape[1:]), np.float32)
            eeg[len(rows) : len(rows) + len(values)] = values
            rows += block["index"].tolist()
        if rows != list(range(n_examples)):
            raise ValueError(f"{len(rows)} of {n_examples} examples, or out of order")
        return layout.PreprocessedEEG(eeg, _axes(builder.info.metadata))


def _axes(metadata: dict[str, Any]) -> Axes:
    """Returns the axes of EEG that metadata tell."""
    unit = str((metadata["preprocessing"] or {}).get("unit", UNKNOWN))
    # Records say "whitened, no unit".
    unit = WHITENED if unit.startswith(WHITENED) else unit
    return Axes(metadata["ch_names"], metadata["times_s"], unit)
