import dataclasses
import os
import pickle
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from img2eeg_jax.data import layout
from img2eeg_jax.errors import InputError


def _load(path):
    """NumPy's own reader, as the oracle. It is safe here: the tests wrote the file."""
    return np.load(path, allow_pickle=True).item()


def _change(path, **changes):
    content = _load(path) | changes
    content = {key: value for key, value in content.items() if value is not None}
    np.save(path, np.array(content, dtype=object), allow_pickle=True)


def _refuses(call, *words):
    """Checks that the call gives one line that holds the words; returns it."""
    with pytest.raises(InputError) as caught:
        call()
    message = str(caught.value)
    assert "\n" not in message
    for word in words:
        assert str(word) in message
    return message


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("3", (3,)),
        ("1,3", (1, 3)),
        ("1-10", tuple(range(1, 11))),
        ("7, 1-3,2", (1, 2, 3, 7)),
    ],
)
def test_parse_subjects(text, expected):
    assert layout.parse_subjects(text) == expected


@pytest.mark.parametrize("text", ["", "a", "0", "-1", "3-1", "1,,2", "1.5", "1-2-3"])
def test_parse_subjects_refuses(text):
    _refuses(lambda: layout.parse_subjects(text), "1-10", repr(text))


def test_subject_name():
    assert layout.subject_name(3) == "sub-03"
    assert layout.subject_name(10) == "sub-10"


def test_image_set_is_the_sorted_walk_of_the_folders(tiny):
    image_set = layout.read_image_set(tiny)
    for partition, count in (("training", 15), ("test", 4)):
        folder = tiny / "image_set" / f"{partition}_images"
        walk = sorted(folder.glob("*/*"))
        assert list(image_set.files(partition)) == walk
        assert len(walk) == count
        assert list(image_set.concepts(partition)) == [p.parent.name for p in walk]


def test_hidden_files_and_notes_are_no_images(tiny):
    folder = next((tiny / "image_set" / "test_images").iterdir())
    (folder / "._x.jpg").write_bytes(b"")
    (folder / "notes.txt").write_text("")
    assert len(layout.read_image_set(tiny).test_files) == 4


def test_image_set_refuses_missing_metadata(tmp_path):
    path = tmp_path / "image_set" / "image_metadata.npy"
    _refuses(lambda: layout.read_image_set(tmp_path), path, "No such file")


def test_image_set_refuses_missing_key(tiny):
    path = layout.metadata_path(tiny)
    _change(path, test_img_files=None)
    _refuses(lambda: layout.read_image_set(tiny), path, "'test_img_files'")


def test_image_set_refuses_lists_of_different_length(tiny):
    path = layout.metadata_path(tiny)
    _change(path, test_img_files=_load(path)["test_img_files"][:-1])
    _refuses(lambda: layout.read_image_set(tiny), path, "found 4 and 3")


def test_image_set_refuses_unsorted_lists(tiny):
    path = layout.metadata_path(tiny)
    content = _load(path)
    content["train_img_files"][1:3] = content["train_img_files"][2:0:-1]
    _change(path, **content)
    _refuses(lambda: layout.read_image_set(tiny), path, "sorted order", "row 2")


def test_image_set_refuses_duplicates(tiny):
    path = layout.metadata_path(tiny)
    content = _load(path)
    for key in ("test_img_files", "test_img_concepts"):
        content[key][2] = content[key][1]
    _change(path, **content)
    _refuses(lambda: layout.read_image_set(tiny), path, "duplicates", "row 2")


def test_image_set_refuses_paths_that_leave_the_folder(tiny):
    path = layout.metadata_path(tiny)
    files = _load(path)["test_img_files"]
    _change(path, test_img_files=["../" + files[0], *files[1:]])
    _refuses(lambda: layout.read_image_set(tiny), path, "plain", "row 0")


def test_image_set_refuses_missing_image(tiny):
    gone = layout.read_image_set(tiny).training_files[7]
    gone.unlink()
    _refuses(lambda: layout.read_image_set(tiny), gone, "no such file")


def test_image_set_refuses_image_that_is_not_listed(tiny):
    folder = layout.read_image_set(tiny).training_files[7].parent
    (folder / "extra.PNG").write_bytes(b"")
    _refuses(
        lambda: layout.read_image_set(tiny), "expected the 15", "found 16", "extra.PNG"
    )


