"""Readers of raw recordings against arrays written by hand."""

import os
import pickle
import shutil

import mne
import numpy as np
import pytest

from helpers import brainvision, raw_recordings
from helpers.refusing import refuse
from img2eeg_jax.data import layout
from img2eeg_jax.data.preprocessing.choices import Choices
from img2eeg_jax.data.preprocessing.sessions import choose_sessions
from img2eeg_jax.data.sources import markers, recordings
from img2eeg_jax.data.sources.session import TARGET

CH_NAMES = ("Fp1", "O1", "eog", "P3", "Oz")
CH_TYPES = ("eeg", "eeg", "eog", "eeg", "eeg")
N_SAMPLES = 60
EEG_V = np.random.default_rng(0).standard_normal((len(CH_NAMES), N_SAMPLES)) * 1e-5
# Sample → trigger; a trigger at the last sample counts as well.
TRIGGERS = {7: 3, 20: TARGET, 30: 1, 41: 3, 59: 2}
TRIALS = [(7, 2), (30, 0), (41, 2), (59, 1)]


def content(triggers=TRIGGERS, **changes):
    """Returns what a published file holds; an entry of None is left out."""
    stim = np.zeros((1, N_SAMPLES))
    for sample, trigger in triggers.items():
        stim[0, sample] = trigger
    entries = {
        "raw_eeg_data": np.concatenate([EEG_V, stim]),
        "ch_names": [*CH_NAMES, "stim"],
        "ch_types": [*CH_TYPES, "stim"],
        "sfreq": 1000,
        "highpass": 0.01,
        "lowpass": 100,
    } | changes
    return {key: value for key, value in entries.items() if value is not None}


@pytest.fixture
def path(tmp_path):
    return tmp_path / "raw_eeg_training.npy"


def read(path, channels="all"):
    return recordings.read_recording(path, "training", channels)


def write_and_read(path, channels="all", **kwargs):
    layout.write_npy_dict(path, content(**kwargs))
    return read(path, channels)


def trials(recording):
    return list(
        zip(recording.onsets.tolist(), recording.conditions.tolist(), strict=True)
    )


