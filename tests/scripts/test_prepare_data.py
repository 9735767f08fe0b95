"""prepare_data.py: what it does, what it leaves alone, and what it refuses."""

import dataclasses
import os
import pickle
import re
import shutil
import zipfile

import numpy as np
import pytest
from absl import flags
from PIL import Image

from helpers import bids_recordings, brainvision, raw_recordings
from helpers.commands import check_done, check_refused
from helpers.other_writer import other_writer
from helpers.raw_recordings import edit_raw, raw_path
from helpers.refusing import refuse
from img2eeg_jax.data import layout, prepare, preprocessing
from img2eeg_jax.data.prepare import tasks
from img2eeg_jax.data.shards.store import Shards
from img2eeg_jax.data.sources import things_eeg2
from img2eeg_jax.errors import InputError
from img2eeg_jax.scripts import prepare_data

CHOICES = preprocessing.Choices()
SIZE = 16


@pytest.fixture(scope="session")
def raw_original(tmp_path_factory):
    """Images and recordings of one subject, nothing else. Not to be changed."""
    data_dir = tmp_path_factory.mktemp("raw") / "data"
    raw_recordings.write_images(data_dir)
    raw_recordings.write_raw(data_dir)
    return data_dir


@pytest.fixture(scope="session")
def prepared_original(raw_original, tmp_path_factory):
    """The same with preprocessed EEG and shards. Not to be changed."""
    data_dir = tmp_path_factory.mktemp("prepared") / "data"
    shutil.copytree(raw_original, data_dir)
    prepare.prepare(request_for(data_dir), log=ignore)
    return data_dir


@pytest.fixture
def raw(raw_original, tmp_path):
    return shutil.copytree(raw_original, tmp_path / "data")


@pytest.fixture
def prepared(prepared_original, tmp_path):
    return shutil.copytree(prepared_original, tmp_path / "data")


def ignore(line):
    pass


def request_for(data_dir, **changes):
    return prepare.Request(**{"data_dir": data_dir, "image_size": SIZE} | changes)


def run(data_dir, **changes):
    """Prepares; returns the lines that it logs."""
    lines = []
    prepare.prepare(request_for(data_dir, **changes), log=lines.append)
    return lines


def eeg_file(data_dir, partition):
    return layout.eeg_path(data_dir, 1, partition)


def edit_eeg(data_dir, partition, **changes):
    edit_raw(eeg_file(data_dir, partition), **changes)


# What is done.


def test_what_is_there_is_left_alone(prepared, snapshot):
    before = snapshot(prepared)
    assert run(prepared) == []
    assert snapshot(prepared) == before
    assert not any(prepare.plan(request_for(prepared)).values())


def test_stages_one_by_one_are_all_at_once(raw, prepared_original, snapshot):
    run(raw, stages=("preprocess",))
    assert not (raw / "shards").exists()
    run(raw, stages=("shards",))
    files, expected = snapshot(raw), snapshot(prepared_original)
    assert files.keys() == expected.keys()
    for name in files:
        # These two record when the files that they were made from were written.
        if not name.endswith(("dataset_info.json", "metadata.json")):
            assert files[name] == expected[name], name


@pytest.mark.parametrize("is_done", [False, True])
def test_a_subject_that_another_process_prepares(
    is_done, raw, prepared_original, snapshot
):
    """It is waited for, and done again only if the other did not get to its end."""
    expected = snapshot(prepared_original)
    folder = raw / "preprocessed_data"

    def work():
        if is_done:
            done = prepared_original / folder.name
            shutil.copytree(done, folder, dirs_exist_ok=True)

    with other_writer(folder, "sub-01", work) as (log, lines):
        prepare.prepare(request_for(raw, stages=("preprocess",)), log=log)
    assert lines[0].startswith(f"waiting for {folder}/sub-01: it in use by PID ")
    assert len([line for line in lines if "preprocessing" in line]) == (not is_done)
    names = {name for name in expected if name.startswith(folder.name)}
    assert snapshot(raw).keys() >= names
    assert not [*raw.rglob("*.in_use")]


def test_metadata_are_made_from_the_folders(raw):
    path = layout.metadata_path(raw)
    expected = layout.read_npy_dict(path)
    path.unlink()
    assert any("image_metadata.npy from the folders" in line for line in run(raw))
    assert layout.read_npy_dict(path) == expected


