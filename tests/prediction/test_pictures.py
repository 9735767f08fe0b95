"""What a user may give as pictures: the same pixels whatever way they come."""

import itertools
import os
import pathlib
import re
import threading

import numpy as np
import pytest
from PIL import Image

from img2eeg_jax.data import layout
from img2eeg_jax.errors import InputError
from img2eeg_jax.prediction import pictures
from img2eeg_jax.prediction.pictures import Pictures

SIZE = 8


@pytest.fixture
def folder(tmp_path):
    """Pictures of several sizes and formats, and other files."""
    rng = np.random.default_rng(0)
    for name, shape in [("a.png", (8, 8)), ("b.bmp", (20, 9)), ("sub/c.png", (3, 30))]:
        path = tmp_path / "in" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        pixels = rng.integers(0, 256, (*shape, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(path)
    (tmp_path / "in" / "notes.md").write_text("")
    (tmp_path / "in" / ".DS_Store").write_text("")
    return tmp_path / "in"


def read(given, names=None, **options):
    """Returns (names, u8[image, SIZE, SIZE, 3])."""
    found = list(Pictures(given, names).read(SIZE, **options))
    return [name for name, _ in found], np.stack([pixels for _, pixels in found])


def files(folder):
    return [folder / name for name in ("a.png", "b.bmp", "sub/c.png")]


def pixels_of(folder):
    return np.stack([layout.read_image(path, SIZE) for path in files(folder)])


def list_of_paths(folder, start=""):
    path = folder.parent / "list.txt"
    lines = (f"{start}{file.relative_to(folder.parent)}" for file in files(folder))
    path.write_bytes("\r\n".join(lines).encode() + b"\n\n")
    return path


@pytest.mark.parametrize(
    "given",
    [
        lambda folder: folder,
        lambda folder: str(folder),
        lambda folder: f"{folder}{os.sep}",
        lambda folder: files(folder),
        lambda folder: tuple(map(str, files(folder))),
        lambda folder: [folder],
        lambda folder: f"{folder}/**/*.[bp][mn][pg]",
        lambda folder: iter(files(folder)),
        lambda folder: np.array([str(file) for file in files(folder)]),
        lambda folder: [folder / "a.png", f"{folder}/b*", [f"{folder}/sub"]],
        lambda folder: list_of_paths(folder),
        lambda folder: list_of_paths(folder, f"{folder.parent}/"),
    ],
)
def test_paths(folder, given):
    names, pixels = read(given(folder))
    assert names == [str(file) for file in files(folder)]
    np.testing.assert_array_equal(pixels, pixels_of(folder))


def test_files_that_are_no_pictures_are_counted(folder):
    assert Pictures(folder).left_out == "1 other file left out (1 .md)"
    assert Pictures([folder, folder]).names == tuple(map(str, files(folder) * 2))


def test_a_name_with_a_bracket_is_a_name(folder):
    path = folder / "x[1].png"
    (folder / "a.png").rename(path)
    assert Pictures(path).names == Pictures(str(path)).names == (str(path),)


def test_arrays_and_pillow_images(folder):
    opened = [Image.open(path) for path in files(folder)]
    expected = pixels_of(folder)
    names, pixels = read(opened)
    assert names == [str(file) for file in files(folder)]
    np.testing.assert_array_equal(pixels, expected)
    arrays = [np.asarray(image) for image in opened]
    names, pixels = read(arrays)
    assert names == ["0", "1", "2"]
    np.testing.assert_array_equal(pixels, expected)
    # One array, and one of several images.
    np.testing.assert_array_equal(read(arrays[1])[1], expected[1:2])
    np.testing.assert_array_equal(read(expected)[1], expected)
    mixed = [folder / "a.png", arrays[1], Image.fromarray(arrays[2])]
    names, pixels = read(mixed)
    assert names == [str(folder / "a.png"), "1", "2"]
    np.testing.assert_array_equal(pixels, expected)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_floats_from_0_to_1(folder, dtype):
    expected = pixels_of(folder)
    np.testing.assert_array_equal(read((expected / 255).astype(dtype))[1], expected)


def test_a_pillow_image_is_read_as_its_file(tmp_path):
    """Upright, on white, and twice."""
    rgba = np.zeros((6, 4, 4), np.uint8)
    rgba[:3] = [200, 10, 30, 128]
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(rgba).save(tmp_path / "x.png", exif=exif)
    expected = layout.read_image(tmp_path / "x.png", SIZE)
    opened = Image.open(tmp_path / "x.png")
    for image in (opened, opened, Image.open(tmp_path / "x.png")):
        np.testing.assert_array_equal(read(image)[1], expected[np.newaxis])
    image = Image.open(tmp_path / "x.png")
    np.testing.assert_array_equal(read([image] * 5)[1], np.stack([expected] * 5))


ONE = np.zeros((4, 4, 3), np.uint8)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (ONE[:, :, 0], "expected uint8, or floats .*, found uint8 [4, 4]"),
        (ONE[..., :2], "found uint8 [4, 4, 2]"),
        (np.zeros((2, 3, 4, 4), np.uint8), "found uint8 [2, 3, 4, 4]"),
        (np.zeros((1, 1, 4, 4, 3), np.uint8), "found uint8 [1, 1, 4, 4, 3]"),
        (ONE[:0], "found uint8 [0, 4, 3]"),
        (ONE.astype(np.int64), "found int64 [4, 4, 3]"),
        (ONE.astype(bool), "found bool [4, 4, 3]"),
        (ONE.astype(np.complex64), "found complex64 [4, 4, 3]"),
        (3, "found int64 []"),
        (b"a.png", "found a bytes"),
        ({"a.png": 1}, "found a dict"),
        (None, "found a NoneType"),
        ([None], "found a NoneType"),
        ([], "pictures: expected at least one, found none"),
        (np.empty((0, 4, 4, 3), np.uint8), "expected at least one, found none"),
        (ONE + 255.0, "picture 0: expected floats from 0 to 1 .*, found 255 to 255"),
        ([ONE, ONE - 0.5], "picture 1: expected floats .*, found -0.5 to -0.5"),
        (ONE + np.float32(1.001), "found 1.001 to 1.001"),
        (ONE * np.nan, "picture 0: expected floats .*, found NaN"),
        (ONE + np.inf, "found inf to inf"),
        (Image.new("I", (2, 2), -1), "expected grey values of 8, 16 or 32 bits"),
        ("no_such.png", "no_such.png: expected an image or a folder of images, found"),
        ("no_such/*.png", "no_such/*.png: expected a pattern of pictures, found none"),
        ("", "pictures: expected a path, found an empty one"),
    ],
)
def test_what_is_no_picture_is_one_line(given, message):
    with pytest.raises(InputError) as error:
        read(given)
    assert "\n" not in str(error.value)
    words = map(re.escape, message.split(".*"))
    assert re.search(".*".join(words), str(error.value))


