import dataclasses
import errno
import hashlib
import json
import os
import shutil

import numpy as np
import PIL
import pytest

from helpers.other_writer import other_writer
from img2eeg_jax.data import layout
from img2eeg_jax.data.shards import builder, folders, tfds_builder
from img2eeg_jax.data.shards.store import Shards
from img2eeg_jax.data.shards.tensorflow_setup import tf
from img2eeg_jax.errors import InputError


@pytest.fixture
def build(tiny):
    """Returns a function that builds shards and returns what it logged."""

    def run(subjects=(1,), image_size=16, processes=1):
        lines = []
        builder.ensure_shards(
            tiny,
            layout.shards_path(tiny),
            subjects=subjects,
            image_size=image_size,
            processes=processes,
            log=lines.append,
        )
        return lines

    return run


def _write(data_dir, subject, partition, change):
    eeg = layout.read_eeg(data_dir, subject, partition)
    changed = dataclasses.replace(eeg, eeg=change(eeg.eeg.copy()))
    layout.write_eeg(data_dir, subject, partition, changed)


def _open(data_dir, subjects=(1,), image_size=16):
    return Shards.open(data_dir / "shards", image_size=image_size, subjects=subjects)


def test_default_folder(tiny):
    assert layout.shards_path(tiny) == tiny / "shards"


def test_round_trip_equals_direct_reading(tiny, build):
    build(subjects=(1, 2), image_size=12)
    shards = _open(tiny, (1, 2), 12)
    image_set = layout.read_image_set(tiny)
    for partition in layout.PARTITIONS:
        images = shards.images[partition]
        expected = [layout.read_image(path, 12) for path in image_set.files(partition)]
        assert images.dtype == np.uint8
        np.testing.assert_array_equal(images, np.stack(expected))
        for subject in (1, 2):
            eeg = shards.eeg(subject).read(partition)
            direct = layout.read_eeg(tiny, subject, partition)
            np.testing.assert_array_equal(eeg, direct.eeg)
            assert eeg.dtype == np.float32
            assert shards.eeg(subject).axes == direct.axes


def test_float64_is_cast(tiny, build):
    _write(tiny, 1, "test", lambda eeg: eeg.astype(np.float64) / 3)
    build()
    eeg = _open(tiny).eeg(1).read("test")
    np.testing.assert_array_equal(eeg, layout.read_eeg(tiny, 1, "test").eeg)
    assert eeg.dtype == np.float32


def test_shards_that_another_process_builds_are_waited_for(tiny, build, tmp_path):
    """What it built is not built again; another size and subject then are."""
    folder = layout.shards_path(tiny)
    what = {"subjects": (1,), "image_size": 16}

    def work():
        builder.ensure_shards(tiny, tmp_path / "built", **what, log=lambda _: None)
        shutil.copytree(tmp_path / "built", folder, dirs_exist_ok=True)

    with other_writer(folder, work=work) as (log, lines):
        builder.ensure_shards(tiny, folder, **what | {"subjects": (1, 2)}, log=log)
    waiting, building = lines
    assert waiting.startswith(f"waiting for {folder}: it in use by PID ")
    assert building.startswith("building shards of sub-02 in ")
    assert build(subjects=(1, 2)) == []
    assert [path.name for path in folder.iterdir()] == ["things_eeg2"]


def test_builds_only_what_is_missing(tiny, build, snapshot, capsys):
    assert [line.split()[3] for line in build()] == ["images-16", "sub-01"]
    before = snapshot(tiny)
    assert build() == []
    assert snapshot(tiny) == before
    assert [line.split()[3] for line in build((1, 2))] == ["sub-02"]
    assert [line.split()[3] for line in build((2,), 8)] == ["images-8"]
    folders = sorted(path.name for path in (tiny / "shards/things_eeg2").iterdir())
    assert folders == ["images-16", "images-8", "sub-01", "sub-02"]
    assert os.listdir(tiny / "shards") == ["things_eeg2"]
    # Nothing but the log, in particular no announcement of downloads.
    captured = capsys.readouterr()
    assert captured.out + captured.err == ""


def test_changed_eeg_is_built_again(tiny, build):
    build((1, 2))
    _write(tiny, 1, "test", lambda eeg: -eeg)
    (line,) = build((1, 2))
    assert "sub-01/preprocessed_eeg_test.npy has changed" in line
    eeg = _open(tiny).eeg(1).read("test")
    np.testing.assert_array_equal(eeg, layout.read_eeg(tiny, 1, "test").eeg)


def test_changed_image_is_built_again(tiny, build):
    build()
    files = layout.read_image_set(tiny).training_files
    files[3].write_bytes(files[4].read_bytes())
    (line,) = build()
    assert f"{files[3].name} has changed" in line
    images = _open(tiny).images["training"]
    np.testing.assert_array_equal(images[3], images[4])


@pytest.mark.parametrize("content", ["{", "[]"])
def test_damaged_description_is_built_again(tiny, build, content):
    build()
    path = next((tiny / "shards/things_eeg2/sub-01").rglob("metadata.json"))
    path.write_text(content)
    (line,) = build()
    assert "damaged" in line
    assert build() == []


