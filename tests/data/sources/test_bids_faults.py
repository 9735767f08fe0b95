"""BIDS data sets as people have them: views, sidecars, units, marks and labels.

What is tried is found in the right place or refused; a recording is never read twice.
"""

import dataclasses
import shutil
import unicodedata

import numpy as np
import pytest

from helpers import brainvision
from helpers.recording_formats import write_edf, write_eeglab
from helpers.refusing import refuse
from img2eeg_jax.data import layout
from img2eeg_jax.data.preprocessing import Choices, epochs
from img2eeg_jax.data.sources import bids

SFREQ_HZ = 200
CH_NAMES = ("Fp1", "O2", "Pz", "O1")
IMAGES = {"training": ["ant/ant.png", "bee/bee.png"], "test": ["cat/cat.png"]}
# Second at which each comes on.
ONSETS = {"ant/ant.png": 1.0, "bee/bee.png": 3.0, "cat/cat.png": 5.0}
STEM = "sub-01_task-things"
ALL = Choices(channels="all", baseline_s=None)


def eeg_uv(seed=0):
    return 20 * np.random.default_rng(seed).standard_normal((4, 8 * SFREQ_HZ))


def write_events(path, rows=(), columns=""):
    """Writes the onsets of the images, and other rows as text."""
    lines = [f"onset\tduration\ttrial_type\tstim_file{columns}"]
    filled = "\tn/a" * columns.count("\t")
    lines += [f"{at}\t0.1\timage\t{name}{filled}" for name, at in ONSETS.items()]
    path.write_text("\n".join([*lines, *rows]) + "\n", encoding="utf-8")


@pytest.fixture
def folder(tmp_path):
    """A folder with data/ and bids/; the recording is BrainVision."""
    for partition, names in IMAGES.items():
        for name in names:
            path = tmp_path / "data" / "image_set" / f"{partition}_images" / name
            path.parent.mkdir(parents=True)
            path.write_bytes(b"")
    layout.write_image_metadata(
        tmp_path / "data", **layout.list_images(tmp_path / "data")
    )
    path = file_of(tmp_path, "eeg.vhdr")
    brainvision.write(path, eeg_uv(), CH_NAMES, SFREQ_HZ)
    write_events(file_of(tmp_path, "events.tsv"))
    return tmp_path


def file_of(folder, ending, stem=STEM):
    return folder / "bids" / "sub-01" / "eeg" / f"{stem}_{ending}"


def with_recording(folder, write, ending, **kwargs):
    """Puts another recording in place of the one that there is."""
    for path in file_of(folder, "").parent.glob("*_eeg.*"):
        path.unlink()
    write(file_of(folder, ending), eeg_uv(), CH_NAMES, SFREQ_HZ, **kwargs)


def find(folder, **chosen):
    selection = bids.Selection(**chosen)
    return bids.find_sessions(folder / "bids", 1, folder / "data", selection=selection)


def read(folder, partition="training", channels="all", **chosen):
    (session,) = find(folder, **chosen)
    (file,) = session.files[partition]
    return session.read(file, partition, channels)


def n_left_out(folder, partition="training"):
    """Counts the trials that are found and not kept, and checks that they are told."""
    (session,) = find(folder)
    trials = epochs.read_trials(session, partition, ALL, 1e9)
    found = trials.counts["trials"] - len(trials.eeg)
    told = trials.counts["marked as bad"] + trials.counts["across a break"]
    assert found == told
    return found


def onsets_of(recording):
    return (recording.onsets / SFREQ_HZ).tolist()


