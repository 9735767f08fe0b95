"""The one decoder: pictures come out as people see them."""

import subprocess
import sys
import warnings
import zlib
from concurrent import futures

import numpy as np
import pytest
from PIL import ExifTags, Image

from helpers.refusing import refuse
from helpers.tiff import WHITE_IS_ZERO, tiff
from img2eeg_jax.data import layout

# Bilinear resizing to the size that a picture has changes no pixel.
SIZE = 16
GREY = np.random.default_rng(0).permutation(256).astype(np.uint8).reshape(SIZE, SIZE)
RGB = np.random.default_rng(1).integers(0, 256, (SIZE, SIZE, 3), np.uint8)
ALPHA = np.random.default_rng(2).choice(np.uint8([0, 128, 255]), (SIZE, SIZE))

# EXIF 2.32, tag 274: where the 0th row and the 0th column of the file are seen.
SEEN_AT = {
    1: ("top", "left"),
    2: ("top", "right"),
    3: ("bottom", "right"),
    4: ("bottom", "left"),
    5: ("left", "top"),
    6: ("right", "top"),
    7: ("right", "bottom"),
    8: ("left", "bottom"),
}


def as_stored(seen, orientation):
    """Returns the array that a file with this orientation holds of what is seen."""
    row, column = SEEN_AT[orientation]
    stored = seen if row in ("top", "bottom") else seen.swapaxes(0, 1)
    stored = stored[::-1] if row in ("bottom", "right") else stored
    return stored[:, ::-1] if column in ("bottom", "right") else stored


def exif(orientation):
    tags = Image.Exif()
    tags[ExifTags.Base.Orientation] = orientation
    return tags


def grey(values):
    return np.repeat(values[..., None], 3, axis=-1)


def on_white(colour, alpha):
    weight = alpha[..., None] / 255
    return colour * weight + 255 * (1 - weight)


def with_alpha(colour):
    return np.dstack([colour, ALPHA])


def as_mode(mode):
    return lambda stored: Image.fromarray(stored).convert(mode)


# Kind of picture → (what is seen, array → picture file's content, suffix).
MODES = {
    "1": (grey(np.where(GREY > 127, 255, 0)), GREY, as_mode("1"), ".png"),
    "L": (grey(GREY), GREY, Image.fromarray, ".png"),
    "LA": (
        on_white(grey(GREY), ALPHA),
        with_alpha(GREY),
        Image.fromarray,
        ".png",
    ),
    "P": (grey(GREY), GREY, as_mode("P"), ".png"),
    "RGB": (RGB, RGB, Image.fromarray, ".webp"),
    "RGBA": (on_white(RGB, ALPHA), with_alpha(RGB), Image.fromarray, ".png"),
    "RGBA of TIFF": (on_white(RGB, ALPHA), with_alpha(RGB), Image.fromarray, ".tif"),
    "CMYK": (RGB, RGB, as_mode("CMYK"), ".tif"),
    "I;16": (grey(GREY), GREY.astype(np.uint16) * 257, Image.fromarray, ".png"),
    "I;16B": (grey(GREY), GREY.astype(">u2") * 257, Image.fromarray, ".tif"),
    "I": (grey(GREY), GREY.astype(np.int32) * 257, Image.fromarray, ".tif"),
    "F": (grey(GREY), GREY.astype(np.float32) / 255, Image.fromarray, ".tif"),
}
# Image.fromarray dithers black and white, which thresholds leave as they are.
MODES["1"] = (MODES["1"][0], np.where(GREY > 127, 255, 0).astype(np.uint8), *MODES["1"][2:])


@pytest.mark.parametrize("mode", MODES)
def test_modes_and_orientations(tmp_path, mode):
    seen, values, as_image, suffix = MODES[mode]
    for orientation in SEEN_AT:
        path = tmp_path / f"{orientation}{suffix}"
        image = as_image(as_stored(values, orientation))
        image.save(path, exif=exif(orientation), lossless=True)
        found = layout.read_image(path, SIZE)
        assert (found.shape, found.dtype) == ((SIZE, SIZE, 3), np.uint8)
        # What is half transparent may be rounded either way.
        np.testing.assert_allclose(found, seen, atol=1, err_msg=str(orientation))
