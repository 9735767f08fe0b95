"""Builds shards: a data set's images and EEG as TFRecords, written once by TFDS.

    tfds.load("things_eeg2/images-224", data_dir=SHARDS_DIR)    image, index
    tfds.load("things_eeg2/sub-01", data_dir=SHARDS_DIR)        eeg, index

read them, with or without this package; `shards` says where they lie. Each
configuration records what it was made from, and is made again when that changes.
Nothing is downloaded.
"""

import contextlib
import dataclasses
import functools
import hashlib
import itertools
import multiprocessing
import os
import pathlib
import shutil
import signal
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent import futures
from typing import Any, ClassVar

import numpy as np
import PIL
from tqdm import tqdm

from img2eeg_jax.axes import Axes
from img2eeg_jax.data import layout
from img2eeg_jax.data.shards import store
from img2eeg_jax.data.shards.tensorflow_setup import tf, tfds
from img2eeg_jax.data.sources import http
from img2eeg_jax.errors import InputError, unexpected
from img2eeg_jax.files import check_room, scratch_dir

# What TFDS recommends for a file is 100 to 200 MB.
_BYTES_A_SHARD = 128 * 2**20
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

    name_of_array: ClassVar[str] = "image"
    image_set: layout.ImageSet
    image_size: int

    @property
    def sources(self) -> list[pathlib.Path]:
        """The files that the shards are made from."""
        images = [self.image_set.files(partition) for partition in layout.PARTITIONS]
        return [layout.metadata_path(self.image_set.root), *images[0], *images[1]]

    def feature(self) -> tfds.features.Tensor:
        """Returns what TFDS must know of an example."""
        shape = (self.image_size, self.image_size, 3)
        return tfds.features.Tensor(shape=shape, dtype=np.uint8, encoding=_BYTES)

    def metadata(self) -> dict[str, Any]:
        """Returns what describes all examples."""
        return {
            "images": layout.image_list(self.image_set),
            "image_size": self.image_size,
            "resized_by": f"antialiased bilinear filter of Pillow {PIL.__version__}",
        }

    def n_bytes(self, partition: str) -> int:
        """Returns about how much a partition takes."""
        return len(self.image_set.files(partition)) * self.image_size**2 * 3

    def arrays(self, partition: str) -> Iterator[np.ndarray]:
        """Yields u8[height, width, 3] of each image of a partition, in row order."""
        files = self.image_set.files(partition)
        with futures.ThreadPoolExecutor(os.cpu_count()) as pool:
            for start in range(0, len(files), _IMAGES_AT_A_TIME):
                paths = files[start : start + _IMAGES_AT_A_TIME]
                yield from pool.map(self._read, paths)

    def _read(self, path: pathlib.Path) -> np.ndarray:
        return layout.read_image(path, self.image_size)


@dataclasses.dataclass(eq=False, kw_only=True)
class EEGConfig(tfds.core.BuilderConfig):
    """Preprocessed EEG of one subject.

    Attributes:
      image_set: the images that its rows belong to.
      subject: subject number, from 1.
    """

    name_of_array: ClassVar[str] = "eeg"
    image_set: layout.ImageSet
    subject: int

    @property
    def eeg_paths(self) -> list[pathlib.Path]:
        """The EEG of both partitions."""
        return [
            layout.eeg_path(self.image_set.root, self.subject, partition)
            for partition in layout.PARTITIONS
        ]

    @property
    def sources(self) -> list[pathlib.Path]:
        """The files that the shards are made from."""
        record = layout.record_path(self.image_set.root, self.subject)
        return [*self.eeg_paths, *([record] if record.exists() else [])]

    def feature(self) -> tfds.features.Tensor:
        """Returns what TFDS must know of an example."""
        # The partitions differ in the number of repetitions.
        shape = (None, *self._axes.shape)
        return tfds.features.Tensor(shape=shape, dtype=np.float32, encoding=_BYTES)

    def metadata(self) -> dict[str, Any]:
        """Returns what describes all examples."""
        return {
            "ch_names": list(self._axes.ch_names),
            "times_s": self._axes.times_s.tolist(),
            "preprocessing": layout.read_record(self.image_set.root, self.subject),
        }

    def n_bytes(self, partition: str) -> int:
        """Returns about how much a partition takes, float64 in the source."""
        path = layout.eeg_path(self.image_set.root, self.subject, partition)
        return path.stat().st_size // 2

    def arrays(self, partition: str) -> Iterator[np.ndarray]:
        """Yields f32[repetition, channel, time] of each image of a partition."""
        yield from self._read(partition).eeg

    @functools.cached_property
    def _axes(self) -> Axes:
        return self._read("test").axes

    def _read(self, partition: str) -> layout.PreprocessedEEG:
        return layout.read_eeg(self.image_set.root, self.subject, partition)