class TestTrialsAreCountedOnce:
    """Recordings that are views of one stretch of time."""

    @pytest.mark.parametrize(
        ("ending", "write", "chosen"),
        [
            ("eeg.set", write_eeglab, {"extension": "set"}),
            ("eeg.edf", write_edf, {"extension": "vhdr"}),
        ],
    )
    def test_two_formats(self, folder, ending, write, chosen):
        write(file_of(folder, ending), eeg_uv(), CH_NAMES, SFREQ_HZ)
        refuse(lambda: find(folder), "each trial once", ending, "`extension`")
        assert onsets_of(read(folder, **chosen)) == [1.0, 3.0]

    @pytest.mark.parametrize("entity", ["proc", "desc"])
    def test_two_processings(self, folder, entity):
        path = file_of(folder, "eeg.vhdr", f"{STEM}_{entity}-clean")
        brainvision.write(path, eeg_uv(1), CH_NAMES, SFREQ_HZ)
        refuse(lambda: find(folder), "each trial once", path.name, "`processing`")
        for chosen, seed in (("clean", 1), ("none", 0)):
            raw = read(folder, processing=chosen).raw
            np.testing.assert_allclose(raw.get_data() * 1e6, eeg_uv(seed), rtol=1e-5)

    def test_two_acquisitions_of_the_same_trials(self, folder):
        path = file_of(folder, "eeg.vhdr", "sub-01_task-things_acq-250Hz")
        brainvision.write(path, eeg_uv(1), CH_NAMES, SFREQ_HZ)
        refuse(lambda: find(folder), "each trial once", path.name, "`acquisition`")
        assert onsets_of(read(folder, acquisition="none")) == [1.0, 3.0]

    def test_two_acquisitions_of_other_trials(self, folder):
        stem = "sub-01_task-things_acq-late"
        path = file_of(folder, "eeg.vhdr", stem)
        brainvision.write(path, eeg_uv(1), CH_NAMES, SFREQ_HZ)
        text = file_of(folder, "events.tsv").read_text()
        file_of(folder, "events.tsv", stem).write_text(text.replace("1.0\t", "2.0\t"))
        assert len(find(folder)[0].files["training"]) == 2

    def test_a_recording_beside_sessions(self, folder):
        (folder / "bids" / "sub-01" / "ses-01" / "eeg").mkdir(parents=True)
        refuse(lambda: find(folder), "in sessions or without", "ses-01")


@pytest.mark.parametrize("task", ["things", "task-things"])
def test_a_task_by_its_label(folder, task):
    assert onsets_of(read(folder, task=task)) == [1.0, 3.0]
    refuse(lambda: find(folder, task="rest"), "task rest", f"found {STEM}_eeg.vhdr")


def test_a_recording_of_no_format_that_is_read(folder):
    path = file_of(folder, "eeg.cnt", "sub-01_task-things_run-2")
    path.write_bytes(b"")
    refuse(lambda: find(folder), path, "vhdr", "`extension`")
    assert onsets_of(read(folder, extension="vhdr")) == [1.0, 3.0]


def test_a_recording_without_images_is_named(folder):
    stem = "sub-01_task-things_run-2"
    path = file_of(folder, "eeg.vhdr", stem)
    brainvision.write(path, eeg_uv(1), CH_NAMES, SFREQ_HZ)
    file_of(folder, "events.tsv", stem).write_text("onset\tstim_file\n1\tn/a\n")
    (session,) = find(folder)
    assert session.notes == (f"{path}: no images among its events, left out",)


def test_pictures_of_no_trials_can_be_ignored(folder):
    names = ("fixation.png", "practice/a.png", "practice/b.png")
    rows = [f"{at}.5\t0\timage\t{name}" for at, name in enumerate(names)]
    write_events(file_of(folder, "events.tsv"), rows)
    refuse(lambda: find(folder), "line 5", "`ignore_images=fixation.png`")
    (session,) = bids.find_sessions(
        folder / "bids", 1, folder / "data", ignore_images=(names[0], "practice/*")
    )
    (file,) = session.files["training"]
    assert onsets_of(session.read(file, "training", "all")) == [1.0, 3.0]
    assert session.notes == (f"{file}: 3 events of ignored images left out",)
    assert session.options["ignore_images"] == [names[0], "practice/*"]


