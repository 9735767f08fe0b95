"""Features on disk: computed once, gone on with, and told apart."""

import json

import numpy as np
import pytest

from helpers.checkpoints import refusal
from helpers.linear import NetworkWithGrayLayer
from img2eeg_jax.linear import cache
from img2eeg_jax.linear.cache import FeatureCache
from img2eeg_jax.linear.features import Backbone, JaxBackbone

N = 9


class Counting(Backbone):
    """Gives each image's mean, and counts the images that it is asked for."""

    def __init__(self, digest="a", stop_after=None, value=0.0):
        self.name, self.digest, self.image_size = "counting", digest, 4
        self.layers = ("mean", "a/b.c")
        self.seen, self.stop_after, self.value = 0, stop_after, value

    def features(self, images, layers, pool):
        self.check_layers(layers)
        for image in images:
            if self.seen == self.stop_after:
                raise KeyboardInterrupt
            self.seen += 1
            row = np.float32([[image.mean() + self.value, len(pool)]])
            yield dict.fromkeys(layers, row)


@pytest.fixture
def images():
    return np.random.default_rng(2).integers(0, 256, (N, 4, 4, 3), dtype=np.uint8)


@pytest.fixture(autouse=True)
def _small_blocks(monkeypatch):
    monkeypatch.setattr(cache, "_BLOCK", 2)


DIGESTS = [f"image {row}" for row in range(N)]


def read(folder, backbone, images, layers=("mean",), digests=DIGESTS, pool="flat"):
    return FeatureCache(folder).read(backbone, images, digests, layers, pool)


def test_values(tmp_path, images):
    found = read(tmp_path, Counting(), images, ("mean", "a/b.c"))
    assert isinstance(found["mean"], np.memmap)
    for values in found.values():
        np.testing.assert_allclose(values[:, 0], images.mean((1, 2, 3)), rtol=1e-6)
    assert not list(tmp_path.glob("*/*.partial"))
    (about,) = tmp_path.glob("*/about.json")
    assert json.loads(about.read_text())["backbone"]["name"] == "counting"


def test_only_once(tmp_path, images):
    read(tmp_path, Counting(), images)
    again = Counting()
    read(tmp_path, again, images)
    assert again.seen == 0
    # The other layer alone is computed.
    read(tmp_path, again, images, ("mean", "a/b.c"))
    assert again.seen == N


@pytest.mark.parametrize(
    "change",
    [
        {"backbone": Counting("b")},
        {"digests": ["another", *DIGESTS[1:]]},
        {"digests": DIGESTS[::-1]},
        {"pool": "avg"},
    ],
)
def test_what_is_another_is_computed(tmp_path, images, change):
    read(tmp_path, Counting(), images)
    arguments = {"backbone": Counting(), "images": images} | change
    arguments["backbone"].seen = 0
    read(tmp_path, **arguments)
    assert arguments["backbone"].seen == N
    assert len(list(tmp_path.glob("*/about.json"))) == 2


@pytest.mark.parametrize(
    "change",
    [
        {"name": "another"},
        {"function": lambda _, pixels: {"sum": pixels.sum(3) + 1}},
        {"precision": "bfloat16"},
    ],
)
def test_functions_with_the_same_weights_are_told_apart(tmp_path, images, change):
    first = {
        "name": "sum",
        "function": lambda _, pixels: {"sum": pixels.sum(3)},
        "variables": {"none": np.zeros(1, np.float32)},
        "image_size": 4,
    }
    for changes in ({}, {}, change):
        found = read(tmp_path, JaxBackbone(**first | changes), images, ("sum",))["sum"]
    extra = 1 if "function" in change else 0
    expected = images.sum(3).reshape(N, -1) / 255 + extra
    np.testing.assert_allclose(found, expected, rtol=1e-2)
    assert len(list(tmp_path.glob("*/about.json"))) == 2


def test_goes_on_where_it_was_stopped(tmp_path, images):
    with pytest.raises(KeyboardInterrupt):
        read(tmp_path, Counting(stop_after=5), images)
    assert not list(tmp_path.glob("*/mean.npy"))
    after = Counting()
    found = read(tmp_path, after, images)["mean"]
    # Two blocks of two were kept.
    assert after.seen == N - 4
    np.testing.assert_allclose(found[:, 0], images.mean((1, 2, 3)), rtol=1e-6)


def test_other_layers_do_not_go_on(tmp_path, images):
    with pytest.raises(KeyboardInterrupt):
        read(tmp_path, Counting(stop_after=5), images)
    after = Counting()
    read(tmp_path, after, images, ("mean", "a/b.c"))
    assert after.seen == N


def test_nan_is_refused(tmp_path, images):
    message = refusal(lambda: read(tmp_path, Counting(value=np.nan), images))
    assert message.startswith("counting: layer mean: expected finite numbers")


def test_a_damaged_file_is_refused(tmp_path, images):
    read(tmp_path, Counting(), images)
    (path,) = tmp_path.glob("*/mean.npy")
    path.write_bytes(path.read_bytes()[:-9])
    assert refusal(lambda: read(tmp_path, Counting(), images)).startswith(str(path))


def test_real_backbone(tmp_path, gray):
    images = np.random.default_rng(0).integers(0, 256, (3, 32, 32, 3), np.uint8)
    found = FeatureCache(tmp_path).read(gray, images, ["a", "b", "c"], ("gray",), "avg")
    expected = NetworkWithGrayLayer.gray(images).mean((1, 2))
    np.testing.assert_allclose(found["gray"], expected, rtol=1e-5)
