import shutil

import numpy as np
import pytest

from helpers import raw_recordings


@pytest.fixture(scope="session")
def golden(golden_dir):
    return dict(np.load(golden_dir / "golden_preprocessing.npz"))


@pytest.fixture(scope="session")
def raw_original(tmp_path_factory, golden):
    """Images and four sessions of one subject. Not to be changed."""
    data_dir = tmp_path_factory.mktemp("raw") / "data"
    raw_recordings.write_images(data_dir)
    raw_recordings.write_raw(data_dir, int(golden["seed"]))
    return data_dir


@pytest.fixture
def raw(raw_original, tmp_path):
    """A copy of the recordings that a test may damage."""
    return shutil.copytree(raw_original, tmp_path / "data")
