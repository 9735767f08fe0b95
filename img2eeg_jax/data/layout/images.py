"""Pictures: the one decoder."""

import contextlib
import math
import os
import pathlib
import warnings
from collections.abc import Iterator
from concurrent import futures

import numpy as np
from PIL import ExifTags, Image, UnidentifiedImageError

from img2eeg_jax.data.layout.image_set import ImageSet
from img2eeg_jax.data.layout.paths import PARTITIONS
from img2eeg_jax.errors import expecting, naming, unexpected

_READABLE = "a readable image"
# EXIF's orientation → what makes the picture upright; 1 is upright as it is.
_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_UPRIGHT_ALREADY = 1
# Tags of TIFF, and their values for "the largest value is black" and "signed".
_BITS, _PHOTOMETRIC, _SAMPLE_FORMAT = 258, 262, 339
_WHITE_IS_ZERO, _SIGNED = 0, 2
# Pillow's name of grey of 1, 2 and 4 bits in a PNG → the factor that Pillow multiplies
# pixels by, but not the grey that the PNG's tRNS calls transparent.
_STEPS = {"1": 255, "L;2": 85, "L;4": 17}
# Bytes of a file that is no picture, in the message.
_HEAD = 16
# Pillow's modules, as a pattern.
_PILLOW = r"PIL\."


def read_image(path: str | os.PathLike, size: int) -> np.ndarray:
    """Reads an image as people see it, in RGB, and resizes it.

    It is turned as its EXIF orientation says; what is transparent shows white; grey
    values of more than 8 bits, or in floating point, are brought to 8 bits. Of several
    frames the first is taken. Pillow's antialiased bilinear filter resizes.

    Args:
      path: image file.
      size: height and width of the result in pixels; the aspect ratio is not kept.

    Returns:
      u8[size, size, 3].

    Raises:
      InputError: the file is missing, not an image or truncated; it is larger than
        Pillow admits; or its grey values have no range that can be told.
    """
    with _opened(path) as image:
        return _resized(image, size)


def fit_image(image: Image.Image, size: int, name: str) -> np.ndarray:
    """Does with an image that Pillow has opened what `read_image` does with a file.

    Args:
      image: in any of Pillow's modes.
      size: height and width of the result in pixels; the aspect ratio is not kept.
      name: of the image, for the message.

    Returns:
      u8[size, size, 3].

    Raises:
      InputError: see `read_image`.
    """
    _silence_pillow()
    with naming(name), expecting("", _READABLE, Exception):
        return _resized(image, size)


def check_images(image_set: ImageSet) -> None:
    """Decodes every image, where the format allows at a lower resolution.

    Raises:
      InputError: `read_image` would refuse an image.
    """
    paths = [path for name in PARTITIONS for path in image_set.files(name)]
    with futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        try:
            for _ in pool.map(_check_image, paths):
                pass
        finally:
            pool.shutdown(cancel_futures=True)


def _check_image(path: pathlib.Path) -> None:
    with _opened(path) as image:
        # JPEG is decoded at an eighth of its size.
        image.draft("RGB", (1, 1))
        _as_rgb(image)


@contextlib.contextmanager
def _opened(path: str | os.PathLike) -> Iterator[Image.Image]:
    _silence_pillow()
    # Pillow's decoders raise nearly anything on damaged files.
    with naming(path), expecting("", _READABLE, Exception):
        try:
            with Image.open(path) as image:
                yield image
        except UnidentifiedImageError:
            with open(path, "rb") as file:
                head = file.read(_HEAD)
            found = f"a file that begins with {head!r}" if head else "an empty file"
            raise unexpected("", _READABLE, found) from None
        except Image.DecompressionBombError:
            n_pixels = 2e-6 * (Image.MAX_IMAGE_PIXELS or math.inf)
            most = f"an image of at most {n_pixels:.0f} megapixels"
            raise unexpected("", most, "a larger one") from None


