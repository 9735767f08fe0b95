"""The THINGS-EEG2 layout on disk: image sets and preprocessed EEG.

    DATA_DIR/image_set/image_metadata.npy
    DATA_DIR/image_set/{training,test}_images/CONCEPT/FILE
    DATA_DIR/preprocessed_data/sub-XX/preprocessed_eeg_{training,test}.npy
    DATA_DIR/preprocessed_data/sub-XX/preprocessing.json     if it was made here

Every ``.npy`` is a pickled dict. Row i of a partition's EEG belongs to image i of
``image_metadata.npy``, whose lists are in sorted order. The published files are read
with an unpickler that can build NumPy arrays and plain Python values only.
"""

import contextlib
import dataclasses
import hashlib
import json
import os
import pathlib
import pickle
import re
from collections.abc import Callable, Iterator, Sequence
from concurrent import futures
from typing import Any, BinaryIO

import numpy as np
from PIL import Image

from img2eeg_jax.axes import Axes
from img2eeg_jax.errors import InputError, first_line, unexpected
from img2eeg_jax.files import replacing

PARTITIONS = ("training", "test")

_METADATA_PREFIX = {"training": "train", "test": "test"}
_IMAGE_SUFFIXES = frozenset(
    {".bmp", ".gif", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp"}
)
# (times listed, samples stored) of a 250 Hz variant in circulation: the last ones.
_LONG_TIMES_VARIANT = (300, 250)


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
        _check_partition(partition)
        return self.training_files if partition == "training" else self.test_files

    def concepts(self, partition: str) -> tuple[str, ...]:
        """Returns the concept of each image of ``"training"`` or ``"test"``."""
        _check_partition(partition)
        if partition == "training":
            return self.training_concepts
        return self.test_concepts


@dataclasses.dataclass(frozen=True)
class PreprocessedEEG:
    """Epoched EEG of one subject and partition.

    Attributes:
      eeg: f32[image, repetition, channel, time], in volts unless whitened.
      axes: its channels and times.
    """

    eeg: np.ndarray
    axes: Axes


def parse_subjects(text: str, name: str = "subjects") -> tuple[int, ...]:
    """Reads a list of subjects, or of other things that are numbered from 1.

    Args:
      text: ``"3"``, ``"1,3"`` or ``"1-10"``; the forms may be combined.
      name: what is numbered, for the message.

    Returns:
      The numbers, ascending, each once.

    Raises:
      InputError: the text has another form, or a range that runs backwards.
    """
    subjects: set[int] = set()
    for part in text.split(","):
        match = re.fullmatch(r"\s*(\d+)\s*(?:-\s*(\d+)\s*)?", part)
        first, last = (int(n or match[1]) for n in match.groups()) if match else (0, 0)
        if not 1 <= first <= last:
            raise unexpected(name, "the form 3, 1,3 or 1-10", f"{text!r}")
        subjects.update(range(first, last + 1))
    return tuple(sorted(subjects))


def subject_name(subject: int) -> str:
    """Returns the folder name of a subject: ``sub-03`` for 3."""
    return f"sub-{subject:02d}"


def subjects_in(
    data_dir: str | os.PathLike, name: str = "preprocessed_data"
) -> tuple[int, ...]:
    """Returns the subjects whose folders a data set holds in one of its folders."""
    folders = (pathlib.Path(data_dir) / name).glob("sub-*")
    numbers = (folder.name.removeprefix("sub-") for folder in folders)
    return tuple(sorted(int(number) for number in numbers if number.isdecimal()))


def metadata_path(data_dir: str | os.PathLike) -> pathlib.Path:
    """Returns the path of a data set's ``image_metadata.npy``."""
    return pathlib.Path(data_dir) / "image_set" / "image_metadata.npy"


def eeg_path(data_dir: str | os.PathLike, subject: int, partition: str) -> pathlib.Path:
    """Returns the path of a subject's preprocessed EEG.

    Raises:
      InputError: the partition is neither ``"training"`` nor ``"test"``.
    """
    _check_partition(partition)
    folder = pathlib.Path(data_dir) / "preprocessed_data" / subject_name(subject)
    return folder / f"preprocessed_eeg_{partition}.npy"


def record_path(data_dir: str | os.PathLike, subject: int) -> pathlib.Path:
    """Returns the path of the record of a subject's preprocessing."""
    return eeg_path(data_dir, subject, "test").with_name("preprocessing.json")


def read_record(data_dir: str | os.PathLike, subject: int) -> dict[str, Any] | None:
    """Returns the record of a subject's preprocessing, None for EEG of other origin.

    Raises:
      InputError: the record is damaged.
    """
    path = record_path(data_dir, subject)
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
        if isinstance(record, dict):
            return record
        found = type(record).__name__
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        found = first_line(error)
    raise InputError(f"{path}: expected the record of a preprocessing, found: {found}")


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
    listed = json.dumps(image_list(image_set), sort_keys=True)
    return hashlib.sha256(listed.encode()).hexdigest()


def check_image_list(image_set: ImageSet, subject: int) -> None:
    """Checks that EEG preprocessed here is of these images, in this order.

    Raises:
      InputError: it is of another list of images, or its record is damaged.
    """
    record = read_record(image_set.root, subject)
    expected = image_list_digest(image_set)
    # Records of earlier versions lack it.
    if record is not None and record.get("image_list_sha256", expected) != expected:
        raise unexpected(
            record_path(image_set.root, subject),
            f"EEG of the images in {metadata_path(image_set.root).parent}",
            (
                "that the list of images has changed since the EEG was preprocessed; "
                "name "
                "them as before, or preprocess again with --overwrite if the "
                "recordings "
                "fit the new list"
            ),
        )


def check_images(image_set: ImageSet) -> None:
    """Decodes every image, where the format allows at a lower resolution.

    Raises:
      InputError: an image is missing, damaged or truncated.
    """
    paths = [path for name in PARTITIONS for path in image_set.files(name)]
    with futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        try:
            for _ in pool.map(_check_image, paths):
                pass
        finally:
            pool.shutdown(cancel_futures=True)


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


def read_eeg(
    data_dir: str | os.PathLike, subject: int, partition: str
) -> PreprocessedEEG:
    """Reads and checks the preprocessed EEG of one subject and partition.

    Args:
      data_dir: folder that holds ``preprocessed_data``.
      subject: subject number, from 1.
      partition: ``"training"`` or ``"test"``.

    Returns:
      The EEG, cast to float32.

    Raises:
      InputError: no such subject; or the file is missing, truncated or unsafe, lacks
        a key, has arrays whose shapes do not fit, or values that are not finite.
    """
    path = eeg_path(data_dir, subject, partition)
    _check_subject(path.parent)
    content = read_npy_dict(path)
    eeg = _as_epochs(entry(content, "preprocessed_eeg_data", path), path)
    ch_names = as_names(entry(content, "ch_names", path), "ch_names", path)
    times_s = _as_times(entry(content, "times", path), eeg.shape[3], path)
    if len(ch_names) != eeg.shape[2] or len(set(ch_names)) != len(ch_names):
        raise unexpected(
            path,
            f"{eeg.shape[2]} different ch_names for data of shape {eeg.shape}",
            f"{len(ch_names)} ({len(set(ch_names))} different)",
        )
    return PreprocessedEEG(eeg, Axes(ch_names, times_s))


def check_alignment(
    image_set: ImageSet,
    eeg: PreprocessedEEG,
    partition: str,
    path: str | os.PathLike,
) -> None:
    """Checks that a partition has one EEG row for each image.

    Args:
      image_set: the images.
      eeg: the EEG of the same partition.
      partition: ``"training"`` or ``"test"``.
      path: the file that the EEG was read from, for the message.

    Raises:
      InputError: the numbers of rows and images differ.
    """
    n_images = len(image_set.files(partition))
    if len(eeg.eeg) != n_images:
        raise unexpected(
            path,
            (
                f"{n_images} EEG rows, one for each {partition} image of "
                f"{metadata_path(image_set.root)}"
            ),
            len(eeg.eeg),
        )


def read_image(path: str | os.PathLike, size: int) -> np.ndarray:
    """Reads an image as RGB and resizes it with Pillow's antialiased bilinear filter.

    Args:
      path: image file.
      size: height and width of the result in pixels; the aspect ratio is not kept.

    Returns:
      u8[size, size, 3].

    Raises:
      InputError: the file is missing, not an image or truncated.
    """
    with _opened_image(path) as image:
        rgb = image.convert("RGB")
    return np.asarray(rgb.resize((size, size), Image.Resampling.BILINEAR))


@contextlib.contextmanager
def _opened_image(path: str | os.PathLike) -> Iterator[Image.Image]:
    try:
        with Image.open(path) as image:
            yield image
    # Pillow's decoders raise all of these on damaged files.
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise unexpected(path, "a readable image", error) from error


def _check_image(path: pathlib.Path) -> None:
    with _opened_image(path) as image:
        # JPEG is decoded at an eighth of its size.
        image.draft("RGB", (1, 1))
        image.load()


def is_image(name: str) -> bool:
    """Tells by a file's name whether it is an image."""
    # Hidden files (macOS writes ._NAME.jpg) are not part of a data set.
    suffix = os.path.splitext(name)[1].lower()
    return suffix in _IMAGE_SUFFIXES and not name.startswith(".")


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
        listed[partition] = sorted(
            (file.parent.name, file.name)
            for file in folder.glob("*/*")
            if is_image(file.name)
        )
        if not listed[partition]:
            raise unexpected(folder, "images CONCEPT/FILE", "none")
    return listed


def write_eeg(
    data_dir: str | os.PathLike, subject: int, partition: str, eeg: PreprocessedEEG
) -> None:
    """Writes preprocessed EEG under the official names and keys, atomically.

    Args:
      data_dir: folder that holds, or will hold, ``preprocessed_data``.
      subject: subject number, from 1.
      partition: ``"training"`` or ``"test"``.
      eeg: what to write; the array keeps its dtype.
    """
    content = {
        "preprocessed_eeg_data": eeg.eeg,
        "ch_names": list(eeg.axes.ch_names),
        "times": np.array(eeg.axes.times_s),
    }
    write_npy_dict(eeg_path(data_dir, subject, partition), content)


def read_npy_dict(path: str | os.PathLike) -> dict[str, Any]:
    """Reads a dict pickled in an ``.npy`` file, or plainly pickled under that name.

    Args:
      path: the file.

    Returns:
      The dict. Unpickling can build NumPy arrays and plain Python values only.

    Raises:
      InputError: the file is missing or truncated, holds something else than a dict,
        or names a class or function that is not NumPy's own.
    """
    try:
        with open(path, "rb") as file:
            content = _unpickle_npy(file, path)
    except OSError as error:
        raise unexpected(path, "a .npy file", error) from error
    if not isinstance(content, dict):
        raise unexpected(path, "a pickled dict", type(content).__name__)
    return content


def write_npy_dict(path: str | os.PathLike, content: dict[str, Any]) -> None:
    """Writes a dict pickled in an ``.npy`` file, atomically.

    Args:
      path: the file; missing parent folders are made.
      content: NumPy arrays and plain Python values.
    """
    path = pathlib.Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as temporary, open(temporary, "wb") as file:
        np.save(file, np.array(content, dtype=object), allow_pickle=True)


def _check_partition(partition: str) -> None:
    if partition not in PARTITIONS:
        raise unexpected(
            "partition", f"one of {', '.join(PARTITIONS)}", f"{partition!r}"
        )


def _check_subject(folder: pathlib.Path) -> None:
    if folder.is_dir():
        return
    present = sorted(path.name for path in folder.parent.glob("sub-*"))
    raise unexpected(
        folder,
        "a folder of this subject's EEG",
        f"only {', '.join(present) or 'no subjects'} in {folder.parent}",
    )


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
    present = {
        (entry.name, file.name)
        for entry in os.scandir(folder)
        if entry.is_dir()
        for file in os.scandir(entry.path)
    }
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


def entry(content: dict[str, Any], key: str, path: pathlib.Path) -> Any:
    """Returns the value of a key that a file's dict must have, or raises InputError."""
    if key not in content:
        found = ", ".join(sorted(map(str, content))) or "none"
        raise unexpected(path, f"the key {key!r}", f"the keys {found}")
    return content[key]


def as_names(values: Any, key: str, path: pathlib.Path) -> tuple[str, ...]:
    """Returns a list of names as str, or raises InputError."""
    names = values.tolist() if isinstance(values, np.ndarray) else values
    if not isinstance(names, list | tuple) or not all(
        isinstance(name, str) for name in names
    ):
        raise unexpected(path, f"{key} to be a list of str", _short(values))
    return tuple(str(name) for name in names)


def _as_epochs(values: Any, path: pathlib.Path) -> np.ndarray:
    """Casts to f32[image, repetition, channel, time] and checks every value."""
    if not isinstance(values, np.ndarray):
        raise unexpected(
            path,
            "an array of shape (image, repetition, channel, time)",
            type(values).__name__,
        )
    if values.dtype.kind not in "fiu" or values.ndim != 4 or not values.size:
        raise unexpected(
            path,
            "numbers of shape (image, repetition, channel, time)",
            f"{values.dtype} of shape {values.shape}",
        )
    # A value beyond float32 becomes infinite and is reported below.
    with np.errstate(over="ignore"):
        eeg = np.ascontiguousarray(values, np.float32)
    finite = np.isfinite(eeg).all(axis=(1, 2, 3))
    if not finite.all():
        raise unexpected(
            path,
            "finite EEG",
            (
                f"NaN or infinite values in {np.sum(~finite)} of {len(finite)} images, "
                f"first in image row {np.argmin(finite)}"
            ),
        )
    return eeg


def _as_times(values: Any, n_samples: int, path: pathlib.Path) -> np.ndarray:
    try:
        times_s = np.asarray(values, np.float64)
    except (TypeError, ValueError):
        times_s = np.empty((0, 0))
    if times_s.ndim == 1 and (times_s.size, n_samples) == _LONG_TIMES_VARIANT:
        times_s = times_s[-n_samples:]
    # `not all` also refuses NaN, which compares as False.
    if times_s.shape != (n_samples,) or not np.all(np.diff(times_s) > 0):
        raise unexpected(
            path,
            f"{n_samples} ascending times, one for each sample",
            f"{_short(values)} of shape {times_s.shape}",
        )
    return times_s


def _unpickle_npy(file: BinaryIO, path: str | os.PathLike) -> Any:
    try:
        _skip_npy_header(file)
        content = _NumpyUnpickler(file, path).load()
    except InputError:
        raise
    # A damaged pickle can raise nearly any exception.
    except Exception as error:
        raise unexpected(
            path,
            "a complete pickled dict",
            f"damaged or truncated data ({_one_line(error)})",
        ) from error
    is_boxed = isinstance(content, np.ndarray) and content.shape == ()
    return content.item() if is_boxed else content


def _skip_npy_header(file: BinaryIO) -> None:
    """Moves to the pickle, which follows the header of an object array, if any."""
    magic = file.read(len(np.lib.format.MAGIC_PREFIX))
    file.seek(0)
    if magic != np.lib.format.MAGIC_PREFIX:
        return
    version = np.lib.format.read_magic(file)
    readers: dict[tuple[int, int], Callable] = {
        (1, 0): np.lib.format.read_array_header_1_0,
        (2, 0): np.lib.format.read_array_header_2_0,
    }
    shape, _, dtype = readers[version](file)
    if not dtype.hasobject:
        raise ValueError(f"an array of {dtype} and shape {shape}")


class _NumpyUnpickler(pickle.Unpickler):
    """Unpickles NumPy arrays and plain Python values, nothing else."""

    def __init__(self, file: BinaryIO, path: str | os.PathLike):
        super().__init__(file)
        self._path = path

    def find_class(self, module: str, name: str) -> Any:
        # NumPy 2 renamed numpy.core to numpy._core.
        spelling = module.replace("numpy._core", "numpy.core", 1)
        try:
            return _ADMITTED[spelling, name]
        except KeyError:
            raise unexpected(
                self._path,
                "pickled NumPy arrays only",
                f"a reference to {module}.{name}, which is refused",
            ) from None


class _NdarrayName:
    """Stands for numpy.ndarray as an argument: pickles may name it, not call it.

    Called with a buffer and an object dtype, the real one reads arbitrary memory.
    """

    def __new__(cls, *args: Any, **kwargs: Any) -> Any:
        raise ValueError("a call of numpy.ndarray")


def _reconstruct(subtype: Any, shape: Any, kind: Any) -> np.ndarray:
    """Makes the empty array that the pickle's state then fills."""
    if subtype is not _NdarrayName:
        raise ValueError(f"an array of type {subtype!r}")
    return np.empty(0, np.int8)


def _encode(text: str, encoding: str) -> bytes:
    """Stands for _codecs.encode, by which pickle protocols 0-2 store bytes."""
    if encoding != "latin1":
        raise ValueError(f"bytes encoded as {encoding!r}")
    return text.encode("latin1")


_ADMITTED: dict[tuple[str, str], Any] = {
    ("numpy.core.multiarray", "_reconstruct"): _reconstruct,
    ("numpy.core.multiarray", "scalar"): np._core.multiarray.scalar,
    ("numpy.core.numeric", "_frombuffer"): np._core.numeric._frombuffer,
    ("numpy", "ndarray"): _NdarrayName,
    ("numpy", "dtype"): np.dtype,
    ("_codecs", "encode"): _encode,
}


def _short(value: Any) -> str:
    return " ".join(repr(value).split())[:60]


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__