def test_synthetic_source(tmp_path):
    lines = run(tmp_path / "new", source="synthetic", subjects=(1, 2))
    assert "wrote a synthetic data set" in lines[0]
    assert layout.subjects_in(tmp_path / "new") == (1, 2)
    for subjects in ((1, 2), (1,), ()):
        request = request_for(tmp_path / "new", source="synthetic", subjects=subjects)
        assert not any(prepare.plan(request).values())
        assert run(tmp_path / "new", source="synthetic", subjects=subjects) == []
    given = {"source": "synthetic", "subjects": (1, 2, 3)}
    planned = prepare.plan(request_for(tmp_path / "new", **given))
    assert [task.what for stage in planned.values() for task in stage] == [
        "simulate sub-03",
        "shards of sub-03",
    ]
    assert any("shards of sub-03" in line for line in run(tmp_path / "new", **given))


def test_preprocessed_elsewhere_is_kept_and_told(prepared):
    layout.record_path(prepared, 1).unlink()
    before = eeg_file(prepared, "test").read_bytes()
    assert any("made elsewhere" in line for line in run(prepared))
    assert eeg_file(prepared, "test").read_bytes() == before


@pytest.mark.parametrize("has_record", [True, False])
def test_overwrite_preprocesses_again(prepared, has_record):
    if not has_record:
        layout.record_path(prepared, 1).unlink()
    choices = dataclasses.replace(CHOICES, mvnn="off")
    with pytest.raises(InputError, match="`overwrite` makes it again"):
        run(prepared, choices=choices)
    run(prepared, choices=choices, overwrite=True)
    assert layout.read_record(prepared, 1)["choices"]["mvnn"] == "off"
    assert run(prepared, choices=choices) == []
    again = run(prepared, choices=choices, overwrite=True)
    assert "`overwrite` asks for it" in again[0]


def double(data):
    """Doubles the EEG, all rows but the triggers."""
    return np.concatenate([data[:-1] * 2, data[-1:]])


def test_recording_that_changed_at_the_same_size(prepared, snapshot):
    path = raw_path(prepared, 2, "training")
    n_bytes = path.stat().st_size
    edit_raw(path, raw_eeg_data=double)
    assert path.stat().st_size == n_bytes
    before = snapshot(prepared)
    message = "ses-02/raw_eeg_training.npy has changed.*`overwrite` makes it again"
    with pytest.raises(InputError, match=message):
        run(prepared)
    assert snapshot(prepared) == before
    run(prepared, overwrite=True)
    assert (
        snapshot(prepared)[name_of_eeg("training")] != before[name_of_eeg("training")]
    )
    assert run(prepared) == []


def name_of_eeg(partition):
    return f"preprocessed_data/sub-01/preprocessed_eeg_{partition}.npy"


def test_copy_with_other_times_is_the_same(prepared, tmp_path):
    copied = shutil.copytree(prepared, tmp_path / "copy", copy_function=shutil.copy)
    path = raw_path(copied, 1, "test")
    os.utime(path, ns=(1, 1))
    assert run(copied, stages=("preprocess",)) == []


def test_bids_events_and_the_column_of_images(tmp_path):
    data_dir, bids_root = tmp_path / "data", tmp_path / "bids"
    bids_recordings.write_images(data_dir)
    bids_recordings.write_metadata(data_dir)
    for number in (1, 2):
        bids_recordings.write_run(bids_root, tmp_path / "source", 1, number)
    given = {
        "bids_root": bids_root,
        "choices": bids_recordings.CHOICES,
        "stages": ("preprocess",),
    }
    run(data_dir, **given)
    assert run(data_dir, **given) == []
    paths = sorted(bids_root.rglob("*_events.tsv"))
    for path in paths:
        rows = [line.split("\t") for line in path.read_text().splitlines()]
        column = rows[0].index("stim_file")
        for row in rows:
            row.append("other" if row is rows[0] else row[column])
        path.write_text("\n".join("\t".join(row) for row in rows) + "\n")
    with pytest.raises(InputError, match=r"events\.tsv has changed"):
        run(data_dir, **given)
    run(data_dir, **given, overwrite=True)
    with pytest.raises(InputError, match=r"ignore_images \[\] instead of \['x'\]"):
        run(data_dir, **given, ignore_images=("x",))
    with pytest.raises(InputError, match="image_column stim_file instead of other"):
        run(data_dir, **given, image_column="other")


