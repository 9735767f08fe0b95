import numpy as np
import pytest
from PIL import Image

from helpers.refusing import refuse
from img2eeg_jax.data import layout


@pytest.mark.parametrize("mode", ["RGB", "L", "P", "RGBA", "CMYK"])
def test_read_image(tmp_path, mode):
    pixels = np.random.default_rng(0).integers(0, 256, (40, 60, 3), np.uint8)
    path = tmp_path / ("x.tif" if mode == "CMYK" else "x.png")
    Image.fromarray(pixels).convert(mode).save(path)
    image = layout.read_image(path, 24)
    # The order that the published models were trained with: RGB first, then resize.
    expected = Image.open(path).convert("RGB").resize((24, 24), Image.BILINEAR)
    assert (image.shape, image.dtype) == ((24, 24, 3), np.uint8)
    np.testing.assert_array_equal(image, np.asarray(expected))


def test_read_image_antialiases(tmp_path):
    path = tmp_path / "x.png"
    stripes = np.zeros((64, 64, 3), np.uint8)
    stripes[:, ::2] = 255
    Image.fromarray(stripes).save(path)
    assert np.ptp(layout.read_image(path, 16)[2:-2, 2:-2].astype(int)) < 10


@pytest.mark.parametrize("keep", [0, 10, 500])
def test_unreadable_image(tiny, keep):
    path = layout.read_image_set(tiny).test_files[0]
    path.write_bytes(path.read_bytes()[:keep])
    refuse(lambda: layout.read_image(path, 16), path, "readable image")


def test_missing_image(tmp_path):
    refuse(lambda: layout.read_image(tmp_path / "x.jpg", 16), "x.jpg", "No such file")


def test_every_image_is_checked(tiny):
    image_set = layout.read_image_set(tiny)
    layout.check_images(image_set)
    path = image_set.training_files[8]
    path.write_bytes(path.read_bytes()[:-60])
    refuse(lambda: layout.check_images(image_set), path, "a readable image")
