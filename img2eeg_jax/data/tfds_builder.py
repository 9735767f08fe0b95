"""Shards: a data set's images and EEG as TFRecords, written once by TFDS.

    SHARDS_DIR/things_eeg2/images-64/1.0.0    images of 64x64 pixels, for all subjects
    SHARDS_DIR/things_eeg2/sub-01/1.0.0       EEG of one subject

Each configuration records the size and time of the files that it was made from, and is
made again when they change. Nothing is downloaded.
"""

import contextlib
import dataclasses
import functools
import io
import json
import os
import pathlib
import shutil
from collections.abc import Callable, Iterator, Sequence
from concurrent import futures
from typing import Any

import numpy as np
from absl import logging

from img2eeg_jax.data import layout
from img2eeg_jax.data.tensorflow_setup import tf, tfds
from img2eeg_jax.errors import InputError
from img2eeg_jax.files import scratch_dir

_VERSION = "1.0.0"
# Images in flight between the threads that decode and the one that writes.
_IMAGES_AT_A_TIME = 256
_BYTES = tfds.features.Encoding.BYTES


@dataclasses.dataclass(eq=False, kw_only=True)
class ImagesConfig(tfds.core.BuilderConfig):
    """Images of one size.

    Attributes:
      image_set: the images to convert.
      image_size: height and width in pixels.
    """

    image_set: layout.ImageSet
    image_size: int

    @property
    def sources(self) -> list[pathlib.Path]:
        """The files that the shards are made from."""
        images = [self.image_set.files(partition) for partition in layout.PARTITIONS]
        return [layout.metadata_path(self.image_set.root), *images[0], *images[1]]

    def features(self) -> dict[str, Any]:
        """Returns the TFDS features of an example."""
        shape = (self.image_size, self.image_size, 3)
        return {
            "image": tfds.features.Tensor(shape=shape, dtype=np.uint8, encoding=_BYTES),
            "concept": tfds.features.Text(),
        }

    def metadata(self) -> dict[str, Any]:
        """Returns what describes all examples."""
        return {}

    def examples(self, partition: str) -> Iterator[dict[str, Any]]:
        """Yields the examples of a partition in row order."""
        files = self.image_set.files(partition)
        concepts = self.image_set.concepts(partition)
        with futures.ThreadPoolExecutor(os.cpu_count()) as pool:
            for start in range(0, len(files), _IMAGES_AT_A_TIME):
                rows = slice(start, start + _IMAGES_AT_A_TIME)
                images = pool.map(self._read, files[rows])
                for image, concept in zip(images, concepts[rows], strict=True):
                    yield {"image": image, "concept": concept}

    def _read(self, path: pathlib.Path) -> np.ndarray:
        return layout.read_image(path, self.image_size)


@dataclasses.dataclass(eq=False, kw_only=True)
class EEGConfig(tfds.core.BuilderConfig):
    """Preprocessed EEG of one subject.

    Attributes:
      data_dir: folder in the THINGS-EEG2 layout.
      subject: subject number, from 1.
    """

    data_dir: pathlib.Path
    subject: int

    @property
    def sources(self) -> list[pathlib.Path]:
        """The files that the shards are made from."""
        return [
            layout.eeg_path(self.data_dir, self.subject, partition)
            for partition in layout.PARTITIONS
        ]

    def features(self) -> dict[str, Any]:
        """Returns the TFDS features of an example."""
        # The partitions differ in the number of repetitions.
        shape = (None, *map(len, self._axes))
        return {
            "eeg": tfds.features.Tensor(shape=shape, dtype=np.float32, encoding=_BYTES)
        }

    def metadata(self) -> dict[str, Any]:
        """Returns what describes all examples."""
        ch_names, times_s = self._axes
        return {"ch_names": list(ch_names), "times_s": times_s.tolist()}

    def examples(self, partition: str) -> Iterator[dict[str, Any]]:
        """Yields the examples of a partition in row order."""
        for eeg in self._read(partition).eeg:
            yield {"eeg": eeg}

    @functools.cached_property
    def _axes(self) -> tuple[tuple[str, ...], np.ndarray]:
        eeg = self._read("test")
        return eeg.ch_names, eeg.times_s

    def _read(self, partition: str) -> layout.PreprocessedEEG:
        return layout.read_eeg(self.data_dir, self.subject, partition)