def test_data_set_may_move_with_its_shards(tiny, build, tmp_path):
    build()
    moved = tiny.rename(tmp_path / "moved")
    lines = []
    builder.ensure_shards(
        moved, moved / "shards", subjects=(1,), image_size=16, log=lines.append
    )
    assert lines == []
    assert _open(moved).images["test"].shape[0] == 4


def _metadata(data_dir, name):
    return folders.read_metadata(data_dir / "shards", name)


def test_shards_alone_are_enough(tiny, build, tmp_path, snapshot):
    build((1, 2))
    folder = tiny.rename(tmp_path / "elsewhere") / "shards"
    before = snapshot(folder)
    for data_dir in ("", tiny):
        shards = builder.open_or_build(
            data_dir, folder, subjects=(1, 2), image_size=16, log=pytest.fail
        )
        assert shards.eeg(2).read("test").shape[0] == len(shards.images["test"]) == 4
    assert snapshot(folder) == before
    # What is missing is told by its own name: the shards, or the data set named.
    arguments = {"subjects": (1, 3), "image_size": 16}
    with pytest.raises(InputError, match="expected shards of sub-03, found none"):
        builder.open_or_build("", folder, **arguments)
    with pytest.raises(InputError, match=r"image_metadata.npy: expected"):
        builder.open_or_build(tiny, folder, **arguments)


def test_opening_builds_what_is_stale(tiny, build):
    build()
    _write(tiny, 1, "test", lambda eeg: -eeg)
    shards = builder.open_or_build(
        tiny, tiny / "shards", subjects=(1,), image_size=16, log=lambda line: None
    )
    expected = layout.read_eeg(tiny, 1, "test").eeg
    np.testing.assert_array_equal(shards.eeg(1).read("test"), expected)


@pytest.mark.parametrize("data_dir", ["data", "not there", ""])
def test_folder_of_shards(tmp_path, data_dir):
    (tmp_path / "data").mkdir()
    if data_dir:
        data_dir = tmp_path / data_dir
    fallback = tmp_path / "run/shards"
    assert builder.shards_folder("gs://b/s", data_dir, fallback) == "gs://b/s"
    found = builder.shards_folder("", data_dir, fallback)
    expected = tmp_path / "data/shards" if data_dir == tmp_path / "data" else fallback
    assert found == expected
    (tmp_path / "data").chmod(0o555)
    assert builder.shards_folder("", data_dir, fallback) == fallback


def test_what_is_read_back_is_compared(tiny, build, snapshot, monkeypatch):
    """Builds whose files do not hold what was written are refused."""
    before = snapshot(tiny)
    original = tfds_builder._decoded

    def wrong(info, paths, batch_size):
        for block in original(info, paths, batch_size):
            key = "image" if "image" in block else "eeg"
            block = {name: values.copy() for name, values in block.items()}
            block[key][-1] += batch_size > 1
            yield block

    monkeypatch.setattr(tfds_builder, "_decoded", wrong)
    with pytest.raises(InputError, match="expected what was written"):
        build()
    assert snapshot(tiny) == before


def test_metadata_say_where_the_images_are_from(tiny, build):
    build()
    found = _metadata(tiny, "images-16")
    files = layout.read_image_set(tiny).test_files
    assert found["images"]["test"] == [f"{p.parent.name}/{p.name}" for p in files]
    assert len(found["images"]["training"]) == 15
    assert found["image_size"] == 16
    assert found["resized_by"].endswith(f"Pillow {PIL.__version__}")
    pixels = b"".join(
        layout.read_image(path, 16).tobytes()
        for partition in layout.PARTITIONS
        for path in layout.read_image_set(tiny).files(partition)
    )
    assert found["data_sha256"] == hashlib.sha256(pixels).hexdigest()
    assert folders.count_examples(tiny / "shards", "images-16") == {
        "training": 15,
        "test": 4,
    }


def test_metadata_hold_the_preprocessing(tiny, build):
    build()
    assert _metadata(tiny, "sub-01")["preprocessing"] is None
    record = {"format": 1, "choices": {"mvnn": "time"}, "unit": "whitened, no unit"}
    path = layout.record_path(tiny, 1)
    path.write_text(json.dumps(record))
    (line,) = build()
    assert "preprocessing.json has changed" in line
    assert _metadata(tiny, "sub-01")["preprocessing"] == record
    assert build() == []
    path.unlink()
    (line,) = build()
    assert "the list of files has changed" in line


def test_wrong_number_of_examples_is_built_again(tiny, build):
    build()
    path = next((tiny / "shards/things_eeg2/images-16").rglob("dataset_info.json"))
    info = json.loads(path.read_text())
    info["splits"][0]["shardLengths"] = ["14"]
    path.write_text(json.dumps(info))
    (line,) = build()
    assert "14 of 15 training images" in line
    assert build() == []


