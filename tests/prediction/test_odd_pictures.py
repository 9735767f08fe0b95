"""Pictures of all kinds: each is predicted as it is seen, or refused in one line."""

import dataclasses
import io
import pathlib
import re
from collections.abc import Callable

import numpy as np
import pytest
from PIL import Image, ImageCms

from helpers.picture_files import (
    SEEN_AT,
    as_stored,
    exif,
    in_rgb,
    png,
    png_chunk,
    png_header,
)
from helpers.tiff import tiff
from helpers.tiny_network import IMAGE_SIZE as SIZE
from helpers.tiny_network import Toy, draw_variables
from img2eeg_jax.axes import VOLTS, Axes
from img2eeg_jax.checkpoints import description as descriptions
from img2eeg_jax.checkpoints.description import Description
from img2eeg_jax.checkpoints.load import Checkpoint
from img2eeg_jax.errors import InputError
from img2eeg_jax.prediction.encoder import Encoder
from img2eeg_jax.prediction.pictures import Pictures
from img2eeg_jax.signal_layout import CHANNELS_BY_TIMES, SignalLayout

pytestmark = pytest.mark.usefixtures("quick_compilation")

# Of the size that the network takes, so that resizing changes no pixel. What is lossy
# gets smooth pictures, of which codecs change little.
RGB = np.random.default_rng(1).integers(0, 256, (SIZE, SIZE, 3), np.uint8)
GREY = np.random.default_rng(0).integers(0, 256, (SIZE, SIZE), np.uint8)
BLACK_OR_WHITE = np.where(GREY > 127, 255, 0).astype(np.uint8)
ALPHA = np.random.default_rng(2).choice(np.uint8([0, 128, 255]), (SIZE, SIZE))
WEIGHT = ALPHA[..., None] / 255
ROWS, COLUMNS = np.mgrid[:SIZE, :SIZE] * 255 // (SIZE - 1)
SMOOTH = np.dstack([ROWS, COLUMNS, 255 - (ROWS + COLUMNS) // 2]).astype(np.uint8)
RED = np.full_like(RGB, [255, 0, 0])
FEW = RGB // 85 * 85

# How far colours are from those seen: exact, or as lossy codecs are (grey levels).
EXACT, ROUNDED, LOSSY, OTHER_GAMUT = 0, 1, 12, 40


@dataclasses.dataclass
class Odd:
    """A picture, and what becomes of it.

    Attributes:
      name: of the file.
      make: writes the file at a path, or returns a Pillow image.
      outcome: what is seen u8[height, width, 3]; or words of the refusal.
      tolerance: of what is seen.
    """

    name: str
    make: Callable
    outcome: np.ndarray | str
    tolerance: int = EXACT


def image(pixels, mode=None):
    made = Image.fromarray(np.ascontiguousarray(pixels))
    return made if mode in (None, made.mode) else made.convert(mode)


def saved(pixels, mode=None, **options):
    return lambda path: image(pixels, mode).save(path, **options)


def given(pixels, mode):
    """A Pillow image of a mode that no file has."""
    return lambda path: image(pixels, mode)


def written(content):
    return lambda path: path.write_bytes(content)


def encoded(pixels, kind="PNG", **options):
    file = io.BytesIO()
    image(pixels).save(file, kind, **options)
    return file.getvalue()


def turned(orientation, **options):
    stored = as_stored(SMOOTH, orientation)
    return saved(stored, exif=exif(orientation), **options)


def frames(**options):
    more = [image(RED), image(RED)]
    return saved(FEW, save_all=True, append_images=more, duration=50, **options)


def cmyk(*, has_marker):
    """A CMYK JPEG, 255 for no ink: as Adobe does, whose marker says so, and others."""
    file = io.BytesIO()
    image(SMOOTH).convert("CMYK").save(file, "JPEG", quality=95)
    content = file.getvalue()
    start = content.index(b"\xff\xee\0\x0eAdobe")
    return content if has_marker else content[:start] + content[start + 16 :]


def palette_with_transparency(path):
    indexed = image(FEW).quantize(64)
    assert len(indexed.getcolors()) <= 64
    indexed.info["transparency"] = 0
    indexed.save(path)


def seen_of_palette():
    indexed = image(FEW).quantize(64)
    seen = np.array(indexed.convert("RGB"))
    seen[np.asarray(indexed) == 0] = 255
    return seen


def with_text_chunk(path):
    whole = encoded(RGB)
    path.write_bytes(whole[:33] + png_chunk(b"tEXt", b"Comment\0\xff") + whole[33:])


def wrong_checksum(path):
    whole = bytearray(encoded(RGB))
    whole[29] ^= 1
    path.write_bytes(whole)


def profiled(path):
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")).tobytes()
    image(RGB).save(path, icc_profile=profile)


def link(path):
    target = path.with_name("target of a link.png")
    image(RGB).save(target)
    path.symlink_to(target.name)


JPEG = encoded(SMOOTH, "JPEG", quality=95)
SCAN = JPEG.index(b"\xff\xda")
SIXTEEN_BITS = (GREY.astype(np.uint16) * 257).astype(">u2")
RGB_16 = (RGB.astype(np.uint16) * 257).astype(">u2")
WIDE = np.repeat(SMOOTH[:1], 10, axis=0).repeat(625, axis=1)
NIBBLES = np.stack([GREY >> 4, GREY & 15], -1)[:, : SIZE // 2].reshape(SIZE, SIZE)
UNREADABLE = "expected a readable image, found"

PICTURES = [
    # Modes that files have.
    Odd("1.png", saved(BLACK_OR_WHITE, "1"), in_rgb(BLACK_OR_WHITE)),
    Odd("L.png", saved(GREY), in_rgb(GREY)),
    Odd("LA.png", saved(np.dstack([GREY, ALPHA])), in_rgb(GREY) * WEIGHT, ROUNDED),
    Odd("P.png", saved(GREY, "P"), in_rgb(GREY)),
    Odd("P transparent.png", palette_with_transparency, seen_of_palette()),
    Odd("RGB.png", saved(RGB), RGB),
    Odd("RGBA.png", saved(np.dstack([RGB, ALPHA])), RGB * WEIGHT, ROUNDED),
    Odd("16 bits.png", written(png(SIXTEEN_BITS.view(np.uint8), SIZE, 16)), GREY),
    Odd(
        "48 bits.png",
        written(png(RGB_16.reshape(SIZE, -1).view(np.uint8), SIZE, 16, 2)),
        RGB,
        ROUNDED,
    ),
    Odd(
        "4 bits.png", written(png(GREY[:, : SIZE // 2], SIZE, 4)), in_rgb(NIBBLES * 17)
    ),
    Odd("12 bits.tif", written(tiff(GREY.astype("<u2") * 16, bits=12)), GREY),
    Odd("16 bits.tif", written(tiff(GREY.astype("<u2") * 257)), GREY),
    Odd("I.tif", written(tiff(GREY.astype("<u4") << 24)), GREY),
    Odd("F.tif", written(tiff(GREY.astype("<f4") / 255)), GREY),
    Odd("F to 255.tif", written(tiff(GREY.astype("<f4"))), GREY),
    Odd("F NaN.tif", written(tiff(GREY * np.float32(np.nan))), "found nan to nan"),
    Odd("F negative.tif", written(tiff(GREY.astype("<f4") - 9)), "found -9 to 24"),
    Odd("CMYK.tif", saved(RGB, "CMYK"), RGB),
    Odd("YCbCr.tif", saved(SMOOTH, "YCbCr"), SMOOTH, LOSSY),
    Odd("LAB.tif", saved(SMOOTH, "LAB"), SMOOTH, OTHER_GAMUT),
    # Modes that only Pillow has.
    Odd("I", given(GREY.astype(np.int32) * 257, None), GREY),
    Odd("F", given(GREY.astype(np.float32) / 255, None), GREY),
    Odd("HSV", given(SMOOTH, "HSV"), SMOOTH, LOSSY),
    Odd("YCbCr", given(SMOOTH, "YCbCr"), SMOOTH, LOSSY),
    Odd("LAB", given(SMOOTH, "LAB"), SMOOTH, OTHER_GAMUT),
    Odd("CMYK", given(RGB, "CMYK"), RGB),
    Odd("PA", lambda path: image(GREY).convert("P").convert("PA"), GREY),
    Odd("RGBX", given(RGB, "RGBX"), RGB),
    Odd("RGBa", lambda path: premultiplied("RGBa"), RGB * WEIGHT, 2),
    Odd("La", lambda path: premultiplied("La"), in_rgb(GREY) * WEIGHT, 2),
    # EXIF, against the upright original.
    *(
        Odd(f"exif {n}{suffix}", turned(n, **options), SMOOTH, tolerance)
        for n in SEEN_AT
        for suffix, options, tolerance in (
            (".jpg", {"quality": 95}, LOSSY),
            (".png", {}, EXACT),
            (".webp", {"lossless": True}, EXACT),
        )
    ),
    Odd("exif 9.jpg", saved(SMOOTH, exif=exif(9), quality=95), SMOOTH, LOSSY),
    Odd("exif broken.jpg", saved(SMOOTH, exif=b"Exif\0\0MM\0*"), SMOOTH, LOSSY),
    # Sizes.
    Odd("1 pixel.png", saved(RED[:1, :1]), RED[:1, :1]),
    Odd("1 row.png", saved(RED[:1]), RED[:1]),
    Odd("20000 x 10.png", saved(WIDE), WIDE, ROUNDED),
    Odd("10 x 20000.png", saved(WIDE.swapaxes(0, 1)), WIDE.swapaxes(0, 1), ROUNDED),
    # Codecs and containers.
    Odd("grey.jpg", saved(ROWS.astype(np.uint8)), in_rgb(ROWS), LOSSY),
    Odd("progressive.jpg", saved(SMOOTH, quality=95, progressive=True), SMOOTH, LOSSY),
    Odd("RGB inside.jpg", saved(SMOOTH, quality=95, keep_rgb=True), SMOOTH, LOSSY),
    Odd("CMYK by Adobe.jpg", written(cmyk(has_marker=True)), SMOOTH, LOSSY),
    Odd("CMYK.jpg", written(cmyk(has_marker=False)), SMOOTH, LOSSY),
    Odd("one.gif", saved(FEW), FEW),
    Odd("animated.gif", frames(), FEW),
    Odd("animated.png", frames(), FEW),
    Odd("animated.webp", frames(lossless=True), FEW),
    Odd("pages.tif", saved(FEW, save_all=True, append_images=[image(RED)]), FEW),
    Odd("lossy.webp", saved(SMOOTH, quality=95), SMOOTH, LOSSY),
    Odd(
        "transparent.webp",
        saved(np.dstack([RGB, ALPHA]), lossless=True, exact=True),
        RGB * WEIGHT,
        ROUNDED,
    ),
    Odd("x.avif", saved(SMOOTH, quality=95), SMOOTH, LOSSY),
    Odd("x.jp2", saved(RGB), RGB),
    Odd("x.bmp", saved(RGB), RGB),
    Odd("x.tga", saved(RGB), RGB),
    Odd("x.ppm", saved(RGB), RGB),
    Odd("x.ico", saved(RGB, sizes=[(SIZE, SIZE)]), RGB),
    Odd("two lenses.mpo", saved(SMOOTH, quality=95), SMOOTH, LOSSY),
    # What comes with the pixels.
    Odd("profile.png", profiled, RGB),
    Odd("bad comment.png", with_text_chunk, RGB),
    Odd("more behind.jpg", written(JPEG + b"\0" * 99), SMOOTH, LOSSY),
    # Names.
    Odd("Bär 犬 🐶.png", saved(RGB), RGB),
    Odd("n" * 251 + ".png", saved(RGB), RGB),
    Odd("a [b] *?, %20 'x'.png", saved(RGB), RGB),
    Odd("two\nlines.png", saved(RGB), RGB),
    Odd("LOUD.PNG", saved(RGB), RGB),
    Odd("PNG in truth.jpg", written(encoded(RGB)), RGB),
    Odd("no suffix", written(encoded(RGB)), RGB),
    Odd("link.png", link, RGB),
    # No pictures.
    Odd("cut in the header.jpg", written(JPEG[:20]), UNREADABLE),
    Odd("cut before the scan.jpg", written(JPEG[: SCAN - 9]), UNREADABLE),
    Odd("cut in the scan.jpg", written(JPEG[: (SCAN + len(JPEG)) // 2]), UNREADABLE),
    Odd("cut.png", written(encoded(RGB)[:900]), UNREADABLE),
    Odd("wrong checksum.png", wrong_checksum, UNREADABLE),
    Odd(
        "bomb.png",
        written(png_header(50_000, 50_000) + png_chunk(b"IDAT", b"")),
        "at most 179 megapixels",
    ),
    Odd("nothing.jpg", written(b""), "found an empty file"),
    Odd("text.jpg", written(b"not a picture"), "begins with b'not a picture'"),
    Odd("page.jpg", written(b"<!doctype html>"), "begins with b'<!doctype html>'"),
    Odd("x.svg", written(b"<svg xmlns="), "begins with b'<svg xmlns='"),
    Odd("x.heic", written(b"\0\0\0\x18ftypheic\0\0\0\0"), UNREADABLE),
    Odd(".DS_Store", written(b"\0\0\0\1Bud1"), UNREADABLE),
    Odd("Thumbs.db", written(b"\xd0\xcf\x11\xe0"), UNREADABLE),
]


def premultiplied(mode):
    whole = "RGBA" if mode == "RGBa" else "LA"
    pixels = np.dstack([RGB if mode == "RGBa" else GREY, ALPHA])
    return image(pixels, whole).convert(mode)


@pytest.fixture(autouse=True)
def _toy(monkeypatch):
    monkeypatch.setitem(descriptions.MODELS, "realnet", Toy)


def encoder():
    axes = Axes(("O1", "Oz", "O2"), np.arange(5) / 100, VOLTS)
    signal = SignalLayout.for_eeg(CHANNELS_BY_TIMES, axes, axes.times_s)
    description = Description("realnet", {}, SIZE, signal)
    return Encoder(Checkpoint(pathlib.Path("x"), 1, description, draw_variables(Toy())))


def as_seen(outcome):
    """Returns u8[height, width, 3], on white where there is no colour."""
    if outcome.dtype == np.float64:
        return np.rint(outcome + 255 * (1 - WEIGHT)).astype(np.uint8)
    return in_rgb(outcome) if outcome.ndim == 2 else outcome.astype(np.uint8)


@pytest.fixture(scope="module")
def sources(tmp_path_factory):
    """Makes all pictures: name in the table → file, or Pillow image."""
    folder = tmp_path_factory.mktemp("odd")
    made = {odd.name: odd.make(folder / odd.name) for odd in PICTURES}
    return {
        name: source if isinstance(source, Image.Image) else folder / name
        for name, source in made.items()
    }


@pytest.mark.parametrize("odd", PICTURES, ids=[odd.name[:30] for odd in PICTURES])
def test_pixels_are_those_seen(sources, odd):
    source = sources[odd.name]
    if isinstance(odd.outcome, str):
        with pytest.raises(InputError, match=re.escape(odd.outcome)) as error:
            list(Pictures(source).read(SIZE))
        assert str(error.value).startswith(f"{source}: expected")
        assert "\n" not in str(error.value)
        return
    ((_, found),) = Pictures(source).read(SIZE)
    ((_, seen),) = Pictures(as_seen(odd.outcome)).read(SIZE)
    np.testing.assert_allclose(found.astype(int), seen, atol=odd.tolerance)


def test_each_is_predicted_or_told(sources):
    """What is read is predicted in its place; the others are named, each once."""
    bad, predict = [], encoder()
    eeg = predict(sources.values(), list(sources), bad=bad)
    wanted = [odd for odd in PICTURES if not isinstance(odd.outcome, str)]
    assert eeg.images == tuple(odd.name for odd in wanted)
    assert len(bad) == len(PICTURES) - len(wanted)
    assert len(PICTURES) > 80
    exact = [n for n, odd in enumerate(wanted) if odd.tolerance == EXACT]
    seen = predict([as_seen(wanted[n].outcome) for n in exact])
    np.testing.assert_allclose(eeg.data[exact], seen.data, atol=1e-5)
    assert np.isfinite(eeg.data).all()
    # No two pictures that differ have one prediction.
    assert len(np.unique(eeg.data.round(4), axis=0)) > 8


def test_clutter_in_a_folder_is_left_out(tmp_path):
    for name in (".DS_Store", "Thumbs.db", "._dog.jpg", "desktop.ini"):
        (tmp_path / name).write_bytes(b"\0")
    (tmp_path / "notes.txt").write_text("x")
    image(RGB).save(tmp_path / "dog.png")
    pictures = Pictures(tmp_path)
    assert pictures.names == (str(tmp_path / "dog.png"),)
    assert pictures.left_out == "1 other file left out (1 .txt)"