_Config = ImagesConfig | EEGConfig


class ThingsEeg2(tfds.core.ShardBasedBuilder):
    """Images or one subject's EEG of a data set in the THINGS-EEG2 layout."""

    VERSION = tfds.core.Version(store.VERSION)

    def _info(self) -> tfds.core.DatasetInfo:
        config = self.builder_config
        # As bytes, so that all records of images have one length.
        index = tfds.features.Tensor(shape=(), dtype=np.int32, encoding=_BYTES)
        return tfds.core.DatasetInfo(
            builder=self,
            description=config.description,
            features=tfds.features.FeaturesDict(
                {"index": index, config.name_of_array: config.feature()}
            ),
            metadata=tfds.core.MetadataDict(
                **config.metadata(),
                image_list_sha256=layout.image_list_digest(config.image_set),
                sources=_describe(config),
            ),
            disable_shuffling=True,
        )

    def _download_and_prepare(self, *args: Any, **kwargs: Any) -> None:
        self._digest = hashlib.sha256()
        super()._download_and_prepare(*args, **kwargs)
        self.info.metadata["data_sha256"] = self._digest.hexdigest()

    def _shard_iterators_per_split(
        self, dl_manager: Any
    ) -> Mapping[str, Sequence[Callable[[], Iterable]]]:
        del dl_manager  # Nothing is downloaded.
        return {name: self._shards(name) for name in layout.PARTITIONS}

    def _shards(self, partition: str) -> list[Callable[[], Iterable]]:
        """Returns what gives the examples of each file."""
        *counts, _ = _rows_of_shards(self.builder_config, partition)
        # TFDS writes the files in turn, so that they can share the examples.
        examples = self._examples(partition)
        return [
            functools.partial(itertools.islice, examples, count)
            for count in (*counts, None)
        ]

    def _examples(self, partition: str) -> Iterator[tuple[int, dict]]:
        config = self.builder_config
        bar = tqdm(
            config.arrays(partition),
            desc=f"{config.name} {partition}",
            total=len(config.image_set.files(partition)),
            unit="image",
            # Several processes would write over each other's.
            disable=None if multiprocessing.parent_process() is None else True,
        )
        for index, array in enumerate(bar):
            self._digest.update(array)
            yield index, {"index": index, config.name_of_array: array}

    def _example_writer(self) -> tfds.core.ExampleWriter:
        return _OrderedFeatures(self.info.file_format)


class _OrderedFeatures(tfds.core.ExampleWriter):
    """Writes the features of each example in the order of their names.

    Protocol buffers leave the order open, and Python's differs from process to process.
    """

    def write(self, path: os.PathLike, examples: Iterable[tuple[int, bytes]]) -> None:
        """Writes the examples of one file."""
        super().write(path, ((key, _in_order(example)) for key, example in examples))


def default_shards_dir(data_dir: str | os.PathLike) -> pathlib.Path:
    """Returns where a data set's shards lie unless the user says otherwise."""
    return pathlib.Path(data_dir) / "shards"


