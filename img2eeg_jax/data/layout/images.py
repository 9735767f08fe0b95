"""Pictures: the one decoder."""

import contextlib
import os
import pathlib
from collections.abc import Iterator
from concurrent import futures

import numpy as np
from PIL import Image

from img2eeg_jax.data.layout.image_set import ImageSet
from img2eeg_jax.data.layout.paths import PARTITIONS
from img2eeg_jax.errors import expecting


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


@contextlib.contextmanager
def _opened_image(path: str | os.PathLike) -> Iterator[Image.Image]:
    # Pillow's decoders raise all of these on damaged files.
    kinds = (OSError, SyntaxError, ValueError, Image.DecompressionBombError)
    with expecting(path, "a readable image", *kinds), Image.open(path) as image:
        yield image


def _check_image(path: pathlib.Path) -> None:
    with _opened_image(path) as image:
        # JPEG is decoded at an eighth of its size.
        image.draft("RGB", (1, 1))
        image.load()
