"""The TFDS builder that writes one configuration of shards, and checks what it wrote.

What it wrote is read back once with TFDS's own decoder. Whoever opens shards later can
trust the record of that in their metadata, and need not read them to check them.
"""

import dataclasses
import functools
import hashlib
import itertools
import multiprocessing
import os
import pathlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from tqdm import tqdm

from img2eeg_jax.data import layout
from img2eeg_jax.data.shards import folders
from img2eeg_jax.data.shards.configs import Config, EEGConfig
from img2eeg_jax.data.shards.image_rows import ImageRows, RecordLayout
from img2eeg_jax.data.shards.tensorflow_setup import as_numpy, tf, tfds
from img2eeg_jax.errors import unexpected
from img2eeg_jax.provenance import SourceFile, sha256_of_bytes

# TFDS recommends files of 100 to 200 MB.
_BYTES_A_SHARD = 128 * 2**20
# Records read back at a time; a block of THINGS-EEG2's test EEG is 35 MB.
_RECORDS_AT_A_TIME = 64
# Records whose bytes are searched for what TFDS decodes from them.
_RECORDS_SEARCHED = 8


class ThingsEeg2(tfds.core.ShardBasedBuilder):
    """Images or one subject's EEG of a data set in the THINGS-EEG2 layout."""

    VERSION = tfds.core.Version(folders.VERSION)

    def _info(self) -> tfds.core.DatasetInfo:
        config = self.builder_config
        index = tfds.features.Tensor(
            shape=(), dtype=np.int32, encoding=tfds.features.Encoding.BYTES
        )
        return tfds.core.DatasetInfo(
            builder=self,
            description=config.description,
            features=tfds.features.FeaturesDict({"index": index, **config.features()}),
            metadata=tfds.core.MetadataDict(
                **config.metadata(),
                image_list_sha256=layout.image_list_digest(config.image_set),
                sources=[
                    SourceFile.of(path, name).to_list()
                    for name, path in named_sources(config).items()
                ],
            ),
            disable_shuffling=True,
        )

    def _download_and_prepare(self, *args: Any, **kwargs: Any) -> None:
        self._digest = hashlib.sha256()
        self._pixels: dict[str, list[str]] = {}
        super()._download_and_prepare(*args, **kwargs)
        self.info.metadata["data_sha256"] = self._digest.hexdigest()
        if self._pixels:
            self.info.metadata["pixels_sha256"] = self._pixels
        self.info.metadata.update(_check_written(self.info, self.builder_config))

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
            config.examples(partition),
            desc=f"{config.name} {partition}",
            total=len(config.image_set.files(partition)),
            unit="image",
            # Several processes would write over each other's.
            disable=None if multiprocessing.parent_process() is None else True,
        )
        for index, example in enumerate(bar):
            for name in sorted(example):
                self._digest.update(example[name])
            if "image" in example:
                pixels = sha256_of_bytes(example["image"])
                self._pixels.setdefault(partition, []).append(pixels)
            yield index, {"index": index, **example}

    def _example_writer(self) -> tfds.core.ExampleWriter:
        return _OrderedFeatures(self.info.file_format)


class _OrderedFeatures(tfds.core.ExampleWriter):
    """Writes the features of each example in the order of their names.

    Protocol buffers leave the order open, and Python's differs from process to process.
    """

    def write(self, path: os.PathLike, examples: Iterable[tuple[int, bytes]]) -> None:
        """Writes the examples of one file."""
        super().write(path, ((key, _in_order(example)) for key, example in examples))


def named_sources(config: Config) -> dict[str, pathlib.Path]:
    """Returns the files that shards are made from, by their paths in the data set."""
    # Relative, so that a data set may move together with its shards.
    root = config.image_set.root
    return {path.relative_to(root).as_posix(): path for path in config.sources}


def _rows_of_shards(config: Config, partition: str) -> list[int]:
    """Returns the number of examples of each file."""
    n_rows = len(config.image_set.files(partition))
    n_shards = -(-config.n_bytes(partition) // _BYTES_A_SHARD)
    rows = np.array_split(np.arange(n_rows), min(n_rows, n_shards))
    return [len(part) for part in rows]


def _in_order(example: bytes) -> bytes:
    return tf.train.Example.FromString(example).SerializeToString(deterministic=True)


def _check_written(info: tfds.core.DatasetInfo, config: Config) -> dict[str, Any]:
    """Reads everything back, and returns what the metadata record of that.

    Raises:
      InputError: it is not what was written.
    """
    files = {
        partition: list(
            zip(
                map(pathlib.Path, info.splits[partition].filepaths),
                info.splits[partition].shard_lengths,
                strict=True,
            )
        )
        for partition in layout.PARTITIONS
    }
    record = None
    if not isinstance(config, EEGConfig):
        path, n_records = files["training"][0]
        first = itertools.islice(_decoded(info, [path], 1), _RECORDS_SEARCHED)
        one_by_one = [{key: value[0] for key, value in b.items()} for b in first]
        record = RecordLayout.find(path, n_records, one_by_one)
    digest, n_repetitions, is_right = hashlib.sha256(), {}, True
    for partition, of_partition in files.items():
        rows, n_read = None, 0
        if record is not None:
            shape = (config.image_size, config.image_size, 3)
            rows = ImageRows(of_partition, record, shape)
        paths = [path for path, _ in of_partition]
        for block in _decoded(info, paths, _RECORDS_AT_A_TIME):
            expected = np.arange(n_read, n_read + len(block["index"]))
            is_right &= np.array_equal(block.pop("index"), expected)
            if rows is not None:
                is_right &= np.array_equal(rows[expected], block["image"])
            else:
                n_repetitions[partition] = block["eeg"].shape[1]
            for position in range(len(expected)):
                for name in sorted(block):
                    digest.update(np.ascontiguousarray(block[name][position]))
            n_read += len(expected)
    if not is_right or digest.hexdigest() != info.metadata["data_sha256"]:
        raise unexpected(paths[0].parent, "what was written", "something else")
    described = {
        partition: [[path.name, n, path.stat().st_size] for path, n in of_partition]
        for partition, of_partition in files.items()
    }
    if record is None:
        return {"files": described, "n_repetitions": n_repetitions}
    return {"files": described, "record": dataclasses.asdict(record)}


def _decoded(
    info: tfds.core.DatasetInfo, paths: Sequence[pathlib.Path], batch_size: int
) -> Iterator[dict[str, np.ndarray]]:
    """Yields blocks of the examples in files, as TFDS decodes them."""
    records = tf.data.TFRecordDataset([str(path) for path in paths])
    examples = records.map(info.features.deserialize_example)
    return as_numpy(examples.batch(batch_size))