def ensure_shards(
    data_dir: str | os.PathLike,
    shards_dir: str | os.PathLike,
    *,
    subjects: Sequence[int],
    image_size: int,
    processes: int = 1,
    log: Callable[[str], None] = print,
) -> None:
    """Builds the shards that are missing or do not fit the files they come from.

    All EEG that is to be built is checked before anything is written. What is there
    must be of the same list of images, with a row for each. A configuration appears
    complete or not at all: if its build is stopped, the next call starts it again.

    Args:
      data_dir: folder in the THINGS-EEG2 layout.
      shards_dir: folder or address where the shards lie or shall lie; made if missing.
      subjects: subject numbers, from 1.
      image_size: height and width of the images in pixels.
      processes: how many build at a time: one the images, others a subject each.
      log: called with one line for each configuration that is built.

    Raises:
      InputError: the data set is not as it should be (see `layout`), or shards cannot
        be written.
    """
    image_set = layout.read_image_set(data_dir)
    for subject in subjects:
        layout.check_image_list(image_set, subject)
    reasons = reasons_to_build(
        image_set, shards_dir, subjects=subjects, image_size=image_size
    )
    configs = [
        config
        for config in _configs(image_set, subjects, image_size)
        if config.name in reasons
    ]
    for config in configs:
        if isinstance(config, EEGConfig):
            _check_eeg(config)
    for config in configs:
        log(f"building shards of {config.name} in {shards_dir}: {reasons[config.name]}")
    if processes > 1 and len(configs) > 1:
        _build_in_processes(shards_dir, configs, min(processes, len(configs)))
    else:
        for config in configs:
            with _scratch_dir(shards_dir, config) as scratch:
                _build(scratch, config)
                _publish(scratch, shards_dir, config)


def reasons_to_build(
    image_set: layout.ImageSet,
    shards_dir: str | os.PathLike,
    *,
    subjects: Sequence[int],
    image_size: int | None,
) -> dict[str, str]:
    """Returns which configurations must be built, such as images-224, and why.

    Args:
      image_set: the images.
      shards_dir: folder or address where the shards lie or shall lie.
      subjects: numbers of subjects whose preprocessed EEG is there.
      image_size: height and width of the images in pixels; None leaves them out.

    Raises:
      InputError: there is no access to the address, or a source file is missing.
    """
    reasons = {
        config.name: _why_build(shards_dir, config)
        for config in _configs(image_set, subjects, image_size)
    }
    return {name: reason for name, reason in reasons.items() if reason}


def _configs(
    image_set: layout.ImageSet, subjects: Sequence[int], image_size: int | None
) -> list[_Config]:
    """Returns the configuration of the images, if asked for, and of each subject."""
    configs: list[_Config] = [
        EEGConfig(
            name=layout.subject_name(subject), image_set=image_set, subject=subject
        )
        for subject in subjects
    ]
    if image_size is None:
        return configs
    name = store.images_name(image_size)
    return [
        ImagesConfig(name=name, image_set=image_set, image_size=image_size),
        *configs,
    ]


def _describe(config: _Config) -> list[list]:
    """Returns [path within the data set, bytes, mtime in ns] of each source file."""
    # Relative, so that a data set may move together with its shards.
    root = config.sources[0].parents[1]
    described = []
    for path in config.sources:
        try:
            status = path.stat()
        except OSError as error:
            raise unexpected(path, "a readable file", error) from error
        name = path.relative_to(root).as_posix()
        described.append([name, status.st_size, status.st_mtime_ns])
    return described


def _why_build(shards_dir: str | os.PathLike, config: _Config) -> str | None:
    """Returns why a configuration must be built, or None if it need not be."""
    if not store.exists(shards_dir, config.name):
        return "there are none yet"
    try:
        found = store.read_metadata(shards_dir, config.name)
        counts = store.count_examples(shards_dir, config.name)
    except InputError:
        return f"those in {store.config_dir(shards_dir, config.name)} are damaged"
    if found.get("image_list_sha256") != layout.image_list_digest(config.image_set):
        return "the list of images has changed since they were built"
    for partition, n_found in counts.items():
        n_images = len(config.image_set.files(partition))
        if n_found != n_images:
            return f"they hold {n_found} of {n_images} {partition} images"
    expected = _describe(config)
    if found.get("sources") == expected:
        return None
    changed = [entry for entry in expected if entry not in found.get("sources", [])]
    what = changed[0][0] if changed else "the list of files"
    return f"{what} has changed since they were built"


