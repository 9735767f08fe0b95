import dataclasses
import json
import os
import subprocess
import sys

import numpy as np
import pytest

from helpers import npy
from helpers.refusing import refuse
from img2eeg_jax import axes
from img2eeg_jax.data import layout


def test_read_eeg_equals_numpy(tiny):
    for subject in (1, 2):
        eeg = layout.read_eeg(tiny, subject, "test")
        expected = npy.load(layout.eeg_path(tiny, subject, "test"))
        np.testing.assert_array_equal(eeg.eeg, expected["preprocessed_eeg_data"])
        assert list(eeg.axes.ch_names) == expected["ch_names"]
        np.testing.assert_array_equal(eeg.axes.times_s, expected["times"])
        assert eeg.eeg.shape == (4, 6, 17, 100)
        assert (eeg.eeg.dtype, eeg.axes.times_s.dtype) == (np.float32, np.float64)


def test_read_eeg_takes_the_last_250_of_300_times(tiny):
    path = layout.eeg_path(tiny, 1, "test")
    times = np.arange(300) / 250 - 0.2
    data = np.random.default_rng(0).normal(size=(4, 2, 17, 250))
    npy.change(path, preprocessed_eeg_data=data, times=times)
    times_s = layout.read_eeg(tiny, 1, "test").axes.times_s
    np.testing.assert_array_equal(times_s, times[50:])


@pytest.mark.parametrize("value", [np.nan, np.inf, 1e300])
def test_eeg_that_is_not_finite(tiny, value):
    path = layout.eeg_path(tiny, 2, "training")
    data = npy.load(path)["preprocessed_eeg_data"].astype(np.float64)
    data[6, 1, 3, 50] = data[9, 0, 0, 0] = value
    npy.change(path, preprocessed_eeg_data=data)
    refuse(lambda: layout.read_eeg(tiny, 2, "training"), path, "2 of 15", "image row 6")


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
    npy.change(path, **changes)
    refuse(lambda: layout.read_eeg(tiny, 1, "test"), path, *words)


def test_unknown_subject_and_partition(tiny):
    folder = tiny / "preprocessed_data" / "sub-07"
    refuse(lambda: layout.read_eeg(tiny, 7, "test"), folder, "sub-01, sub-02")
    refuse(lambda: layout.read_eeg(tiny, 1, "val"), "training, test", "'val'")


def test_missing_eeg_file(tiny):
    path = layout.eeg_path(tiny, 1, "test")
    path.unlink()
    refuse(lambda: layout.read_eeg(tiny, 1, "test"), path, "No such file")


def test_check_alignment(tiny):
    image_set = layout.read_image_set(tiny)
    eeg = layout.read_eeg(tiny, 1, "training")
    layout.check_alignment(image_set, eeg, "training", "file.npy")
    short = dataclasses.replace(eeg, eeg=eeg.eeg[:-1])
    refuse(
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
    assert again.axes == eeg.axes
    assert set(snapshot(tiny)) == set(before)


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
        expected = npy.load(path)
        assert eeg.eeg.shape == shape
        assert eeg.eeg.dtype == np.float32
        assert expected["preprocessed_eeg_data"].dtype == np.float64
        np.testing.assert_allclose(
            eeg.eeg, expected["preprocessed_eeg_data"], rtol=1e-6
        )
        layout.check_alignment(image_set, eeg, partition, path)
        assert eeg.axes.ch_names == ("TP9", "AF7", "AF8", "TP10")
    assert eeg.axes.times_s[0] == -0.19921875
    # The first samples of the test file.
    np.testing.assert_allclose(
        eeg.eeg[0, 0, 0, :3], [-3.62199164e-06, 4.21898473e-06, 1.17271733e-05]
    )
    assert image_set.test_files[0].name == "Annie_2.jpg"
    assert layout.read_image(image_set.test_files[0], 64).shape == (64, 64, 3)


class TestUnit:
    def test_simulated_eeg_is_in_volts(self, tiny):
        assert layout.is_simulated(tiny)
        for partition in layout.PARTITIONS:
            assert layout.read_eeg(tiny, 1, partition).axes.unit == axes.VOLTS

    @pytest.mark.parametrize(
        ("recorded", "expected"),
        [
            ("V", axes.VOLTS),
            ("whitened, no unit", axes.WHITENED),
            ("furlong", axes.UNKNOWN),
            (None, axes.UNKNOWN),
        ],
    )
    def test_the_record_tells(self, tiny, recorded, expected):
        record = {} if recorded is None else {"unit": recorded}
        layout.record_path(tiny, 1).write_text(json.dumps(record))
        assert layout.eeg_unit(tiny, 1) == expected
        both = [layout.read_eeg(tiny, 1, name).axes for name in layout.PARTITIONS]
        assert both[0].unit == expected
        assert both[0] == both[1]
        # The record is of one subject.
        assert layout.eeg_unit(tiny, 2) == axes.VOLTS

    def test_of_eeg_made_elsewhere_none_is_known(self, tiny):
        (tiny / "synthetic.json").unlink()
        assert not layout.is_simulated(tiny)
        assert layout.eeg_unit(tiny, 1) == axes.UNKNOWN

    @pytest.mark.parametrize("text", ["{", "[1]", ""])
    def test_damaged_record(self, tiny, text):
        path = layout.record_path(tiny, 1)
        path.write_text(text)
        expected = f"{path}: expected the record of a preprocessing, found"
        refuse(lambda: layout.eeg_unit(tiny, 1), expected)
        refuse(lambda: layout.read_eeg(tiny, 1, "test"), expected)


def test_image_list_of_the_record_is_compared(tiny):
    image_set = layout.read_image_set(tiny)
    path = layout.record_path(tiny, 1)
    layout.check_image_list(image_set, 1)
    for digest in (layout.image_list_digest(image_set), None):
        record = {} if digest is None else {"image_list_sha256": digest}
        path.write_text(json.dumps(record))
        layout.check_image_list(image_set, 1)
    path.write_text(json.dumps({"image_list_sha256": "0" * 64}))
    refuse(
        lambda: layout.check_image_list(image_set, 1),
        path,
        "the list of images has changed",
        "with `overwrite`",
    )


def test_noise_free_response_of_other_data_sets(tiny):
    assert layout.noise_free_response(tiny, 1, "test").shape == (4, 17, 100)
    (tiny / "synthetic.json").unlink()
    assert layout.noise_free_response(tiny, 1, "test") is None


def test_noise_free_response_with_a_wrong_key(tiny):
    path = layout.noise_free_path(tiny, 1, "test")
    layout.write_npy_dict(path, {"other": 1})
    refuse(
        lambda: layout.noise_free_response(tiny, 1, "test"),
        path,
        "the key 'noise_free_eeg_data'",
        "found the keys other",
    )