SIDECARS = {
    "coordsystem.json": b"{}",
    "eeg.json": b'{"PowerLineFrequency": "50 Hz", "SamplingFrequency": "fast"}',
    "electrodes.tsv": b"name\tx\nOz\tfar\n",
    "events.json": b"{",
    "photo.jpg": b"",
}


@pytest.mark.parametrize("ending", SIDECARS)
def test_sidecars_that_are_not_needed(folder, ending):
    file_of(folder, ending, "sub-01").write_bytes(SIDECARS[ending])
    file_of(folder, ending).write_bytes(SIDECARS[ending])
    assert onsets_of(read(folder)) == [1.0, 3.0]


@pytest.mark.parametrize(
    "name", ["participants.tsv", "sub-01/sub-01_scans.tsv", "dataset_description.json"]
)
@pytest.mark.parametrize("content", [b"", b"z\n1\n", b"\xff\xfe\x00\xd8"])
def test_tables_that_are_not_needed(folder, name, content):
    (folder / "bids" / name).write_bytes(content)
    assert onsets_of(read(folder)) == [1.0, 3.0]


def test_latin_1_in_another_column(folder):
    path = file_of(folder, "events.tsv")
    write_events(path, ["7\t0\tpress\tn/a\tgrün"], columns="\tnote")
    path.write_bytes(path.read_text(encoding="utf-8").encode("latin-1"))
    assert onsets_of(read(folder)) == [1.0, 3.0]


def test_events_in_utf_16(folder):
    path = file_of(folder, "events.tsv")
    path.write_bytes(path.read_text().encode("utf-16"))
    assert onsets_of(read(folder)) == [1.0, 3.0]


@pytest.mark.parametrize("form", ["NFC", "NFD"])
def test_names_of_images_in_either_form_of_unicode(folder, form):
    images = folder / "data" / "image_set" / "training_images"
    other = {"NFC": "NFD", "NFD": "NFC"}[form]
    (images / "ant" / "ant.png").rename(
        images / "ant" / unicodedata.normalize(form, "ä.png")
    )
    layout.metadata_path(folder / "data").unlink()
    path = file_of(folder, "events.tsv")
    name = unicodedata.normalize(other, "ant/ä.png")
    path.write_text(path.read_text().replace("ant/ant.png", name), encoding="utf-8")
    assert onsets_of(read(folder)) == [1.0, 3.0]


def test_latin_1_in_an_annotation_of_edf(folder):
    with_recording(folder, write_edf, "eeg.edf", annotation=b"gr\xfcn")
    assert onsets_of(read(folder)) == [1.0, 3.0]


def test_events_of_all_subjects_in_the_root(folder):
    path = file_of(folder, "events.tsv")
    path.rename(folder / "bids" / "task-things_events.tsv")
    (folder / "bids" / "old_events.tsv").write_text("")
    (folder / "bids" / "task-rest_events.tsv").write_text("")
    assert onsets_of(read(folder)) == [1.0, 3.0]


