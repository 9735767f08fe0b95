"""BIDS recordings against the same EEG in the published format, read without BIDS."""

import dataclasses
import shutil

import numpy as np
import pytest

from helpers import raw_recordings
from helpers.bids_recordings import (
    CH_NAMES,
    CHOICES,
    IMAGES,
    RUN_SAMPLES,
    SFREQ_HZ,
    simulate_run,
    write_images,
    write_metadata,
    write_run,
)
from helpers.refusing import refuse
from img2eeg_jax.data import layout, preprocessing
from img2eeg_jax.data.sources import bids, recordings


def write_npy(data_dir, session):
    """Writes a session's runs, one after the other, in the published format."""
    runs = [simulate_run(session, run) for run in (1, 2)]
    eeg_v = np.concatenate([eeg_uv for eeg_uv, _ in runs], 1).astype(np.float64) * 1e-6
    for partition in layout.PARTITIONS:
        stim = np.zeros((1, eeg_v.shape[1]))
        for start, (_, trials) in zip((0, RUN_SAMPLES), runs, strict=True):
            for onset, kind, row in trials:
                if kind == partition:
                    stim[0, start + onset] = row + 1
        content = {
            "raw_eeg_data": np.concatenate([eeg_v, stim]),
            "ch_names": [*CH_NAMES, "stim"],
            "ch_types": ["eeg"] * len(CH_NAMES) + ["stim"],
            "sfreq": SFREQ_HZ,
        }
        path = raw_recordings.raw_path(data_dir, session, partition)
        layout.write_npy_dict(path, content)


@pytest.fixture(scope="module")
def original(tmp_path_factory):
    """A folder with data/ and bids/, two sessions of two runs. Not to be changed."""
    folder = tmp_path_factory.mktemp("original")
    write_images(folder / "data")
    write_metadata(folder / "data")
    for session in (1, 2):
        for run in (1, 2):
            write_run(folder / "bids", folder / "source", session, run)
    return folder


@pytest.fixture
def folder(original, tmp_path):
    """A copy that a test may damage."""
    return shutil.copytree(original, tmp_path / "copy")


def find(folder, **kwargs):
    return bids.find_sessions(folder / "bids", 1, folder / "data", **kwargs)


def file_of(folder, kind, session=1, run=1):
    name = f"sub-01_ses-{session:02d}_task-things_run-{run:02d}_{kind}"
    return folder / "bids" / "sub-01" / f"ses-{session:02d}" / "eeg" / name


def edit_events(folder, edit):
    """Applies a function to the text of all events."""
    for path in (folder / "bids").rglob("*_events.tsv"):
        path.write_text(edit(path.read_text()))


def replace_first(path, old, new):
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))
    return path


def preprocess(data_dir, sessions, choices=CHOICES):
    preprocessing.preprocess(data_dir, 1, choices, sessions, log=lambda line: None)
    return {name: layout.read_eeg(data_dir, 1, name) for name in layout.PARTITIONS}


def trials_of(sessions):
    """Returns [(onset, condition)] of each session, partition and file."""
    return [
        list(zip(read.onsets.tolist(), read.conditions.tolist(), strict=True))
        for session in sessions
        for partition in layout.PARTITIONS
        for file in session.files[partition]
        for read in [session.read(file, partition, "all")]
    ]


def simulated_trials(sessions=(1, 2)):
    """Returns what `trials_of` must give."""
    return [
        [(onset, row) for onset, kind, row in trials if kind == partition]
        for session in sessions
        for partition in layout.PARTITIONS
        for run in (1, 2)
        for _, trials in [simulate_run(session, run)]
    ]


@pytest.mark.parametrize("mvnn", ["time", "off"])
def test_gives_what_the_published_format_gives(folder, mvnn):
    choices = dataclasses.replace(CHOICES, mvnn=mvnn)
    data_dir = folder / "data"
    found = preprocess(data_dir, find(folder), choices)
    for session in (1, 2):
        write_npy(data_dir, session)
    expected = preprocess(data_dir, recordings.find_sessions(data_dir, 1), choices)
    for partition, shape in (("training", (4, 4)), ("test", (2, 8))):
        eeg, by_npy = found[partition], expected[partition]
        assert eeg.eeg.shape == (*shape, 3, 100)
        assert eeg.axes.ch_names == by_npy.axes.ch_names == ("O2", "Pz", "O1")
        assert eeg.axes == by_npy.axes
        scale = np.abs(by_npy.eeg).max()
        np.testing.assert_allclose(eeg.eeg, by_npy.eeg, rtol=0, atol=1e-6 * scale)


