"""Files of pictures, made byte by byte where Pillow does not write them."""

import zlib

import numpy as np
from PIL import ExifTags, Image

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


def in_rgb(grey):
    return np.repeat(grey[..., None], 3, axis=-1)


def png_chunk(kind, content):
    """Returns a chunk of a PNG."""
    body = kind + content
    return len(content).to_bytes(4) + body + zlib.crc32(body).to_bytes(4)


def png_header(width, height, bits=8, colour=0):
    """Returns the beginning of a PNG; `colour` 0 is grey, 2 RGB."""
    header = width.to_bytes(4) + height.to_bytes(4) + bytes([bits, colour, 0, 0, 0])
    return b"\x89PNG\r\n\x1a\n" + png_chunk(b"IHDR", header)


def png(rows, width, bits, colour=0):
    """Returns a PNG of rows of packed bytes [height, n]."""
    unfiltered = b"".join(b"\0" + bytes(row) for row in rows)
    return (
        png_header(width, len(rows), bits, colour)
        + png_chunk(b"IDAT", zlib.compress(unfiltered))
        + png_chunk(b"IEND", b"")
    )