@pytest.mark.parametrize(("folder", "subject"), [("sub-001", 1), ("sub-AB12", "AB12")])
def test_subjects_are_called_as_their_folders(raw, folder, subject):
    (raw / "raw_data" / "sub-01").rename(raw / "raw_data" / folder)
    run(raw)
    assert run(raw) == []
    name = layout.subject_name(subject)
    shards = Shards.open(raw / "shards", image_size=SIZE, subjects=(subject,))
    made = raw / "preprocessed_data" / name
    expected = np.load(made / "preprocessed_eeg_test.npy", allow_pickle=True)
    np.testing.assert_array_equal(
        shards.eeg(subject).read("test"),
        expected.item()["preprocessed_eeg_data"].astype(np.float32),
    )


def test_subjects_that_are_not_called_so_are_listed(raw):
    (raw / "raw_data" / "sub-01").rename(raw / "raw_data" / "S01")
    refuse(lambda: run(raw), "sub-AB12", "raw_data holds S01")
    refuse(lambda: run(raw, subjects=(3,)), "raw_data holds S01")


@pytest.mark.parametrize("name", ["task", "acquisition", "processing", "extension"])
def test_choices_among_recordings_in_bids_need_bids(raw, name):
    refuse(lambda: request_for(raw, **{name: "vhdr"}), f"`{name}`", "`bids_root`")


def test_a_copy_of_a_session_is_refused(raw):
    shutil.copytree(raw / "raw_data/sub-01/ses-01", raw / "raw_data/sub-01/ses-05")
    refuse(lambda: run(raw), "ses-05", "each trial once", "ses-01", "is a copy")


def rename_first_concept(data_dir):
    """The first image becomes the last one, and the list is to be made again."""
    folder = data_dir / "image_set" / "training_images"
    (folder / "00001_thing").rename(folder / "99999_thing")
    layout.metadata_path(data_dir).unlink()


def test_renamed_images_do_not_get_the_old_eeg(prepared, snapshot):
    rename_first_concept(prepared)
    before = snapshot(prepared)
    message = "list of images has changed since the EEG was preprocessed"
    for stages in (None, ("preprocess",)):
        with pytest.raises(InputError, match=message):
            run(prepared, stages=stages)
        with pytest.raises(InputError, match=message):
            prepare.plan(request_for(prepared, stages=stages))
        assert snapshot(prepared) == before
    # With a list there, so that shards are what refuses.
    layout.write_image_metadata(prepared, **layout.list_images(prepared))
    before = snapshot(prepared)
    with pytest.raises(InputError, match=message):
        run(prepared, stages=("shards",))
    assert snapshot(prepared) == before
    run(prepared, overwrite=True)
    assert run(prepared) == []


def test_bad_recordings_write_no_metadata(raw, snapshot):
    layout.metadata_path(raw).unlink()
    raw_path(raw, 2, "test").unlink()
    before = snapshot(raw)
    with pytest.raises(InputError, match="ses-02: expected one test recording"):
        run(raw)
    assert snapshot(raw) == before


@pytest.mark.parametrize("suffix", [".png", ".jpg"])
def test_truncated_image_is_refused_before_preprocessing(raw, snapshot, suffix):
    path = first_image(raw)
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    path.unlink()
    path = path.with_suffix(suffix)
    Image.fromarray(noise).save(path)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    layout.metadata_path(raw).unlink()
    before = snapshot(raw)
    with pytest.raises(InputError, match=r"thing_01.*expected a readable image"):
        run(raw)
    assert snapshot(raw) == before


def test_half_a_pair_is_made_again(prepared, prepared_original):
    """As a run leaves it that is killed between the two."""
    eeg_file(prepared, "test").unlink()
    run(prepared)
    expected = eeg_file(prepared_original, "test").read_bytes()
    assert eeg_file(prepared, "test").read_bytes() == expected


