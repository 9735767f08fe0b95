"""Shards, opened once and passed on: all the data of training and evaluation."""

import dataclasses
import functools
import hashlib
import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from img2eeg_jax.axes import Axes
from img2eeg_jax.data import layout
from img2eeg_jax.data.layout.paths import check_partition
from img2eeg_jax.data.shards import folders
from img2eeg_jax.data.shards.image_rows import ImageRows, RecordLayout
from img2eeg_jax.data.shards.tensorflow_setup import as_numpy, tfds
from img2eeg_jax.errors import unexpected

# One block of THINGS-EEG2's test partition is 35 MB.
_EXAMPLES_AT_A_TIME = 64


@dataclasses.dataclass(frozen=True, eq=False)
class SubjectEEG:
    """One subject's EEG in shards, read when asked for; or other responses.

    Attributes:
      subject: subject number, from 1.
      axes: all its channels and times, or features, and the unit of its values.
      preprocessing: the record of how it was made; None for EEG of other origin.
      n_repetitions: partition → number of repetitions.
      simulated: whether the data are simulated, so that the noise-free response is
        known.
    """

    subject: layout.Label
    axes: Axes
    preprocessing: dict[str, Any] | None
    n_repetitions: Mapping[str, int]
    simulated: bool
    _files: folders.Configuration = dataclasses.field(repr=False)

    @property
    def sha256(self) -> str:
        """Tells this EEG from others."""
        return self._files.metadata["data_sha256"]

    @classmethod
    def open(
        cls,
        shards_dir: str | os.PathLike,
        subject: layout.Label,
        *,
        is_eeg: bool = True,
    ) -> "SubjectEEG":
        """Reads what describes a subject's EEG, and checks the sizes of the files.

        Args:
          shards_dir: a folder or an address.
          subject: subject number, from 1.
          is_eeg: whether it is EEG, or the subject's other responses.

        Raises:
          InputError: there are no such shards, or they are damaged.
        """
        name = folders.responses_name(subject, is_eeg=is_eeg)
        files = folders.open_configuration(shards_dir, name)
        metadata = files.metadata
        with files.told_damaged("a complete description of EEG"):
            return cls(
                subject=subject,
                axes=Axes.from_dict(
                    {key: metadata[key] for key in ("ch_names", "times_s", "unit")}
                ),
                preprocessing=metadata["preprocessing"],
                n_repetitions=metadata["n_repetitions"],
                simulated=metadata["simulated"],
                _files=files,
            )

    def read(
        self,
        partition: str,
        channels: Sequence[str] | None = None,
        window_s: tuple[float, float] | None = None,
    ) -> np.ndarray:
        """Reads every repetition.

        Args:
          partition: ``"training"`` or ``"test"``.
          channels: names of the channels, in the order wanted; None for all.
          window_s: first and last time in seconds; None for all.

        Returns:
          f32[image, repetition, channel, time], in row order.

        Raises:
          InputError: the shards are damaged, or there is no such partition or channel,
            or no sample in the window.
        """
        take = self._take(channels, window_s)
        return self._reduce(partition, "eeg", lambda eeg, first: take(eeg))

    def read_rows(
        self,
        partition: str,
        rows: Sequence[int] | np.ndarray,
        channels: Sequence[str] | None = None,
        window_s: tuple[float, float] | None = None,
    ) -> np.ndarray:
        """Reads every repetition of some images; the rest is never in memory.

        Args:
          partition: ``"training"`` or ``"test"``.
          rows: of the partition.
          channels: see `read`.
          window_s: see `read`.

        Returns:
          f32[row, repetition, channel, time].

        Raises:
          InputError: see `read`.
        """
        take, rows = self._take(channels, window_s), np.asarray(rows, np.int64)
        shape = self.axes.select(channels, window_s).shape
        n_repetitions = self.n_repetitions[partition]
        trials = np.empty((len(rows), n_repetitions, *shape), np.float32)

        def keep(eeg: np.ndarray, first: int) -> np.ndarray:
            here = np.flatnonzero((rows >= first) & (rows < first + len(eeg)))
            trials[here] = take(eeg[rows[here] - first])
            return np.empty((len(eeg), 0))

        self._reduce(partition, "eeg", keep)
        return trials

    def trial_digests(self, partition: str) -> list[list[bytes]]:
        """Returns, of each image, the digest of each repetition.

        Raises:
          InputError: see `read`.
        """
        digests: list[list[bytes]] = []

        def keep(eeg: np.ndarray, first: int) -> np.ndarray:
            eeg = np.ascontiguousarray(eeg, np.float32)
            digests.extend([hashlib.sha256(one).digest() for one in of] for of in eeg)
            return np.empty((len(eeg), 0))

        self._reduce(partition, "eeg", keep)
        return digests

    def means(
        self,
        partition: str,
        channels: Sequence[str] | None = None,
        window_s: tuple[float, float] | None = None,
        halves_of: Sequence[int] | np.ndarray = (),
    ) -> tuple[np.ndarray, np.ndarray]:
        """Reads means over repetitions, block by block: never all EEG is in memory.

        Args:
          partition: ``"training"`` or ``"test"``.
          channels: see `read`.
          window_s: see `read`.
          halves_of: rows of the partition of which every other repetition is averaged,
            too.

        Returns:
          f32[image, channel, time], computed in float64; and f32[2, row, channel,
          time], those over repetitions at even and at odd places of the rows
          `halves_of`. Of a single repetition the last is NaN.

        Raises:
          InputError: see `read`.
        """
        take = self._take(channels, window_s)
        rows = np.asarray(halves_of, np.int64)
        shape = self.axes.select(channels, window_s).shape
        halves = np.full((2, len(rows), *shape), np.nan, np.float32)

        def average(eeg: np.ndarray, first: int) -> np.ndarray:
            here = np.flatnonzero((rows >= first) & (rows < first + len(eeg)))
            if len(here):
                of_rows = eeg[rows[here] - first]
                for place in range(min(2, of_rows.shape[1])):
                    halves[place, here] = take(of_rows[:, place::2].mean(1, np.float64))
            return take(eeg.mean(1, np.float64))

        return self._reduce(partition, "eeg", average), halves

    def noise_free(
        self,
        partition: str,
        channels: Sequence[str] | None = None,
        window_s: tuple[float, float] | None = None,
    ) -> np.ndarray | None:
        """Reads the responses without noise, f32[image, channel, time].

        They are known of simulated EEG only, and None of others. Arguments and errors
        are those of `read`.
        """
        if not (self.simulated and self.axes.has_times):
            return None
        take = self._take(channels, window_s)
        return self._reduce(partition, "noise_free", lambda eeg, first: take(eeg))

    def _take(
        self, channels: Sequence[str] | None, window_s: tuple[float, float] | None
    ) -> Callable[[np.ndarray], np.ndarray]:
        return functools.partial(self.axes.take, channels=channels, window_s=window_s)

    def _reduce(
        self,
        partition: str,
        feature: str,
        reduce: Callable[[np.ndarray, int], np.ndarray],
    ) -> np.ndarray:
        """Reads a feature in blocks, each of which is reduced, in row order.

        `reduce` is told the row of a block's first image, too.
        """
        check_partition(partition)
        result, n_read = None, 0
        n_examples = self._files.n_examples(partition)
        with self._files.told_damaged(f"complete shards of the {partition} partition"):
            with folders.quiet_tfds():
                dataset = tfds.builder_from_directory(self._files.folder).as_dataset(
                    split=partition,
                    batch_size=_EXAMPLES_AT_A_TIME,
                    read_config=tfds.ReadConfig(try_autocache=False),
                )
            for block in as_numpy(dataset):
                values = reduce(block[feature], n_read)
                if result is None:
                    result = np.empty((n_examples, *values.shape[1:]), np.float32)
                expected = np.arange(n_read, n_read + len(values))
                if not np.array_equal(block["index"], expected):
                    raise ValueError(f"examples out of order after {n_read}")
                result[n_read : n_read + len(values)] = values
                n_read += len(values)
            if result is None or n_read != n_examples:
                raise ValueError(f"{n_read} of {n_examples} examples")
        return result


