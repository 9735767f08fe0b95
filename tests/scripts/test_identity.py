"""Images and EEG permuted together change nothing; one alone is refused.

And whose network is scored, and asked, is told.
"""

import json
import re
import shutil

import numpy as np
import pytest

from helpers.commands import TINY, tiny_config
from helpers.permuted import (
    change_channels,
    permute_eeg,
    permute_images,
    rename_concept,
)
from img2eeg_jax.data import layout
from img2eeg_jax.data.shards import builder
from img2eeg_jax.data.sources import synthetic
from img2eeg_jax.errors import InputError
from img2eeg_jax.evaluation.run import evaluate_to_files
from img2eeg_jax.prediction.encoder import Encoder
from img2eeg_jax.training import experiment
from img2eeg_jax.training.loop import Trainer

TEST_ORDER = [3, 0, 1, 2, 7, 4, 6, 5]


@pytest.fixture
def run(trained):
    """A finished run, its data beside it; and what trains it for another epoch."""
    return trained, trained / "data"


def score(workdir, **changes):
    """Scores into the folder of the run."""
    arguments = {"n_splits": 5, "only": ("encoding",), "log": lambda line: None}
    return evaluate_to_files([workdir], **arguments | changes).scores


def one_epoch_more(workdir):
    experiment.train(tiny_config({"num_epochs": 3}), workdir)


def test_scores_in_microvolts_and_with_channels_in_another_order(run):
    """Only the scale of the z-scores is another then, which r does not see."""
    workdir, data_dir = run
    expected = score(workdir)
    change_channels(data_dir, range(16, -1, -1))
    # By name: EEG beside its images, as in training.
    assert score(workdir)["encoding_r"] == expected["encoding_r"]
    permute_images(data_dir, "test", TEST_ORDER)
    with pytest.raises(InputError, match="beside the EEG of training"):
        score(workdir)
    permute_images(data_dir, "test", np.argsort(TEST_ORDER))
    change_channels(data_dir, np.random.default_rng(0).permutation(17), 1e6)
    with pytest.raises(InputError, match="found other EEG; `data_dir` names it"):
        score(workdir)
    found = score(workdir, data_dir=data_dir)
    assert found["ch_names"] == expected["ch_names"]
    for name in ("encoding_r", "encoding_r_all_repetitions", "best_possible_r"):
        np.testing.assert_allclose(found[name], expected[name], rtol=1e-4)


@pytest.fixture
def goes_on(monkeypatch):
    """Training as far as the first step."""
    restored = []
    monkeypatch.setattr(
        Trainer, "_train_epoch", lambda self, *_: restored.append(self.step) or stop()
    )

    def stop():
        raise InputError("far enough")

    def check(workdir):
        with pytest.raises(InputError, match="far enough"):
            one_epoch_more(workdir)
        return restored.pop()

    return check


def test_scores_of_what_is_permuted_together(run):
    workdir, data_dir = run
    expected = score(workdir)
    permute_images(data_dir, "test", TEST_ORDER)
    permute_eeg(data_dir, "test", TEST_ORDER)
    found = score(workdir)
    for name in ("encoding_r", "encoding_r_all_repetitions", "best_possible_r"):
        np.testing.assert_allclose(found[name], expected[name], rtol=1e-5)
        np.testing.assert_allclose(
            found["per_time"][name], expected["per_time"][name], rtol=1e-4, atol=1e-6
        )


def test_scores_of_images_or_eeg_alone_are_refused(run):
    workdir, data_dir = run
    expected = "expected test images beside the EEG of training, found the same EEG"
    for change in (permute_images, permute_eeg):
        change(data_dir, "test", TEST_ORDER)
        for where in ({}, {"data_dir": data_dir}):
            with pytest.raises(InputError, match=expected):
                score(workdir, **where)
        change(data_dir, "test", np.argsort(TEST_ORDER))


def test_files_written_anew_are_the_same_images(run):
    workdir, data_dir = run
    expected = score(workdir)
    files = layout.read_image_set(data_dir).files("test")
    for path in files:
        # A comment, as what strips or adds metadata leaves the pixels alone.
        content = path.read_bytes()
        assert content[:2] == b"\xff\xd8"
        path.write_bytes(content[:2] + b"\xff\xfe\x00\x04hi" + content[2:])
    assert score(workdir)["encoding_r"] == expected["encoding_r"]
    # Other pictures, under their names.
    training = layout.read_image_set(data_dir).files("training")
    for path, source in zip(files, training, strict=False):
        path.write_bytes(source.read_bytes())
    with pytest.raises(InputError, match="found the same EEG beside other images"):
        score(workdir)


def test_renamed_test_folder(run):
    workdir, data_dir = run
    order = rename_concept(data_dir, "test", 0, "zzz")
    assert order == [1, 2, 3, 4, 5, 6, 7, 0]
    with pytest.raises(InputError, match="found the same EEG beside the images in an"):
        score(workdir)
    assert not (workdir / "eval").exists()
    # With their EEG they may have any name.
    permute_eeg(data_dir, "test", order)
    score(workdir)


