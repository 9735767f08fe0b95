import pytest

from img2eeg_jax.data.sources import synthetic


@pytest.fixture(scope="session")
def demo(tmp_path_factory):
    """The default data set, with two subjects."""
    data_dir = tmp_path_factory.mktemp("demo") / "data"
    assert synthetic.write_synthetic(data_dir, subjects=(1, 2))
    return data_dir
