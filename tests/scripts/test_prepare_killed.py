"""prepare_data.py killed at random moments goes on to the same bytes (slow)."""

import random
import shutil
import signal
import time

import pytest

from helpers import raw_recordings
from helpers.commands import check_done
from helpers.zipped import zip_folder
from img2eeg_jax.data import layout

N_KILLS = 10
SIZE = 64
# Enough that each stage takes a while beside the start of Python.
N_IMAGES = {"training": 1500, "test": 5}


@pytest.fixture(scope="module")
def data_sets(tmp_path_factory, commands):
    """Stage → a folder on which only this stage, or all after it, is left to do."""
    folder = tmp_path_factory.mktemp("kills")
    raw = folder / "preprocess"
    raw_recordings.write_images(raw)
    for subject in (1, 2, 3, 4):
        raw_recordings.write_raw(raw, subject=subject)
    many = folder / "shards"
    flags = ["--source=synthetic", "--stages=download", "--subjects=1,2"]
    check_done(commands.run("prepare_data.py", f"--data_dir={many}", *flags))
    (folder / "download").mkdir()
    return {path.name: path for path in folder.iterdir()} | {"all": raw}


@pytest.fixture(scope="module")
def mirror(tmp_path_factory):
    """A folder laid out as a mirror of two subjects."""
    folder = tmp_path_factory.mktemp("mirror")
    data_dir = folder / "data"
    raw_recordings.write_images(data_dir, N_IMAGES)
    for subject in (1, 2):
        eeg = data_dir / "preprocessed_data" / layout.subject_name(subject)
        eeg.mkdir(parents=True)
        for partition in layout.PARTITIONS:
            content = random.Random(subject).randbytes(20_000_000)
            (eeg / f"preprocessed_eeg_{partition}.npy").write_bytes(content)
    for path in (*(data_dir / "image_set").iterdir(), *eeg.parent.iterdir()):
        target = folder / path.parent.name / path.name
        target.parent.mkdir(exist_ok=True)
        if path.is_dir():
            target.with_suffix(".zip").write_bytes(zip_folder(path))
        else:
            shutil.copy(path, target)
    return folder


FLAGS = {
    "download": ["--source=osf", "--subjects=1-2", "--stages=download"],
    "preprocess": ["--stages=preprocess"],
    "shards": ["--stages=shards", "--processes=2", f"--image_size={SIZE}"],
    # From recordings to shards.
    "all": ["--processes=2", f"--image_size={SIZE}"],
}
# These record when the files that shards were made from were written.
WITH_TIMES = ("dataset_info.json", "metadata.json")


@pytest.mark.slow
@pytest.mark.parametrize("stage", FLAGS)
def test_killed_at_random_moments(
    stage, data_sets, mirror, commands, tmp_path, snapshot, capsys
):
    flags = [*FLAGS[stage]]
    if stage == "download":
        flags.append(f"--mirror={mirror.as_uri()}")
    original = data_sets[stage]
    whole = copy(original, tmp_path / "whole")
    start = time.monotonic()
    check_done(commands.run("prepare_data.py", f"--data_dir={whole}", *flags))
    seconds = time.monotonic() - start
    # Each run preprocesses at another time.
    ignored = WITH_TIMES if stage == "all" else ()
    expected = content(whole, snapshot, ignored)
    if stage in ("shards", "all"):
        assert any(".tfrecord" in name for name in expected)
    rng = random.Random(stage)
    n_hits = 0
    for number in range(N_KILLS):
        data_dir = copy(original, tmp_path / "data")
        process = commands.start("prepare_data.py", f"--data_dir={data_dir}", *flags)
        moment = rng.uniform(0, seconds)
        time.sleep(moment)
        is_hit = process.poll() is None
        process.send_signal(signal.SIGKILL)
        process.communicate()
        left = sorted(snapshot(data_dir).keys() - snapshot(original).keys())
        with capsys.disabled():
            print(f"\n{stage} {number}: killed after {moment:.1f} of {seconds:.1f} s")
            print(f"  {'left' if is_hit else 'was done,'} {len(left)} {left[:3]}")
        n_hits += is_hit
        check_done(commands.run("prepare_data.py", f"--data_dir={data_dir}", *flags))
        assert content(data_dir, snapshot, ignored) == expected
        shutil.rmtree(data_dir)
    assert n_hits >= N_KILLS // 2


def copy(original, target):
    """Copies a data set with the times of its files, which shards record."""
    return shutil.copytree(original, target, copy_function=shutil.copy2)


def content(data_dir, snapshot, ignored):
    """Returns the bytes of all files; hidden leftovers and locks do not count."""
    return {
        name: value
        for name, value in snapshot(data_dir).items()
        if value is not None and not name.endswith((".lock", ".in_use", *ignored))
    }
