"""Pictures within the page: figures as their files are, thumbnails of images."""

import base64
import io
import os
import pathlib

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from img2eeg_jax.errors import expecting, unexpected

_KINDS = {".png": "image/png", ".svg": "image/svg+xml", ".jpg": "image/jpeg"}
_THUMBNAIL_PIXELS = 112


def figure_uri(path: str | os.PathLike) -> str:
    """Returns a file's picture as a URI that holds it.

    Raises:
      InputError: it cannot be read, or is no PNG, SVG or JPEG by its name.
    """
    path = pathlib.Path(path)
    kind = _KINDS.get(path.suffix.lower())
    if kind is None:
        raise unexpected(
            path, "a figure (.png, .svg, .jpg)", path.suffix or "no ending"
        )
    with expecting(path, "a figure", OSError):
        return _uri(kind, path.read_bytes())


def thumbnail_uri(pixels: NDArray) -> str:
    """Returns a small JPEG of u8[height, width, 3] as a URI that holds it."""
    image = Image.fromarray(np.asarray(pixels))
    image.thumbnail((_THUMBNAIL_PIXELS, _THUMBNAIL_PIXELS), Image.Resampling.LANCZOS)
    file = io.BytesIO()
    image.save(file, "JPEG", quality=80, optimize=True)
    return _uri("image/jpeg", file.getvalue())


def _uri(kind: str, content: bytes) -> str:
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"
