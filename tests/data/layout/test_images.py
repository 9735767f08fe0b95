"""The one decoder: pictures come out as people see them."""

import warnings
import zlib

import numpy as np
import pytest
from PIL import Image

from helpers.picture_files import (
    SEEN_AT,
    as_stored,
    exif,
    in_rgb,
    png_chunk,
    png_header,
)
from helpers.refusing import refuse
from helpers.tiff import WHITE_IS_ZERO, tiff
from img2eeg_jax.data import layout
from img2eeg_jax.errors import InputError

# Bilinear resizing to the size that a picture has changes no pixel.
SIZE = 16
GREY = np.random.default_rng(0).permutation(256).astype(np.uint8).reshape(SIZE, SIZE)
RGB = np.random.default_rng(1).integers(0, 256, (SIZE, SIZE, 3), np.uint8)
ALPHA = np.random.default_rng(2).choice(np.uint8([0, 128, 255]), (SIZE, SIZE))


def on_white(colour):
    weight = ALPHA[..., None] / 255
    return colour * weight + 255 * (1 - weight)


BLACK_OR_WHITE = np.where(GREY > 127, 255, 0).astype(np.uint8)
# What is seen, the array that is stored upright, its mode and the file's suffix.
MODES = [
    (in_rgb(BLACK_OR_WHITE), BLACK_OR_WHITE, "1", ".png"),
    (in_rgb(GREY), GREY, "L", ".png"),
    (on_white(in_rgb(GREY)), np.dstack([GREY, ALPHA]), "LA", ".png"),
    (in_rgb(GREY), GREY, "P", ".png"),
    (RGB, RGB, "RGB", ".webp"),
    (on_white(RGB), np.dstack([RGB, ALPHA]), "RGBA", ".png"),
    (on_white(RGB), np.dstack([RGB, ALPHA]), "RGBA", ".tif"),
    (RGB, RGB, "CMYK", ".tif"),
    (in_rgb(GREY), GREY.astype(np.uint16) * 257, "I;16", ".png"),
    (in_rgb(GREY), (GREY.astype(np.uint16) * 257).astype(">u2"), "I;16B", ".tif"),
    (in_rgb(GREY), GREY.astype(np.int32) * 257, "I", ".tif"),
    (in_rgb(GREY), GREY.astype(np.float32) / 255, "F", ".tif"),
]


@pytest.mark.parametrize(
    ("seen", "upright", "mode", "suffix"), MODES, ids=[f"{m[2]}{m[3]}" for m in MODES]
)
def test_modes_and_orientations(tmp_path, seen, upright, mode, suffix):
    for orientation in SEEN_AT:
        path = tmp_path / f"{orientation}{suffix}"
        image = Image.fromarray(np.ascontiguousarray(as_stored(upright, orientation)))
        image = image if image.mode == mode else image.convert(mode)
        image.save(path, exif=exif(orientation), lossless=True)
        found = layout.read_image(path, SIZE)
        assert (found.shape, found.dtype) == ((SIZE, SIZE, 3), np.uint8)
        # What is half transparent may be rounded either way.
        np.testing.assert_allclose(found, seen, atol=1, err_msg=str(orientation))


def test_jpeg_without_orientation_is_as_it_always_was(tmp_path):
    """RGB first, then Pillow's resize, as the published models were trained."""
    pixels = np.random.default_rng(0).integers(0, 256, (40, 60, 3), np.uint8)
    upright, turned = tmp_path / "x.jpg", tmp_path / "y.jpg"
    Image.fromarray(pixels).save(upright)
    Image.fromarray(pixels).save(turned, exif=exif(6))
    with Image.open(upright) as image:
        stored = image.convert("RGB")
    expected = np.asarray(stored.resize((24, 24), Image.BILINEAR))
    np.testing.assert_array_equal(layout.read_image(upright, 24), expected)
    quarter_turn = stored.rotate(-90, expand=True).resize((24, 24), Image.BILINEAR)
    np.testing.assert_array_equal(layout.read_image(turned, 24), quarter_turn)


