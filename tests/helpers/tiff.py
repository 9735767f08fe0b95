"""TIFF files that Pillow reads and does not write, byte by byte."""

import struct

import numpy as np

BLACK_IS_ZERO, WHITE_IS_ZERO = 1, 0
_FORMATS = {"u": 1, "i": 2, "f": 3}


def tiff(pixels, photometric=BLACK_IS_ZERO, bits=None, extra=()):
    """Returns a little-endian TIFF of one strip.

    Args:
      pixels: [height, width] of any kind of numbers, or the bytes of a row each.
      photometric: what the tag says of black and white.
      bits: of a value, if not those of the dtype.
      extra: more tags (number, kind, value).
    """
    height, width = pixels.shape
    data = pixels.tobytes()
    if bits == 12:
        # Two values in three bytes, the higher bits first.
        first, second = pixels[:, ::2].astype(int), pixels[:, 1::2].astype(int)
        three = (first >> 4, (first & 15) << 4 | second >> 8, second & 255)
        data = np.stack(three, axis=-1).astype(np.uint8).tobytes()
    tags = [
        (256, 4, width),
        (257, 4, height),
        (258, 3, bits or pixels.dtype.itemsize * 8),
        (259, 3, 1),
        (262, 3, photometric),
        (273, 4, None),
        (277, 3, 1),
        (278, 4, height),
        (279, 4, len(data)),
        (339, 3, _FORMATS[pixels.dtype.kind]),
        *extra,
    ]
    start = 8 + 2 + 12 * len(tags) + 4
    header = b"II*\0" + struct.pack("<IH", 8, len(tags))
    for number, kind, value in sorted(tags, key=lambda tag: tag[0]):
        given = start if value is None else value
        header += struct.pack("<HHII", number, kind, 1, given)
    return header + bytes(4) + data