def test_trials_are_those_simulated(original):
    sessions = find(original)
    assert [session.number for session in sessions] == [1, 2]
    assert trials_of(sessions) == simulated_trials()


def test_eeg_is_in_volts_and_in_the_order_of_the_choice(original):
    session = find(original)[1]
    file = session.files["test"][0]
    raw = session.read(file, "test", ("O1", "Fp1")).raw
    eeg_uv, _ = simulate_run(2, 1)
    assert raw.ch_names == ["O1", "Fp1"]
    np.testing.assert_allclose(raw.get_data(), eeg_uv[[3, 0]] * 1e-6, rtol=1e-6)


def test_channels_are_of_the_types_that_bids_says(folder):
    replace_first(file_of(folder, "channels.tsv"), "Fp1\tEEG", "Fp1\tEOG")
    session = find(folder)[0]
    raw = session.read(session.files["test"][0], "test", "all").raw
    assert raw.ch_names == ["O2", "Pz", "O1"]


def test_bad_channels_are_kept_and_named(folder):
    expected = preprocess(folder / "data", find(folder))
    for path in (folder / "bids").rglob("*_channels.tsv"):
        lines = [
            line.replace("\tgood", "\tbad") if line.startswith("O2") else line
            for line in path.read_text().splitlines()
        ]
        path.write_text("\n".join(lines) + "\n")
    session = find(folder)[0]
    raw = session.read(session.files["test"][0], "test", "all").raw
    assert raw.info["bads"] == ["O2"]
    found = preprocess(folder / "data", find(folder))
    for partition in layout.PARTITIONS:
        np.testing.assert_array_equal(found[partition].eeg, expected[partition].eeg)


@pytest.mark.parametrize(
    "edit",
    [
        lambda text: text.replace("ant/", "stimuli/training_images/ant/"),
        lambda text: text.replace("ant/", "any/where/ant/"),
        lambda text: text.replace("ant/", "").replace("dog/", ""),
        lambda text: text.replace("ant/", "images\\ant\\"),
        lambda text: "\ufeff" + text.replace("\n", "\r\n"),
        lambda text: text.replace("onset\t", "onset\t", 1) + "9\t0\tpress\t\n",
    ],
    ids=["partition", "folders", "bare", "backslash", "Windows", "empty"],
)
def test_other_ways_to_write_events(folder, edit):
    edit_events(folder, edit)
    assert trials_of(find(folder)) == simulated_trials()


def test_partition_tells_namesakes_apart(folder):
    for name in IMAGES["training"]:
        path = folder / "data" / "image_set" / "test_images" / name
        path.parent.mkdir(exist_ok=True)
        shutil.copy(folder / "data" / "image_set" / "training_images" / name, path)
    layout.metadata_path(folder / "data").unlink()
    write_metadata(folder / "data")
    refuse(lambda: find(folder), "events.tsv", "line", "the name of 2")
    edit_events(folder, lambda text: text.replace("\tant", "\ttraining_images/ant"))
    edit_events(folder, lambda text: text.replace("\tbee", "\ttest_images/bee"))
    found = trials_of(find(folder))
    # ant_1 and ant_2 stay in training, bee_1 and bee_2 are rows 2 and 3 of test.
    assert {row for _, row in found[0]} == {0, 1}
    assert {row for _, row in found[2]} == {2, 3, 4, 5}


def test_image_column_can_be_chosen(folder):
    edit_events(folder, lambda text: text.replace("stim_file", "picture"))
    refuse(lambda: find(folder), "events.tsv", "stim_file", "picture")
    assert trials_of(find(folder, image_column="picture")) == simulated_trials()


def test_task_can_be_chosen(folder):
    for path in file_of(folder, "eeg.vhdr").parent.glob("*run-02*"):
        path.rename(path.with_name(path.name.replace("things", "rest")))
    file_of(folder, "x").parent.joinpath(
        "sub-01_ses-01_task-rest_run-02_events.tsv"
    ).unlink()
    refuse(lambda: find(folder), "task-rest", "events", "`task`")
    names = [
        path.name
        for path in find(folder, selection=bids.Selection(task="things"))[0].files[
            "test"
        ]
    ]
    assert names == ["sub-01_ses-01_task-things_run-01_eeg.vhdr"]
    refuse(
        lambda: find(folder, selection=bids.Selection(task="faces")),
        "task faces",
        "found sub-01",
    )