class TestChannels:
    def write(self, folder, rows, header="name\ttype\tunits\tstatus"):
        lines = "\n".join([header, *rows]) + "\n"
        file_of(folder, "channels.tsv").write_text(lines, encoding="utf-8")

    def test_another_order(self, folder):
        kinds = {"Fp1": "EOG", "O2": "EEG", "Pz": "eeg", "O1": "n/a"}
        rows = [f"{name}\t{kinds[name]}\tµV\tgood" for name in sorted(CH_NAMES)]
        self.write(folder, [*rows[:-1], "Pz\teeg\tμV\tbad"])
        raw = read(folder).raw
        assert raw.ch_names == ["O2", "Pz", "O1"]
        assert raw.info["bads"] == ["Pz"]
        np.testing.assert_allclose(raw.get_data() * 1e6, eeg_uv()[1:], rtol=1e-5)

    @pytest.mark.parametrize("kind", ["ECG", "EMG", "TRIG", "MISC", "PD", "GSR", "REF"])
    def test_what_is_no_eeg_is_left_out(self, folder, kind):
        self.write(folder, [f"Pz\t{kind}\tµV\tgood"])
        assert read(folder).raw.ch_names == ["Fp1", "O2", "O1"]

    def test_more_and_fewer_than_there_are(self, folder):
        self.write(folder, ["Status\tTRIG\tn/a\tgood", "O1\tEEG\tµV\tgood"])
        assert read(folder).raw.ch_names == list(CH_NAMES)

    @pytest.mark.parametrize(
        "content",
        ["", "\n", "channel\tkind\nO1\tEEG\n", "name\ttype\nO1\nO2\tEEG\tx\ty\n"],
    )
    def test_a_table_that_says_nothing(self, folder, content):
        file_of(folder, "channels.tsv").write_text(content)
        assert read(folder).raw.ch_names == list(CH_NAMES)

    def test_refuses_other_names(self, folder):
        self.write(folder, ["A1\tEEG\tµV\tgood", "O1\tEEG\tµV\tgood"])
        refuse(lambda: read(folder), "channels.tsv", "Fp1", "A1")


# Unit in the file, in channels.tsv, and what the file's 1 is in volts.
UNITS = [
    ("uV", "V", 1e-6),
    ("", "µV", 1e-6),
    ("", "\u03bcV", 1e-6),
    ("", "mV", 1e-3),
    ("", "n/a", 1.0),
    ("\u00b5V", "n/a", 1e-6),
    ("UV", "n/a", 1e-6),
    ("nV", "n/a", 1e-9),
    ("1", "microV", 1e-6),
]


@pytest.mark.parametrize(("in_file", "listed", "volts"), UNITS)
def test_the_unit_of_edf(folder, in_file, listed, volts):
    with_recording(folder, write_edf, "eeg.edf", unit=in_file)
    rows = "".join(f"{name}\tEEG\t{listed}\n" for name in CH_NAMES)
    table = file_of(folder, "channels.tsv")
    table.write_text("name\ttype\tunits\n" + rows, encoding="utf-8")
    raw = read(folder).raw
    # EDF keeps 16 bits.
    step = np.ceil(np.abs(eeg_uv()).max()) / 32767
    np.testing.assert_allclose(raw.get_data() / volts, eeg_uv(), rtol=0, atol=step)


def cut_off(content):
    return content[:-1000]


def renamed_bdf(content):
    return b"\xffBIOSEMI" + content[8:]


def header_only(content):
    return content[:700]


@pytest.mark.parametrize("damage", [cut_off, renamed_bdf, header_only])
def test_edf_that_is_damaged(folder, damage):
    """MNE reads what there is of a file that is cut off, and BDF for EDF."""
    with_recording(folder, write_edf, "eeg.edf")
    path = file_of(folder, "eeg.edf")
    path.write_bytes(damage(path.read_bytes()))
    refuse(lambda: read(folder), path)


def test_a_unit_that_is_chosen_counts_from_the_numbers(folder):
    """Not from what the unit in channels.tsv made of them."""
    with_recording(folder, write_edf, "eeg.edf", unit="")
    table = file_of(folder, "channels.tsv")
    table.write_text("name\ttype\tunits\nO1\tEEG\tuV\n", encoding="utf-8")
    (session,) = find(folder)
    choices = dataclasses.replace(ALL, channels=("O1", "O2"), raw_unit="mV")
    o1, o2 = epochs.read_trials(session, "training", choices, 1e9).eeg.std((0, 2))
    assert 0.01 < o1 < 0.03
    assert 0.01 < o2 < 0.03