class ThingsEeg2(tfds.core.GeneratorBasedBuilder):
    """Images or one subject's EEG of a data set in the THINGS-EEG2 layout."""

    VERSION = tfds.core.Version(_VERSION)

    def _info(self) -> tfds.core.DatasetInfo:
        config = self.builder_config
        features = {"index": np.int32, **config.features()}
        return tfds.core.DatasetInfo(
            builder=self,
            description=config.description,
            features=tfds.features.FeaturesDict(features),
            metadata=tfds.core.MetadataDict(
                **config.metadata(), sources=_describe(config)
            ),
            disable_shuffling=True,
        )

    def _split_generators(self, dl_manager: Any) -> dict[str, Any]:
        del dl_manager  # Nothing is downloaded.
        return {name: self._generate_examples(name) for name in layout.PARTITIONS}

    def _generate_examples(self, partition: str) -> Iterator[tuple[int, dict]]:
        for index, example in enumerate(self.builder_config.examples(partition)):
            yield index, {"index": index, **example}


def default_shards_dir(data_dir: str | os.PathLike) -> pathlib.Path:
    """Returns where a data set's shards lie unless the user says otherwise."""
    return pathlib.Path(data_dir) / "shards"


def ensure_shards(
    data_dir: str | os.PathLike,
    shards_dir: str | os.PathLike,
    *,
    subjects: Sequence[int],
    image_size: int,
    log: Callable[[str], None] = print,
) -> None:
    """Builds the shards that are missing or older than the files they come from.

    All EEG is checked before anything is written. Shards appear complete or not at
    all: a build that is stopped leaves none, and the next one starts it again.

    Args:
      data_dir: folder in the THINGS-EEG2 layout.
      shards_dir: where the shards lie or shall lie; made if missing.
      subjects: subject numbers, from 1.
      image_size: height and width of the images in pixels.
      log: called with one line for each configuration that is built.

    Raises:
      InputError: the data set is not as it should be (see `layout`).
    """
    data_dir, shards_dir = pathlib.Path(data_dir), pathlib.Path(shards_dir)
    image_set = layout.read_image_set(data_dir)
    images = ImagesConfig(
        name=_images_name(image_size), image_set=image_set, image_size=image_size
    )
    subject_eeg = [
        EEGConfig(name=layout.subject_name(subject), data_dir=data_dir, subject=subject)
        for subject in subjects
    ]
    configs = [images, *subject_eeg]
    reasons = {config.name: _why_build(shards_dir, config) for config in configs}
    for config in subject_eeg:
        # A changed image set may no longer fit EEG that has not changed.
        if reasons[config.name] or reasons[images.name]:
            _check_eeg(image_set, config)
    configs = [config for config in configs if reasons[config.name]]
    for config in configs:
        log(f"building shards of {config.name} in {shards_dir}: {reasons[config.name]}")
        _build(shards_dir, config)


def load_images(
    shards_dir: str | os.PathLike, image_size: int, partition: str
) -> np.ndarray:
    """Reads all images of a partition.

    Args:
      shards_dir: see `ensure_shards`.
      image_size: height and width in pixels.
      partition: ``"training"`` or ``"test"``.

    Returns:
      u8[image, image_size, image_size, 3], in row order.

    Raises:
      InputError: there are no such shards, or they are damaged.
    """
    return _load(shards_dir, _images_name(image_size), partition, "image")


def load_eeg(
    shards_dir: str | os.PathLike, subject: int, partition: str
) -> layout.PreprocessedEEG:
    """Reads the EEG of one subject and partition.

    Args:
      shards_dir: see `ensure_shards`.
      subject: subject number, from 1.
      partition: ``"training"`` or ``"test"``.

    Returns:
      The EEG, in row order.

    Raises:
      InputError: there are no such shards, or they are damaged.
    """
    name = layout.subject_name(subject)
    eeg = _load(shards_dir, name, partition, "eeg")
    metadata = _read_metadata(_config_dir(shards_dir, name))
    return layout.PreprocessedEEG(
        eeg, tuple(metadata["ch_names"]), np.array(metadata["times_s"], np.float64)
    )


def _images_name(image_size: int) -> str:
    return f"images-{image_size}"


def _config_dir(shards_dir: str | os.PathLike, name: str) -> pathlib.Path:
    return pathlib.Path(shards_dir) / ThingsEeg2.name / name / _VERSION


