import dataclasses
import shutil

import numpy as np
import pytest

from img2eeg_jax.axes import Axes
from img2eeg_jax.data import layout
from img2eeg_jax.data.sources import synthetic
from img2eeg_jax.errors import InputError
from img2eeg_jax.training.source import DataSource

ASKED = {"window_s": (0.0, 0.2), "n_validation_concepts": 1, "split_seed": 0}


@pytest.fixture
def source(tmp_path):
    """The source of a tiny data set, whose shards are there."""
    data_dir = tmp_path / "data"
    synthetic.write_synthetic(
        data_dir,
        seed=3,
        n_training_concepts=3,
        images_per_concept=2,
        n_test_concepts=3,
        image_size=8,
        training_repetitions=2,
        test_repetitions=2,
        subjects=(1,),
    )
    source = DataSource(
        data_dir=data_dir,
        shards_dir="",
        workdir=tmp_path / "run",
        synthetic=None,
        subjects=(1,),
        image_size=8,
    )
    source.open()
    return source


def rename_channels(data_dir):
    """Writes the EEG anew, with channels that shards made before do not have."""
    (data_dir / "synthetic.json").unlink(missing_ok=True)
    for partition in layout.PARTITIONS:
        eeg = layout.read_eeg(data_dir, 1, partition)
        names = tuple(f"X{name}" for name in eeg.axes.ch_names)
        axes = dataclasses.replace(eeg.axes, ch_names=names)
        layout.write_eeg(data_dir, 1, partition, dataclasses.replace(eeg, axes=axes))
    return names


def test_looks_into_shards(source):
    expected = source.open().eeg(1).axes
    assert source.look(channels=None, **ASKED) == expected
    shutil.rmtree(source.data_dir / "preprocessed_data")
    shutil.rmtree(source.data_dir / "image_set")
    assert (
        dataclasses.replace(source, shards_dir=str(source.data_dir / "shards")).look(
            channels=None, **ASKED
        )
        == expected
    )


def test_stale_shards_are_not_asked(source):
    names = rename_channels(source.data_dir)
    axes = source.look(channels=names[:2], **ASKED)
    assert axes.ch_names == names
    with pytest.raises(InputError, match=r"data: channels: expected .*, found O1"):
        source.look(channels=("O1",), **ASKED)
    assert source.open().eeg(1).axes == axes


def test_names_the_data_that_do_not_have_what_is_asked_for(source):
    with pytest.raises(InputError, match=r"data: channels: expected .*, found Q1"):
        source.look(channels=("Q1",), **ASKED)
    with pytest.raises(InputError, match=r"data: window: expected"):
        source.look(channels=None, **{**ASKED, "window_s": (5.0, 6.0)})


def test_neither_shards_nor_data(tmp_path, source):
    gone = dataclasses.replace(source, data_dir=tmp_path / "gone")
    with pytest.raises(InputError, match=r"gone.image_set.*expected"):
        gone.look(channels=None, **ASKED)
    alone = dataclasses.replace(source, data_dir=None, shards_dir=str(tmp_path / "no"))
    with pytest.raises(InputError, match=r"no.*expected"):
        alone.look(channels=None, **ASKED)


def test_synthetic_data_need_not_be_there(tmp_path):
    source = DataSource(
        data_dir=tmp_path / "data",
        shards_dir="",
        workdir=tmp_path,
        synthetic={"n_training_concepts": 3},
        subjects=(1,),
        image_size=8,
    )
    axes = source.look(channels=None, **ASKED)
    assert isinstance(axes, Axes)
    assert np.isclose(axes.times_s[0], -0.2)
    assert not any(tmp_path.iterdir())
