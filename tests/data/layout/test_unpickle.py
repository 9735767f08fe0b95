"""Files of strangers: what is read equals NumPy's reading, and nothing is run."""

import collections
import datetime
import gzip
import io
import os
import pickle

import numpy as np
import pytest

from helpers import npy
from helpers.refusing import refuse
from img2eeg_jax.data import layout


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
@pytest.mark.parametrize("dtype", ["<f8", ">f8", "<f4"])
def test_read_eeg_from_a_plain_pickle(tiny, protocol, dtype):
    path = layout.eeg_path(tiny, 1, "test")
    content = npy.load(path)
    expected = content["preprocessed_eeg_data"]
    content["preprocessed_eeg_data"] = expected.astype(dtype)
    content["ch_names"] = np.array(content["ch_names"])
    path.write_bytes(pickle.dumps(content, protocol))
    np.testing.assert_array_equal(layout.read_eeg(tiny, 1, "test").eeg, expected)


def test_read_eeg_of_both_numpy_spellings(tiny):
    path = layout.eeg_path(tiny, 1, "test")
    content = npy.load(path)
    new = pickle.dumps(content, 2)
    old = new.replace(b"numpy._core.multiarray", b"numpy.core.multiarray")
    assert old != new
    path.write_bytes(old)
    expected = content["preprocessed_eeg_data"]
    np.testing.assert_array_equal(layout.read_eeg(tiny, 1, "test").eeg, expected)


@pytest.mark.parametrize("is_npy", [True, False])
@pytest.mark.parametrize("as_array", [tuple, np.array])
def test_pickles_of_python_2(tiny, is_npy, as_array):
    """Text and names as bytes, in lists and in arrays; beyond ASCII, too."""
    path = layout.eeg_path(tiny, 1, "test")
    expected = npy.load(path)
    names = [f"{name}é" for name in expected["ch_names"]]
    encoded = [name.encode() for name in names]
    content = expected | {"ch_names": as_array(encoded), "sfreq": np.float64(100)}
    data = npy.pickled_by_python2(np.array(content, object) if is_npy else content)
    header = io.BytesIO()
    np.save(header, np.array({}, object), allow_pickle=True)
    start = header.getvalue().index(b"\n") + 1
    path.write_bytes(header.getvalue()[:start] * is_npy + data)
    found = layout.read_eeg(tiny, 1, "test")
    np.testing.assert_array_equal(found.eeg, expected["preprocessed_eeg_data"])
    assert list(found.axes.ch_names) == names


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_archives_of_arrays(tiny, save):
    """`numpy.savez` instead of `numpy.save`, with the dict's entries or the dict."""
    path = layout.eeg_path(tiny, 1, "test")
    expected = layout.read_eeg(tiny, 1, "test")
    content = npy.load(path)
    for positional, named in (
        ([], content),
        ([], content | {"ch_names": np.array(content["ch_names"], object)}),
        ([np.array(content, object)], {}),
    ):
        with open(path, "wb") as file:
            save(file, *positional, **named)
        found = layout.read_eeg(tiny, 1, "test")
        assert found.axes == expected.axes
        np.testing.assert_array_equal(found.eeg, expected.eeg)


def test_an_archive_runs_nothing_either(tiny, tmp_path):
    path = layout.eeg_path(tiny, 1, "test")
    with open(path, "wb") as file:
        np.savez(file, note=np.array(_Malicious(tmp_path / "trace"), object))
    refuse(
        lambda: layout.read_eeg(tiny, 1, "test"), f"{path}: note", f"{os.name}.mkdir"
    )
    assert not (tmp_path / "trace").exists()


@pytest.mark.parametrize(
    ("data", "kind"),
    [
        (b"version https://git-lfs.github.com/spec/v1\noid ", "Git LFS pointer"),
        (b"\n<!DOCTYPE html><html>Sign in", "found a web page"),
        (b"\x89HDF\r\n\x1a\n\0\0\0", "found an HDF5 file"),
        (b"MATLAB 5.0 MAT-file, Platform: GLNXA64", "found a MATLAB file"),
        (gzip.compress(b"x", mtime=0), "found a gzip archive"),
        (b'{"ch_names": ["Oz"]}', "found JSON"),
        (b"", "found an empty file"),
    ],
)
def test_what_another_file_is(tmp_path, data, kind):
    """ "Damaged or truncated" would send the user to look for the wrong fault."""
    (tmp_path / "x.npy").write_bytes(data)
    found = refuse(lambda: layout.read_npy_dict(tmp_path / "x.npy"), kind)
    assert "truncated" not in found


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_plain_values_beside_arrays(tmp_path, protocol):
    """What acquisition programs keep with a recording; nothing of it runs anything."""
    content = collections.OrderedDict(
        eeg=np.arange(3),
        meas_date=datetime.datetime(2024, 2, 29, 12, tzinfo=datetime.UTC),
        length=datetime.timedelta(seconds=2),
        bad={"Oz", "O1"},
        kinds=frozenset([1, 2]),
    )
    (tmp_path / "x.npy").write_bytes(pickle.dumps(content, protocol))
    found = layout.read_npy_dict(tmp_path / "x.npy")
    assert list(found) == list(content)
    np.testing.assert_array_equal(found.pop("eeg"), content.pop("eeg"))
    assert found == dict(content)


class _Malicious:
    def __init__(self, folder):
        self.folder = folder

    def __reduce__(self):
        return os.mkdir, (str(self.folder),)


@pytest.mark.parametrize("as_npy", [True, False])
def test_malicious_pickle_does_not_run(tiny, tmp_path, as_npy):
    path = layout.eeg_path(tiny, 1, "test")
    trace = tmp_path / "trace"
    content = npy.load(path) | {"note": _Malicious(trace)}
    if as_npy:
        np.save(path, np.array(content, dtype=object), allow_pickle=True)
    else:
        path.write_bytes(pickle.dumps(content))
    refuse(lambda: layout.read_eeg(tiny, 1, "test"), path, f"{os.name}.mkdir")
    assert not trace.exists()
    # The same file would have run it, so the test can fail.
    np.load(path, allow_pickle=True)
    assert trace.exists()


def test_pickle_may_not_call_ndarray_or_choose_a_codec(tmp_path):
    """Both are NumPy's or Python's own names; called freely they do more than read."""
    path = tmp_path / "x.npy"
    for module, name, arguments in (
        ("numpy", "ndarray", "(I1\nS'O'\nt"),
        ("_codecs", "encode", "(S'x'\nS'rot13'\nt"),
        ("numpy", "load", "(S'x'\nt"),
    ):
        path.write_bytes(f"c{module}\n{name}\n{arguments}R.".encode())
        refuse(lambda: layout.read_npy_dict(path), path)


@pytest.mark.parametrize("keep", [0, 3, 50, 300, 5000, -1])
def test_truncated_eeg(tiny, keep):
    path = layout.eeg_path(tiny, 1, "test")
    path.write_bytes(path.read_bytes()[:keep])
    refuse(
        lambda: layout.read_eeg(tiny, 1, "test"),
        path,
        "found damaged or trunc" if keep else "empty",
    )


def test_array_instead_of_dict(tiny):
    path = layout.eeg_path(tiny, 1, "test")
    np.save(path, np.zeros(3))
    refuse(lambda: layout.read_eeg(tiny, 1, "test"), path, "float64 and shape (3,)")
    np.save(path, np.array([1, "a"], dtype=object))
    refuse(lambda: layout.read_eeg(tiny, 1, "test"), path, "found ndarray")