def test_read_eeg_equals_numpy(tiny):
    for subject in (1, 2):
        eeg = layout.read_eeg(tiny, subject, "test")
        expected = _load(layout.eeg_path(tiny, subject, "test"))
        np.testing.assert_array_equal(eeg.eeg, expected["preprocessed_eeg_data"])
        assert list(eeg.ch_names) == expected["ch_names"]
        np.testing.assert_array_equal(eeg.times_s, expected["times"])
        assert eeg.eeg.shape == (4, 6, 17, 100)
        assert (eeg.eeg.dtype, eeg.times_s.dtype) == (np.float32, np.float64)


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
@pytest.mark.parametrize("dtype", ["<f8", ">f8", "<f4"])
def test_read_eeg_from_a_plain_pickle(tiny, protocol, dtype):
    path = layout.eeg_path(tiny, 1, "test")
    content = _load(path)
    expected = content["preprocessed_eeg_data"]
    content["preprocessed_eeg_data"] = expected.astype(dtype)
    content["ch_names"] = np.array(content["ch_names"])
    path.write_bytes(pickle.dumps(content, protocol))
    np.testing.assert_array_equal(layout.read_eeg(tiny, 1, "test").eeg, expected)


def test_read_eeg_of_both_numpy_spellings(tiny):
    path = layout.eeg_path(tiny, 1, "test")
    content = _load(path)
    new = pickle.dumps(content, 2)
    old = new.replace(b"numpy._core.multiarray", b"numpy.core.multiarray")
    assert old != new
    path.write_bytes(old)
    expected = content["preprocessed_eeg_data"]
    np.testing.assert_array_equal(layout.read_eeg(tiny, 1, "test").eeg, expected)


def test_read_eeg_takes_the_last_250_of_300_times(tiny):
    path = layout.eeg_path(tiny, 1, "test")
    times = np.arange(300) / 250 - 0.2
    data = np.random.default_rng(0).normal(size=(4, 2, 17, 250))
    _change(path, preprocessed_eeg_data=data, times=times)
    np.testing.assert_array_equal(layout.read_eeg(tiny, 1, "test").times_s, times[50:])


class _Malicious:
    def __init__(self, folder):
        self.folder = folder

    def __reduce__(self):
        return os.mkdir, (str(self.folder),)


@pytest.mark.parametrize("as_npy", [True, False])
def test_malicious_pickle_does_not_run(tiny, tmp_path, as_npy):
    path = layout.eeg_path(tiny, 1, "test")
    trace = tmp_path / "trace"
    content = _load(path) | {"note": _Malicious(trace)}
    if as_npy:
        np.save(path, np.array(content, dtype=object), allow_pickle=True)
    else:
        path.write_bytes(pickle.dumps(content))
    _refuses(lambda: layout.read_eeg(tiny, 1, "test"), path, f"{os.name}.mkdir")
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
        _refuses(lambda: layout.read_npy_dict(path), path)


@pytest.mark.parametrize("keep", [0, 3, 50, 300, 5000, -1])
def test_truncated_eeg(tiny, keep):
    path = layout.eeg_path(tiny, 1, "test")
    path.write_bytes(path.read_bytes()[:keep])
    _refuses(lambda: layout.read_eeg(tiny, 1, "test"), path, "truncated")


def test_array_instead_of_dict(tiny):
    path = layout.eeg_path(tiny, 1, "test")
    np.save(path, np.zeros(3))
    _refuses(lambda: layout.read_eeg(tiny, 1, "test"), path, "float64")
    np.save(path, np.array([1, "a"], dtype=object))
    _refuses(lambda: layout.read_eeg(tiny, 1, "test"), path, "found ndarray")


@pytest.mark.parametrize("value", [np.nan, np.inf, 1e300])
def test_eeg_that_is_not_finite(tiny, value):
    path = layout.eeg_path(tiny, 2, "training")
    data = _load(path)["preprocessed_eeg_data"].astype(np.float64)
    data[6, 1, 3, 50] = data[9, 0, 0, 0] = value
    _change(path, preprocessed_eeg_data=data)
    _refuses(
        lambda: layout.read_eeg(tiny, 2, "training"), path, "2 of 15", "image row 6"
    )


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"preprocessed_eeg_data": None}, ["'preprocessed_eeg_data'", "ch_names"]),
        ({"ch_names": None}, ["'ch_names'"]),
        ({"times": None}, ["'times'"]),
        ({"preprocessed_eeg_data": np.zeros((4, 17, 100))}, ["(4, 17, 100)"]),
        ({"preprocessed_eeg_data": np.zeros((4, 2, 17, 100), complex)}, ["complex"]),
        ({"preprocessed_eeg_data": "abc"}, ["str"]),
        ({"preprocessed_eeg_data": np.zeros((4, 2, 17, 99))}, ["99", "(100,)"]),
        ({"preprocessed_eeg_data": np.zeros((4, 2, 16, 100))}, ["16", "found 17"]),
        ({"ch_names": ["Oz"] * 17}, ["1 different"]),
        ({"ch_names": list(range(17))}, ["list of str"]),
        ({"times": np.zeros(100)}, ["ascending"]),
        ({"times": np.full(100, np.nan)}, ["ascending"]),
        ({"times": "x"}, ["ascending"]),
    ],
)
def test_eeg_that_does_not_fit(tiny, changes, words):
    path = layout.eeg_path(tiny, 1, "test")
    _change(path, **changes)
    _refuses(lambda: layout.read_eeg(tiny, 1, "test"), path, *words)