def test_plan_names_sizes_and_room(raw):
    planned = prepare.plan(request_for(raw))
    assert [task.what for task in planned["preprocess"]] == [
        "check that images are readable",
        "preprocess sub-01 (there is none yet)",
    ]
    # Four and eighty repetitions of 17 channels and 100 times in float64.
    n_bytes = (12 * 4 + 5 * 80) * 17 * 100 * 8
    assert planned["preprocess"][1].n_bytes == pytest.approx(n_bytes)
    images, eeg = planned["shards"]
    assert images.n_bytes == 17 * SIZE * SIZE * 3
    assert eeg.n_bytes == pytest.approx(n_bytes / 2)
    table = prepare.describe_plan(planned, raw)
    assert re.search(r"together about 0\.0\d GB; free in .*data: \d+.*, enough", table)


def test_plan_without_recordings_leaves_the_eeg(prepared):
    shutil.rmtree(prepared / "raw_data")
    assert not any(prepare.plan(request_for(prepared)).values())
    layout.record_path(prepared, 1).unlink()
    planned = prepare.plan(request_for(prepared))
    assert planned["preprocess"] == []
    eeg_file(prepared, "test").unlink()
    with pytest.raises(InputError, match="or recordings in") as of_plan:
        prepare.plan(request_for(prepared))
    with pytest.raises(InputError) as of_run:
        run(prepared)
    assert str(of_plan.value) == str(of_run.value)


def test_plan_knows_outdated_shards(prepared):
    os.utime(eeg_file(prepared, "test"))
    planned = prepare.plan(request_for(prepared))
    assert [task.what for task in planned["shards"]] == ["shards of sub-01"]
    line, duplicates = run(prepared)
    assert "building shards of sub-01" in line
    assert "test images are training images, too" in duplicates
    layout.metadata_path(prepared).unlink()
    planned = prepare.plan(request_for(prepared))
    assert [task.what for task in planned["preprocess"]] == [
        "list the images in the folders"
    ]
    assert [task.what for task in planned["shards"]] == [f"shards of images-{SIZE}"]
    first, second, _ = run(prepared)
    assert "from the folders" in first
    assert f"building shards of images-{SIZE}" in second


def test_plan_of_shards_alone_needs_eeg(raw):
    request = request_for(raw, stages=("shards",))
    with pytest.raises(InputError, match="sub-01") as of_plan:
        prepare.plan(request)
    with pytest.raises(InputError) as of_run:
        prepare.prepare(request, log=ignore)
    assert str(of_plan.value) == str(of_run.value)


def test_plan_measures_room_where_it_writes(raw, tmp_path, monkeypatch):
    other = tmp_path / "other" / "shards"
    planned = prepare.plan(request_for(raw, shards_dir=str(other)))
    monkeypatch.setattr(tasks, "_disk", lambda folder: "other" in str(folder))
    table = prepare.describe_plan(planned, raw).splitlines()
    assert f"free in {raw}:" in table[-2]
    assert f"free in {other}:" in table[-1]
    remote = prepare.plan(request_for(raw)) | {
        "shards": [prepare.Task("shards", "gs://bucket/shards", 1e9, ignore)]
    }
    monkeypatch.undo()
    table = prepare.describe_plan(remote, raw)
    assert "together about 1.00 GB; free in gs://bucket/shards: unknown" in table


def test_plan_of_a_download_needs_no_network(tmp_path):
    request = request_for(tmp_path / "new", source="osf", subjects=(1, 2))
    table = prepare.describe_plan(prepare.plan(request), tmp_path / "new")
    assert "training_images.zip" in table
    assert "shards of sub-02" in table
    assert "sub-03" not in table
    assert not (tmp_path / "new").exists()


def test_files_are_downloaded_together(tmp_path, monkeypatch):
    calls = []
    monkeypatch.setattr(
        things_eeg2, "fetch", lambda *args, **kwargs: calls.append(args)
    )
    given = {"source": "osf", "subjects": (1, 2), "stages": ("download",)}
    request = request_for(tmp_path, **given, mirror=["file:///mirror"])
    assert len(prepare.plan(request)["download"]) == 5
    prepare.prepare(request, log=ignore)
    assert calls == [(tmp_path, (1, 2), "preprocessed", ("file:///mirror",))]


def test_what_a_download_left_is_removed(prepared, snapshot):
    given = {"source": "osf", "subjects": (1,), "stages": ("download",)}
    assert prepare.plan(request_for(prepared, **given)) == {"download": []}
    before = snapshot(prepared)
    # As a run leaves it that is killed after it unpacked a file.
    for name in ("image_set-test_images.zip", "all"):
        folder = prepared / "downloads" / name
        folder.mkdir(parents=True)
        (folder / "archive.zip").write_text("served")
    (task,) = prepare.plan(request_for(prepared, **given))["download"]
    assert task.what == "remove what is left of a download"
    assert run(prepared, **given) == []
    assert snapshot(prepared) == before