@pytest.mark.parametrize(
    "content",
    [
        tiff(GREY.astype(np.uint32) * 0x1010101),
        tiff(GREY.astype(np.int16) << 7),
        tiff(GREY.astype(np.uint16) << 4, bits=12),
        tiff(65535 - GREY.astype(np.uint16) * 257, WHITE_IS_ZERO),
        tiff(1 - GREY.astype(np.float32) / 255, WHITE_IS_ZERO),
        tiff(GREY.astype(np.float32)),
        # Eight bits that only take more room.
        tiff(GREY.astype(np.uint16)),
        tiff(GREY.astype(np.int32)),
    ],
    ids=[
        "u32",
        "i16",
        "12",
        "white 16",
        "white float",
        "float 255",
        "8 in 16",
        "8 in 32",
    ],
)
def test_grey_of_other_depths_is_its_8_bit_twin(tmp_path, content):
    path = tmp_path / "x.tif"
    path.write_bytes(content)
    np.testing.assert_array_equal(layout.read_image(path, SIZE), in_rgb(GREY))


@pytest.mark.parametrize(
    ("values", "found"),
    [
        (np.float32(GREY) - 100, "-100 to 155"),
        (np.float32(GREY) * 1.1, "0 to 280.5"),
        (np.float32(GREY) / 250, "0 to 1.02"),
        (np.where(GREY > 3, np.float32(1), np.nan), "nan to nan"),
        (GREY.astype(np.int16) - 100, "-100 to 155"),
        # Ten bits, or sixteen that are all but black.
        (GREY.astype(np.uint16) << 2, "0 to 1020"),
    ],
)
def test_grey_without_a_range_is_refused(tmp_path, values, found):
    path = tmp_path / "x.tif"
    path.write_bytes(tiff(values))
    refuse(lambda: layout.read_image(path, SIZE), path, "expected grey values", found)


def test_one_transparent_colour(tmp_path):
    """PNG's tRNS, of a palette, of grey and of colour."""
    indexed = Image.fromarray(RGB).quantize(8)
    shown = np.asarray(indexed.convert("RGB")).copy()
    opacity = bytes([255, 255, 255, 0, 255, 255, 255, 255])
    shown[np.asarray(indexed) == 3] = 255
    deep = GREY.astype(np.uint16) * 257
    images = [
        (indexed, opacity, shown),
        (Image.fromarray(GREY), 7, in_rgb(np.where(GREY == 7, 255, GREY))),
        (Image.fromarray(deep), 7 * 257, in_rgb(np.where(GREY == 7, 255, GREY))),
        (Image.fromarray(RGB), tuple(RGB[0, 0].tolist()), None),
    ]
    for image, transparency, seen in images:
        path = tmp_path / "x.png"
        image.save(path, transparency=transparency)
        found = layout.read_image(path, SIZE)
        if seen is None:
            seen = np.where((RGB[0, 0] == RGB).all(-1, keepdims=True), 255, RGB)
        np.testing.assert_array_equal(found, seen, err_msg=image.mode)


