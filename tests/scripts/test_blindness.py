"""Training never sees the test set: nothing it makes depends on it, to the last bit."""

import dataclasses
import shutil

import jax
import numpy as np
from PIL import Image

from helpers.commands import tiny_config
from helpers.runs import last_checkpoint
from img2eeg_jax.checkpoints.load import load_checkpoint
from img2eeg_jax.data import layout
from img2eeg_jax.training import experiment


def spoil_test_set(data_dir):
    """Replaces test images and their EEG, louder and with another offset."""
    rng = np.random.default_rng(0)
    image_set = layout.read_image_set(data_dir)
    for path in image_set.files("test"):
        with Image.open(path) as image:
            pixels = 255 - np.asarray(image)
        Image.fromarray(pixels).save(path)
    eeg = layout.read_eeg(data_dir, 1, "test")
    other = np.float32(30 * rng.permutation(eeg.eeg) + 1e-5)
    layout.write_eeg(data_dir, 1, "test", dataclasses.replace(eeg, eeg=other))
    shutil.rmtree(layout.shards_path(data_dir))


def test_blindness(data_dir, data_original, tmp_path):
    """Weights, their average, Adam, z-score, losses and the choice of the epoch."""
    spoil_test_set(data_dir)
    ends = []
    for name, folder in (("as_it_is", data_original), ("spoilt", data_dir)):
        changes = {"data_dir": str(folder), "task": "none", "ema_decay": 0.9}
        experiment.train(tiny_config(changes), tmp_path / name)
        loaded = [load_checkpoint(tmp_path / name, which) for which in ("best", "last")]
        ends.append(
            (
                last_checkpoint(tmp_path / name),
                [(one.step, one.variables) for one in loaded],
                dataclasses.asdict(loaded[0].description.zscore),
                (tmp_path / name / "metrics.csv").read_text(),
                (tmp_path / name / "trust.npz").read_bytes(),
            )
        )
    jax.tree.map(np.testing.assert_array_equal, *ends)
