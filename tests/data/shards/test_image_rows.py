import pathlib

import numpy as np
import pytest

from img2eeg_jax.data import layout
from img2eeg_jax.data.shards import builder, folders, tfds_builder
from img2eeg_jax.data.shards.image_rows import ImageRows, RecordLayout
from img2eeg_jax.errors import InputError


@pytest.fixture
def shards(tiny, monkeypatch):
    """Shards whose 15 training images lie in three files."""
    # 768 bytes an image.
    monkeypatch.setattr(tfds_builder, "_BYTES_A_SHARD", 4000)
    return builder.open_or_build(
        tiny, tiny / "shards", subjects=(), image_size=16, log=lambda line: None
    )


def _direct(tiny, partition):
    files = layout.read_image_set(tiny).files(partition)
    return np.stack([layout.read_image(path, 16) for path in files])


def _files(shards, partition):
    folder = pathlib.Path(folders.config_dir(shards.shards_dir, "images-16"))
    return sorted(folder.glob(f"*-{partition}.tfrecord*"))


def test_images_at_random(tiny, shards):
    assert len(_files(shards, "training")) == 3
    images = shards.images["training"]
    expected = _direct(tiny, "training")
    assert (images.shape, images.dtype, len(images)) == (expected.shape, np.uint8, 15)
    for rows in ([14, 0, 7, 7], np.array([3]), slice(2, 11, 3), [], [-1]):
        np.testing.assert_array_equal(images[rows], expected[rows])
    np.testing.assert_array_equal(images[5], expected[5])
    np.testing.assert_array_equal(np.stack(list(images)), expected)
    taken = images.take(np.array([9, 2, 4]))
    assert taken.shape == (3, 16, 16, 3)
    np.testing.assert_array_equal(taken[[2, 0]], expected[[4, 9]])
    np.testing.assert_array_equal(taken.take(np.array([1])), expected[[2]])
    with pytest.raises(IndexError):
        images[15]


def test_images_of_another_file(tiny, shards):
    first, second, _ = _files(shards, "training")
    second.write_bytes(first.read_bytes())
    images = shards.images["training"]
    np.testing.assert_array_equal(images[[4]], _direct(tiny, "training")[[4]])
    with pytest.raises(InputError, match=r"00001-of-.*expected image 7, found image 2"):
        images[[4, 7]]


def test_images_that_vanish_later(tiny, shards):
    images = shards.images["test"]
    (path,) = _files(shards, "test")
    path.write_bytes(path.read_bytes()[:-50])
    with pytest.raises(InputError, match=r"test.tfrecord.*expected \d+ bytes"):
        images[[0, 3]]
    path.unlink()
    with pytest.raises(InputError, match="No such file"):
        images[[0]]


@pytest.mark.parametrize("fill", [0, 3, 255])
def test_layout_of_records_that_look_alike(tmp_path, fill):
    """Bytes of a plain image, or of a row's number, come elsewhere in a record, too."""
    n_bytes, before, between, after = 12, 30, 9, 4
    path = tmp_path / "records"
    rng = np.random.default_rng(0)
    images = np.full((6, 2, 2, 3), fill, np.uint8)
    images[1] = rng.integers(0, 256, (2, 2, 3))
    records = [
        np.concatenate(
            [
                np.full(before, fill, np.uint8),
                image.reshape(-1),
                np.full(between, 7, np.uint8),
                np.int32([row]).view(np.uint8),
                np.zeros(after, np.uint8),
            ]
        )
        for row, image in enumerate(images)
    ]
    path.write_bytes(np.concatenate(records).tobytes())
    decoded = [
        {"image": image, "index": np.int32(row)} for row, image in enumerate(images)
    ]
    found = RecordLayout.find(path, 6, decoded)
    expected = RecordLayout(
        n_bytes=before + n_bytes + between + 4 + after,
        image=before,
        index=before + n_bytes + between,
    )
    assert found == expected
    rows = ImageRows([(path, 6)], found, (2, 2, 3))
    np.testing.assert_array_equal(rows, images)
