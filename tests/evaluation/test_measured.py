"""What is scored against: EEG and images from shards, as the data set has them."""

import dataclasses
import json
import shutil

import numpy as np
import pytest

from img2eeg_jax.axes import Axes
from img2eeg_jax.checkpoints.description import Description
from img2eeg_jax.checkpoints.load import Checkpoint
from img2eeg_jax.data import layout
from img2eeg_jax.data.sources import synthetic
from img2eeg_jax.data.zscore import ZScore
from img2eeg_jax.errors import InputError
from img2eeg_jax.evaluation.measured import load_measured, training_means
from img2eeg_jax.signal_layout import CHANNEL_MEAN, CHANNELS_BY_TIMES, SignalLayout

CHANNELS, WINDOW_S = ("O2", "Pz"), (0.1, 0.13)
SIZE = 16


@pytest.fixture(scope="module")
def original(tmp_path_factory):
    """A data set of two subjects with shards. Not to be changed."""
    folder = tmp_path_factory.mktemp("original") / "data"
    synthetic.write_synthetic(
        folder,
        n_training_concepts=3,
        images_per_concept=2,
        n_test_concepts=4,
        image_size=SIZE,
        training_repetitions=2,
        test_repetitions=3,
        subjects=(1, 2),
    )
    for subject in (1, 2):
        load_measured(checkpoint(folder.parent, subject), data_dir=folder, log=ignore)
    return folder


@pytest.fixture
def data_dir(original, tmp_path):
    """A copy that a test may change."""
    return shutil.copytree(original, tmp_path / "data")


def ignore(line):
    del line


class Built(list):
    """The lines that tell of shards that are built."""

    def log(self, line):
        if "building shards" in line:
            self.append(line)


def checkpoint(path, subject=1, kind=CHANNELS_BY_TIMES, with_zscore=True):
    axes = Axes(CHANNELS, synthetic.AXES.select(window_s=WINDOW_S).times_s)
    rng = np.random.default_rng(0)
    zscore = ZScore(*np.float32(rng.uniform(1, 2, (2, *axes.shape))))
    description = Description(
        "realnet",
        {},
        SIZE,
        signal=SignalLayout.for_eeg(kind, axes, synthetic.AXES.times_s),
        zscore=zscore if with_zscore else None,
        subject=subject,
    )
    return Checkpoint(path, 1, description, {})


def select(data_dir, subject, partition):
    """Reads the data set's own files: f64[image, repetition, channel, time]."""
    found = layout.read_eeg(data_dir, subject, partition)
    rows = [found.axes.ch_names.index(name) for name in CHANNELS]
    inside = np.abs(found.axes.times_s[:, None] - [0.1, 0.11, 0.12, 0.13]).min(1) < 1e-6
    return found.eeg[:, :, rows][..., inside].astype(np.float64)


def write_config(path, **config):
    defaults = {"data_dir": "", "shards_dir": ""}
    (path / "config.json").write_text(json.dumps(defaults | config))


def test_eeg_and_images_of_the_data_set(original, tmp_path):
    loaded = checkpoint(tmp_path, subject=2)
    measured = load_measured(loaded, data_dir=original)
    zscore = loaded.description.zscore
    expected = (select(original, 2, "test") - zscore.mean) / zscore.std
    np.testing.assert_allclose(measured.eeg, expected, rtol=1e-5)
    # The mean over repetitions tends to the response without noise.
    assert measured.noise_free.shape == expected[:, 0].shape
    deviations = measured.noise_free - expected.mean(1)
    assert 0 < np.std(deviations) < np.std(expected - expected.mean(1, keepdims=True))
    files = layout.read_image_set(original).files("test")
    assert measured.names == tuple(f"{file.parent.name}/{file.name}" for file in files)
    pixels = np.stack([layout.read_image(file, SIZE) for file in files])
    np.testing.assert_array_equal(measured.images[:], pixels)
    assert measured.subject == 2


def test_channel_mean(original, tmp_path):
    each = load_measured(checkpoint(tmp_path), data_dir=original)
    mean = load_measured(checkpoint(tmp_path, kind=CHANNEL_MEAN), data_dir=original)
    np.testing.assert_allclose(mean.eeg[:, :, 0], each.eeg.mean(2), rtol=1e-5)
    np.testing.assert_allclose(
        mean.noise_free[:, 0], each.noise_free.mean(1), rtol=1e-5
    )


def test_zscore_of_the_data_for_weights_without(original, tmp_path):
    loaded = checkpoint(tmp_path, with_zscore=False)
    measured = load_measured(loaded, data_dir=original)
    training = select(original, 1, "training").mean(1)
    expected = (select(original, 1, "test") - training.mean(0)) / training.std(0)
    np.testing.assert_allclose(measured.eeg, expected, rtol=1e-4, atol=1e-5)