def _describe(config: ImagesConfig | EEGConfig) -> list[list]:
    """Returns [path within the data set, bytes, mtime in ns] of each source file."""
    # Relative, so that a data set may move together with its shards.
    root = config.sources[0].parents[1]
    described = []
    for path in config.sources:
        try:
            status = path.stat()
        except OSError as error:
            raise InputError(
                f"{path}: expected a readable file, found: {error.strerror}"
            ) from error
        name = path.relative_to(root).as_posix()
        described.append([name, status.st_size, status.st_mtime_ns])
    return described


def _read_metadata(folder: pathlib.Path) -> dict[str, Any]:
    path = folder / "metadata.json"
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(
            f"{path}: expected the description of shards, found: {error}"
        ) from error


def _why_build(
    shards_dir: pathlib.Path, config: ImagesConfig | EEGConfig
) -> str | None:
    """Returns why a configuration must be built, or None if it need not be."""
    folder = _config_dir(shards_dir, config.name)
    if not folder.exists():
        return "there are none yet"
    try:
        found = _read_metadata(folder).get("sources")
    except InputError:
        return f"those in {folder} are damaged"
    expected = _describe(config)
    if found == expected:
        return None
    changed = [entry for entry in expected if entry not in (found or [])]
    what = changed[0][0] if changed else "the list of files"
    return f"{what} has changed since they were built"


def _check_eeg(image_set: layout.ImageSet, config: EEGConfig) -> None:
    """Checks both partitions of a subject against the images and each other."""
    shapes = []
    for partition, path in zip(layout.PARTITIONS, config.sources, strict=True):
        eeg = layout.read_eeg(config.data_dir, config.subject, partition)
        layout.check_alignment(image_set, eeg, partition, path)
        shapes.append((eeg.ch_names, eeg.times_s.tolist()))
    if shapes[0] != shapes[1]:
        raise InputError(
            f"{config.sources[1]}: expected the channels and times of "
            f"{config.sources[0]} ({len(shapes[0][0])} and {len(shapes[0][1])}), found "
            f"others ({len(shapes[1][0])} and {len(shapes[1][1])})"
        )


def _build(shards_dir: pathlib.Path, config: ImagesConfig | EEGConfig) -> None:
    """Builds a configuration aside and moves it into place."""
    target = _config_dir(shards_dir, config.name).parent
    with scratch_dir(shards_dir, config.name) as scratch:
        with _quiet_tfds():
            builder = ThingsEeg2(data_dir=scratch, config=config)
            builder.download_and_prepare(
                download_dir=scratch / "downloads",
                download_config=tfds.download.DownloadConfig(try_download_gcs=False),
            )
        target.parent.mkdir(exist_ok=True)
        if target.exists():
            shutil.rmtree(target)
        os.replace(scratch / ThingsEeg2.name / config.name, target)


@contextlib.contextmanager
def _quiet_tfds() -> Iterator[None]:
    """Silences TFDS, which announces downloads and warns of custom configurations."""
    verbosity = logging.get_verbosity()
    logging.set_verbosity(logging.ERROR)
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            yield
    finally:
        logging.set_verbosity(verbosity)


def _load(
    shards_dir: str | os.PathLike, name: str, partition: str, feature: str
) -> np.ndarray:
    """Reads one feature of all examples into an array, each at its index."""
    folder = _config_dir(shards_dir, name)
    if not folder.is_dir():
        raise InputError(f"{folder}: expected shards of {name}, found no such folder")
    try:
        with _quiet_tfds():
            builder = tfds.builder_from_directory(folder)
            split = builder.info.splits[partition]
            dataset = builder.as_dataset(
                split=partition, read_config=tfds.ReadConfig(try_autocache=False)
            )
        return _gather(dataset, split.num_examples, feature)
    except (tf.errors.OpError, OSError, ValueError, KeyError) as error:
        raise InputError(
            f"{folder}: expected complete shards of the {partition} partition, found "
            f"{' '.join(str(error).split())}; delete the folder to build them again"
        ) from error


def _gather(dataset: tf.data.Dataset, n_examples: int, feature: str) -> np.ndarray:
    values, n_seen = None, 0
    for example in dataset.as_numpy_iterator():
        value = example[feature]
        if values is None:
            values = np.empty((n_examples, *value.shape), value.dtype)
        values[example["index"]] = value
        n_seen += 1
    if n_seen != n_examples:
        raise ValueError(f"{n_seen} of {n_examples} examples")
    return values