def test_processes(tiny, build, snapshot):
    """Several processes tell of bad input, and write the same bytes as one."""
    path = layout.read_image_set(tiny).test_files[-1]
    content, status = path.read_bytes(), path.stat()
    path.write_bytes(content[:400])
    with pytest.raises(InputError, match="expected a readable image"):
        build(processes=2)
    assert not [p for p in (tiny / "shards").glob(".*") if "incomplete" in p.name]
    path.write_bytes(content)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    build((1, 2), processes=2)
    written = snapshot(tiny / "shards")
    shutil.rmtree(tiny / "shards")
    assert len(build((1, 2))) == 3
    assert snapshot(tiny / "shards") == written


def _nan(data_dir):
    # write_eeg does not check, so that it can write this.
    _write(data_dir, 2, "test", lambda eeg: np.where(eeg == eeg.max(), np.nan, eeg))


def _too_few_rows(data_dir):
    _write(data_dir, 2, "training", lambda eeg: eeg[:-1])


def _other_channels(data_dir):
    eeg = layout.read_eeg(data_dir, 2, "test")
    axes = dataclasses.replace(eeg.axes, ch_names=(*eeg.axes.ch_names[:-1], "Cz"))
    layout.write_eeg(data_dir, 2, "test", dataclasses.replace(eeg, axes=axes))


def _truncated_image(data_dir):
    path = layout.read_image_set(data_dir).test_files[-1]
    path.write_bytes(path.read_bytes()[:400])


def _no_subject(data_dir):
    (data_dir / "preprocessed_data/sub-02").rename(data_dir / "elsewhere")


def _extra_image(data_dir):
    path = layout.read_image_set(data_dir).test_files[-1]
    path.with_name("zzz.jpg").write_bytes(b"")


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (_nan, "sub-02/preprocessed_eeg_test.npy: expected finite EEG"),
        (_too_few_rows, "expected 15 EEG rows.* found 14"),
        (_other_channels, "expected the channels and times"),
        (_truncated_image, "expected a readable image"),
        (_no_subject, "found only these in .*: sub-01"),
        (_extra_image, "found 5"),
    ],
)
def test_bad_input_changes_nothing_on_disk(tiny, build, snapshot, damage, message):
    damage(tiny)
    before = snapshot(tiny)
    with pytest.raises(InputError, match=message) as caught:
        build((1, 2))
    assert "\n" not in str(caught.value)
    assert snapshot(tiny) == before


def test_bad_input_keeps_old_shards(tiny, build, snapshot):
    build((1, 2))
    _nan(tiny)
    before = snapshot(tiny)
    with pytest.raises(InputError, match="finite"):
        build((1, 2))
    assert snapshot(tiny) == before


def test_changed_image_set_is_checked_against_old_eeg_shards(tiny, build, snapshot):
    build()
    image_set = layout.read_image_set(tiny)
    pairs = {
        partition: [(p.parent.name, p.name) for p in image_set.files(partition)]
        for partition in layout.PARTITIONS
    }
    image_set.test_files[-1].unlink()
    layout.write_image_metadata(
        tiny, training=pairs["training"], test=pairs["test"][:-1]
    )
    before = snapshot(tiny)
    with pytest.raises(InputError, match="expected 3 EEG rows"):
        build()
    assert snapshot(tiny) == before


def test_stopped_build_leaves_nothing_and_starts_again(
    tiny, build, snapshot, monkeypatch
):
    before = snapshot(tiny)
    original, calls = layout.read_image, []

    def stop_at_the_tenth(path, size):
        calls.append(path)
        if len(calls) == 10:
            raise KeyboardInterrupt
        return original(path, size)

    with monkeypatch.context() as patch:
        patch.setattr(layout, "read_image", stop_at_the_tenth)
        with pytest.raises(KeyboardInterrupt):
            build()
    assert snapshot(tiny) == before
    assert len(build()) == 2


def _full(*_):
    raise OSError(errno.ENOSPC, "No space left on device")


@pytest.mark.parametrize(
    ("where", "name"), [(os, "posix_fallocate"), (tf.io.TFRecordWriter, "write")]
)
def test_full_disk(tiny, build, snapshot, monkeypatch, where, name):
    before = snapshot(tiny)
    monkeypatch.setattr(where, name, _full)
    with pytest.raises(InputError, match=r"expected .*No space left on device"):
        build()
    assert snapshot(tiny) == before


def test_n170_recordings(n170_dir, tmp_path):
    """The shards of a read-only data set lie elsewhere."""
    shards = builder.open_or_build(
        n170_dir, tmp_path, subjects=(1,), image_size=32, log=lambda line: None
    )
    eeg = shards.eeg(1).read("training")
    assert eeg.shape == (76, 9, 4, 100)
    np.testing.assert_array_equal(eeg, layout.read_eeg(n170_dir, 1, "training").eeg)
    files = layout.read_image_set(n170_dir).test_files
    images = shards.images["test"]
    np.testing.assert_array_equal(images[7], layout.read_image(files[7], 32))
