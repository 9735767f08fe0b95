import dataclasses
import json
import os
import pathlib
import subprocess
import sys

import numpy as np
import pytest

from img2eeg_jax.data import layout
from img2eeg_jax.data.shards import builder, store
from img2eeg_jax.data.shards.images import ShardedImages
from img2eeg_jax.data.shards.tensorflow_setup import tf, tfds
from img2eeg_jax.errors import InputError


@pytest.fixture
def build(tiny, monkeypatch):
    """Returns a function that builds shards and returns what it logged."""
    # 768 bytes an image, so that 15 images take several files.
    monkeypatch.setattr(builder, "_BYTES_A_SHARD", 4000)

    def run(shards_dir=None, subjects=(1,)):
        lines = []
        builder.ensure_shards(
            tiny,
            shards_dir or tiny / "shards",
            subjects=subjects,
            image_size=16,
            log=lines.append,
        )
        return lines

    return run


@pytest.fixture
def address(tmp_path, monkeypatch):
    """An address in TensorFlow's file system in memory, and a cache for copies."""
    monkeypatch.setenv("IMG2EEG_CACHE", str(tmp_path / "cache"))
    return f"ram://{tmp_path.name}/shards"


def _direct(tiny, partition):
    files = layout.read_image_set(tiny).files(partition)
    return np.stack([layout.read_image(path, 16) for path in files])


def _files(shards_dir, name, partition):
    folder = pathlib.Path(store.config_dir(shards_dir, name))
    return sorted(folder.glob(f"*-{partition}.tfrecord*"))


def test_images_at_random(tiny, build):
    build()
    assert len(_files(tiny / "shards", "images-16", "training")) == 3
    images = store.load_images(tiny / "shards", 16, "training")
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


def test_eeg_in_several_files(tiny, build):
    build()
    assert len(_files(tiny / "shards", "sub-01", "training")) > 1
    for partition in layout.PARTITIONS:
        direct = layout.read_eeg(tiny, 1, partition)
        loaded = store.load_eeg(tiny / "shards", 1, partition)
        np.testing.assert_array_equal(loaded.eeg, direct.eeg)
        mean, halves = store.load_mean_eeg(tiny / "shards", 1, partition)
        # By a plain loop over repetitions, in float64.
        n_repetitions = direct.eeg.shape[1]
        total = sum(direct.eeg[:, k].astype(np.float64) for k in range(n_repetitions))
        expected = (total / n_repetitions).astype(np.float32)
        np.testing.assert_array_equal(mean, expected)
        assert halves.shape == (2, 0, *mean.shape[1:])
        ch_names, times_s = store.read_axes(tiny / "shards", 1)
        assert loaded.ch_names == ch_names == direct.ch_names
        np.testing.assert_array_equal(times_s, direct.times_s)


def test_mean_eeg_of_halves_and_of_what_is_taken(tiny, build, monkeypatch):
    monkeypatch.setattr(store, "_EXAMPLES_AT_A_TIME", 4)
    build()
    blocks = []

    def take(eeg):
        blocks.append(len(eeg))
        return eeg[:, [3, 1], 5:9]

    rows = [9, 2, 10, 14]
    mean, halves = store.load_mean_eeg(
        tiny / "shards", 1, "training", take=take, halves_of=rows
    )
    assert max(blocks) == 4
    # By a plain loop over repetitions, in float64.
    direct = layout.read_eeg(tiny, 1, "training").eeg[:, :, [3, 1], 5:9]
    repetitions = list(direct.astype(np.float64).swapaxes(0, 1))
    expected = (sum(repetitions) / len(repetitions)).astype(np.float32)
    np.testing.assert_array_equal(mean, expected)
    for place, half in enumerate(halves):
        chosen = repetitions[place::2]
        expected = (sum(chosen) / len(chosen)).astype(np.float32)
        np.testing.assert_array_equal(half, expected[rows])
    assert (mean.dtype, halves.dtype) == (np.float32, np.float32)


def test_halves_of_one_repetition(tiny, build):
    for partition in layout.PARTITIONS:
        eeg = layout.read_eeg(tiny, 1, partition)
        layout.write_eeg(
            tiny, 1, partition, dataclasses.replace(eeg, eeg=eeg.eeg[:, :1])
        )
    build()
    mean, halves = store.load_mean_eeg(tiny / "shards", 1, "test", halves_of=[2, 0])
    np.testing.assert_array_equal(halves[0], mean[[2, 0]])
    assert np.isnan(halves[1]).all()