def test_plan_refuses_to_simulate_over_other_data(raw):
    with pytest.raises(InputError, match="new or empty folder") as of_plan:
        prepare.plan(request_for(raw, source="synthetic"))
    with pytest.raises(InputError) as of_run:
        run(raw, source="synthetic")
    assert str(of_plan.value) == str(of_run.value)


# What is refused.


def damage_stim(session, partition, change):
    def damage(data_dir):
        def edit(data):
            change(data[-1])
            return data

        edit_raw(raw_path(data_dir, session, partition), raw_eeg_data=edit)

    return damage


def edit_session(session, partition, **changes):
    return lambda data_dir: edit_raw(raw_path(data_dir, session, partition), **changes)


def truncate(path_of):
    def damage(data_dir):
        path = path_of(data_dir)
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])

    return damage


class _Malicious:
    def __reduce__(self):
        return print, ("unpickled",)


def make_malicious(path_of):
    return lambda data_dir: path_of(data_dir).write_bytes(pickle.dumps(_Malicious()))


def raw_1(data_dir):
    return raw_path(data_dir, 1, "training")


def set_trigger(old, new):
    def change(stim):
        stim[np.flatnonzero(stim == old)[0]] = new

    return change


def clear(stim):
    stim[:] = 0


def with_nan(data):
    data[12] = np.nan
    return data


def reverse_lists(data_dir):
    path = layout.metadata_path(data_dir)
    content = layout.read_npy_dict(path)
    reversed_ = {key: list(reversed(values)) for key, values in content.items()}
    layout.write_npy_dict(path, reversed_)


def drop_key(data_dir):
    path = layout.metadata_path(data_dir)
    content = layout.read_npy_dict(path)
    del content["test_img_files"]
    layout.write_npy_dict(path, content)


def first_image(data_dir):
    return min((data_dir / "image_set" / "training_images").glob("*/*"))


def copy_image(data_dir):
    path = first_image(data_dir)
    shutil.copy(path, path.with_name("zebra.png"))


def write_brainvision_of_lies(data_dir):
    path = raw_1(data_dir)
    path.unlink()
    path.with_suffix(".vhdr").write_text("Brain Vision Data Exchange Header File\n")


def drop_sessions(*sessions):
    def damage(data_dir):
        for session in sessions:
            shutil.rmtree(raw_path(data_dir, session, "test").parent)

    return damage


def write_two_at_once(data_dir):
    raw_1(data_dir).unlink()
    markers = [("Stimulus", f"S {image}", 100) for image in (1, 2)]
    path = raw_1(data_dir).with_suffix(".vhdr")
    brainvision.write(path, np.zeros((1, 500)), ["O1"], 1000, markers)


