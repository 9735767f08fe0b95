import jax
import numpy as np
import pytest

from helpers.tiny_network import IMAGE_SIZE, NUM_CLASSES, Toy, draw_variables
from img2eeg_jax.data import layout
from img2eeg_jax.data.shards import builder
from img2eeg_jax.data.shards.store import Shards
from img2eeg_jax.data.sources import synthetic
from img2eeg_jax.models.cornet_s import normalise_pixels
from img2eeg_jax.training import teacher


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory):
    folder = tmp_path_factory.mktemp("teacher") / "data"
    synthetic.write_synthetic(
        folder,
        seed=0,
        n_training_concepts=5,
        images_per_concept=2,
        n_test_concepts=3,
        image_size=IMAGE_SIZE,
        training_repetitions=1,
        test_repetitions=2,
        subjects=(1,),
    )
    builder.open_or_build(
        folder,
        folder / "shards",
        subjects=(1,),
        image_size=IMAGE_SIZE,
        log=lambda line: None,
    )
    return folder


def _load(data_dir, variables):
    shards = Shards.open(data_dir / "shards", image_size=IMAGE_SIZE, subjects=())
    return teacher.load_logits(shards, Toy(), variables, batch_size=4)


def test_logits(data_dir, capsys):
    """Against the network applied to the images as the files have them."""
    variables = draw_variables(Toy())
    found = _load(data_dir, variables)
    assert "10 images" in capsys.readouterr().out
    image_set = layout.read_image_set(data_dir)
    apply = jax.jit(Toy().apply)
    for partition, n_images in (("training", 10), ("test", 3)):
        files = image_set.files(partition)
        images = np.stack([layout.read_image(path, IMAGE_SIZE) for path in files])
        expected, _ = apply(variables, normalise_pixels(images))
        assert found[partition].shape == (n_images, NUM_CLASSES)
        np.testing.assert_allclose(found[partition], expected, rtol=1e-4, atol=1e-5)


def test_computed_once_for_each_teacher(data_dir, capsys):
    variables, others = draw_variables(Toy()), draw_variables(Toy(), seed=1)
    first = _load(data_dir, variables)
    capsys.readouterr()
    again = _load(data_dir, variables)
    assert capsys.readouterr().out == ""
    for partition in layout.PARTITIONS:
        np.testing.assert_array_equal(again[partition], first[partition])
    assert not np.allclose(_load(data_dir, others)["test"], first["test"])
    assert "3 images" in capsys.readouterr().out
