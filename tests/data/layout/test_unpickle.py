"""Files of strangers: what is read equals NumPy's reading, and nothing is run."""

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
    refuse(lambda: layout.read_eeg(tiny, 1, "test"), path, "truncated")


def test_array_instead_of_dict(tiny):
    path = layout.eeg_path(tiny, 1, "test")
    np.save(path, np.zeros(3))
    refuse(lambda: layout.read_eeg(tiny, 1, "test"), path, "float64")
    np.save(path, np.array([1, "a"], dtype=object))
    refuse(lambda: layout.read_eeg(tiny, 1, "test"), path, "found ndarray")