def _silence_pillow() -> None:
    """Ignores Pillow's warnings: of broken metadata, palettes, a hundred megapixels.

    For good, and by this process: images are read in threads, where what
    `warnings.catch_warnings` restores at its end may be another thread's.
    """
    first = next(iter(warnings.filters), None)
    if first is None or getattr(first[3], "pattern", "") != _PILLOW:
        warnings.filterwarnings("ignore", module=_PILLOW)


def _resized(image: Image.Image, size: int) -> np.ndarray:
    rgb = _as_rgb(image)
    return np.asarray(rgb.resize((size, size), Image.Resampling.BILINEAR))


def _as_rgb(image: Image.Image) -> Image.Image:
    """Returns a picture as it is seen: upright, in 8-bit RGB, on white."""
    # Tiles are the parts of a file that are still to be decoded; an image that was made
    # in memory has none.
    tiles = getattr(image, "tile", ()) if image.format == "PNG" else ()
    steps = [_STEPS.get(tile.args) for tile in tiles]
    image.load()
    if any(steps) and isinstance(image.info.get("transparency"), int):
        image.info["transparency"] *= steps[0]
    if image.mode == "F" or image.mode.startswith("I"):
        rgb = _eight_bits(image).convert("RGB")
    elif image.has_transparency_data:
        # Pillow converts grey with premultiplied alpha to this mode only.
        grey_or_colour = image.convert("LA") if image.mode == "La" else image
        rgba = grey_or_colour.convert("RGBA")
        white = Image.new("RGBA", rgba.size, "white")
        rgb = Image.alpha_composite(white, rgba).convert("RGB")
    else:
        rgb = image.convert("RGB")
    turn = _UPRIGHT.get(_orientation(image))
    return rgb if turn is None else rgb.transpose(turn)


def _orientation(image: Image.Image) -> int:
    """Returns EXIF's orientation, 1 where there is none or it cannot be read."""
    # Damaged EXIF does not hinder reading the picture; it tells no orientation then.
    with contextlib.suppress(Exception):
        return image.getexif().get(ExifTags.Base.Orientation, _UPRIGHT_ALREADY)
    return _UPRIGHT_ALREADY


def _eight_bits(image: Image.Image) -> Image.Image:
    """Brings grey values of more than 8 bits, or in floating point, to 8 bits.

    Files do not say where white is. Integers are taken to have as many bits as the
    largest needs, out of 8, 16, 32 and what a TIFF declares, and floats to end at 1 or
    255: another reading would be of a picture that is all but black.
    """
    values = np.asarray(image)
    tags = getattr(image, "tag_v2", {})
    if values.dtype.kind == "f":
        grey = _float_grey(values)
    else:
        is_signed = tags.get(_SAMPLE_FORMAT, (1,))[0] == _SIGNED
        bits = tags.get(_BITS, (16,))[0]
        if bits == 32 and not is_signed:
            # Pillow holds 32 bits in signed integers.
            values = values.view(np.uint32)
        grey = _integer_grey(values, bits - is_signed)
    if tags.get(_PHOTOMETRIC) == _WHITE_IS_ZERO:
        grey = 255 - grey
    transparent = image.info.get("transparency")
    if transparent is not None:
        grey[values == transparent] = 255
    return Image.fromarray(grey)


def _float_grey(values: np.ndarray) -> np.ndarray:
    low, high = values.min(), values.max()
    # NaN compares as False; up to 16, values of 0 to 255 would be all but black.
    if not (low >= 0 and (high <= 1 or 16 <= high <= 255)):
        raise unexpected(
            "", "grey values from 0 to 1, or to 255", f"{low:g} to {high:g}"
        )
    return np.rint(values * 255 if high <= 1 else values).astype(np.uint8)


def _integer_grey(values: np.ndarray, declared_bits: int) -> np.ndarray:
    low, high = int(values.min()), int(values.max())
    bits = min(bits for bits in (8, declared_bits, 16, 32) if high < 2**bits)
    if low < 0 or (bits > 8 and high < 2 ** (bits - 4)):
        raise unexpected(
            "",
            "grey values of 8, 16 or 32 bits from black to white (8 bits are safe)",
            f"{low} to {high}",
        )
    return (values >> (bits - 8)).astype(np.uint8)