class TestMarks:
    """Only known marks leave trials out; -0.2 … 0.8 s around 1 and 3 s are wanted."""

    @pytest.mark.parametrize("name", ["badger", "Bad_apple", "bad luck"])
    def test_an_image_is_never_one(self, folder, name):
        path = file_of(folder, "events.tsv")
        path.write_text(path.read_text().replace("\timage\t", f"\t{name}\t"))
        assert n_left_out(folder) == 0

    @pytest.mark.parametrize(
        ("row", "expected"),
        [
            ("1.1\t0\tbadger\tn/a", 0),
            ("1.1\t0.1\tbadly_rated\tn/a", 0),
            ("1.1\t0.1\tBAD_blink\tn/a", 1),
            ("0.5\t1\tBAD muscle\tn/a", 1),
            ("3.1\tn/a\tboundary\tn/a", 1),
            ("2.0\t0\tboundary\tn/a", 0),
        ],
    )
    def test_of_the_events(self, folder, row, expected):
        write_events(file_of(folder, "events.tsv"), [row])
        assert n_left_out(folder) == expected

    @pytest.mark.parametrize(
        ("marks", "expected"),
        [
            # A pause of the recorder; the first sample of what follows.
            ([("New Segment", "", 220)], 1),
            # The epoch begins with it: nothing of it was recorded before.
            ([("New Segment", "", 160)], 0),
            ([("Comment", "badger", 220)], 0),
            ([("Comment", "BAD_blink", 220)], 1),
            ([("Bad Interval", "Bad Min-Max", 600)], 1),
        ],
    )
    def test_of_brainvision(self, folder, marks, expected):
        with_recording(folder, brainvision.write, "eeg.vhdr", markers=marks)
        assert n_left_out(folder) == expected

    @pytest.mark.parametrize(
        ("event", "expected"),
        [
            (("boundary", 220, 0), 1),
            # Its duration is that of what was cut out, which is not there any more.
            (("boundary", 380, 400), 0),
            (("badger", 220, 10), 0),
        ],
    )
    def test_of_eeglab(self, folder, event, expected):
        with_recording(folder, write_eeglab, "eeg.set", events=[event, event])
        assert n_left_out(folder) == expected

    @pytest.mark.parametrize(("text", "expected"), [(b"badger", 0), (b"BAD_x", 1)])
    def test_of_edf(self, folder, text, expected):
        text_at = file_of(folder, "events.tsv")
        text_at.write_text(text_at.read_text().replace("1.0\t", "0.4\t"))
        with_recording(folder, write_edf, "eeg.edf", annotation=text)
        assert n_left_out(folder) == expected


class TestLabels:
    @pytest.mark.parametrize(
        ("label", "subject"), [("AB12", "AB12"), ("001", 1), ("000", "0"), ("x9", "x9")]
    )
    def test_of_a_subject(self, folder, label, subject):
        root = folder / "bids"
        for path in [*file_of(folder, "").parent.iterdir()]:
            path.rename(path.with_name(path.name.replace("sub-01", f"sub-{label}")))
        for path in file_of(folder, "").parent.glob("*.v*"):
            path.write_text(path.read_text().replace("sub-01", f"sub-{label}"))
        (root / "sub-01").rename(root / f"sub-{label}")
        assert bids.find_subjects(root) == (subject,)
        (session,) = bids.find_sessions(root, subject, folder / "data")
        (file,) = session.files["training"]
        assert onsets_of(session.read(file, "training", "all")) == [1.0, 3.0]
        refuse(
            lambda: bids.find_sessions(root, "other", folder / "data"),
            "sub-other",
            f"found sub-{label}",
        )

    def test_of_sessions(self, folder):
        subject = folder / "bids" / "sub-01"
        for label in ("pre", "2", "post"):
            target = subject / f"ses-{label}" / "eeg"
            shutil.copytree(subject / "eeg", target)
        shutil.rmtree(subject / "eeg")
        assert [session.number for session in find(folder)] == [2, "post", "pre"]
