import numpy as np
import pytest

from helpers.compilation import compiling_quickly
from helpers.linear import NetworkWithGrayLayer
from img2eeg_jax.data.sources.synthetic import write_synthetic
from img2eeg_jax.linear.features import random_cornet_s

SIZE = 32


@pytest.fixture(scope="package", autouse=True)
def _quick_compilation():
    with compiling_quickly():
        yield


@pytest.fixture(scope="package")
def data_dir(tmp_path_factory):
    """A tiny data set of two subjects, whose EEG follows the images."""
    folder = tmp_path_factory.mktemp("linear") / "data"
    write_synthetic(
        folder,
        seed=3,
        n_training_concepts=20,
        images_per_concept=4,
        n_test_concepts=12,
        image_size=SIZE,
        training_repetitions=2,
        test_repetitions=4,
        subjects=(1, 2),
    )
    return folder


@pytest.fixture(scope="package")
def own():
    """A narrow CORnet-S of random weights."""
    return random_cornet_s(2, SIZE, seed=5)


@pytest.fixture(scope="package")
def gray():
    return NetworkWithGrayLayer.backbone(SIZE)


@pytest.fixture
def images():
    rng = np.random.default_rng(11)
    return rng.integers(0, 256, (5, SIZE, SIZE, 3), dtype=np.uint8)