class TestNpy:
    @pytest.mark.parametrize("key", ["ch_type", "ch_types"])
    def test_reads_what_was_written(self, path, key):
        changes = {"ch_types": None, key: [*CH_TYPES, "stim"]}
        recording = write_and_read(path, **changes)
        assert recording.path == path
        assert recording.raw.ch_names == ["Fp1", "O1", "P3", "Oz"]
        assert recording.raw.info["sfreq"] == 1000
        np.testing.assert_array_equal(recording.raw.get_data(), EEG_V[[0, 1, 3, 4]])
        assert trials(recording) == TRIALS
        assert recording.left_out == {"targets": 1, "ignored": 0}
        assert recording.no_eeg == ("eog",)

    def test_reads_a_plain_pickle(self, path):
        path.write_bytes(pickle.dumps(content()))
        assert trials(read(path)) == TRIALS

    def test_reads_numpys_own_file(self, path):
        np.save(path, np.array(content(), dtype=object), allow_pickle=True)
        assert trials(read(path)) == TRIALS

    def test_stim_channel_may_be_any_row(self, path):
        order = [5, 0, 1, 2, 3, 4]
        entries = content()
        changes = {
            key: [entries[key][row] for row in order]
            for key in ("ch_names", "ch_types")
        }
        changes["raw_eeg_data"] = entries["raw_eeg_data"][order].astype(np.float32)
        recording = write_and_read(path, ("Oz",), **changes)
        assert trials(recording) == TRIALS
        np.testing.assert_allclose(recording.raw.get_data()[0], EEG_V[4], rtol=1e-6)

    @pytest.mark.parametrize(
        ("channels", "rows"),
        [
            ("official", [1, 3, 4]),
            ("all", [0, 1, 3, 4]),
            (("Oz", "Fp1"), [4, 0]),
            (["P3"], [3]),
        ],
    )
    def test_chooses_channels(self, path, channels, rows):
        raw = write_and_read(path, channels).raw
        assert raw.ch_names == [CH_NAMES[row] for row in rows]
        np.testing.assert_array_equal(raw.get_data(), EEG_V[rows])

    @pytest.mark.parametrize(
        ("triggers", "expected"),
        [
            ({0: 3, 10: 2}, [(0, 2), (10, 1)]),
            ({10: 3, 11: 3, 12: 1, 13: 1, 20: 1}, [(10, 2), (12, 0), (20, 0)]),
            ({10: 1, 11: 1, 12: 3}, [(10, 0), (12, 2)]),
            ({10: 2, 11: 2, 12: 2}, [(10, 1)]),
            # Held until the next one comes.
            (
                dict.fromkeys(range(20, 40), 3) | {k: 2 for k in range(40, 60)},
                [(20, 2), (40, 1)],
            ),
        ],
    )
    def test_every_onset_of_a_trigger_is_an_event(self, path, triggers, expected):
        recording = write_and_read(path, triggers=triggers)
        assert trials(recording) == expected
        stim = content(triggers)["raw_eeg_data"][-1:]
        raw = mne.io.RawArray(
            stim, mne.create_info(["STI"], 1000, "stim"), verbose="ERROR"
        )
        events = mne.find_events(
            raw, "STI", consecutive=True, initial_event=True, verbose="ERROR"
        )
        np.testing.assert_array_equal(recording.onsets, events[:, 0])
        np.testing.assert_array_equal(recording.conditions + 1, events[:, 2])

    def test_events_of_single_samples_are_those_of_mne_by_default(self, path):
        """As in the published recordings, where triggers have zeros between."""
        recording = write_and_read(path)
        stim = content()["raw_eeg_data"][-1:]
        info = mne.create_info(["STI"], 1000, "stim")
        raw = mne.io.RawArray(stim, info, verbose="ERROR")
        events = mne.find_events(raw, "STI", verbose="ERROR")[:, [0, 2]]
        expected = [(onset, k - 1) for onset, k in events.tolist() if k != TARGET]
        assert trials(recording) == expected

    def test_what_held_triggers_cannot_tell_is_noted(self, path):
        assert write_and_read(path).notes == ()
        held = dict.fromkeys(range(5, 15), 1) | dict.fromkeys(range(15, 60), 2)
        (note,) = write_and_read(path, triggers=held).notes
        assert note.startswith("1 change of trigger without 0 between")

    def test_ignores_triggers_that_are_no_images(self, path):
        layout.write_npy_dict(path, content(TRIGGERS | {12: 255, 13: 255, 50: 1}))
        rule = markers.MarkerRule(ignored=(1, 255))
        recording = recordings.read_recording(path, "training", "all", rule)
        assert trials(recording) == [(7, 2), (41, 2), (59, 1)]
        assert recording.left_out == {"targets": 1, "ignored": 3}

    def test_missing_values_matter_in_chosen_channels_only(self, path):
        data = content()["raw_eeg_data"]
        data[1, 5] = np.nan
        assert trials(write_and_read(path, ("Oz",), raw_eeg_data=data)) == TRIALS
        refuse(lambda: read(path, ("Oz", "O1")), path, "NaN", "channel O1")
        data[1, 5] = -np.inf
        layout.write_npy_dict(path, content(raw_eeg_data=data))
        refuse(lambda: read(path), path, "infinite", "channel O1")

    @pytest.mark.parametrize(
        ("changes", "words"),
        [
            ({"raw_eeg_data": None}, ["raw_eeg_data", "found the keys"]),
            ({"ch_names": None}, ["ch_names", "found the keys"]),
            ({"ch_types": None}, ["ch_types", "found the keys"]),
            ({"sfreq": None}, ["sfreq", "found the keys"]),
            ({"raw_eeg_data": [[1.0], [1.0, 2.0]]}, ["array of numbers", "list"]),
            ({"raw_eeg_data": np.array([["a"]])}, ["array of numbers", "<U1"]),
            ({"raw_eeg_data": np.ones((6, 2), complex)}, ["complex128"]),
            ({"raw_eeg_data": np.ones(6)}, ["(channel, sample)", "(6,)"]),
            ({"raw_eeg_data": np.ones((6, 0))}, ["(channel, sample)", "(6, 0)"]),
            ({"ch_names": ["O1", "stim"]}, ["6 ch_names", "found 2 and 6"]),
            ({"ch_types": ["eeg"]}, ["6 ch_names and ch_types", "found 6 and 1"]),
            ({"ch_names": 6}, ["ch_names", "list of str"]),
            ({"ch_names": ["O1", "O1", *"abc", "stim"]}, ["O1 twice"]),
            ({"ch_types": ["eeg"] * 6}, ["one channel of type stim", "found 0 in eeg"]),
            ({"ch_types": ["stim"] * 6}, ["one channel of type stim", "found 6"]),
            ({"ch_types": ["eog"] * 5 + ["stim"]}, ["EEG channels", "none"]),
            ({"sfreq": 0}, ["sfreq", "found 0"]),
            ({"sfreq": -1000.0}, ["sfreq", "found -1000.0"]),
            ({"sfreq": float("nan")}, ["sfreq", "found nan"]),
            ({"sfreq": "fast"}, ["sfreq", "found 'fast'"]),
            ({"sfreq": [1000, 1000]}, ["sfreq", "found [1000, 1000]"]),
            ({"triggers": {}}, ["image onsets, found none"]),
            ({"triggers": {9: TARGET}}, ["image onsets, found none"]),
            ({"triggers": {9: -4}}, ["integers from 0", "found -4"]),
            ({"triggers": {9: 1.5}}, ["integers from 0", "found 1.5"]),
            ({"triggers": {9: np.nan}}, ["integers from 0", "found nan"]),
            ({"triggers": {9: np.inf}}, ["integers from 0", "found inf"]),
            ({"triggers": {9: 1e300}}, ["integers from 0", "found 1e+300"]),
            (
                {"triggers": {9: 1, 10: 2}},
                ["2 samples apart", "found 1, 2 from sample 9"],
            ),
        ],
    )
    def test_refuses_entries(self, path, changes, words):
        refuse(lambda: write_and_read(path, **changes), path, *words)

    @pytest.mark.parametrize(
        ("channels", "words"),
        [
            (("Oz", "O9"), ["found no O9 among Fp1, O1, P3, Oz"]),
            (("stim",), ["found no stim"]),
            ("Official", ["found no Official"]),
            (("Oz", "Oz"), ["Oz twice"]),
            ((), ["found none"]),
        ],
    )
    def test_refuses_channels(self, path, channels, words):
        refuse(lambda: write_and_read(path, channels), path, *words)

    def test_refuses_without_official_channels(self, path):
        names = ["Fp1", "Cz", "EOG", "Fz", "T7", "stim"]
        refuse(
            lambda: write_and_read(path, "official", ch_names=names),
            path,
            "start with O or P",
            "Fp1, Cz, Fz, T7",
        )

    def test_refuses_a_missing_file(self, path):
        refuse(lambda: read(path), path, "No such file")

    @pytest.mark.parametrize("n_bytes", [0, 3, 100, 1000])
    def test_refuses_a_truncated_file(self, path, n_bytes):
        layout.write_npy_dict(path, content())
        path.write_bytes(path.read_bytes()[:n_bytes])
        found = "damaged or truncated" if n_bytes else "an empty file"
        refuse(lambda: read(path), path, found)

    def test_refuses_a_pickle_that_calls(self, path, tmp_path):
        class Call:
            def __reduce__(self):
                return os.mkdir, (str(tmp_path / "made"),)

        path.write_bytes(pickle.dumps(content(sfreq=Call())))
        refuse(lambda: read(path), path, "mkdir", "refused")
        assert not (tmp_path / "made").exists()


