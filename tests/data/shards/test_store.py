import dataclasses
import json
import os
import pathlib
import subprocess
import sys

import numpy as np
import pytest

from img2eeg_jax.data import layout
from img2eeg_jax.data.shards import builder, folders, store, tfds_builder
from img2eeg_jax.data.shards.store import Shards
from img2eeg_jax.data.shards.tensorflow_setup import tf, tfds
from img2eeg_jax.errors import InputError


@pytest.fixture
def build(tiny, monkeypatch):
    """Returns a function that builds shards and returns what it logged."""
    # 768 bytes an image, so that 15 images take several files.
    monkeypatch.setattr(tfds_builder, "_BYTES_A_SHARD", 4000)

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


def _open(shards_dir, subjects=(1,)):
    """Opens shards at an address, or those of a data set."""
    if isinstance(shards_dir, pathlib.Path):
        shards_dir /= "shards"
    return Shards.open(shards_dir, image_size=16, subjects=subjects)


def _direct(tiny, partition):
    files = layout.read_image_set(tiny).files(partition)
    return np.stack([layout.read_image(path, 16) for path in files])


def _files(shards_dir, name, partition):
    folder = pathlib.Path(folders.config_dir(shards_dir, name))
    return sorted(folder.glob(f"*-{partition}.tfrecord*"))


def test_eeg_in_several_files(tiny, build):
    build()
    assert len(_files(tiny / "shards", "sub-01", "training")) > 1
    for partition in layout.PARTITIONS:
        direct = layout.read_eeg(tiny, 1, partition)
        found = _open(tiny).eeg(1)
        np.testing.assert_array_equal(found.read(partition), direct.eeg)
        mean, halves = found.means(partition)
        # By a plain loop over repetitions, in float64.
        n_repetitions = direct.eeg.shape[1]
        total = sum(direct.eeg[:, k].astype(np.float64) for k in range(n_repetitions))
        expected = (total / n_repetitions).astype(np.float32)
        np.testing.assert_array_equal(mean, expected)
        assert halves.shape == (2, 0, *mean.shape[1:])
        assert found.axes == direct.axes
        assert found.n_repetitions[partition] == n_repetitions


def test_mean_eeg_of_halves_and_of_what_is_taken(tiny, build, monkeypatch):
    monkeypatch.setattr(store, "_EXAMPLES_AT_A_TIME", 4)
    build()
    eeg = _open(tiny).eeg(1)
    names, times_s = eeg.axes.ch_names, eeg.axes.times_s
    choice = (names[3], names[1]), (times_s[5], times_s[8])
    rows = [9, 2, 10, 14]
    mean, halves = eeg.means("training", *choice, halves_of=rows)
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
    mean, halves = _open(tiny).eeg(1).means("test", halves_of=[2, 0])
    np.testing.assert_array_equal(halves[0], mean[[2, 0]])
    assert np.isnan(halves[1]).all()


def test_what_describes_them(tiny, build):
    record = {"format": 1, "choices": {"mvnn": "none"}, "unit": "V"}
    layout.record_path(tiny, 2).write_text(json.dumps(record))
    build(subjects=(1, 2))
    shards = _open(tiny, (1, 2))
    image_set = layout.read_image_set(tiny)
    for partition in layout.PARTITIONS:
        assert shards.concepts[partition] == image_set.concepts(partition)
        assert list(shards.image_list[partition]) == [
            f"{path.parent.name}/{path.name}" for path in image_set.files(partition)
        ]
    assert shards.image_list_sha256 == layout.image_list_digest(image_set)
    assert [shards.eeg(one).preprocessing for one in (1, 2)] == [None, record]
    assert {shards.eeg(one).axes.unit for one in (1, 2)} == {"V"}
    assert shards.eeg(1).n_repetitions == {"training": 2, "test": 6}


def test_noise_free_responses_of_simulated_data(tiny, build):
    build()
    eeg = _open(tiny).eeg(1)
    assert eeg.simulated
    for partition in layout.PARTITIONS:
        expected = layout.noise_free_response(tiny, 1, partition)
        np.testing.assert_array_equal(eeg.noise_free(partition), expected)
    channels, times_s = eeg.axes.ch_names, eeg.axes.times_s
    found = eeg.noise_free("test", (channels[4],), (times_s[7], times_s[9]))
    np.testing.assert_array_equal(found, expected[:, [4], 7:10])
    np.testing.assert_array_equal(
        eeg.read("test", (channels[4],), (times_s[7], times_s[9])),
        layout.read_eeg(tiny, 1, "test").eeg[:, :, [4], 7:10],
    )


def test_measured_data_have_no_noise_free_responses(tiny, build):
    layout.synthetic_path(tiny).unlink()
    build()
    eeg = _open(tiny).eeg(1)
    assert not eeg.simulated
    assert eeg.noise_free("test") is None
    assert eeg.axes.unit == "unknown"


def test_axes_that_are_not_there(tiny, build):
    build()
    path = pathlib.Path(folders.config_dir(tiny / "shards", "sub-01")) / "metadata.json"
    metadata = json.loads(path.read_text())
    del metadata["times_s"]
    path.write_text(json.dumps(metadata))
    with pytest.raises(InputError, match=r"sub-01.*description of EEG.*'times_s'"):
        _open(tiny)


