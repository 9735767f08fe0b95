import shutil

import pytest

from img2eeg_jax.data.sources import synthetic

TINY = {
    "seed": 3,
    "n_training_concepts": 5,
    "images_per_concept": 3,
    "n_test_concepts": 4,
    "image_size": 16,
    "training_repetitions": 2,
    "test_repetitions": 6,
    "subjects": (1, 2),
}


@pytest.fixture(scope="session")
def tiny_parameters():
    return dict(TINY)


@pytest.fixture(scope="session")
def tiny_original(tmp_path_factory):
    """A tiny data set: 15 training and 4 test images, 2 subjects. Not to be changed."""
    data_dir = tmp_path_factory.mktemp("tiny") / "data"
    synthetic.write_synthetic(data_dir, **TINY)
    return data_dir


@pytest.fixture
def tiny(tiny_original, tmp_path):
    """A copy of the tiny data set that a test may damage."""
    return shutil.copytree(tiny_original, tmp_path / "data")
