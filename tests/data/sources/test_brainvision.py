"""BrainVision files that were renamed, or written by other recorders."""

import numpy as np
import pytest

from helpers import brainvision as written
from helpers.refusing import refuse
from img2eeg_jax.data.sources import brainvision
from img2eeg_jax.data.sources.markers import Marker

EEG_UV = np.random.default_rng(0).standard_normal((2, 40), np.float32)
MARKERS = [Marker("Stimulus", "S 12", 4, 1), Marker("Comment", "Müdigkeit", 9, 1)]


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "café" / "old.vhdr"
    of_text = [(marker.kind, marker.name, marker.sample) for marker in MARKERS]
    written.write(path, EEG_UV, ["O1", "O2"], 250, of_text)
    return path


def edit(path, old, new, encoding="utf-8"):
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_bytes(text.replace(old, new).encode(encoding))


def check(path, atol=1e-12):
    """Checks samples and markers; the first marker is that of the segment."""
    raw = brainvision.read_raw(path)
    np.testing.assert_allclose(raw.get_data(), EEG_UV * 1e-6, rtol=1e-6, atol=atol)
    assert brainvision.read_markers(path)[1:] == MARKERS
    assert len(brainvision.companions(path)) == 2


def rename(path, stem="new", suffixes=(".vhdr", ".vmrk", ".eeg")):
    """Renames files as a user does: the header names the old ones."""
    for suffix in suffixes:
        path.with_suffix(suffix).rename(path.with_name(stem + suffix))
    return path.with_name(f"{stem}.vhdr")


@pytest.mark.parametrize("stem", ["new", "raw.eeg.2", "Zo\u0308e 100%"])
def test_renamed_on_disk(path, stem):
    check(rename(path, stem))


def test_header_is_right_where_both_are_there(path):
    new = rename(path, suffixes=(".vhdr",))
    new.with_suffix(".eeg").write_bytes(b"")
    check(new)


@pytest.mark.parametrize(
    ("old", "new", "encoding"),
    [
        # The other of Unicode's forms of é, and of letters' cases.
        ("DataFile=old.eeg", "DataFile=OLD.EEG", "utf-8"),
        ("DataFile=old.eeg", "DataFile=C:\\data\\old.eeg", "utf-8"),
        ("DataFile=old.eeg", "DataFile=$b.eeg", "utf-8"),
        ("MarkerFile=old.vmrk", "MarkerFile = Old.vmrk ", "utf-8"),
        ("Codepage=UTF-8\n", "", "latin-1"),
        ("Codepage=UTF-8", "Codepage=ANSI", "cp1252"),
        ("\n", "\r\n", "utf-8"),
        # Greek, spelled out, empty and left out.
        ("µV", "\u03bcV", "utf-8"),
        ("µV", "UV", "utf-8"),
        ("µV", "microvolts", "utf-8"),
        (",µV", ",", "utf-8"),
        (",µV", "", "utf-8"),
    ],
)
def test_headers_that_mean_the_same(path, old, new, encoding):
    edit(path, old, new, encoding)
    check(path)


def test_forms_of_unicode(path):
    new = rename(path, "cafe\u0301")
    edit(new, "=old", "=caf\u00e9")
    check(new)


def test_markers_in_latin_1(path):
    edit(path.with_suffix(".vmrk"), "Codepage=UTF-8", "Codepage=ANSI", "cp1252")
    check(path)


def test_markers_beyond_the_end_are_kept(path):
    """MNE would leave them out, and nobody would count them."""
    edit(path.with_suffix(".vmrk"), "S 12,5,", "S 12,500,")
    assert brainvision.read_markers(path)[1].sample == 499


@pytest.mark.parametrize("key", ["SamplingInterval", "DataFile"])
def test_header_without_what_it_needs(path, key):
    edit(path, f"{key}=", "X=")
    refuse(lambda: brainvision.read_raw(path), path, f"a header without {key}")


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("Channels=2", "Channels=3", "3 channels in [Channel Infos], found 2"),
        ("Channels=2", "Channels=two", "NumberOfChannels above 0, found two"),
        ("[Channel Infos]", "[Channels]", "2 channels in [Channel Infos], found 0"),
        ("Interval=4000", "Interval=0", "SamplingInterval above 0, found 0"),
        ("O2,,1,", "O2,,x,", "resolution of O2 above 0, found x"),
        ("=O2,", "=O1,", "channels of different names, found O1 twice"),
    ],
)
def test_damaged_headers_are_told_in_their_own_terms(path, old, new, words):
    edit(path, old, new)
    refuse(lambda: brainvision.read_raw(path), path, words)


def test_names_both_files_that_are_missing(path):
    new = rename(path, suffixes=(".vhdr",))
    for suffix, read in ((".eeg", "read_raw"), (".vmrk", "read_markers")):
        path.with_suffix(suffix).unlink()
        words = f"in old{suffix} or new{suffix}, found no such file"
        refuse(lambda read=read: getattr(brainvision, read)(new), new, words)


@pytest.mark.parametrize("place", ["x", ""])
def test_marker_without_a_sample(path, place):
    vmrk = path.with_suffix(".vmrk")
    edit(vmrk, "S 12,5,", f"S 12,{place},")
    refuse(lambda: brainvision.read_markers(path), vmrk, "sample's number in Mk2")


def test_no_file_of_markers(path):
    vmrk = path.with_suffix(".vmrk")
    vmrk.write_bytes(b"x")
    refuse(lambda: brainvision.read_markers(path), vmrk, "no [Marker Infos]")
