"""Who is trained when and where; what training does is faked."""

import pathlib
import threading

import jax
import pytest

from img2eeg_jax.errors import InputError, StoppedBySignal
from img2eeg_jax.training import subjects

FOLDERS = [pathlib.Path(f"sub-{i:02}") for i in (1, 2, 3, 4, 5)]


@pytest.mark.parametrize(
    ("chosen", "n_subjects", "expected"),
    [
        ("auto", 1, "one_by_one"),
        ("vmapped", 1, "one_by_one"),
        ("side_by_side", 1, "one_by_one"),
        ("shared_backbone", 1, "shared_backbone"),
        # Tests have four devices.
        ("auto", 2, "side_by_side"),
        ("one_by_one", 2, "one_by_one"),
        ("vmapped", 2, "vmapped"),
        ("shared_backbone", 2, "shared_backbone"),
    ],
)
def test_mode(chosen, n_subjects, expected):
    assert subjects.mode(chosen, n_subjects) == expected


def test_auto_on_one_device(monkeypatch):
    monkeypatch.setattr(jax, "device_count", lambda: 1)
    assert subjects.mode("auto", 2) == "one_by_one"


class Log:
    """Notes what is trained: (folders, devices, number of networks, is first).

    Attributes:
      calls: the notes.
      errors: folder → what its training ends with.
    """

    def __init__(self, errors=()):
        self.calls = []
        self.errors = dict(errors)

    def __call__(self, folders, parallel, is_first):
        note = [*folders], parallel.devices, parallel.n_subjects, is_first
        self.calls.append(note)
        for folder in folders:
            if folder in self.errors:
                raise self.errors[folder]


@pytest.mark.parametrize(("how", "n_networks"), [("vmapped", 5), ("other", None)])
def test_together(how, n_networks):
    log = Log()
    how = "shared_backbone" if how == "other" else how
    subjects.train_all(how, FOLDERS, log)
    assert log.calls == [(FOLDERS, tuple(jax.devices()), n_networks, True)]


def test_one_by_one_on_all_devices():
    log = Log()
    subjects.train_all("one_by_one", FOLDERS, log)
    devices = tuple(jax.devices())
    assert log.calls == [([folder], devices, None, True) for folder in FOLDERS]


@pytest.mark.parametrize("how", ["one_by_one", "side_by_side"])
def test_one_that_fails_does_not_keep_others_back(how):
    log = Log({FOLDERS[1]: InputError("damaged")})
    with pytest.raises(InputError, match=r"^damaged$"):
        subjects.train_all(how, FOLDERS, log)
    assert sorted(folder for (folder,), *_ in log.calls) == FOLDERS


def test_side_by_side_tells_an_error_rather_than_a_stop():
    log = Log({FOLDERS[0]: StoppedBySignal("stopped"), FOLDERS[3]: InputError("bad")})
    with pytest.raises(InputError, match=r"^bad$"):
        subjects.train_all("side_by_side", FOLDERS, log)


def test_side_by_side_tells_that_one_has_saved():
    unsaved = StoppedBySignal("none", has_saved=False)
    log = Log({FOLDERS[0]: unsaved, FOLDERS[3]: StoppedBySignal("saved")})
    with pytest.raises(StoppedBySignal, match=r"^saved$"):
        subjects.train_all("side_by_side", FOLDERS, log)


def test_a_stop_ends_one_by_one():
    log = Log({FOLDERS[1]: StoppedBySignal("stopped")})
    with pytest.raises(StoppedBySignal):
        subjects.train_all("one_by_one", FOLDERS, log)
    assert len(log.calls) == 2


@pytest.mark.parametrize("n_subjects", [2, 5])
def test_side_by_side_shares_devices_out(n_subjects):
    """As many at a time as there are devices, each device used by one at a time."""
    folders, busy, lock = FOLDERS[:n_subjects], set(), threading.Lock()
    barrier = threading.Barrier(min(n_subjects, 4))
    first, devices_of = [], {}

    def train(of_run, parallel, is_first):
        (folder,) = of_run
        with lock:
            assert not busy & set(parallel.devices)
            busy.update(parallel.devices)
        devices_of[folder] = parallel.devices
        if is_first:
            first.append(folder)
        if folder in folders[:4]:
            barrier.wait(60)
        with lock:
            busy.difference_update(parallel.devices)

    subjects.train_all("side_by_side", folders, train)
    assert set(devices_of) == set(folders)
    assert first == [folders[0]]
    assert {len(devices) for devices in devices_of.values()} == {
        4 // min(n_subjects, 4)
    }