def _check_eeg(config: EEGConfig) -> None:
    """Checks both partitions of a subject against the images and each other."""
    axes = []
    for partition, path in zip(layout.PARTITIONS, config.eeg_paths, strict=True):
        eeg = layout.read_eeg(config.image_set.root, config.subject, partition)
        layout.check_alignment(config.image_set, eeg, partition, path)
        axes.append(eeg.axes)
    if axes[0] != axes[1]:
        raise unexpected(
            config.eeg_paths[1],
            f"the {axes[0].shape} channels and times of {config.eeg_paths[0]}",
            f"{axes[1].shape}, or others",
        )


def _rows_of_shards(config: _Config, partition: str) -> list[int]:
    """Returns the number of examples of each file."""
    n_rows = len(config.image_set.files(partition))
    n_shards = -(-config.n_bytes(partition) // _BYTES_A_SHARD)
    rows = np.array_split(np.arange(n_rows), min(n_rows, n_shards))
    return [len(part) for part in rows]


def _in_order(example: bytes) -> bytes:
    return tf.train.Example.FromString(example).SerializeToString(deterministic=True)


def _build_in_processes(
    shards_dir: str | os.PathLike, configs: Sequence[_Config], processes: int
) -> None:
    context = multiprocessing.get_context("spawn")
    with contextlib.ExitStack() as stack:
        # Removed last, when nobody writes to them any more.
        scratch_dirs = {
            config.name: stack.enter_context(_scratch_dir(shards_dir, config))
            for config in configs
        }
        pool = futures.ProcessPoolExecutor(processes, context, _follow_parent)
        stack.enter_context(pool)
        stack.enter_context(_ending_workers())
        running = {
            pool.submit(_build, scratch_dirs[config.name], config): config
            for config in configs
        }
        done = futures.as_completed(running)
        for future in tqdm(done, "shards", len(running), disable=None):
            config = running[future]
            try:
                future.result()
            except futures.BrokenExecutor as error:
                raise unexpected(
                    f"shards of {config.name}",
                    "a process that builds them",
                    (
                        "that it was killed; memory may be short, and one process "
                        "needs "
                        "less"
                    ),
                ) from error
            _publish(scratch_dirs[config.name], shards_dir, config)


def _follow_parent() -> None:
    """Ends a worker with its parent, which all of Ctrl-C is left to."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    multiprocessing.parent_process().join()
    os._exit(1)


@contextlib.contextmanager
def _ending_workers() -> Iterator[None]:
    """Ends the processes that were started meanwhile if something goes wrong."""
    others = set(multiprocessing.active_children())
    try:
        yield
    except BaseException:
        for process in set(multiprocessing.active_children()) - others:
            process.terminate()
        raise


def _scratch_dir(
    shards_dir: str | os.PathLike, config: _Config
) -> contextlib.AbstractContextManager[pathlib.Path]:
    parent = http.cache_dir() if store.is_remote(shards_dir) else shards_dir
    return scratch_dir(parent, config.name)


def _build(scratch: pathlib.Path, config: _Config) -> None:
    check_room(scratch, sum(map(config.n_bytes, layout.PARTITIONS)))
    try:
        with store.quiet_tfds():
            builder = ThingsEeg2(data_dir=scratch, config=config)
            builder.download_and_prepare(
                download_dir=scratch / "downloads",
                download_config=tfds.download.DownloadConfig(try_download_gcs=False),
            )
    except (OSError, tf.errors.OpError) as error:
        raise unexpected(
            scratch.parent,
            f"a folder that shards of {config.name} can be written to",
            error,
        ) from error


def _publish(
    scratch: pathlib.Path, shards_dir: str | os.PathLike, config: _Config
) -> None:
    """Puts what was built where it is read, in the place of any older version."""
    built = pathlib.Path(store.config_dir(scratch, config.name))
    if store.is_remote(shards_dir):
        store.upload(built, os.fspath(shards_dir), config.name)
        return
    target = pathlib.Path(store.config_dir(shards_dir, config.name)).parent
    target.parent.mkdir(exist_ok=True)
    if target.exists():
        shutil.rmtree(target)
    os.replace(built.parent, target)