RAW_DAMAGES = {
    "duplicate event": (
        write_two_at_once,
        {},
        ["raw_eeg_training.vhdr: expected one image at a time", "sample 100"],
    ),
    "truncated recording": (truncate(raw_1), {}, ["raw_eeg_training", "truncated"]),
    "malicious pickle": (make_malicious(raw_1), {}, ["builtins.print.*refused"]),
    "wrong dtype": (
        edit_session(1, "test", raw_eeg_data=lambda data: data.astype(str)),
        {},
        ["raw_eeg_test", "expected", "found .*<U"],
    ),
    "three dimensions": (
        edit_session(1, "test", raw_eeg_data=lambda data: data[None]),
        {},
        ["of shape .channel, sample.", r"\(1, 27, "],
    ),
    "NaN in a channel": (
        edit_session(2, "training", raw_eeg_data=with_nan),
        {},
        ["ses-02", "expected finite EEG", "O1"],
    ),
    "missing condition": (
        damage_stim(1, "test", lambda stim: np.copyto(stim, 0, where=stim == 3)),
        {},
        ["ses-01.raw_eeg_test", "image 3|as many repetitions"],
    ),
    "one repetition only": (
        damage_stim(1, "training", set_trigger(2, 0)),
        {},
        ["ses-01.raw_eeg_training", "expected 2 repetitions of image 2, found 1"],
    ),
    "trigger without an image": (
        damage_stim(1, "training", set_trigger(2, 13)),
        {},
        ["expected triggers of the 12 training images, found 13"],
    ),
    "negative trigger": (
        damage_stim(1, "training", set_trigger(2, -2)),
        {},
        ["ses-01.raw_eeg_training", "expected triggers", "found"],
    ),
    "empty stim row": (
        damage_stim(3, "test", clear),
        {},
        ["ses-03.raw_eeg_test", "expected image onsets, found none"],
    ),
    "no stim row": (
        edit_session(1, "training", ch_types=["eeg"] * 27),
        {},
        ["expected one channel of type stim, found 0"],
    ),
    "too few channel names": (
        edit_session(1, "training", ch_names=["O1", "stim"]),
        {},
        ["expected 27 ch_names", "found 2"],
    ),
    "no channel types": (
        lambda data_dir: layout.write_npy_dict(
            raw_1(data_dir), {"raw_eeg_data": np.zeros((2, 9)), "ch_names": ["a", "b"]}
        ),
        {},
        ["expected the key 'ch_types'", "found the keys ch_names, raw_eeg_data"],
    ),
    "sampling rate below the result's": (
        edit_session(1, "training", sfreq=50),
        {},
        ["expected a sampling rate of at least 100 Hz, found 50 Hz"],
    ),
    "sampling rate of zero": (
        edit_session(1, "training", sfreq=0),
        {},
        ["expected sfreq in Hz above 0, found 0"],
    ),
    "other channels in one session": (
        edit_session(
            2, "test", ch_names=lambda names: np.char.replace(names, "P8", "O9")
        ),
        {},
        ["ses-02", "expected the channels of .*ses-01"],
    ),
    "no test recording": (
        lambda data_dir: raw_path(data_dir, 2, "test").unlink(),
        {},
        ["ses-02", "test"],
    ),
    "missing sessions": (
        drop_sessions(2, 4),
        {},
        ["expected trials of all 12 training images", "none of 6, first of image 7"],
    ),
    "no such session": (
        ignore,
        {"sessions": "1,7"},
        ["expected the sessions 7, found 1, 2, 3, 4"],
    ),
    "no such channels": (
        ignore,
        {"channels": "Oz,A1"},
        ["expected the channels Oz, A1, found no A1"],
    ),
    "no such subject": (
        ignore,
        {"subjects": "7"},
        ["sub-07", "expected preprocessed EEG|expected EEG"],
    ),
    "BrainVision header of lies": (
        write_brainvision_of_lies,
        {},
        ["raw_eeg_training.vhdr: expected a BrainVision recording, found"],
    ),
    "missing image": (
        lambda data_dir: first_image(data_dir).unlink(),
        {},
        ["thing_01.png: expected this image, listed in .*, found no such file"],
    ),
    "extra image": (
        copy_image,
        {},
        ["expected the 12 images that .* lists, found 13", "zebra.png"],
    ),
    "unsorted images": (reverse_lists, {}, ["in sorted order"]),
    "metadata without a key": (
        drop_key,
        {},
        ["image_metadata.npy: expected the key 'test_img_files'"],
    ),
    "truncated metadata": (
        truncate(layout.metadata_path),
        {},
        ["image_metadata.npy", "truncated"],
    ),
    "malicious metadata": (
        make_malicious(layout.metadata_path),
        {},
        ["image_metadata.npy", "builtins.print.*refused"],
    ),
}
PREPARED_DAMAGES = {
    "truncated EEG": (
        truncate(lambda data_dir: eeg_file(data_dir, "training")),
        {},
        ["preprocessed_eeg_training.npy", "truncated"],
    ),
    "a row too few": (
        lambda data_dir: edit_eeg(
            data_dir, "test", preprocessed_eeg_data=lambda eeg: eeg[1:]
        ),
        {},
        ["expected 5 EEG rows, one for each test image", "found 4"],
    ),
    "NaN in a row": (
        lambda data_dir: edit_eeg(
            data_dir,
            "test",
            preprocessed_eeg_data=lambda eeg: np.where(
                np.arange(5)[:, None, None, None] == 2, np.nan, eeg
            ),
        ),
        {},
        ["preprocessed_eeg_test.npy", "finite|NaN"],
    ),
    "EEG of text": (
        lambda data_dir: edit_eeg(
            data_dir, "test", preprocessed_eeg_data=lambda eeg: eeg.astype(str)
        ),
        {},
        ["preprocessed_eeg_test.npy: expected", "found"],
    ),
    "times that do not ascend": (
        lambda data_dir: edit_eeg(data_dir, "test", times=lambda times: times[::-1]),
        {},
        ["expected 100 ascending times"],
    ),
    "other channels in the test set": (
        lambda data_dir: edit_eeg(
            data_dir, "test", ch_names=lambda names: [*names[1:], "A1"]
        ),
        {},
        ["preprocessed_eeg_test.npy: expected the channels and times of"],
    ),
    "half a pair of unknown origin": (
        lambda data_dir: (
            eeg_file(data_dir, "test").unlink(),
            layout.record_path(data_dir, 1).unlink(),
        ),
        {},
        ["found preprocessed_eeg_training.npy made elsewhere"],
    ),
    "damaged record": (
        lambda data_dir: layout.record_path(data_dir, 1).write_text("{"),
        {},
        ["preprocessing.json: expected the record of a preprocessing"],
    ),
    "other choices": (
        ignore,
        {"mvnn": "epochs"},
        ["found mvnn time instead of epochs; `overwrite` makes it again"],
    ),
    "not an image": (
        lambda data_dir: first_image(data_dir).write_text("not an image"),
        {},
        ["thing_01.png: expected a readable image, found"],
    ),
}
DAMAGES = {
    **{name: ("raw", *rest) for name, rest in RAW_DAMAGES.items()},
    **{name: ("prepared", *rest) for name, rest in PREPARED_DAMAGES.items()},
}
# As a user meets them; the others so with the slow tests.
QUICK = ("malicious pickle", "other choices")


