import json
import os

import numpy as np
import pytest

from img2eeg_jax import locks
from img2eeg_jax.data import layout
from img2eeg_jax.data.sources import synthetic
from img2eeg_jax.data.sources.synthetic import dataset
from img2eeg_jax.errors import InputError
from img2eeg_jax.locks import only_writer


def test_default_layout(demo):
    image_set = layout.read_image_set(demo)
    assert (len(image_set.training_files), len(image_set.test_files)) == (2400, 100)
    assert not set(image_set.training_concepts) & set(image_set.test_concepts)
    names = [path.name.split("_")[0] for path in image_set.training_files]
    assert not set(names) & {p.name.split("_")[0] for p in image_set.test_files}
    for partition, n_repetitions in (("training", 4), ("test", 20)):
        eeg = layout.read_eeg(demo, 1, partition)
        layout.check_alignment(image_set, eeg, partition, "file")
        assert eeg.eeg.shape[1:] == (n_repetitions, 17, 100)
    # The official list, spelled out here once more.
    official = "Pz P3 P7 O1 Oz O2 P4 P8 P1 P5 PO7 PO3 POz PO4 PO8 P6 P2"
    assert " ".join(eeg.axes.ch_names) == official
    np.testing.assert_allclose(
        eeg.axes.times_s, np.linspace(-0.2, 0.79, 100), atol=1e-12
    )


def test_same_arguments_same_bytes(tiny_original, tiny_parameters, tmp_path, snapshot):
    again, other = tmp_path / "again", tmp_path / "other"
    synthetic.write_synthetic(again, **tiny_parameters)
    assert snapshot(again) == snapshot(tiny_original)
    synthetic.write_synthetic(other, **tiny_parameters | {"seed": 4})
    changed = [k for k, v in snapshot(other).items() if v != snapshot(again).get(k)]
    assert sum(name.endswith(".jpg") for name in changed) == 19
    assert sum("preprocessed_eeg" in name for name in changed) == 4


def test_existing_data_set_is_kept(tiny, tiny_parameters, snapshot):
    before = snapshot(tiny)
    assert not synthetic.write_synthetic(tiny, **tiny_parameters)
    message = "synthetic.json: expected seed 9, found 3; choose another folder"
    with pytest.raises(InputError, match=message):
        synthetic.write_synthetic(tiny, **tiny_parameters | {"seed": 9})
    assert snapshot(tiny) == before
    assert json.loads((tiny / "synthetic.json").read_text())["seed"] == 3


def test_subset_of_subjects_is_there(tiny, tiny_parameters, snapshot):
    before = snapshot(tiny)
    assert not synthetic.write_synthetic(tiny, **tiny_parameters | {"subjects": (2,)})
    assert snapshot(tiny) == before


def test_added_subjects_are_those_of_all_at_once(
    tiny_original, tiny_parameters, tmp_path, snapshot
):
    data_dir = tmp_path / "data"
    synthetic.write_synthetic(data_dir, **tiny_parameters | {"subjects": (2,)})
    assert synthetic.write_synthetic(data_dir, **tiny_parameters | {"subjects": (1,)})
    assert snapshot(data_dir) == snapshot(tiny_original)
    (data_dir / "synthetic.json").write_text("[]")
    with pytest.raises(InputError, match="parameters of a synthetic data set, found"):
        synthetic.write_synthetic(data_dir, **tiny_parameters)


@pytest.mark.parametrize("when", ["whole", "subjects"])
def test_another_process_is_faster(
    when, tiny_original, tiny_parameters, tmp_path, snapshot, monkeypatch
):
    """It makes subject 2 while this one makes subject 1; both are there then."""
    data_dir = tmp_path / "data"
    if when == "subjects":
        synthetic.write_synthetic(data_dir, **tiny_parameters | {"subjects": (2,)})
        other = only_writer(data_dir, "subjects")
        other.__enter__()

        def free(_):
            other.__exit__(None, None, None)

        monkeypatch.setattr(locks.time, "sleep", free)
    else:
        write = dataset._write

        def write_after_other(*args, **kwargs):
            monkeypatch.setattr(dataset, "_write", write)
            synthetic.write_synthetic(data_dir, **tiny_parameters | {"subjects": (2,)})
            write(*args, **kwargs)

        monkeypatch.setattr(dataset, "_write", write_after_other)
    assert synthetic.write_synthetic(data_dir, **tiny_parameters | {"subjects": (1,)})
    assert snapshot(data_dir) == snapshot(tiny_original)


def test_other_files_are_never_overwritten(tmp_path, tiny_parameters, snapshot):
    (tmp_path / "thesis.txt").write_text("mine")
    with pytest.raises(InputError, match="new or empty folder"):
        synthetic.write_synthetic(tmp_path, **tiny_parameters)
    assert snapshot(tmp_path) == {"thesis.txt": b"mine"}


def test_empty_folder_is_filled(tmp_path, tiny_parameters):
    assert synthetic.write_synthetic(tmp_path, **tiny_parameters)
    assert layout.read_image_set(tmp_path)


@pytest.mark.parametrize("when", ["simulate_noise", "_write_properties"])
def test_stopped_run_leaves_nothing(tmp_path, tiny_parameters, monkeypatch, when):
    def stop(*args):
        raise KeyboardInterrupt

    monkeypatch.setattr(dataset, when, stop)
    with pytest.raises(KeyboardInterrupt):
        synthetic.write_synthetic(tmp_path / "a" / "b", **tiny_parameters)
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize(
    "change",
    [{"seed": -1}, {"n_test_concepts": 0}, {"subjects": ()}, {"subjects": (0, 1)}],
)
def test_numbers_out_of_range(tmp_path, tiny_parameters, change):
    with pytest.raises(InputError, match="synthetic data: expected"):
        synthetic.write_synthetic(tmp_path / "x", **tiny_parameters | change)
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"seed": -1}', "synthetic data: expected a seed of at least 0"),
        ('{"sed": 1}', "expected the parameters of a synthetic data set, found: "),
    ],
)
def test_damaged_parameters(tiny, tiny_parameters, text, message):
    (tiny / "synthetic.json").write_text(text)
    with pytest.raises(InputError, match=f"synthetic.json: {message}"):
        synthetic.write_synthetic(tiny, **tiny_parameters)