class TestBrainVision:
    CH_NAMES = ("Fp1", "O1", "Oz")
    EEG_UV = np.random.default_rng(1).standard_normal((3, 50), np.float32)
    MARKERS = (
        ("Stimulus", "S 12", 4),
        ("Response", "R  1", 9),
        ("Comment", "block 2", 10),
        ("Stimulus", f"S{TARGET}", 20),
        ("Stimulus", "S  2", 30),
    )

    @pytest.fixture
    def path(self, tmp_path):
        return tmp_path / "raw_eeg_training.vhdr"

    def write(self, path, markers=MARKERS, ch_names=CH_NAMES, eeg_uv=EEG_UV):
        brainvision.write(path, eeg_uv, ch_names, 250, markers)

    @pytest.mark.parametrize(
        ("channels", "rows"), [("official", [1, 2]), (("Oz", "Fp1"), [2, 0])]
    )
    def test_reads_what_was_written(self, path, channels, rows):
        self.write(path)
        recording = read(path, channels)
        assert recording.raw.info["sfreq"] == 250
        assert recording.raw.ch_names == [self.CH_NAMES[row] for row in rows]
        expected = self.EEG_UV[rows].astype(np.float64) * 1e-6
        np.testing.assert_allclose(recording.raw.get_data(), expected, rtol=1e-12)
        assert trials(recording) == [(4, 11), (30, 1)]
        assert recording.left_out == {"targets": 1, "other markers": 2, "ignored": 0}

    @pytest.mark.parametrize("markers", [(), MARKERS[1:4]])
    def test_refuses_no_onsets(self, path, markers):
        self.write(path, markers)
        refuse(lambda: read(path), path, "image onsets, found none")

    def test_refuses_two_images_at_once(self, path):
        self.write(path, (("Stimulus", "S 1", 4), ("Stimulus", "S 2", 4)))
        refuse(lambda: read(path), path, "one image at a time", "sample 4")

    def test_refuses_trigger_zero(self, path):
        self.write(path, (("Stimulus", "S 0", 4),))
        refuse(lambda: read(path), path, "from 1, found 0", "`ignore_markers=0`")

    def test_refuses_a_number_beyond_all(self, path):
        self.write(path, (("Stimulus", f"S{10**30}", 4),))
        refuse(lambda: read(path), path, "BrainVision", "numbers of images", 10**30)

    def test_refuses_missing_values(self, path):
        eeg_uv = self.EEG_UV.copy()
        eeg_uv[1, 3] = np.nan
        self.write(path, eeg_uv=eeg_uv)
        refuse(lambda: read(path), path, "NaN", "channel O1")

    def test_refuses_unknown_channels(self, path):
        self.write(path)
        refuse(lambda: read(path, ("O9",)), path, "found no O9")

    @pytest.mark.parametrize(
        ("suffix", "words"),
        [
            (".vhdr", "BrainVision recording"),
            (".vmrk", "markers in raw_eeg_training.vmrk, found no such file"),
            (".eeg", "samples in raw_eeg_training.eeg, found no such file"),
        ],
    )
    def test_refuses_a_missing_file(self, path, suffix, words):
        self.write(path)
        path.with_suffix(suffix).unlink()
        refuse(lambda: read(path), path, words)

    @pytest.mark.parametrize("content", [b"", b"\x00\xff" * 50, b"[Common Infos]\n"])
    def test_refuses_a_damaged_header(self, path, content):
        self.write(path)
        path.write_bytes(content)
        refuse(lambda: read(path), path, "expected a BrainVision recording")

    def test_markers_of_another_type_are_taken_or_listed(self, path):
        markers_there = [
            ("Event", "E  2", 4),
            ("Event", "S 99", 9),
            ("Event", "pause", 20),
            ("Response", "R  1", 30),
        ]
        self.write(path, markers_there)
        refuse(
            lambda: read(path),
            path,
            "markers of type Stimulus",
            "found 3 of type Event, 1 of type Response, such as E  2",
            "`marker_type`",
        )
        rule = markers.MarkerRule("event", (99,))
        recording = recordings.read_recording(path, "training", "all", rule)
        assert trials(recording) == [(4, 1)]
        assert recording.left_out == {"targets": 0, "other markers": 2, "ignored": 1}

    def test_channels_of_no_eeg_are_told(self, path):
        self.write(path, ch_names=("O1", "HEOG", "Photo"))
        recording = read(path)
        assert recording.raw.ch_names == ["O1"]
        assert recording.no_eeg == ("HEOG", "Photo")

    def test_known_marks_are_kept_for_epochs(self, path):
        self.write(
            path, (*self.MARKERS, ("New Segment", "", 25), ("Bad Interval", "x", 40))
        )
        found = read(path).raw.annotations
        marked = list(zip(found.description, found.onset * 250, strict=True))
        assert marked == [("BAD_break", 0), ("BAD_break", 25), ("BAD", 40)]