def damaged(name, getfixturevalue):
    """Returns the damaged data set; its shards are to be built."""
    kind, damage, flags, patterns = DAMAGES[name]
    data_dir = getfixturevalue(kind)
    shutil.rmtree(data_dir / "shards", ignore_errors=True)
    damage(data_dir)
    return data_dir, flags, patterns


@pytest.mark.parametrize("name", DAMAGES)
def test_refuses(name, request, snapshot):
    data_dir, flags, patterns = damaged(name, request.getfixturevalue)
    before = snapshot(data_dir)
    choices, changes = CHOICES, {}
    if "subjects" in flags:
        changes = {"subjects": layout.parse_subjects(flags["subjects"])}
    elif "sessions" in flags:
        sessions = layout.parse_subjects(flags["sessions"])
        choices = dataclasses.replace(choices, sessions=sessions)
    elif "channels" in flags:
        channels = tuple(flags["channels"].split(","))
        choices = dataclasses.replace(choices, channels=channels)
    else:
        choices = dataclasses.replace(choices, **flags)
    with pytest.raises(InputError) as caught:
        run(data_dir, choices=choices, **changes)
    (line,) = str(caught.value).splitlines()
    for pattern in patterns:
        assert re.search(pattern, line), (pattern, line)
    assert snapshot(data_dir) == before


@pytest.mark.parametrize(
    "name",
    [
        name if name in QUICK else pytest.param(name, marks=pytest.mark.slow)
        for name in DAMAGES
    ],
)
def test_refuses_in_one_line(name, commands, request, snapshot):
    data_dir, flags, patterns = damaged(name, request.getfixturevalue)
    before = snapshot(data_dir)
    result = commands.run(
        "prepare_data.py",
        f"--data_dir={data_dir}",
        f"--image_size={SIZE}",
        *(f"--{key}={value}" for key, value in flags.items()),
    )
    patterns = [pattern.replace("`overwrite`", "--overwrite") for pattern in patterns]
    check_refused(result, "^error: ", *patterns)
    assert snapshot(data_dir) == before


