"""What each configuration of shards is made from, and its examples."""

import dataclasses
import functools
import os
import pathlib
from collections.abc import Callable, Iterator, Sequence
from concurrent import futures
from typing import Any

import numpy as np
import PIL

from img2eeg_jax.axes import Axes
from img2eeg_jax.data import layout
from img2eeg_jax.data.shards import folders
from img2eeg_jax.data.shards.tensorflow_setup import tfds
from img2eeg_jax.errors import unexpected
from img2eeg_jax.provenance import sha256_of

# Images in flight between the threads that decode and the one that writes.
_IMAGES_AT_A_TIME = 256
# As bytes, so that all records of a partition have one length.
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

    def features(self) -> dict[str, tfds.features.Tensor]:
        """Returns what TFDS must know of an example."""
        shape = (self.image_size, self.image_size, 3)
        return {"image": _feature(shape, np.uint8)}

    def metadata(self) -> dict[str, Any]:
        """Returns what describes all examples."""
        return {
            "images": layout.image_list(self.image_set),
            "image_size": self.image_size,
            "resized_by": f"antialiased bilinear filter of Pillow {PIL.__version__}",
            "files_sha256": self._files_sha256(),
        }

    def n_bytes(self, partition: str) -> int:
        """Returns about how much a partition takes."""
        return len(self.image_set.files(partition)) * self.image_size**2 * 3

    def check(self) -> None:
        """Does nothing: images are checked while they are decoded."""

    def examples(self, partition: str) -> Iterator[dict[str, np.ndarray]]:
        """Yields `image` u8[height, width, 3] of each image, in row order."""
        files = self.image_set.files(partition)
        with futures.ThreadPoolExecutor(os.cpu_count()) as pool:
            for start in range(0, len(files), _IMAGES_AT_A_TIME):
                paths = files[start : start + _IMAGES_AT_A_TIME]
                for image in pool.map(self._read, paths):
                    yield {"image": image}

    def _read(self, path: pathlib.Path) -> np.ndarray:
        return layout.read_image(path, self.image_size)

    def _files_sha256(self) -> dict[str, list[str]]:
        with futures.ThreadPoolExecutor(os.cpu_count()) as pool:
            return {
                partition: list(pool.map(sha256_of, self.image_set.files(partition)))
                for partition in layout.PARTITIONS
            }