@dataclasses.dataclass(frozen=True, eq=False)
class Shards:
    """A data set's images and the EEG of some subjects, ready to be read.

    Attributes:
      shards_dir: the folder or address where they lie.
      image_size: height and width of the images in pixels.
      subjects: numbers of the subjects whose EEG is there.
      images: partition → u8[image, height, width, 3], whose rows are read when asked
        for.
      image_list: partition → CONCEPT/FILE of each image.
      image_list_sha256: tells this list of images from others.
      images_sha256: tells these pixels from others.
      files_sha256: partition → SHA-256 of each image's file, which tells it from others
        whatever it is called and whoever decodes it.
      pixels_sha256: partition → SHA-256 of each image's pixels, which tells it from
        others but for its copies in other formats.
    """

    shards_dir: str
    image_size: int
    subjects: tuple[layout.Label, ...]
    images: Mapping[str, ImageRows]
    image_list: Mapping[str, tuple[str, ...]]
    image_list_sha256: str
    images_sha256: str
    files_sha256: Mapping[str, tuple[str, ...]]
    pixels_sha256: Mapping[str, tuple[str, ...]]
    _eeg: Mapping[layout.Label, SubjectEEG] = dataclasses.field(repr=False)

    @classmethod
    def open(
        cls,
        shards_dir: str | os.PathLike,
        *,
        image_size: int,
        subjects: Sequence[layout.Label],
        is_eeg: bool = True,
    ) -> "Shards":
        """Opens shards; checks that they are complete and of one list of images.

        What was written was checked when it was built; here it is the sizes of the
        files and their descriptions.

        Args:
          shards_dir: a folder or an address.
          image_size: height and width of the images in pixels.
          subjects: subject numbers, from 1.
          is_eeg: whether their responses are EEG, or those of other files.

        Raises:
          InputError: there are no such shards, they are damaged, or EEG is of another
            list of images or has another number of rows.
        """
        files = folders.open_configuration(shards_dir, folders.images_name(image_size))
        with files.told_damaged("a complete description of images"):
            record = RecordLayout(**files.metadata["record"])
            image_list = files.metadata["images"]
            list_sha256 = files.metadata["image_list_sha256"]
            images_sha256 = files.metadata["data_sha256"]
            digests = {
                key: {name: tuple(of) for name, of in files.metadata[key].items()}
                for key in ("files_sha256", "pixels_sha256")
            }
        eeg = {
            subject: SubjectEEG.open(shards_dir, subject, is_eeg=is_eeg)
            for subject in subjects
        }
        for one in eeg.values():
            if one._files.metadata.get("image_list_sha256") != list_sha256:
                raise unexpected(
                    one._files.address,
                    f"EEG of the images of {files.name}",
                    "EEG of another list of images",
                )
            for partition in layout.PARTITIONS:
                n_images = files.n_examples(partition)
                n_rows = one._files.n_examples(partition)
                if n_rows != n_images:
                    raise unexpected(
                        one._files.address,
                        f"as many {partition} images as EEG rows",
                        f"{n_images} and {n_rows}",
                    )
        shape = (image_size, image_size, 3)
        return cls(
            shards_dir=os.fspath(shards_dir),
            image_size=image_size,
            subjects=tuple(subjects),
            images={
                partition: ImageRows(files.files(partition), record, shape)
                for partition in layout.PARTITIONS
            },
            image_list={name: tuple(listed) for name, listed in image_list.items()},
            image_list_sha256=list_sha256,
            images_sha256=images_sha256,
            **digests,
            _eeg=eeg,
        )

    @functools.cached_property
    def concepts(self) -> Mapping[str, tuple[str, ...]]:
        """Partition → the concept of each image."""
        return {
            partition: tuple(name.split("/")[0] for name in listed)
            for partition, listed in self.image_list.items()
        }

    def image_digests(self, partition: str) -> tuple[Sequence[str], Sequence[str]]:
        """Returns what tells images from each other: by files, and by pixels."""
        return self.files_sha256[partition], self.pixels_sha256[partition]

    def eeg(self, subject: layout.Label) -> SubjectEEG:
        """Returns the EEG of a subject.

        Raises:
          InputError: the shards were not opened with this subject.
        """
        if subject not in self._eeg:
            raise unexpected(
                self.shards_dir,
                f"one of the subjects {', '.join(map(str, self.subjects))}",
                subject,
            )
        return self._eeg[subject]