class TestFindSessions:
    @pytest.fixture
    def data_dir(self, tmp_path):
        for session in (10, 2):
            for partition in layout.PARTITIONS:
                path = raw_recordings.raw_path(tmp_path, session, partition)
                layout.write_npy_dict(path, content())
        return tmp_path

    def test_ascending_with_one_file_a_partition(self, data_dir):
        (data_dir / "raw_data" / "sub-01" / "notes").mkdir()
        (data_dir / "raw_data" / "sub-01" / "ses-pre").mkdir()
        found = recordings.find_sessions(data_dir, 1)
        assert [session.number for session in found] == [2, 10]
        for session in found:
            for partition in layout.PARTITIONS:
                path = raw_recordings.raw_path(data_dir, session.number, partition)
                assert session.files[partition] == (path,)
                recording = session.read(path, partition, "official")
                assert trials(recording) == TRIALS

    @pytest.mark.parametrize(
        ("folder", "subject"),
        [("sub-1", 1), ("sub-001", 1), ("sub-AB12", "AB12"), ("sub-0", "0")],
    )
    def test_folders_as_they_are_named(self, data_dir, folder, subject):
        raw = data_dir / "raw_data"
        (raw / "sub-01" / "ses-10").rename(raw / "sub-01" / "ses-pre")
        (raw / "sub-01").rename(raw / folder)
        found = recordings.find_sessions(data_dir, subject)
        assert [session.number for session in found] == [2, "pre"]
        assert layout.subjects_in(data_dir, "raw_data") == (subject,)
        choices = Choices(sessions=layout.parse_subjects("ses-pre"))
        assert choose_sessions(found, choices, "x") == found[1:]

    def test_subject_without_recordings(self, data_dir):
        assert recordings.find_sessions(data_dir, 2) == []

    def test_brainvision_beside_the_published_format(self, data_dir):
        path = raw_recordings.raw_path(data_dir, 2, "test")
        path.unlink()
        path = path.with_suffix(".vhdr")
        brainvision.write(path, np.ones((1, 9)), ["O1"], 250, [("Stimulus", "S1", 3)])
        session = recordings.find_sessions(data_dir, 1)[0]
        assert session.files["test"] == (path,)
        assert trials(session.read(path, "test", "all")) == [(3, 0)]

    def test_source_data_by_pattern(self, tmp_path):
        folder = tmp_path / "source_data" / "sub-01" / "ses-1"
        for partition in layout.PARTITIONS:
            path = folder / f"s1_{partition}_2020.vhdr"
            brainvision.write(
                path, np.ones((1, 9)), ["O1"], 250, [("Stimulus", "S1", 3)]
            )
            (folder / f"._s1_{partition}_2020.vhdr").write_bytes(b"macOS")
        (session,) = recordings.find_sessions(tmp_path, 1)
        assert session.number == 1
        assert [file.name for file in session.files["training"]] == [
            "s1_training_2020.vhdr"
        ]

    def test_refuses_a_missing_partition(self, data_dir):
        raw_recordings.raw_path(data_dir, 10, "test").unlink()
        refuse(
            lambda: recordings.find_sessions(data_dir, 1),
            "ses-10",
            "raw_eeg_test.npy",
            "found none among raw_eeg_training.npy",
        )

    def test_refuses_two_candidates(self, data_dir):
        path = raw_recordings.raw_path(data_dir, 2, "test")
        brainvision.write(path.with_suffix(".vhdr"), np.ones((1, 9)), ["O1"], 250)
        refuse(
            lambda: recordings.find_sessions(data_dir, 1),
            "ses-02",
            "one test recording",
            "found raw_eeg_test.npy, raw_eeg_test.vhdr",
        )

    def test_refuses_a_session_twice(self, data_dir):
        folder = data_dir / "raw_data" / "sub-01"
        shutil.copytree(folder / "ses-02", folder / "ses-2")
        refuse(lambda: recordings.find_sessions(data_dir, 1), "ses-02 and ses-2")
