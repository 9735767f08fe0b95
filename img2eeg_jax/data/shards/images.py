"""Images read from shards at random, a batch at a time, straight from the files.

All images of THINGS-EEG2 at 224 pixels are 2.5 GB. TFRecords whose records are of one
length can be read at any row without an index, and the system keeps in memory what it
can of the files, memory that it would otherwise not use. TFDS's own format for random
access, ArrayRecord, is slower (benchmarks/input_pipeline.py), on Linux only,
and not read by ``tfds.load``.
"""

import itertools
import math
import os
import pathlib
from collections.abc import Sequence

import numpy as np

from img2eeg_jax.data.shards.tensorflow_setup import as_numpy, tf
from img2eeg_jax.errors import unexpected

# Before a record come its length, u64, and a checksum of that; after it another.
_HEADER_BYTES = 12
_FOOTER_BYTES = 4
_RECORDS_AT_A_TIME = 256


class ShardedImages:
    """Rows of an array u8[image, height, width, 3] that lies in files."""

    dtype = np.dtype(np.uint8)

    def __init__(
        self,
        paths: Sequence[pathlib.Path],
        counts: Sequence[int],
        image_shape: tuple[int, int, int],
    ):
        """Reads all files once, to check them.

        Args:
          paths: TFRecords of examples with `image` and `index` as bytes, in row order,
            their features in the order of their names.
          counts: number of examples in each file.
          image_shape: height, width and 3.

        Raises:
          ValueError: the files hold something else, or not all rows in order.
          tf.errors.OpError: a file is damaged.
        """
        self._paths = list(paths)
        self._starts = np.array([0, *itertools.accumulate(counts)])
        self._image_shape = tuple(image_shape)
        self._rows = np.arange(self._starts[-1])
        self._record_bytes = _HEADER_BYTES + self._check() + _FOOTER_BYTES

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """Returns the shape of the array."""
        return (len(self), *self._image_shape)

    def __len__(self) -> int:
        return len(self._rows)

    def __array__(self, dtype=None, copy=None) -> np.ndarray:
        """Reads all rows."""
        return np.asarray(self[:], dtype)

    def __getitem__(self, rows: int | Sequence[int] | np.ndarray | slice) -> np.ndarray:
        """Reads rows.

        Args:
          rows: i64[n], a slice, or one number.

        Returns:
          u8[n, height, width, 3], or u8[height, width, 3] of one number.

        Raises:
          InputError: a file is no longer what it was.
        """
        if np.ndim(rows) == 0 and not isinstance(rows, slice):
            return self[[rows]][0]
        chosen = self._rows[rows]
        images = np.empty((len(chosen), *self._image_shape), np.uint8)
        shards = np.searchsorted(self._starts, chosen, "right") - 1
        positions = (chosen - self._starts[shards] + 1) * self._record_bytes
        positions -= _FOOTER_BYTES + _bytes_after_image() + math.prod(self._image_shape)
        for shard in np.unique(shards):
            _read(
                self._paths[shard], images, positions, np.flatnonzero(shards == shard)
            )
        return images

    def take(self, rows: np.ndarray) -> "ShardedImages":
        """Returns the images of some rows, i64[n], without reading them."""
        taken = object.__new__(ShardedImages)
        taken.__dict__ = self.__dict__ | {"_rows": self._rows[rows]}
        return taken

    def _check(self) -> int:
        """Reads all records with their checksums; returns the bytes of each."""
        n_bytes = math.prod(self._image_shape)
        feature = tf.io.FixedLenFeature([], tf.string)

        def describe(record):
            example = tf.io.parse_single_example(
                record, {"image": feature, "index": feature}
            )
            index = tf.io.decode_raw(example["index"], tf.int32, fixed_length=4)[0]
            start = -(n_bytes + _bytes_after_image())
            is_there = tf.strings.substr(record, start, n_bytes) == example["image"]
            return index, tf.strings.length(record), is_there

        dataset = tf.data.TFRecordDataset([str(path) for path in self._paths])
        dataset = dataset.map(describe, num_parallel_calls=os.cpu_count())
        blocks = as_numpy(dataset.batch(_RECORDS_AT_A_TIME))
        columns = [np.concatenate(column) for column in zip(*blocks, strict=True)]
        if not columns:
            raise ValueError("no examples")
        index, lengths, is_there = columns
        if not (np.array_equal(index, self._rows) and is_there.all()):
            raise ValueError(f"{len(index)} examples that are not rows in order")
        if len(set(lengths.tolist())) != 1:
            raise ValueError("examples of several lengths")
        return int(lengths[0])


def _bytes_after_image() -> int:
    """Returns the length of what follows the image in its record: the index."""
    index = tf.train.Feature(bytes_list=tf.train.BytesList(value=[bytes(4)]))
    return tf.train.Features(feature={"index": index}).ByteSize()


def _read(
    path: pathlib.Path, images: np.ndarray, positions: np.ndarray, rows: np.ndarray
) -> None:
    """Fills rows of `images` from their positions in a file."""
    try:
        with open(path, "rb", buffering=0) as file:
            for row in rows:
                # Threads share no position, and the lock of Python is not held.
                n_read = os.preadv(file.fileno(), [images[row]], positions[row])
                if n_read != images[row].nbytes:
                    raise unexpected(
                        path, f"{images[row].nbytes} bytes at {positions[row]}", n_read
                    )
    except OSError as error:
        raise unexpected(path, "images", error) from error
