"""Images read from shards at random, a batch at a time, straight from the files.

All images of THINGS-EEG2 at 224 pixels are 2.5 GB. TFRecords whose records are of one
length can be read at any row without an index, and the system keeps in memory what it
can of the files, memory that it would otherwise not use. TFDS's own format for random
access, ArrayRecord, is slower (benchmarks/input_pipeline.py), on Linux only,
and not read by ``tfds.load``. Reads, not mappings, so that a file that shrinks
meanwhile is an error and not the end of the process.
"""

import dataclasses
import itertools
import math
import os
import pathlib
from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from img2eeg_jax.data import aligned
from img2eeg_jax.errors import expecting, unexpected


@dataclasses.dataclass(frozen=True)
class RecordLayout:
    """Where things lie in a record; all records of images are alike.

    Attributes:
      n_bytes: of a record, with the lengths and checksums that TFRecords add.
      image: where the image starts.
      index: where the number of its row starts, i32, after the image.
    """

    n_bytes: int
    image: int
    index: int

    @classmethod
    def find(
        cls, path: pathlib.Path, n_records: int, decoded: Sequence[Mapping]
    ) -> "RecordLayout":
        """Finds the layout by what a decoder says that the first records hold.

        Whether the other records are alike is for the caller to check.

        Args:
          path: a file of records of one length.
          n_records: how many it holds.
          decoded: ``image`` and ``index`` of the first records, as arrays.

        Raises:
          InputError: they do not hold these as plain bytes.
        """
        n_bytes = path.stat().st_size // n_records
        with open(path, "rb") as file:
            records = [file.read(n_bytes) for _ in decoded]

        def offset(name: str, start: int) -> int:
            # In one record the same bytes might come earlier by chance.
            return max(
                record.find(example[name].tobytes(), start)
                for record, example in zip(records, decoded, strict=True)
            )

        image = offset("image", 0)
        index = offset("index", image + decoded[0]["image"].nbytes)
        if image < 0 or index < 0:
            raise unexpected(path, "records that hold images as they are", "others")
        return cls(n_bytes, image, index)


class ImageRows:
    """Rows of an array u8[image, height, width, 3] that lies in files."""

    dtype = np.dtype(np.uint8)

    def __init__(
        self,
        files: Sequence[tuple[pathlib.Path, int]],
        record: RecordLayout,
        image_shape: tuple[int, int, int],
    ):
        """Opens nothing yet.

        Args:
          files: path and number of records of each file, in row order.
          record: what all records look like.
          image_shape: height, width and 3.
        """
        self._paths = [path for path, _ in files]
        self._starts = np.array([0, *itertools.accumulate(n for _, n in files)])
        self._record = record
        self._image_shape = tuple(image_shape)
        self._rows = np.arange(self._starts[-1])

    @property
    def shape(self) -> tuple[int, ...]:
        """Returns the shape of the array."""
        return (len(self), *self._image_shape)

    def __len__(self) -> int:
        return len(self._rows)

    def __array__(
        self, dtype: np.dtype | None = None, copy: bool | None = None
    ) -> np.ndarray:
        """Reads all rows."""
        return np.asarray(self[:], dtype)

    def __getitem__(
        self, rows: int | np.integer | Sequence[int] | np.ndarray | slice
    ) -> np.ndarray:
        """Reads rows.

        Args:
          rows: i64[n], a slice, or one number.

        Returns:
          u8[n, height, width, 3], or u8[height, width, 3] of one number.

        Raises:
          InputError: a file is no longer what it was.
        """
        if isinstance(rows, int | np.integer):
            return self[np.array([rows])][0]
        chosen = self._rows[rows]
        images = aligned.empty((len(chosen), *self._image_shape), np.uint8)
        shards = np.searchsorted(self._starts, chosen, "right") - 1
        for shard in np.unique(shards):
            self._read(shard, images, chosen, np.flatnonzero(shards == shard))
        return images

    def __iter__(self) -> Iterator[np.ndarray]:
        for row in range(len(self)):
            yield self[row]

    def take(self, rows: np.ndarray) -> "ImageRows":
        """Returns the images of some rows, i64[n], without reading them."""
        taken = object.__new__(ImageRows)
        taken.__dict__ = self.__dict__ | {"_rows": self._rows[rows]}
        return taken

    def _read(
        self, shard: int, images: np.ndarray, chosen: np.ndarray, places: np.ndarray
    ) -> None:
        """Fills places of `images` with those of the rows chosen that a file holds."""
        path, record = self._paths[shard], self._record
        n_bytes = math.prod(self._image_shape)
        after = np.empty(record.index + 4 - record.image - n_bytes, np.uint8)
        index = after[-4:].view(np.int32)
        starts = (chosen - self._starts[shard]) * record.n_bytes + record.image
        with expecting(path, "images", OSError), open(path, "rb", buffering=0) as file:
            for place in places:
                # Threads share no position, and the lock of Python is not held.
                n_read = os.preadv(file.fileno(), [images[place], after], starts[place])
                if n_read != n_bytes + after.nbytes:
                    expected = f"{n_bytes + after.nbytes} bytes at {starts[place]}"
                    raise unexpected(path, expected, n_read)
                if index[0] != chosen[place]:
                    found = f"image {index[0]}"
                    raise unexpected(path, f"image {chosen[place]}", found)