@pytest.mark.parametrize("bits", [1, 2, 4])
def test_transparent_grey_of_few_bits(tmp_path, bits):
    """The PNG specification, 11.3.2.1: tRNS holds a sample as it is stored."""
    samples = np.arange(SIZE * SIZE).reshape(SIZE, SIZE) % 2**bits
    each = 8 // bits
    shifts = 8 - bits * (1 + np.arange(each))
    packed = (samples.reshape(SIZE, -1, each) << shifts).sum(-1).astype(np.uint8)
    rows = b"".join(b"\0" + row.tobytes() for row in packed)
    path = tmp_path / "x.png"
    content = png_chunk(b"tRNS", b"\0\1") + png_chunk(b"IDAT", zlib.compress(rows))
    path.write_bytes(png_header(SIZE, SIZE, bits) + content + png_chunk(b"IEND", b""))
    seen = np.where(samples == 1, 255, samples * 255 // (2**bits - 1))
    np.testing.assert_array_equal(layout.read_image(path, SIZE), in_rgb(seen))


def test_first_frame_of_several(tmp_path):
    frames = [Image.fromarray(GREY), Image.fromarray(255 - GREY)]
    for name in ("x.gif", "x.tif", "x.webp"):
        frames[0].save(
            tmp_path / name, save_all=True, append_images=frames[1:], lossless=True
        )
        found = layout.read_image(tmp_path / name, SIZE)
        np.testing.assert_array_equal(found, in_rgb(GREY))


def png_without_pixels(width, height):
    return png_header(width, height) + png_chunk(b"IDAT", b"")


def broken_exif(path):
    """Adds an EXIF block that says nothing that makes sense."""
    with Image.open(path) as image:
        image.load()
        image.save(path, exif=b"Exif\0\0MM\0*\0\0\0\x08\0\x09\x01\x12\xff\xff")


def test_pillows_warnings_do_not_come_out(tmp_path):
    """Whatever the filters say: here, that warnings are errors."""
    quiet = {"exif.jpg": RGB, "exif.png": RGB, "exif.webp": RGB, "palette.png": RGB}
    for name, pixels in quiet.items():
        Image.fromarray(pixels).save(tmp_path / name, quality=95, lossless=True)
    for name in ("exif.jpg", "exif.png", "exif.webp"):
        broken_exif(tmp_path / name)
    indexed = Image.fromarray(RGB).quantize(8)
    indexed.save(tmp_path / "palette.png", transparency=bytes(range(0, 256, 32)))
    (tmp_path / "tag.tif").write_bytes(tiff(GREY, extra=[(700, 1, 2**31)]))
    # Warns above 89 megapixels; this one has no pixels.
    (tmp_path / "large.png").write_bytes(png_without_pixels(10_000, 10_000))
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for name in (*quiet, "tag.tif"):
            layout.read_image(tmp_path / name, SIZE)
        refuse(
            lambda: layout.read_image(tmp_path / "large.png", SIZE), "readable image"
        )
    assert [str(warning.message) for warning in caught] == []


def test_too_large_an_image(tmp_path):
    path = tmp_path / "x.png"
    path.write_bytes(png_without_pixels(20_000, 10_000))
    expected = (
        f"{path}: expected an image of at most 179 megapixels, found a larger one"
    )
    refuse(lambda: layout.read_image(path, SIZE), expected)


def test_read_image_antialiases(tmp_path):
    path = tmp_path / "x.png"
    stripes = np.zeros((64, 64, 3), np.uint8)
    stripes[:, ::2] = 255
    Image.fromarray(stripes).save(path)
    assert np.ptp(layout.read_image(path, 16)[2:-2, 2:-2].astype(int)) < 10


@pytest.mark.parametrize(
    ("keep", "found"),
    [
        (0, "found an empty file"),
        (10, "readable image"),
        (500, "readable image"),
    ],
)
def test_unreadable_image(tiny, keep, found):
    path = layout.read_image_set(tiny).test_files[0]
    path.write_bytes(path.read_bytes()[:keep])
    refuse(lambda: layout.read_image(path, 16), path, "readable image", found)


def test_what_came_instead_of_an_image(tmp_path):
    path = tmp_path / "x.jpg"
    path.write_text("version https://git-lfs.github.com/spec/v1\n")
    refuse(lambda: layout.read_image(path, 16), f"{path}: expected", "b'version https:")


@pytest.mark.parametrize("suffix", [".png", ".tif", ".webp", ".gif", ".jp2", ".avif"])
def test_damage_is_told_in_one_line(tmp_path, suffix):
    """Pillow's decoders raise nearly anything; or read on, whatever comes out."""
    path = tmp_path / f"x{suffix}"
    Image.fromarray(RGB).save(path)
    whole = path.read_bytes()
    rng, told = np.random.default_rng(0), []
    for _ in range(40):
        damaged = bytearray(whole)
        for position in rng.integers(8, len(whole), 4):
            damaged[position] = rng.integers(256)
        path.write_bytes(damaged)
        try:
            assert layout.read_image(path, 16).shape == (16, 16, 3)
        except InputError as error:
            told.append(str(error))
    assert told
    assert all(line.startswith(f"{path}: expected") for line in told)


def test_missing_image(tmp_path):
    refuse(lambda: layout.read_image(tmp_path / "x.jpg", 16), "x.jpg", "No such file")


def test_every_image_is_checked(tiny):
    image_set = layout.read_image_set(tiny)
    layout.check_images(image_set)
    path = image_set.training_files[8]
    path.write_bytes(path.read_bytes()[:-60])
    refuse(lambda: layout.check_images(image_set), path, "a readable image")
    Image.fromarray(np.full((4, 4), np.nan, np.float32)).save(path, "TIFF")
    refuse(lambda: layout.check_images(image_set), path, "grey values")