def test_the_runs_own_data(data_dir, tmp_path):
    """Found by the run's config; without its files the shards are enough."""
    expected = load_measured(checkpoint(tmp_path), data_dir=data_dir)
    shards_dir = shutil.move(data_dir / "shards", tmp_path / "shards elsewhere")
    write_config(tmp_path, data_dir=str(data_dir), shards_dir=str(shards_dir))
    lines = Built()
    found = load_measured(checkpoint(tmp_path), log=lines.log)
    np.testing.assert_array_equal(found.eeg, expected.eeg)
    shutil.rmtree(data_dir)
    found = load_measured(checkpoint(tmp_path), log=lines.log)
    np.testing.assert_array_equal(found.eeg, expected.eeg)
    assert not lines
    # Those of a run of several subjects lie in the folder above.
    shutil.move(shards_dir, tmp_path / "shards")
    folder = tmp_path / "sub-01"
    folder.mkdir()
    write_config(folder, data_dir=str(data_dir))
    found = load_measured(checkpoint(folder), log=lines.log)
    np.testing.assert_array_equal(found.eeg, expected.eeg)
    assert not lines
    shutil.rmtree(tmp_path / "shards")
    with pytest.raises(InputError, match="expected"):
        load_measured(checkpoint(folder))


def test_shards_are_built_where_there_are_none(data_dir, tmp_path, snapshot):
    run = tmp_path / "run"
    run.mkdir()
    expected = load_measured(checkpoint(run), data_dir=data_dir)
    shutil.rmtree(data_dir / "shards")
    data_dir.chmod(0o555)
    before = snapshot(data_dir)
    lines = Built()
    found = load_measured(checkpoint(run), data_dir=data_dir, log=lines.log)
    data_dir.chmod(0o755)
    assert snapshot(data_dir) == before
    assert (run / "eval" / "shards").is_dir()
    np.testing.assert_array_equal(found.eeg, expected.eeg)
    assert len(lines) == 2
    data_dir.chmod(0o555)
    beside = tmp_path / "results"
    load_measured(checkpoint(run / "x"), data_dir=data_dir, beside=beside)
    data_dir.chmod(0o755)
    assert (beside / "shards").is_dir()
    assert not (run / "x").exists()
    load_measured(checkpoint(run), data_dir=data_dir, log=lines.log)
    assert len(lines) == 4
    assert (data_dir / "shards").is_dir()


def test_subject(original, tmp_path):
    assert (
        load_measured(checkpoint(tmp_path), data_dir=original, subject=2).subject == 2
    )
    with pytest.raises(InputError, match="`subject`: expected one subject, found 2 in"):
        load_measured(checkpoint(tmp_path, None), data_dir=original)


def test_refusals(original, tmp_path):
    with pytest.raises(
        InputError, match="`data_dir`: expected a folder, found nothing"
    ):
        load_measured(checkpoint(tmp_path))
    with pytest.raises(InputError, match="none: expected a data set, found No such"):
        load_measured(checkpoint(tmp_path), data_dir=tmp_path / "none")
    with_signal = lambda axes: dataclasses.replace(  # noqa: E731
        checkpoint(tmp_path),
        description=dataclasses.replace(
            checkpoint(tmp_path).description,
            signal=SignalLayout.for_eeg(CHANNELS_BY_TIMES, axes, axes.times_s),
        ),
    )
    strange = with_signal(Axes(("Fpz",), [0.1, 0.11]))
    with pytest.raises(InputError, match=r"shards: channels: expected .* found Fpz"):
        load_measured(strange, data_dir=original)
    finer = with_signal(Axes(CHANNELS, np.arange(100, 131, 4) / 1000))
    with pytest.raises(InputError, match=r"times: expected 8 in 0.1..0.128 s, found 4"):
        load_measured(finer, data_dir=original)


@pytest.mark.parametrize("kind", [CHANNELS_BY_TIMES, CHANNEL_MEAN])
def test_training_means(original, tmp_path, kind):
    """Of the rows asked for, of the subject that is scored, as the network predicts."""
    own = checkpoint(tmp_path, 2, kind)
    measured = load_measured(own, data_dir=original, subject=2, log=ignore)
    rows = np.array([4, 1])
    found = training_means(own, measured, rows)
    zscore = own.description.zscore
    expected = select(original, 2, "training")[rows].mean(1)
    expected = (expected - zscore.mean) / zscore.std
    if kind == CHANNEL_MEAN:
        expected = expected.mean(1, keepdims=True)
    np.testing.assert_allclose(found, expected, atol=1e-5)