def test_empty_folder(tmp_path):
    with pytest.raises(InputError, match="an image or a folder of images, found none"):
        Pictures(tmp_path)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b"", "expected at least one, found none"),
        (b"a.png\nb\0.png", "expected a text file with a path in each line, found NUL"),
        (b"no_such.png\n", "no_such.png: expected an image"),
    ],
)
def test_lists_of_paths_that_are_none(tmp_path, text, message):
    path = tmp_path / "list.txt"
    path.write_bytes(text)
    with pytest.raises(InputError, match=message):
        read(path)


def test_names(folder):
    names = ["dog", "car", "tree"]
    assert read(folder, names)[0] == names
    assert read(iter(files(folder)), iter(names))[0] == names
    with pytest.raises(InputError, match=r"names: expected one .*, found only 2"):
        Pictures(folder, names[:2])
    with pytest.raises(InputError, match=r"names: .* of 3 pictures, found more"):
        Pictures(folder, [*names, "sky"])
    with pytest.raises(InputError, match=r"names: .* of 3 pictures, found more"):
        read(iter(files(folder)), [*names, "sky"])


def test_an_endless_iterator_is_read_as_it_goes():
    taken = itertools.count()

    def endless():
        while True:
            next(taken)
            yield ONE

    found = Pictures(endless())
    assert found.names is None
    some = [name for name, _ in itertools.islice(found.read(SIZE), 10)]
    assert some == [str(i) for i in range(10)]
    # No more than what is read ahead.
    assert next(taken) <= 10 + pictures._AHEAD + 1


def test_several_threads_read(monkeypatch):
    """All of them at once, which one thread would wait for."""
    n = min(os.cpu_count(), 4)
    together = threading.Barrier(n, timeout=60)

    def wait(path, size):
        together.wait()
        return ONE

    monkeypatch.setattr(pictures, "read_image", wait)
    monkeypatch.setattr(
        pictures,
        "find_images",
        lambda paths: layout.listing.Listing((pathlib.Path(*paths),), {}),
    )
    assert len(read([f"{i}.png" for i in range(n)])[0]) == n


def test_bad_ones_may_be_left_out(folder):
    (folder / "b.bmp").write_bytes(b"")
    with pytest.raises(InputError, match=r"b\.bmp: expected a readable image"):
        read(folder)
    bad = []
    names, _ = read(folder, bad=bad)
    assert names == [str(folder / "a.png"), str(folder / "sub/c.png")]
    assert [type(error) for error in bad] == [InputError]