def test_unknown_subject_and_partition(tiny):
    folder = tiny / "preprocessed_data" / "sub-07"
    _refuses(lambda: layout.read_eeg(tiny, 7, "test"), folder, "sub-01, sub-02")
    _refuses(lambda: layout.read_eeg(tiny, 1, "val"), "training, test", "'val'")


def test_missing_eeg_file(tiny):
    path = layout.eeg_path(tiny, 1, "test")
    path.unlink()
    _refuses(lambda: layout.read_eeg(tiny, 1, "test"), path, "No such file")


def test_check_alignment(tiny):
    image_set = layout.read_image_set(tiny)
    eeg = layout.read_eeg(tiny, 1, "training")
    layout.check_alignment(image_set, eeg, "training", "file.npy")
    short = dataclasses.replace(eeg, eeg=eeg.eeg[:-1])
    _refuses(
        lambda: layout.check_alignment(image_set, short, "training", "file.npy"),
        "file.npy",
        "expected 15",
        "found 14",
    )


def test_round_trip_is_atomic(tiny, snapshot, monkeypatch):
    eeg = layout.read_eeg(tiny, 1, "test")
    doubled = dataclasses.replace(eeg, eeg=eeg.eeg * 2)
    before = snapshot(tiny)

    def fail(*args):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", fail)
        with pytest.raises(KeyboardInterrupt):
            layout.write_eeg(tiny, 1, "test", doubled)
    assert snapshot(tiny) == before
    layout.write_eeg(tiny, 1, "test", doubled)
    again = layout.read_eeg(tiny, 1, "test")
    np.testing.assert_array_equal(again.eeg, doubled.eeg)
    assert again.ch_names == eeg.ch_names
    assert set(snapshot(tiny)) == set(before)


@pytest.mark.parametrize("mode", ["RGB", "L", "P", "RGBA", "CMYK"])
def test_read_image(tmp_path, mode):
    pixels = np.random.default_rng(0).integers(0, 256, (40, 60, 3), np.uint8)
    path = tmp_path / ("x.tif" if mode == "CMYK" else "x.png")
    Image.fromarray(pixels).convert(mode).save(path)
    image = layout.read_image(path, 24)
    # The order that the published models were trained with: RGB first, then resize.
    expected = Image.open(path).convert("RGB").resize((24, 24), Image.BILINEAR)
    assert (image.shape, image.dtype) == ((24, 24, 3), np.uint8)
    np.testing.assert_array_equal(image, np.asarray(expected))


def test_read_image_antialiases(tmp_path):
    path = tmp_path / "x.png"
    stripes = np.zeros((64, 64, 3), np.uint8)
    stripes[:, ::2] = 255
    Image.fromarray(stripes).save(path)
    assert np.ptp(layout.read_image(path, 16)[2:-2, 2:-2].astype(int)) < 10


@pytest.mark.parametrize("keep", [0, 10, 500])
def test_unreadable_image(tiny, keep):
    path = layout.read_image_set(tiny).test_files[0]
    path.write_bytes(path.read_bytes()[:keep])
    _refuses(lambda: layout.read_image(path, 16), path, "readable image")


def test_missing_image(tmp_path):
    _refuses(lambda: layout.read_image(tmp_path / "x.jpg", 16), "x.jpg", "No such file")


def test_layout_needs_neither_tensorflow_nor_mne():
    code = (
        "import sys; from img2eeg_jax.data import layout;"
        "assert not {'tensorflow', 'mne'} & set(sys.modules)"
    )
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    subprocess.run([sys.executable, "-c", code], check=True, env=environment)


def test_n170_recordings(n170_dir):
    image_set = layout.read_image_set(n170_dir)
    for partition, shape in (("training", (76, 9, 4, 100)), ("test", (20, 18, 4, 100))):
        path = layout.eeg_path(n170_dir, 1, partition)
        eeg = layout.read_eeg(n170_dir, 1, partition)
        expected = _load(path)
        assert eeg.eeg.shape == shape
        assert eeg.eeg.dtype == np.float32
        assert expected["preprocessed_eeg_data"].dtype == np.float64
        np.testing.assert_allclose(
            eeg.eeg, expected["preprocessed_eeg_data"], rtol=1e-6
        )
        layout.check_alignment(image_set, eeg, partition, path)
        assert eeg.ch_names == ("TP9", "AF7", "AF8", "TP10")
    assert eeg.times_s[0] == -0.19921875
    # The first samples of the test file.
    np.testing.assert_allclose(
        eeg.eeg[0, 0, 0, :3], [-3.62199164e-06, 4.21898473e-06, 1.17271733e-05]
    )
    assert image_set.test_files[0].name == "Annie_2.jpg"
    assert layout.read_image(image_set.test_files[0], 64).shape == (64, 64, 3)
