"""The images of a data set: which there are, in which order, and in which files."""

import dataclasses
import os
import pathlib
from collections.abc import Iterable, Sequence
from typing import Any

from img2eeg_jax.data.layout.paths import PARTITIONS, check_partition, metadata_path
from img2eeg_jax.data.layout.unpickle import (
    as_names,
    entry,
    read_npy_dict,
    write_npy_dict,
)
from img2eeg_jax.errors import unexpected
from img2eeg_jax.provenance import digest_of

_METADATA_PREFIX = {"training": "train", "test": "test"}
_IMAGE_SUFFIXES = frozenset(
    {".bmp", ".gif", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp"}
)


@dataclasses.dataclass(frozen=True)
class ImageSet:
    """The images of a data set, in the row order of ``image_metadata.npy``.

    Attributes:
      root: the data set's folder (the parent of ``image_set``).
      training_files: image paths of the training partition.
      training_concepts: the concept (folder name) of each training image.
      test_files: image paths of the test partition.
      test_concepts: the concept (folder name) of each test image.
    """

    root: pathlib.Path
    training_files: tuple[pathlib.Path, ...]
    training_concepts: tuple[str, ...]
    test_files: tuple[pathlib.Path, ...]
    test_concepts: tuple[str, ...]

    def files(self, partition: str) -> tuple[pathlib.Path, ...]:
        """Returns the image paths of ``"training"`` or ``"test"``."""
        check_partition(partition)
        return self.training_files if partition == "training" else self.test_files

    def concepts(self, partition: str) -> tuple[str, ...]:
        """Returns the concept of each image of ``"training"`` or ``"test"``."""
        check_partition(partition)
        if partition == "training":
            return self.training_concepts
        return self.test_concepts


def read_image_set(data_dir: str | os.PathLike) -> ImageSet:
    """Reads and checks the list of images.

    Args:
      data_dir: folder that holds ``image_set``.

    Returns:
      The images of both partitions, in the order of the EEG rows.

    Raises:
      InputError: ``image_metadata.npy`` is missing, unreadable, lacks a key or is not
        sorted; an image that it lists is missing; or the folders hold images that it
        does not list.
    """
    return _as_image_set(data_dir, read_npy_dict(metadata_path(data_dir)))


def find_image_set(data_dir: str | os.PathLike) -> ImageSet:
    """Reads the list of images, or takes it from the folders where none is written.

    Raises:
      InputError: as `read_image_set` and `list_images`.
    """
    if metadata_path(data_dir).exists():
        return read_image_set(data_dir)
    return _as_image_set(data_dir, _as_metadata(**list_images(data_dir)))


def image_list(image_set: ImageSet) -> dict[str, list[str]]:
    """Returns CONCEPT/FILE of each image, by partition."""
    return {
        name: [f"{path.parent.name}/{path.name}" for path in image_set.files(name)]
        for name in PARTITIONS
    }


def image_list_digest(image_set: ImageSet) -> str:
    """Returns the SHA-256 that tells one list of images from another."""
    return digest_of(image_list(image_set))


def is_image(name: str) -> bool:
    """Tells by a file's name whether it is an image."""
    # Hidden files (macOS writes ._NAME.jpg) are not part of a data set.
    suffix = os.path.splitext(name)[1].lower()
    return suffix in _IMAGE_SUFFIXES and not name.startswith(".")


def files_by_concept(folder: str | os.PathLike) -> set[tuple[str, str]]:
    """Lists the files CONCEPT/FILE of a folder, images or not.

    Raises:
      OSError: there is no such folder.
    """
    return {
        (concept.name, file.name)
        for concept in os.scandir(folder)
        if concept.is_dir()
        for file in os.scandir(concept.path)
    }


def find_images(paths: Iterable[str | os.PathLike]) -> list[pathlib.Path]:
    """Lists image files.

    Args:
      paths: image files as they are, and folders, which give all the images in them
        and below, sorted.

    Raises:
      InputError: a path is missing, or there is no image in a folder.
    """
    files = []
    for path in map(pathlib.Path, paths):
        inside = [path]
        if path.is_dir():
            inside = sorted(p for p in path.rglob("*") if is_image(p.name))
        if not inside or not path.exists():
            raise unexpected(path, "an image or a folder of images", "none")
        files += inside
    return files


def list_images(data_dir: str | os.PathLike) -> dict[str, list[tuple[str, str]]]:
    """Lists the images that a data set's folders hold.

    Returns:
      Partition → (concept, file name) of each image, sorted.

    Raises:
      InputError: a folder holds none.
    """
    listed = {}
    for partition in PARTITIONS:
        folder = metadata_path(data_dir).parent / f"{partition}_images"
        found = files_by_concept(folder) if folder.is_dir() else set()
        listed[partition] = sorted(pair for pair in found if is_image(pair[1]))
        if not listed[partition]:
            raise unexpected(folder, "images CONCEPT/FILE", "none")
    return listed


def write_image_metadata(
    data_dir: str | os.PathLike,
    *,
    training: Sequence[tuple[str, str]],
    test: Sequence[tuple[str, str]],
) -> None:
    """Writes ``image_metadata.npy``, atomically.

    Args:
      data_dir: folder that holds, or will hold, ``image_set``.
      training: (concept, file name) of each training image, in row order.
      test: the same for the test images.
    """
    metadata = _as_metadata(training=training, test=test)
    write_npy_dict(metadata_path(data_dir), metadata)


def _as_metadata(
    *, training: Sequence[tuple[str, str]], test: Sequence[tuple[str, str]]
) -> dict[str, list[str]]:
    """Returns what ``image_metadata.npy`` holds of lists of (concept, file name)."""
    metadata = {}
    for partition, images in (("training", training), ("test", test)):
        prefix = _METADATA_PREFIX[partition]
        metadata[f"{prefix}_img_concepts"] = [concept for concept, _ in images]
        metadata[f"{prefix}_img_files"] = [name for _, name in images]
    return metadata


def _as_image_set(data_dir: str | os.PathLike, metadata: dict[str, Any]) -> ImageSet:
    root = pathlib.Path(data_dir)
    path = metadata_path(root)
    lists: dict[str, Any] = {}
    for partition in PARTITIONS:
        concepts, names = _metadata_lists(metadata, partition, path)
        folder = path.parent / f"{partition}_images"
        _check_images_on_disk(folder, concepts, names, path)
        lists[f"{partition}_concepts"] = concepts
        lists[f"{partition}_files"] = tuple(
            folder / concept / name
            for concept, name in zip(concepts, names, strict=True)
        )
    return ImageSet(root=root, **lists)


def _metadata_lists(
    metadata: dict[str, Any], partition: str, path: pathlib.Path
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Returns the concepts and file names of a partition, checked for order."""
    prefix = _METADATA_PREFIX[partition]
    keys = (f"{prefix}_img_concepts", f"{prefix}_img_files")
    concepts, names = (as_names(entry(metadata, k, path), k, path) for k in keys)
    if len(concepts) != len(names) or not names:
        raise unexpected(
            path,
            f"{keys[0]} and {keys[1]} of one length above 0",
            f"{len(concepts)} and {len(names)}",
        )
    pairs = list(zip(concepts, names, strict=True))
    for row, pair in enumerate(pairs):
        if any(name in ("", ".", "..") or "/" in name for name in pair):
            raise unexpected(
                path,
                "plain folder and file names",
                f"{pair} in row {row} of the {partition} images",
            )
        if row and pair <= pairs[row - 1]:
            raise unexpected(
                path,
                f"{partition} images in sorted order without duplicates",
                f"{'/'.join(pair)} in row {row} after {'/'.join(pairs[row - 1])}",
            )
    return concepts, names


def _check_images_on_disk(
    folder: pathlib.Path,
    concepts: Sequence[str],
    names: Sequence[str],
    path: pathlib.Path,
) -> None:
    """Checks that a folder holds the listed images and no others."""
    if not folder.is_dir():
        raise unexpected(folder, "a folder of images", "none")
    listed = list(zip(concepts, names, strict=True))
    present = files_by_concept(folder)
    for concept, name in listed:
        if (concept, name) not in present:
            raise unexpected(
                folder / concept / name, f"this image, listed in {path}", "no such file"
            )
    extra = sorted(pair for pair in present - set(listed) if is_image(pair[1]))
    if extra:
        raise unexpected(
            folder,
            f"the {len(listed)} images that {path} lists",
            f"{len(listed) + len(extra)} (first one not listed: {'/'.join(extra[0])})",
        )
