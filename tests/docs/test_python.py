"""Blocks of Python in the manual run, on a network that predicts noise."""

import ast
import importlib
import pathlib
import sys
from importlib.util import find_spec

import flax.linen as nn
import jax
import matplotlib as mpl
import numpy as np
import pytest
from PIL import Image

from helpers.pages import blocks
from helpers.tiny_network import IMAGE_SIZE, draw_variables
from img2eeg_jax import Encoder
from img2eeg_jax.axes import VOLTS, Axes
from img2eeg_jax.checkpoints import description as descriptions
from img2eeg_jax.checkpoints.description import Description
from img2eeg_jax.checkpoints.load import Checkpoint
from img2eeg_jax.checkpoints.store import write_weights
from img2eeg_jax.data import layout
from img2eeg_jax.data.zscore import ZScore
from img2eeg_jax.models.layers import BatchNorm, Conv, Linear
from img2eeg_jax.signal_layout import CHANNELS_BY_TIMES, SignalLayout

AXES = Axes(("Pz", "POz", "O1", "Oz", "O2"), np.arange(0, 32, 2) / 100, VOLTS)


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


# Page → what its blocks take from the text around them.
PAGES = {}
for _block in blocks("python"):
    if _block.not_run is None:
        PAGES.setdefault(_block.page, []).append(_block)


def around(encoder):
    """Returns the names that pages use without making them."""
    rng = np.random.default_rng(0)
    pixels = rng.uniform(size=(2, IMAGE_SIZE, IMAGE_SIZE, 3)).astype(np.float32)
    return {
        "DATA_DIR": "data",
        "Encoder": Encoder,
        "ch_names": AXES.ch_names,
        "eeg": rng.standard_normal((6, 2, *AXES.shape)).astype(np.float32),
        "encoder": encoder,
        "images": (255 * pixels).astype(np.uint8),
        "jax": jax,
        "np": np,
        "pattern": np.ones(AXES.shape, np.float32),
        "pixels": pixels,
        "times_s": AXES.times_s,
    }


@pytest.fixture
def _demo(tmp_path, monkeypatch):
    """A run and pictures, where the pages look for them."""
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
    for folder in ("pictures", "my_pictures", "."):
        (tmp_path / folder).mkdir(exist_ok=True)
        for name in ("dog.jpg", "car.jpg"):
            Image.new("RGB", (30, 20), "teal").save(tmp_path / folder / name)
    epochs = np.ones((2, 2, *AXES.shape), np.float32)
    layout.write_eeg("data", 1, "test", layout.PreprocessedEEG(epochs, AXES))


@pytest.mark.usefixtures("quick_compilation", "_demo")
@pytest.mark.parametrize("page", PAGES)
def test_blocks_of_a_page_run_in_order(page, monkeypatch):
    monkeypatch.setattr(Checkpoint, "backbone", (Backbone(), None))
    # A page lets Python import from an exported file.
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.delitem(sys.modules, "exported_encoder", raising=False)
    names = around(Encoder.from_pretrained("runs/demo"))
    with mpl.rc_context({"backend": "agg"}):
        for block in PAGES[page]:
            exec(compile(block.text, str(block), "exec"), names)
    if page == "docs/how_to/use_from_python.md":
        assert names["eeg"].unit == "µV"
        assert names["eeg"].data.shape == (2, *AXES.shape)
        assert {path.name for path in pathlib.Path().glob("*.*")} == {
            "car.jpg",
            "dog.jpg",
            "dog.png",
            "predicted-epo.fif",
        }


@pytest.mark.parametrize("block", blocks("python"), ids=str)
def test_names_that_blocks_import_are_there(block):
    for node in ast.walk(ast.parse(block.text)):
        if isinstance(node, ast.ImportFrom) and node.module.startswith("img2eeg_jax"):
            module = importlib.import_module(node.module)
            for alias in node.names:
                full_name = f"{node.module}.{alias.name}"
                assert hasattr(module, alias.name) or find_spec(full_name)


def test_pages_are_run():
    assert len(PAGES) > 5