def test_a_run_goes_on_with_what_is_permuted_together(run, goes_on):
    workdir, data_dir = run
    # Concept by concept, so that held-out images stay held out.
    order = np.arange(24).reshape(6, 4)[:, [2, 0, 3, 1]].ravel()
    permute_images(data_dir, "training", order)
    permute_eeg(data_dir, "training", order)
    assert goes_on(workdir) == 4


def permuted_images(data_dir):
    permute_images(data_dir, "training", np.arange(24)[::-1])


def permuted_eeg(data_dir):
    permute_eeg(data_dir, "training", np.arange(24)[::-1])


def two_images_of_a_concept(data_dir):
    permute_images(data_dir, "training", [1, 0, *range(2, 24)])


def permuted_test_images(data_dir):
    permute_images(data_dir, "test", TEST_ORDER)


def renamed_training_folder(data_dir):
    assert rename_concept(data_dir, "training", 3, "zzz") != list(range(24))


def moved_out_of_validation(data_dir):
    """Together, so that images held out are trained on."""
    permute_images(data_dir, "training", np.roll(np.arange(24), 4))
    permute_eeg(data_dir, "training", np.roll(np.arange(24), 4))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (permuted_images, r"(images paired with other EEG|other images) in the"),
        (permuted_eeg, r"(images paired with other EEG|other EEG) in the"),
        (
            two_images_of_a_concept,
            "images paired with other EEG in the validation split",
        ),
        (permuted_test_images, "images paired with other EEG in the test split"),
        (renamed_training_folder, r"(images paired with other EEG|other images) in"),
        (moved_out_of_validation, r"other images in the (training|validation) split"),
    ],
)
def test_a_run_does_not_go_on_with_one_of_them(run, snapshot, change, words):
    workdir, data_dir = run
    change(data_dir)
    before = snapshot(workdir / "checkpoints")
    expected = f"{workdir}: expected the data that the run started with, found "
    with pytest.raises(InputError, match=re.escape(expected) + words):
        one_epoch_more(workdir)
    assert snapshot(workdir / "checkpoints") == before


def test_checkpoint_without_digests(run, capsys, goes_on):
    """As the versions before wrote it: scored, and trained, with one line."""
    workdir, data_dir = run
    for path in (workdir / "checkpoints").glob("*/description/metadata"):
        entries = json.loads(path.read_text())
        del entries["pairings"]
        path.write_text(json.dumps(entries | {"format": 2}))
        shutil.rmtree(path.parents[1] / "checksums")
    permute_images(data_dir, "test", TEST_ORDER)
    lines = []
    score(workdir, log=lines.append)
    assert sum("cannot be checked" in line for line in lines) == 1
    goes_on(workdir)
    assert capsys.readouterr().out.count("cannot be checked") == 1


def test_another_subject_s_score_says_whose_network_it_is(run, tmp_path):
    workdir, _ = run
    names = ("n_training_concepts", "images_per_concept", "n_test_concepts")
    sizes = {name: TINY[f"synthetic.{name}"] for name in (*names, "image_size")}
    data_dir = tmp_path / "two"
    synthetic.write_synthetic(data_dir, test_repetitions=4, subjects=(1, 2), **sizes)
    own = score(workdir, data_dir=data_dir)
    other = score(workdir, data_dir=data_dir, subjects=2)
    keys = ("subject", "trained_subject", "zscore_subject")
    assert [own[key] for key in keys] == [1, 1, 1]
    assert [other[key] for key in keys] == [2, 1, 1]
    written = json.loads((workdir / "eval/sub-02/metrics.json").read_text())
    assert written["trained_subject"] == 1
    expected = f"{workdir}: expected a network of subject 2, found one of 1"
    with pytest.raises(InputError, match=expected):
        Encoder.from_pretrained(workdir, subject=2)
    assert Encoder.from_pretrained(workdir, subject=1).description.subject == 1
    # Subject 2 has no EEG in the checkpoint; its images must come as in training.
    order = rename_concept(data_dir, "test", 2, "zzz")
    with pytest.raises(InputError, match="found the same images in another order"):
        score(workdir, data_dir=data_dir, subjects=2)
    permute_images(data_dir, "test", np.argsort(order))
    score(workdir, data_dir=data_dir, subjects=2)


def test_shards_alone_of_an_earlier_version_are_told(run):
    shards = run[1] / "shards"
    for name in ("images-32", "sub-01"):
        (folder,) = (shards / "things_eeg2" / name).iterdir()
        folder.rename(folder.with_name("3.0.0"))
    expected = r"expected shards of images-32, found those of version 3\.0\.0"
    with pytest.raises(InputError, match=expected):
        builder.open_or_build("", shards, subjects=(1,), image_size=32)