def test_what_is_not_there(tiny, build):
    with pytest.raises(InputError, match="expected shards of images-16, found none"):
        _open(tiny)
    build()
    with pytest.raises(InputError, match="expected shards of sub-02, found none"):
        _open(tiny, (1, 2))
    with pytest.raises(InputError, match="expected shards of images-17, found none"):
        Shards.open(tiny / "shards", image_size=17, subjects=())
    with pytest.raises(InputError, match="one of the subjects 1, found 2"):
        _open(tiny).eeg(2)


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
    assert tuple(read["ch_names"]) == direct.axes.ch_names


@pytest.mark.parametrize("damage", ["truncate", "lengthen", "remove"])
@pytest.mark.parametrize("name", ["images-16", "sub-01"])
def test_files_that_are_not_what_was_written(tiny, build, name, damage):
    build()
    path = _files(tiny / "shards", name, "training")[1]
    content = path.read_bytes()
    if damage == "remove":
        path.unlink()
    else:
        path.write_bytes(content[:-100] if damage == "truncate" else content + b"0")
    with pytest.raises(InputError, match=f"{name}.*expected complete") as caught:
        _open(tiny)
    assert "\n" not in str(caught.value)
    path.write_bytes(content)
    assert len(_open(tiny).images["test"]) == 4


def test_eeg_with_a_wrong_bit(tiny, build):
    """TFDS compares checksums."""
    build()
    path = _files(tiny / "shards", "sub-01", "test")[0]
    content = bytearray(path.read_bytes())
    content[2000] ^= 255
    path.write_bytes(content)
    with pytest.raises(InputError, match="expected complete shards") as caught:
        _open(tiny).eeg(1).read("test")
    assert "\n" not in str(caught.value)


def test_eeg_of_another_list_of_images(tiny, build):
    build()
    path = pathlib.Path(folders.config_dir(tiny / "shards", "sub-01")) / "metadata.json"
    metadata = json.loads(path.read_text())
    assert _open(tiny).image_list_sha256 == metadata["image_list_sha256"]
    path.write_text(json.dumps(metadata | {"image_list_sha256": "0"}))
    with pytest.raises(InputError, match=r"sub-01.*EEG of the images of images-16"):
        _open(tiny)


def test_eeg_with_another_number_of_rows(tiny, build):
    build()
    folder = pathlib.Path(folders.config_dir(tiny / "shards", "sub-01"))
    metadata = json.loads((folder / "metadata.json").read_text())
    metadata["files"]["test"][0][1] += 1
    (folder / "metadata.json").write_text(json.dumps(metadata))
    with pytest.raises(InputError, match="found 5 of 4 examples"):
        _open(tiny)
    info = json.loads((folder / "dataset_info.json").read_text())
    (split,) = (split for split in info["splits"] if split["name"] == "test")
    split["shardLengths"][0] = str(int(split["shardLengths"][0]) + 1)
    (folder / "dataset_info.json").write_text(json.dumps(info))
    with pytest.raises(InputError, match=r"sub-01.*test images.*found 4 and 5$"):
        _open(tiny)


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        ({"channels": ["X"]}, "channels: expected different names .*, found X$"),
        ({"window_s": (5, 6)}, "window: expected a window in .*, found 5 to 6 s$"),
        ({"partition": "dev"}, "partition: expected one of training, test, found"),
    ],
)
def test_what_eeg_does_not_have_is_no_damage(tiny, build, asked, words):
    build()
    eeg = _open(tiny).eeg(1)
    for read in (eeg.read, eeg.means, eeg.noise_free):
        with pytest.raises(InputError, match=f"^{words}"):
            read(**{"partition": "test"} | asked)


class TestAddress:
    """Shards that lie where only TensorFlow can reach them."""

    def test_round_trip(self, tiny, build, address, tmp_path, snapshot):
        assert len(build(address)) == 2
        assert build(address) == []
        assert not (tiny / "shards").exists()
        # What was built here has gone.
        assert not (tmp_path / "cache").exists()
        images = _open(address).images["training"]
        np.testing.assert_array_equal(images, _direct(tiny, "training"))
        eeg = _open(address).eeg(1).read("test")
        np.testing.assert_array_equal(eeg, layout.read_eeg(tiny, 1, "test").eeg)
        assert len(list((tmp_path / "cache/shards").iterdir())) == 2
        before = snapshot(tmp_path / "cache")
        _open(address)
        assert snapshot(tmp_path / "cache") == before

    def test_new_shards_replace_the_copy(self, tiny, build, address, tmp_path):
        build(address)
        _open(address)
        eeg = layout.read_eeg(tiny, 1, "test")
        layout.write_eeg(tiny, 1, "test", dataclasses.replace(eeg, eeg=-eeg.eeg))
        assert "has changed" in build(address)[0]
        loaded = _open(address).eeg(1).read("test")
        np.testing.assert_array_equal(loaded, -eeg.eeg)
        assert len(list((tmp_path / "cache/shards").iterdir())) == 2

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
            _open(address)
        names = ("images-16", "sub-01")
        assert not any(folders.exists(address, name) for name in names)
        assert len(build(address)) == 2
        assert all(folders.exists(address, name) for name in names)

    def test_damage_is_told_and_not_kept(self, build, address):
        build(address)
        folder = folders.config_dir(address, "sub-01")
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
            _open(address)
        write(content)
        assert len(_open(address).eeg(1).read("test")) == 4