def test_axes_that_are_not_there(tiny, build):
    build()
    path = pathlib.Path(store.config_dir(tiny / "shards", "sub-01")) / "metadata.json"
    metadata = json.loads(path.read_text())
    del metadata["times_s"]
    path.write_text(json.dumps(metadata))
    with pytest.raises(InputError, match=r"metadata.json: expected .* no 'times_s'"):
        store.read_axes(tiny / "shards", 1)
    with pytest.raises(InputError, match="expected shards of sub-07, found none"):
        store.read_axes(tiny / "shards", 7)


def test_tfds_reads_them_with_our_class(tiny, build):
    build()
    assert "things_eeg2" in tfds.list_builders()
    folder = tiny / "shards"
    for partition in layout.PARTITIONS:
        read = tfds.load("things_eeg2/images-16", data_dir=folder, split=partition)
        examples = list(read.as_numpy_iterator())
        assert [example["index"] for example in examples] == list(range(len(examples)))
        images = np.stack([example["image"] for example in examples])
        np.testing.assert_array_equal(images, _direct(tiny, partition))
        read = tfds.load("things_eeg2/sub-01", data_dir=folder, split=partition)
        eeg = np.stack([example["eeg"] for example in read.as_numpy_iterator()])
        direct = layout.read_eeg(tiny, 1, partition).eeg
        np.testing.assert_array_equal(eeg, direct)


def test_tfds_reads_them_alone(tiny, build, tmp_path):
    build()
    program = """
import sys
import numpy as np
import tensorflow_datasets as tfds
arrays = {}
for config, name in (("images-16", "image"), ("sub-01", "eeg")):
    for split in ("training", "test"):
        data, info = tfds.load(
            f"things_eeg2/{config}", data_dir=sys.argv[1], split=split, with_info=True
        )
        examples = list(data.as_numpy_iterator())
        arrays[f"{name}_{split}"] = np.stack([example[name] for example in examples])
arrays["ch_names"] = info.metadata["ch_names"]
assert not [name for name in sys.modules if name.startswith("img2eeg_jax")]
np.savez(sys.argv[2], **arrays)
"""
    path = tmp_path / "read.npz"
    subprocess.run(
        [sys.executable, "-c", program, str(tiny / "shards"), str(path)],
        check=True,
        capture_output=True,
        cwd=tmp_path,
        env=os.environ | {"TF_CPP_MIN_LOG_LEVEL": "3"},
    )
    read = np.load(path)
    for partition in layout.PARTITIONS:
        np.testing.assert_array_equal(
            read[f"image_{partition}"], _direct(tiny, partition)
        )
        direct = layout.read_eeg(tiny, 1, partition)
        np.testing.assert_array_equal(read[f"eeg_{partition}"], direct.eeg)
    assert tuple(read["ch_names"]) == direct.ch_names


