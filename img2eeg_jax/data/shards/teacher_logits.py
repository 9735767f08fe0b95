"""A teacher's logits of all images, computed once and kept beside the shards.

    SHARDS_DIR/teacher_logits/KEY/training-00000.npy    f32[2048, class]
    SHARDS_DIR/teacher_logits/KEY/test-00000.npy        f32[200, class]

KEY changes with the teacher's weights, the images and their size. Each file holds the
next rows of a partition and appears complete or not at all, so that what was stopped
goes on after the files that are there.
"""

import hashlib
import io
import json
import os
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
from flax import traverse_util

from img2eeg_jax.data.aligned import Rows
from img2eeg_jax.data.shards.tensorflow_setup import tf
from img2eeg_jax.errors import counted, expecting, unexpected

_FOLDER = "teacher_logits"
_IMAGES_A_PART = 2048


def key(teacher_variables: Mapping[str, Any], images: str, image_size: int) -> str:
    """Returns what tells one teacher's logits of some images from all others.

    Args:
      teacher_variables: nested dicts of arrays.
      images: what tells these images from others: `data_sha256` in the metadata of
        their shards.
      image_size: height and width in pixels.

    Returns:
      A SHA-256, 64 hexadecimal digits.
    """
    digest = hashlib.sha256(json.dumps([images, image_size]).encode())
    flat = traverse_util.flatten_dict(teacher_variables, sep="/")
    for name, value in sorted(flat.items()):
        array = np.asarray(value)
        digest.update(json.dumps([name, array.dtype.name, array.shape]).encode())
        digest.update(array.tobytes())
    return digest.hexdigest()


def ensure_teacher_logits(
    shards_dir: str | os.PathLike,
    key: str,
    images: Mapping[str, Rows],
    compute: Callable[[np.ndarray], np.ndarray],
    *,
    batch_size: int = 64,
    log: Callable[[str], None] = print,
) -> None:
    """Computes the logits that are missing, in order.

    Args:
      shards_dir: folder or address of the shards.
      key: see `key`.
      images: partition → u8[image, height, width, 3], which may lie in files.
      compute: u8[n, height, width, 3] → f32[n, class]; n is at most `batch_size`.
      batch_size: images a call.
      log: called with a line for each file that is written.

    Raises:
      InputError: the logits are not finite numbers of shape (n, class), or cannot be
        written.
    """
    for partition, rows_of in images.items():
        for path, rows in _parts(shards_dir, key, partition, len(rows_of)):
            if _read(path, len(rows)) is None:
                logits = np.concatenate(
                    [
                        _compute(compute, rows_of[rows[first : first + batch_size]])
                        for first in range(0, len(rows), batch_size)
                    ]
                )
                _write(path, logits)
                how_many = counted(len(rows), "image")
                log(f"wrote the teacher's logits of {how_many} to {path}")


def load_teacher_logits(
    shards_dir: str | os.PathLike, key: str, partition: str, n_images: int
) -> np.ndarray:
    """Reads the logits of a partition.

    Args:
      shards_dir: folder or address of the shards.
      key: see `key`.
      partition: ``"training"`` or ``"test"``.
      n_images: number of images of the partition.

    Returns:
      f32[image, class], in row order.

    Raises:
      InputError: they are missing, incomplete or damaged.
    """
    parts = []
    for path, rows in _parts(shards_dir, key, partition, n_images):
        logits = _read(path, len(rows))
        if logits is None:
            expected = f"the teacher's logits of {counted(len(rows), 'image')}"
            raise unexpected(path, expected, "none that are complete")
        parts.append(logits)
    return np.concatenate(parts)


def _parts(
    shards_dir: str | os.PathLike, key: str, partition: str, n_images: int
) -> Iterator[tuple[str, np.ndarray]]:
    """Yields the path and the rows of each file of a partition."""
    folder = f"{os.fspath(shards_dir)}/{_FOLDER}/{key}"
    for first in range(0, n_images, _IMAGES_A_PART):
        rows = np.arange(first, min(first + _IMAGES_A_PART, n_images))
        yield f"{folder}/{partition}-{first // _IMAGES_A_PART:05d}.npy", rows


def _compute(
    compute: Callable[[np.ndarray], np.ndarray], images: np.ndarray
) -> np.ndarray:
    logits = np.asarray(compute(images), np.float32)
    if not _is_complete(logits, len(images)):
        raise unexpected(
            "teacher",
            f"finite logits of {counted(len(images), 'image')}",
            f"an array of shape {logits.shape}, {np.sum(~np.isfinite(logits))} not "
            "finite",
        )
    return logits


def _is_complete(logits: np.ndarray, n_images: int) -> bool:
    is_expected = (logits.dtype, logits.ndim) == (np.float32, 2)
    return is_expected and len(logits) == n_images and bool(np.isfinite(logits).all())


def _read(path: str, n_images: int) -> np.ndarray | None:
    """Returns the logits in a file, or None if they are not there or not complete."""
    try:
        with tf.io.gfile.GFile(path, "rb") as file:
            logits = np.load(io.BytesIO(file.read()), allow_pickle=False)
    except (tf.errors.OpError, ValueError, EOFError):
        return None
    return logits if _is_complete(logits, n_images) else None


def _write(path: str, logits: np.ndarray) -> None:
    content = io.BytesIO()
    np.save(content, logits)
    temporary = f"{path}.{os.getpid()}.tmp"
    with expecting(path, "a file that can be written", tf.errors.OpError):
        tf.io.gfile.makedirs(os.path.dirname(path))
        with tf.io.gfile.GFile(temporary, "wb") as file:
            file.write(content.getvalue())
        tf.io.gfile.rename(temporary, path, overwrite=True)