@pytest.mark.slow
def test_archive_that_leaves_its_folder_is_refused_in_one_line(
    raw, commands, tmp_path, snapshot
):
    shutil.rmtree(raw / "image_set" / "training_images")
    path = tmp_path / "mirror" / "image_set" / "training_images.zip"
    path.parent.mkdir(parents=True)
    with zipfile.ZipFile(path, "w") as zipped:
        zipped.writestr("../../escaped.jpg", "x")
    before = snapshot(tmp_path)
    # Nobody listens there, so that no other source has the file.
    nowhere = "http://127.0.0.1:9"
    result = commands.run(
        "prepare_data.py",
        f"--data_dir={raw}",
        "--source=osf",
        f"--mirror={(tmp_path / 'mirror').as_uri()}",
        HTTP_PROXY=nowhere,
        HTTPS_PROXY=nowhere,
    )
    check_refused(result, "training_images.zip: .*points out of the folder")
    assert snapshot(tmp_path) == before


@pytest.mark.parametrize(
    "flag",
    [
        "--stages=download,bake",
        "--epoch_s=0.8,-0.2",
        "--baseline_s=start",
        "--bandpass_hz=1",
        "--reject_uv=-5",
        "--training_repetitions=0",
        "--test_repetitions=some",
        "--channels=Oz,Oz",
        "--mvnn=time,epochs",
        "--subject=1",
        "--subjects=one-two",
        "--sessions=4-1",
        "--sessions=",
        "--data_dir=",
        "--epoch_s=0.1,0.1",
    ],
)
def test_wrong_flags(flag, commands, tmp_path):
    result = commands.run("prepare_data.py", f"--data_dir={tmp_path}", flag)
    name = flag.removeprefix("--").partition("=")[0]
    check_refused(result, f"^wrong flags: .*{name}", status=2)


def test_flags_are_of_the_fields_and_have_their_defaults():
    values = {field: flag.default for field, flag in prepare_data._CHOICES.items()}
    assert preprocessing.Choices(**values) == CHOICES
    assert values.keys() == {field.name for field in dataclasses.fields(CHOICES)}
    values = {field: flag.default for field, flag in prepare_data._REQUEST.items()}
    default = prepare.Request(data_dir="data")
    assert prepare.Request(**values | {"data_dir": "data"}) == default
    fields = {field.name for field in dataclasses.fields(default)}
    assert values.keys() == fields - {"choices"}


@pytest.mark.parametrize(
    ("flag", "text", "expected"),
    [
        ("channels", "all", "all"),
        ("channels", "Oz, O1", ("Oz", "O1")),
        ("epoch_s", "-0.1,1", (-0.1, 1.0)),
        ("baseline_s", "off", None),
        ("baseline_s", "-0.1,end", (-0.1, None)),
        ("bandpass_hz", "0.1,40", (0.1, 40.0)),
        ("reject_uv", "150", 150.0),
        ("sessions", "1,3-4", (1, 3, 4)),
        ("training_repetitions", "all", None),
        ("test_repetitions", "7", 7),
        ("raw_unit", "auto", None),
        ("raw_unit", "uV", "uV"),
        ("ignore_markers", "", ()),
        ("ignore_markers", "S255, 0,S 99", (0, 99, 255)),
        ("stages", "shards,download", ("shards", "download")),
        ("stages", "", None),
    ],
)
def test_flags_are_read(flag, text, expected):
    assert flags.FLAGS[flag].parser.parse(text) == expected


@pytest.mark.parametrize(
    ("flag", "text"), [("raw_unit", "uv"), ("ignore_markers", "S"), ("channels", "")]
)
def test_flags_are_refused(flag, text):
    with pytest.raises(ValueError, match="expected "):
        flags.FLAGS[flag].parser.parse(text)


def test_command_from_recordings_to_shards(
    raw, prepared_original, trained_original, commands
):
    flags = [f"--data_dir={raw}", f"--image_size={SIZE}"]
    flags.append(f"--teacher={trained_original[0]}")
    plan = commands.run("prepare_data.py", *flags, "--dry_run")
    check_done(plan)
    assert re.search(r"preprocess sub-01 \(there is none yet\)", plan.stdout)
    assert "\ntraining images by trigger: 1 " in plan.stdout
    assert not (raw / "preprocessed_data").exists()
    result = commands.run("prepare_data.py", *flags)
    check_done(result)
    assert "ready: --config.data_dir=" in result.stdout
    logits = {path.name for path in (raw / "shards" / "teacher_logits").rglob("*.npy")}
    assert logits == {"training-00000.npy", "test-00000.npy"}
    for partition in layout.PARTITIONS:
        expected = eeg_file(prepared_original, partition).read_bytes()
        assert eeg_file(raw, partition).read_bytes() == expected