def test_runs_are_in_the_order_of_their_numbers(folder):
    for old, new in (("run-01", "run-10"), ("run-02", "run-2")):
        for path in file_of(folder, "x").parent.glob(f"*{old}*"):
            path.rename(path.with_name(path.name.replace(old, new)))
    names = [path.name for path in find(folder)[0].files["test"]]
    assert ["run-2_" in name for name in names] == [True, False]


def test_run_of_one_partition_is_not_read_for_the_other(folder):
    path = file_of(folder, "events.tsv", run=2)
    kept = [line for line in path.read_text().splitlines() if "g_1.png" not in line]
    path.write_text("\n".join(line for line in kept if "cat" not in line) + "\n")
    files = find(folder)[0].files
    assert [len(files[partition]) for partition in layout.PARTITIONS] == [2, 1]


def test_recordings_without_session_and_label_without_zero(folder):
    shutil.rmtree(file_of(folder, "x", session=2).parents[1])
    old = folder / "bids" / "sub-01"
    new = folder / "bids" / "sub-1"
    for path in file_of(folder, "x").parent.iterdir():
        name = path.name.replace("sub-01_ses-01", "sub-1")
        target = new / "eeg" / name
        target.parent.mkdir(parents=True, exist_ok=True)
        path.rename(target)
    for path in (new / "eeg").glob("*.v*"):
        path.write_text(path.read_text().replace("sub-01_ses-01", "sub-1"))
    shutil.rmtree(old)
    (folder / "bids" / "participants.tsv").unlink()
    sessions = find(folder)
    assert [session.number for session in sessions] == [1]
    assert trials_of(sessions) == simulated_trials(sessions=(1,))


def test_find_subjects(folder):
    for name in ("sub-10", "sub-2", "sub-pilot", "sub-not-one"):
        eeg = folder / "bids" / name / "ses-1" / "eeg"
        eeg.mkdir(parents=True)
        (eeg / f"{name}_eeg.edf").write_text("")
    (folder / "bids" / "sub-withouteeg").mkdir()
    assert bids.find_subjects(folder / "bids") == (1, 2, 10, "pilot")
    (folder / "bids" / "sub-1").mkdir()
    refuse(lambda: bids.find_subjects(folder / "bids"), "sub-01 and sub-1")


def test_metadata_lists_images_in_sorted_order(original):
    image_set = layout.read_image_set(original / "data")
    for partition, names in IMAGES.items():
        files = image_set.files(partition)
        assert ["/".join(path.parts[-2:]) for path in files] == names


def test_metadata_leaves_out_what_is_no_image(folder):
    layout.metadata_path(folder / "data").unlink()
    ant = folder / "data" / "image_set" / "training_images" / "ant"
    (ant / "notes.txt").write_text("")
    (ant / "._ant_1.png").write_text("")
    write_metadata(folder / "data")
    assert len(layout.read_image_set(folder / "data").training_files) == 4


def test_metadata_needs_images(folder):
    layout.metadata_path(folder / "data").unlink()
    images = folder / "data" / "image_set" / "test_images"
    shutil.rmtree(images)
    refuse(lambda: write_metadata(folder / "data"), images, "found none")
    assert not layout.metadata_path(folder / "data").exists()


def test_refuses_an_unknown_image(folder):
    path = file_of(folder, "events.tsv")
    path.write_text(path.read_text() + "7.9\t0.1\timage\towl/owl_1.png\n")
    refuse(lambda: find(folder), path, "line 11", "owl/owl_1.png")


def test_refuses_an_image_of_another_folder(folder):
    path = replace_first(file_of(folder, "events.tsv"), "ant/ant", "wasp/ant")
    refuse(lambda: find(folder), path, "wasp/ant")


@pytest.mark.parametrize("onset", ["n/a", "soon", "inf", "1e300"])
def test_refuses_an_onset_that_is_no_time(folder, onset):
    path = file_of(folder, "events.tsv")
    path.write_text(path.read_text() + f"{onset}\t0\timage\tdog/dog_1.png\n")
    refuse(lambda: find(folder), path, "line 11", "seconds", onset)