@pytest.mark.parametrize("damage", ["truncate", "flip", "remove", "swap"])
def test_damaged_images(tiny, build, damage):
    build()
    paths = _files(tiny / "shards", "images-16", "training")
    content = bytearray(paths[1].read_bytes())
    if damage == "truncate":
        paths[1].write_bytes(content[:-100])
    elif damage == "flip":
        content[len(content) // 2] ^= 1
        paths[1].write_bytes(content)
    elif damage == "remove":
        paths[1].unlink()
    else:
        paths[1].write_bytes(paths[0].read_bytes())
    with pytest.raises(InputError, match=r"images-16.*expected complete") as caught:
        store.load_images(tiny / "shards", 16, "training")
    assert "\n" not in str(caught.value)
    assert len(store.load_images(tiny / "shards", 16, "test")) == 4


def test_images_that_vanish_later(tiny, build):
    build()
    images = store.load_images(tiny / "shards", 16, "test")
    (path,) = _files(tiny / "shards", "images-16", "test")
    path.write_bytes(path.read_bytes()[:-50])
    with pytest.raises(InputError, match=r"test.tfrecord.*expected 768 bytes"):
        images[[0, 3]]
    path.unlink()
    with pytest.raises(InputError, match="No such file"):
        images[[0]]


def test_records_must_have_one_length(tmp_path):
    path = tmp_path / "images"
    with tf.io.TFRecordWriter(str(path)) as writer:
        for row, more in ((0, {}), (1, {"zzz": bytes(5)})):
            values = {"image": bytes(12), "index": row.to_bytes(4, "little"), **more}
            features = {
                name: tf.train.Feature(bytes_list=tf.train.BytesList(value=[value]))
                for name, value in values.items()
            }
            example = tf.train.Example(features=tf.train.Features(feature=features))
            writer.write(example.SerializeToString(deterministic=True))
    with pytest.raises(ValueError, match="2 examples that are not rows in order"):
        ShardedImages([path], [2], (2, 2, 3))


def test_eeg_of_another_list_of_images(tiny, build):
    build()
    path = pathlib.Path(store.config_dir(tiny / "shards", "sub-01")) / "metadata.json"
    metadata = json.loads(path.read_text())
    store.check_same_images(tiny / "shards", 16, (1,))
    path.write_text(json.dumps(metadata | {"image_list_sha256": "0"}))
    with pytest.raises(InputError, match=r"sub-01.*EEG of the images of images-16"):
        store.check_same_images(tiny / "shards", 16, (1,))
    with pytest.raises(InputError, match=r"sub-02.*expected shards"):
        store.check_same_images(tiny / "shards", 16, (1, 2))


class TestAddress:
    """Shards that lie where only TensorFlow can reach them."""

    def test_round_trip(self, tiny, build, address, tmp_path, snapshot):
        assert len(build(address)) == 2
        assert build(address) == []
        assert not (tiny / "shards").exists()
        # What was built here has gone.
        assert not (tmp_path / "cache").exists()
        images = store.load_images(address, 16, "training")
        np.testing.assert_array_equal(images, _direct(tiny, "training"))
        eeg = store.load_eeg(address, 1, "test").eeg
        np.testing.assert_array_equal(eeg, layout.read_eeg(tiny, 1, "test").eeg)
        assert len(list((tmp_path / "cache/shards").iterdir())) == 2
        before = snapshot(tmp_path / "cache")
        store.load_eeg(address, 1, "training")
        assert snapshot(tmp_path / "cache") == before

    def test_new_shards_replace_the_copy(self, tiny, build, address, tmp_path):
        build(address)
        store.load_eeg(address, 1, "test")
        eeg = layout.read_eeg(tiny, 1, "test")
        layout.write_eeg(tiny, 1, "test", dataclasses.replace(eeg, eeg=-eeg.eeg))
        assert "has changed" in build(address)[0]
        loaded = store.load_eeg(address, 1, "test").eeg
        np.testing.assert_array_equal(loaded, -eeg.eeg)
        assert len(list((tmp_path / "cache/shards").iterdir())) == 1

    def test_upload_that_was_stopped(self, build, address, monkeypatch):
        copy, copied = tf.io.gfile.copy, []

        def stop(source, *arguments, **options):
            copied.append(os.path.basename(source))
            if len(copied) == 3:
                raise KeyboardInterrupt
            copy(source, *arguments, **options)

        with monkeypatch.context() as patch:
            patch.setattr(tf.io.gfile, "copy", stop)
            with pytest.raises(KeyboardInterrupt):
                build(address)
        assert "dataset_info.json" not in copied
        with pytest.raises(
            InputError, match="expected shards of images-16, found none"
        ):
            store.load_images(address, 16, "test")
        names = ("images-16", "sub-01")
        assert not any(store.exists(address, name) for name in names)
        assert len(build(address)) == 2
        assert all(store.exists(address, name) for name in names)

    def test_damage_is_told_and_not_kept(self, build, address):
        build(address)
        folder = store.config_dir(address, "sub-01")
        name = next(n for n in tf.io.gfile.listdir(folder) if "-test.tfrecord" in n)
        with tf.io.gfile.GFile(f"{folder}/{name}", "rb") as file:
            content = file.read()

        def write(content):
            # TensorFlow's file system in memory would append.
            tf.io.gfile.remove(f"{folder}/{name}")
            with tf.io.gfile.GFile(f"{folder}/{name}", "wb") as file:
                file.write(content)

        write(content[:-9])
        with pytest.raises(InputError, match=r"ram://.*expected complete shards"):
            store.load_eeg(address, 1, "test")
        write(content)
        assert len(store.load_eeg(address, 1, "test").eeg) == 4
