"""prepare_data.py: what it does, what it leaves alone, and what it refuses."""

import dataclasses
import pickle
import re
import shutil
import zipfile

import numpy as np
import pytest
from commands import check_done, check_refused
from data import raw_recordings
from data.raw_recordings import edit_raw, raw_path

from img2eeg_jax.data import layout, prepare, preprocessing
from img2eeg_jax.errors import InputError

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
    given = {"data_dir": data_dir, "shards_dir": str(data_dir / "shards")}
    return prepare.Request(**given | {"image_size": SIZE} | changes)


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


def test_metadata_are_made_from_the_folders(raw):
    path = layout.metadata_path(raw)
    expected = layout.read_npy_dict(path)
    path.unlink()
    assert "image_metadata.npy from the folders" in run(raw)[0]
    assert layout.read_npy_dict(path) == expected


def test_synthetic_source(tmp_path):
    lines = run(tmp_path / "new", source="synthetic", subjects=(1, 2))
    assert "wrote a synthetic data set" in lines[0]
    assert layout.subjects_in(tmp_path / "new") == (1, 2)
    assert run(tmp_path / "new", source="synthetic", subjects=(1, 2)) == []


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
    with pytest.raises(InputError, match="--overwrite makes it again"):
        run(prepared, choices=choices)
    run(prepared, choices=choices, overwrite=True)
    assert layout.read_record(prepared, 1)["choices"]["mvnn"] == "off"
    assert run(prepared, choices=choices, overwrite=True) == []


def test_half_a_pair_is_made_again(prepared, prepared_original):
    """As a run leaves it that is killed between the two."""
    eeg_file(prepared, "test").unlink()
    run(prepared)
    expected = eeg_file(prepared_original, "test").read_bytes()
    assert eeg_file(prepared, "test").read_bytes() == expected


def test_plan_names_sizes_and_room(raw):
    planned = prepare.plan(request_for(raw))
    assert [task.what for task in planned["preprocess"]] == [
        "preprocess sub-01 (there is none yet)"
    ]
    # Four and eighty repetitions of 17 channels and 100 times in float64.
    n_bytes = (12 * 4 + 5 * 80) * 17 * 100 * 8
    assert planned["preprocess"][0].n_bytes == pytest.approx(n_bytes)
    images, eeg = planned["shards"]
    assert images.n_bytes == 17 * SIZE * SIZE * 3
    assert eeg.n_bytes == pytest.approx(n_bytes / 2)
    table = prepare.describe_plan(planned, raw)
    assert re.search(r"together about 0\.0\d GB; free in .*data: \d+.*, enough", table)


def test_plan_of_a_download_needs_no_network(tmp_path):
    request = request_for(tmp_path / "new", source="osf", subjects=(1, 2))
    table = prepare.describe_plan(prepare.plan(request), tmp_path / "new")
    assert "training_images.zip" in table
    assert "shards of sub-02" in table
    assert "sub-03" not in table
    assert not (tmp_path / "new").exists()


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


RAW_DAMAGES = {
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
    "sampling rate of one session": (
        edit_session(2, "training", sfreq=500),
        {},
        ["ses-02", "expected the sampling rate of .*ses-01", "1000 Hz, found 500 Hz"],
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
        ["found mvnn time instead of epochs; --overwrite makes it again"],
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
    ],
)
def test_wrong_flags(flag, commands, tmp_path):
    result = commands.run("prepare_data.py", f"--data_dir={tmp_path}", flag)
    name = flag.removeprefix("--").partition("=")[0]
    check_refused(result, f"^wrong flags: .*{name}", status=2)


def test_command_from_recordings_to_shards(
    raw, prepared_original, trained_original, commands
):
    flags = [f"--data_dir={raw}", f"--image_size={SIZE}"]
    flags.append(f"--teacher={trained_original[0]}")
    plan = commands.run("prepare_data.py", *flags, "--dry_run")
    check_done(plan)
    assert re.search(r"preprocess sub-01 \(there is none yet\)", plan.stdout)
    assert not (raw / "preprocessed_data").exists()
    result = commands.run("prepare_data.py", *flags)
    check_done(result)
    assert "ready: --config.data_dir=" in result.stdout
    logits = {path.name for path in (raw / "shards" / "teacher_logits").rglob("*.npy")}
    assert logits == {"training-00000.npy", "test-00000.npy"}
    for partition in layout.PARTITIONS:
        expected = eeg_file(prepared_original, partition).read_bytes()
        assert eeg_file(raw, partition).read_bytes() == expected
