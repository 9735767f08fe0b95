"""Predicting needs no TensorFlow."""

import os
import subprocess
import sys

import numpy as np
from PIL import Image

from helpers.compilation import quick_xla_flags
from helpers.sources import ROOT
from helpers.tiny_network import IMAGE_SIZE, Toy, draw_variables
from img2eeg_jax.axes import VOLTS, Axes
from img2eeg_jax.checkpoints import description as descriptions
from img2eeg_jax.checkpoints.description import Description
from img2eeg_jax.checkpoints.store import write_weights
from img2eeg_jax.signal_layout import CHANNELS_BY_TIMES, SignalLayout

PROGRAM = '''
import sys
from importlib.machinery import PathFinder

BLOCKED = ("tensorflow", "tensorflow_datasets", "tensorboard", "torch", "mne_bids")

class Without:
    """Finds modules as if these were not installed."""

    @staticmethod
    def find_spec(name, path=None, target=None):
        if name.split(".")[0] in BLOCKED:
            return None
        return PathFinder.find_spec(name, path, target)

sys.meta_path[sys.meta_path.index(PathFinder)] = Without

from helpers.tiny_network import Toy
from img2eeg_jax import Encoder
from img2eeg_jax.checkpoints import description

description.MODELS["realnet"] = Toy
folder, picture, output = sys.argv[1:]
eeg = Encoder.from_pretrained(folder)(picture)
eeg.save(output)
print(eeg.data.shape, eeg.unit, sorted(set(BLOCKED) & set(sys.modules)))
'''


def test_without_tensorflow(tmp_path, monkeypatch):
    monkeypatch.setitem(descriptions.MODELS, "realnet", Toy)
    axes = Axes(("O1", "Oz", "O2"), np.arange(5) / 100, VOLTS)
    signal = SignalLayout.for_eeg(CHANNELS_BY_TIMES, axes, axes.times_s)
    whole = Description("realnet", {}, IMAGE_SIZE, signal=signal)
    write_weights(tmp_path / "weights", draw_variables(Toy()), whole)
    Image.new("RGB", (9, 5)).save(tmp_path / "x.png")
    paths = [str(tmp_path / name) for name in ("weights", "x.png", "eeg.npz")]
    result = subprocess.run(
        [sys.executable, "-c", PROGRAM, *paths],
        env={
            **os.environ,
            "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "tests")]),
            "XLA_FLAGS": quick_xla_flags(),
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    assert result.stdout == "(1, 3, 5) z []\n"
    assert (tmp_path / "eeg.npz").exists()
