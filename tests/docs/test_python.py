"""README's lines of Python run."""

import re
import textwrap

import flax.linen as nn
import matplotlib as mpl
import numpy as np
import pytest
from PIL import Image

from helpers.sources import ROOT
from helpers.tiny_network import IMAGE_SIZE, draw_variables
from img2eeg_jax.axes import VOLTS, Axes
from img2eeg_jax.checkpoints import description as descriptions
from img2eeg_jax.checkpoints.description import Description
from img2eeg_jax.checkpoints.load import Checkpoint
from img2eeg_jax.checkpoints.store import write_weights
from img2eeg_jax.data.zscore import ZScore
from img2eeg_jax.models.layers import BatchNorm, Conv, Linear
from img2eeg_jax.signal_layout import CHANNELS_BY_TIMES, SignalLayout

AXES = Axes(("O1", "Oz", "O2"), np.arange(10, 35, 5) / 100, VOLTS)


class Backbone(nn.Module):
    """Two areas, fast to compile."""

    @nn.compact
    def __call__(self, images):
        v1 = BatchNorm(name="norm")(Conv(2, 3, name="conv")(images, 2), True)
        return v1.mean((1, 2)), {"V1": v1, "IT": v1[:, ::4, ::4]}


class Network(nn.Module):
    """A backbone and the signal."""

    @nn.compact
    def __call__(self, images, train=False, mask=None):
        logits, _ = Backbone(name="realnet")(images)
        return logits, Linear(AXES.shape[0] * AXES.shape[1], name="fc")(logits)


def blocks():
    """Returns the blocks of Python of the section that shows how to use it."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    (section,) = re.findall(r"^## Use it from Python$(.*?)^## ", text, re.M | re.S)
    return re.findall(r"^```python$(.*?)^```$", section, re.M | re.S)


@pytest.fixture
def _demo(tmp_path, monkeypatch):
    """A run and pictures, where README's lines look for them."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(descriptions.MODELS, "realnet", lambda **_: Network())
    signal = SignalLayout.for_eeg(CHANNELS_BY_TIMES, AXES, AXES.times_s)
    ones = np.full(AXES.shape, 1e-6, np.float32)
    whole = Description(
        "realnet",
        {"width": 2},
        IMAGE_SIZE,
        signal=signal,
        zscore=ZScore(ones, ones),
        subject=1,
    )
    write_weights(tmp_path / "runs" / "demo", draw_variables(Network()), whole)
    (tmp_path / "pictures").mkdir()
    for name in ("dog.jpg", "car.jpg"):
        Image.new("RGB", (30, 20), "teal").save(tmp_path / "pictures" / name)


@pytest.mark.usefixtures("quick_compilation", "_demo")
def test_readme(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(Checkpoint, "backbone", (Backbone(), None))
    names = {}
    (block,) = blocks()
    with mpl.rc_context({"backend": "agg"}):
        exec(textwrap.dedent(block), names)
    assert names["eeg"].unit == "µV"
    assert names["eeg"].data.shape == (2, *AXES.shape)
    assert "Encoder" in capsys.readouterr().out
    written = {path.name for path in tmp_path.iterdir()}
    assert written == {"runs", "pictures", "predicted-epo.fif", "dog.png"}