def test_refuses_two_images_at_once(folder):
    path = file_of(folder, "events.tsv")
    text = path.read_text() + "7.50\t0\timage\tdog/dog_1.png\n"
    path.write_text(text + "7.5\t0\timage\tant/ant_1.png\n")
    refuse(lambda: find(folder), path, "7.5 s", "lines 11 and 12")


def test_refuses_two_images_in_one_sample(folder):
    path = file_of(folder, "events.tsv")
    text = path.read_text() + "7.5\t0\timage\tdog/dog_1.png\n"
    path.write_text(text + "7.501\t0\timage\tcat/cat_1.png\n")
    refuse(lambda: trials_of(find(folder)), "run-01_eeg.vhdr", "sample 1500")


@pytest.mark.parametrize(
    ("row", "found"), [("1\t0", "fewer"), ("1\t0\ta\tn/a\t", "more")]
)
def test_refuses_a_row_of_another_length(folder, row, found):
    path = file_of(folder, "events.tsv")
    path.write_text(path.read_text() + row + "\n")
    refuse(lambda: find(folder), path, "4 values in line 11", found)


@pytest.mark.parametrize("content", [b"", b"\xff\xfe\x00\xd8"])
def test_refuses_damaged_events(folder, content):
    path = file_of(folder, "events.tsv")
    path.write_bytes(content)
    refuse(lambda: find(folder), path, "expected")


def test_refuses_missing_events(folder):
    file_of(folder, "events.tsv", run=2).unlink()
    refuse(lambda: find(folder), "run-02_eeg.vhdr", "*_events.tsv")


@pytest.mark.parametrize("partition", layout.PARTITIONS)
def test_session_without_a_partition(folder, partition):
    for run in (1, 2):
        path = file_of(folder, "events.tsv", session=2, run=run)
        text = path.read_text()
        for name in IMAGES[partition]:
            text = text.replace(name, "n/a")
        path.write_text(text)
    sessions = find(folder)
    assert sessions[1].files[partition] == ()
    choices = preprocessing.Choices(
        channels="all", training_repetitions=None, test_repetitions=None
    )
    data_dir = folder / "data"
    preprocessing.preprocess(data_dir, 1, choices, sessions, log=lambda line: None)
    n_each = {"training": 2, "test": 4}
    for name, n in n_each.items():
        n_sessions = 1 if name == partition else 2
        assert layout.read_eeg(data_dir, 1, name).eeg.shape[1] == n * n_sessions
    if partition == "training":
        choices = dataclasses.replace(choices, mvnn_partitions="training")
        refuse(
            lambda: preprocessing.preprocess(data_dir, 1, choices, sessions),
            "MVNN: expected training trials in the same session",
        )
    else:
        refuse(
            lambda: preprocessing.preprocess(data_dir, 1, choices, sessions[1:]),
            "expected test trials in one of 1 sessions",
        )


def test_refuses_an_unknown_subject(original):
    refuse(
        lambda: bids.find_sessions(original / "bids", 2, original / "data"),
        "sub-02",
        "found sub-01",
    )


def test_refuses_a_session_without_label(folder):
    (folder / "bids" / "sub-01" / "ses-pre-1").mkdir()
    refuse(lambda: find(folder), "ses-pre", "found ses-pre-1")


def test_refuses_a_subject_without_recordings(folder):
    for path in (folder / "bids").rglob("*_eeg.vhdr"):
        path.unlink()
    refuse(lambda: find(folder), "sub-01", "found none")


def test_refuses_a_name_that_is_not_of_bids(folder):
    file_of(folder, "x").with_name("sub-01_ses-01_colour-red_eeg.edf").write_text("")
    refuse(lambda: find(folder), "colour-red", "BIDS")


def test_refuses_damaged_eeg(folder):
    file_of(folder, "eeg.eeg").unlink()
    refuse(lambda: trials_of(find(folder)), "run-01_eeg.vhdr", "recording")


def test_refuses_channels_that_are_not_those_listed(folder):
    replace_first(file_of(folder, "channels.tsv"), "Fp1", "Fp2")
    refuse(lambda: trials_of(find(folder)), "run-01_channels.tsv", "Fp1", "Fp2")