@dataclasses.dataclass(eq=False, kw_only=True)
class EEGConfig(tfds.core.BuilderConfig):
    """Preprocessed EEG of one subject.

    Attributes:
      image_set: the images that its rows belong to.
      subject: subject number, from 1.
    """

    image_set: layout.ImageSet
    subject: layout.Label

    @property
    def sources(self) -> list[pathlib.Path]:
        """The files that the shards are made from."""
        root = self.image_set.root
        paths = self._paths(layout.eeg_path)
        if layout.record_path(root, self.subject).exists():
            paths.append(layout.record_path(root, self.subject))
        return paths + (self._paths(layout.noise_free_path) if self._simulated else [])

    def features(self) -> dict[str, tfds.features.Tensor]:
        """Returns what TFDS must know of an example."""
        # The partitions differ in the number of repetitions.
        features = {"eeg": _feature((None, *self._axes.shape), np.float32)}
        if self._simulated:
            features["noise_free"] = _feature(self._axes.shape, np.float32)
        return features

    def metadata(self) -> dict[str, Any]:
        """Returns what describes all examples."""
        return {
            **self._axes.to_dict(),
            "preprocessing": layout.read_record(self.image_set.root, self.subject),
            "simulated": self._simulated,
        }

    def n_bytes(self, partition: str) -> int:
        """Returns about how much a partition takes, float64 in the source."""
        path = layout.eeg_path(self.image_set.root, self.subject, partition)
        return path.stat().st_size // 2

    def check(self) -> None:
        """Checks both partitions against the images and each other.

        Raises:
          InputError: they do not fit, or a file is not as it should be.
        """
        axes, paths = [], self.sources[:2]
        for partition, path in zip(layout.PARTITIONS, paths, strict=True):
            eeg = self._read(partition)
            layout.check_alignment(self.image_set, eeg, partition, path)
            axes.append(eeg.axes)
            self._read_noise_free(partition, (len(eeg.eeg), *eeg.axes.shape))
        if axes[0] != axes[1]:
            what = "channels and times" if axes[0].has_times else "features and unit"
            ours, theirs = (f"{one}, unit {one.unit}" for one in axes)
            expected = f"the {what} of {paths[0]} ({ours})"
            raise unexpected(paths[1], expected, f"others ({theirs})")

    def examples(self, partition: str) -> Iterator[dict[str, np.ndarray]]:
        """Yields `eeg` f32[repetition, channel, time] of each image of a partition.

        And `noise_free` f32[channel, time] of simulated data.
        """
        eeg = self._read(partition).eeg
        if not self._simulated:
            yield from ({"eeg": one} for one in eeg)
            return
        noise_free = self._read_noise_free(partition, (len(eeg), *eeg.shape[2:]))
        if noise_free is None:
            path = layout.noise_free_path(self.image_set.root, self.subject, partition)
            raise unexpected(path, "the responses without noise", "none")
        for one, response in zip(eeg, noise_free, strict=True):
            yield {"eeg": one, "noise_free": response}

    @functools.cached_property
    def _axes(self) -> Axes:
        return self._read_file("test").axes

    @property
    def _simulated(self) -> bool:
        return layout.is_simulated(self.image_set.root)

    def _paths(self, path_of: Callable[..., pathlib.Path]) -> list[pathlib.Path]:
        """Returns the path of each partition."""
        root = self.image_set.root
        return [path_of(root, self.subject, name) for name in layout.PARTITIONS]

    def _read(self, partition: str) -> layout.PreprocessedEEG:
        """Returns a partition's EEG, its channels in the order of the test's."""
        eeg = self._read_file(partition)
        return eeg if partition == "test" else eeg.in_order_of(self._axes)

    def _read_file(self, partition: str) -> layout.PreprocessedEEG:
        return layout.read_eeg(self.image_set.root, self.subject, partition)

    def _read_noise_free(
        self, partition: str, shape: tuple[int, ...]
    ) -> np.ndarray | None:
        root = self.image_set.root
        response = layout.noise_free_response(root, self.subject, partition)
        if response is not None and response.shape != shape:
            raise unexpected(
                layout.noise_free_path(root, self.subject, partition),
                f"responses of shape {shape}, as the EEG has",
                response.shape,
            )
        return response


@dataclasses.dataclass(eq=False, kw_only=True)
class ResponsesConfig(EEGConfig):
    """Responses of one subject that are no EEG; their examples are called `eeg`, too.

    See `layout.read_responses`. Nothing of them is without noise, or preprocessed here.
    """

    @property
    def sources(self) -> list[pathlib.Path]:
        """The files that the shards are made from."""
        return self._paths(layout.responses_path)

    def metadata(self) -> dict[str, Any]:
        """Returns what describes all examples."""
        simulated = layout.is_simulated(self.image_set.root)
        about = {"preprocessing": None, "simulated": simulated}
        return {**self._axes.to_dict(), **about}

    def n_bytes(self, partition: str) -> int:
        """Returns about how much a partition takes."""
        root = self.image_set.root
        path = layout.responses_path(root, self.subject, partition)
        return path.stat().st_size

    @property
    def _simulated(self) -> bool:
        return False

    def _read_file(self, partition: str) -> layout.PreprocessedEEG:
        return layout.read_responses(self.image_set.root, self.subject, partition)

    def _read_noise_free(self, partition: str, shape: tuple[int, ...]) -> None:
        return None


Config = ImagesConfig | EEGConfig


def make_configs(
    image_set: layout.ImageSet,
    subjects: Sequence[layout.Label],
    image_size: int | None,
    *,
    is_eeg: bool = True,
) -> list[Config]:
    """Returns the configuration of the images, and that of each subject.

    Args:
      image_set: the images.
      subjects: subject numbers, from 1.
      image_size: height and width of the images in pixels; None leaves them out.
      is_eeg: whether the subjects' responses are EEG, or those of other files.
    """
    kind = EEGConfig if is_eeg else ResponsesConfig
    configs: list[Config] = [
        kind(
            name=folders.responses_name(subject, is_eeg=is_eeg),
            image_set=image_set,
            subject=subject,
        )
        for subject in subjects
    ]
    if image_size is None:
        return configs
    name = folders.images_name(image_size)
    images = ImagesConfig(name=name, image_set=image_set, image_size=image_size)
    return [images, *configs]


def _feature(shape: tuple[int | None, ...], dtype: type) -> tfds.features.Tensor:
    return tfds.features.Tensor(shape=shape, dtype=dtype, encoding=_BYTES)
