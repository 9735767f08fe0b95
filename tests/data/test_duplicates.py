"""Images that are in several splits, whatever their files are called."""

import shutil

import pytest
from PIL import Image

from img2eeg_jax.data import duplicates, layout
from img2eeg_jax.data.shards import builder


@pytest.fixture
def warn(tiny):
    def run(held_out=()):
        shards = builder.open_or_build(
            tiny, tiny / "shards", subjects=(1,), image_size=16, log=lambda line: None
        )
        return duplicates.warning(shards, held_out)

    return run


@pytest.fixture
def files(tiny):
    image_set = layout.read_image_set(tiny)
    return image_set.training_files, image_set.test_files


def name(path):
    return f"{path.parent.name}/{path.name}"


def test_none(warn):
    assert warn() is None
    assert warn(range(3)) is None


def test_copy_of_a_file(warn, files):
    training, test = files
    shutil.copy(training[7], test[2])
    assert warn() == (
        f"warning: 1 of 4 test images are training images, too: {name(test[2])} is "
        f"{name(training[7])}"
    )
    # Of an image that is held out, the network knows nothing.
    assert warn([6, 7]) is None


def test_copy_in_another_format(tiny, warn, files):
    """The same pixels; names tell nothing of formats to who decodes."""
    training, test = files
    with Image.open(training[7]) as image:
        image.save(test[2].with_suffix(".png"))
    test[2].unlink()
    layout.write_image_metadata(tiny, **layout.list_images(tiny))
    assert f"{name(test[2].with_suffix('.png'))} is {name(training[7])}" in warn()


def test_all_of_them(warn, files):
    training, test = files
    for path, source in zip(test, training, strict=False):
        shutil.copy(source, path)
    assert warn().startswith("warning: 4 of 4 test images are training images, too: ")


def test_validation_images(warn, files):
    training, _ = files
    shutil.copy(training[0], training[14])
    assert warn() is None
    assert warn([12, 13, 14]) == (
        "warning: 1 of 3 validation images are training images, too: "
        f"{name(training[14])} is {name(training[0])}"
    )


def test_many_are_not_all_listed(warn, files):
    training, _ = files
    for path in training[1:]:
        shutil.copy(training[0], path)
    line = warn(range(1, 15))
    assert line.startswith("warning: 14 of 14 validation images are")
    assert line.count(" is ") == 5
    assert line.endswith(" and 9 more")
