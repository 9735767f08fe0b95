"""The images of a data set: which there are, in which order, and in which files."""

import dataclasses
import itertools
import os
import pathlib
from collections.abc import Sequence
from typing import Any

from img2eeg_jax.data.layout import listing
from img2eeg_jax.data.layout.paths import PARTITIONS, check_partition, metadata_path
from img2eeg_jax.data.layout.unpickle import (
    as_names,
    entry,
    read_npy_dict,
    write_npy_dict,
)
from img2eeg_jax.errors import expecting, unexpected
from img2eeg_jax.provenance import digest_of

_METADATA_PREFIX = {"training": "train", "test": "test"}


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
    path = metadata_path(data_dir)
    with expecting(path, "the list of images, which prepare_data.py writes", OSError):
        path.stat()
    return _as_image_set(data_dir, read_npy_dict(path))


def find_image_set(data_dir: str | os.PathLike) -> ImageSet:
    """Reads the list of images, or takes it from the folders where none is written.

    Raises:
      InputError: as `read_image_set` and `list_images`.
    """
    if metadata_path(data_dir).exists():
        return read_image_set(data_dir)
    return _as_image_set(data_dir, _as_metadata(**list_images(data_dir)))


def image_list(image_set: ImageSet) -> dict[str, list[str]]:
    """Returns CONCEPT/FILE of each image, by partition, in one Unicode form."""
    return {
        partition: [*map(listing.one_form, names)]
        for partition, names in _names_on_disk(image_set).items()
    }


def image_list_digest(image_set: ImageSet) -> str:
    """Returns the SHA-256 that tells one list of images from another."""
    return digest_of(image_list(image_set))


def is_digest_of(digest: str, image_set: ImageSet) -> bool:
    """Tells whether a record's digest is of this list of images.

    The first records have that of the names in the Unicode form of their files.
    """
    names = _names_on_disk(image_set)
    return digest in (image_list_digest(image_set), digest_of(names))


def list_images(data_dir: str | os.PathLike) -> dict[str, list[tuple[str, str]]]:
    """Lists the images that a data set's folders hold.

    Returns:
      Partition → (concept, file name) of each image, sorted, in one Unicode form.

    Raises:
      InputError: a folder holds none, or two whose names differ in that form only.
    """
    listed = {}
    for partition, folder in _folders(data_dir).items():
        found = listing.files_by_concept(folder) if folder.is_dir() else set()
        images = [pair for pair in found if listing.is_concept_image(pair)]
        if not images:
            others = folder.is_dir() and describe_left_out(data_dir, partition)
            raise unexpected(folder, "images CONCEPT/FILE", others or "none")
        listed[partition] = sorted(map(_in_one_form, images))
        if twice := _first_twice(listed[partition]):
            raise unexpected(
                folder,
                "names that differ in more than their Unicode form",
                f"{'/'.join(twice)} twice",
            )
    return listed


def describe_left_out(data_dir: str | os.PathLike, partition: str) -> str:
    """Returns what in a partition's folder `list_images` leaves out; "" for nothing.

    Raises:
      InputError: a folder cannot be read, or there is none.
    """
    folder = _folders(data_dir)[partition]
    found = listing.list_folder(folder)
    misplaced = [
        name
        for name in (path.relative_to(folder) for path in found.images)
        if len(name.parts) != 2
    ]
    told, n = [], len(misplaced)
    if misplaced:
        told.append(
            f"{n} {'image that is' if n == 1 else 'images that are'} not CONCEPT/FILE "
            f"({misplaced[0]}{'' if n == 1 else ', …'})"
        )
    if found.others:
        told.append(found.left_out())
    return ", ".join(told)


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
    for partition, folder in _folders(root).items():
        concepts, names = _metadata_lists(metadata, partition, path)
        lists[f"{partition}_concepts"] = tuple(map(listing.one_form, concepts))
        lists[f"{partition}_files"] = _files_on_disk(folder, concepts, names, path)
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


def _files_on_disk(
    folder: pathlib.Path,
    concepts: Sequence[str],
    names: Sequence[str],
    path: pathlib.Path,
) -> tuple[pathlib.Path, ...]:
    """Finds the listed images; checks that the folder holds no others."""
    if not folder.is_dir():
        raise unexpected(folder, "a folder of images", "none")
    present = listing.files_by_concept(folder)
    in_one_form = {_in_one_form(pair): pair for pair in present}
    files = []
    for pair in zip(concepts, names, strict=True):
        found = pair if pair in present else in_one_form.get(_in_one_form(pair))
        if found is None:
            raise unexpected(
                folder.joinpath(*pair), f"this image, listed in {path}", "no such file"
            )
        files.append(found)
    extra = sorted(filter(listing.is_concept_image, present.difference(files)))
    if extra:
        raise unexpected(
            folder,
            f"the {len(files)} images that {path} lists",
            f"{len(files) + len(extra)} (first one not listed: {'/'.join(extra[0])}; "
            "move elsewhere what was not shown)",
        )
    return tuple(folder.joinpath(*pair) for pair in files)


def _folders(data_dir: str | os.PathLike) -> dict[str, pathlib.Path]:
    """Returns partition → folder of its images."""
    parent = metadata_path(data_dir).parent
    return {partition: parent / f"{partition}_images" for partition in PARTITIONS}


def _names_on_disk(image_set: ImageSet) -> dict[str, list[str]]:
    return {
        name: [f"{path.parent.name}/{path.name}" for path in image_set.files(name)]
        for name in PARTITIONS
    }


def _in_one_form(pair: tuple[str, str]) -> tuple[str, str]:
    concept, name = map(listing.one_form, pair)
    return concept, name


def _first_twice(images: Sequence[tuple[str, str]]) -> tuple[str, str] | None:
    """Returns the first that a sorted list holds twice."""
    return next((a for a, b in itertools.pairwise(images) if a == b), None)
