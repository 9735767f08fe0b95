"""The notebooks run from their first cell to their last, in a new folder."""

import json
import os
import sysconfig
from unittest import mock

import matplotlib as mpl
import matplotlib.pyplot as plt
import mne
import nbclient
import nbformat
import numpy as np
import pandas as pd
import pytest
from IPython.core.inputtransformer2 import TransformerManager
from PIL import Image

from helpers import tiny_network
from helpers.sources import ROOT
from helpers.tiny_network import IMAGE_SIZE, draw_variables, realnet
from img2eeg_jax.axes import VOLTS, Axes
from img2eeg_jax.checkpoints.description import Description
from img2eeg_jax.checkpoints.store import write_weights
from img2eeg_jax.data.zscore import ZScore
from img2eeg_jax.prediction.familiarity import Familiarity
from img2eeg_jax.prediction.trust import Trust, digest, file_of
from img2eeg_jax.signal_layout import CHANNELS_BY_TIMES, SignalLayout

NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
AXES = Axes(("O1", "Oz", "O2"), np.arange(5) / 20, VOLTS)
# Of the areas of `realnet()`: a mean and a standard deviation of each channel.
N_FAMILIAR = 2 * (4 + 8 + 16 + 32)
# From pandas, of how MNE reads and shows epochs that have metadata.
inplace_warning = pytest.mark.filterwarnings("ignore:The inplace keyword in DataFrame")


def read(name):
    return nbformat.read(ROOT / "notebooks" / f"{name}.ipynb", as_version=4)


def execute(name, folder):
    """Runs a notebook in a kernel of its own, as Jupyter does; keeps and returns it."""
    book = read(name)
    nbclient.NotebookClient(
        book, timeout=600, resources={"metadata": {"path": str(folder)}}
    ).execute()
    nbformat.write(book, folder / f"{name}.ipynb")
    return book


def printed(book):
    """Returns what the cells of an executed notebook print and show, as text."""
    outputs = [out for cell in book.cells for out in cell.get("outputs", ())]
    return "\n".join(
        out.get("text") or out.get("data", {}).get("text/plain", "") for out in outputs
    )


def n_figures(book):
    outputs = [out for cell in book.cells for out in cell.get("outputs", ())]
    return sum("image/png" in out.get("data", {}) for out in outputs)


def test_there_are_notebooks():
    assert [path.stem for path in NOTEBOOKS] == ["own_images", "quickstart"]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebook_holds_no_outputs(path):
    """Numbers in it would grow old, and figures make a repository large."""
    book = nbformat.read(path, as_version=4)
    nbformat.validate(book)
    code = [cell for cell in book.cells if cell.cell_type == "code"]
    assert [cell.outputs for cell in code] == [[]] * len(code)
    assert {cell.execution_count for cell in code} == {None}
    assert "%pip install" in code[0].source


@pytest.fixture
def _demo(tmp_path, monkeypatch):
    """A network with what is known of how far to trust it, where the cells look."""
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    ones = np.full(AXES.shape, 1e-6, np.float32)
    description = Description(
        "realnet",
        {**tiny_network.REALNET_ARGUMENTS, "signal_shape": [*AXES.shape]},
        IMAGE_SIZE,
        signal=SignalLayout.for_eeg(CHANNELS_BY_TIMES, AXES, AXES.times_s),
        zscore=ZScore(ones, ones),
        subject=1,
    )
    variables = draw_variables(realnet())
    write_weights(tmp_path / "runs" / "demo", variables, description)
    trials = rng.standard_normal((12, 4, *AXES.shape)).astype(np.float32)
    familiarity = Familiarity.fit(*rng.uniform(1, 2, (2, 200, N_FAMILIAR)))
    Trust.fit(
        AXES, trials.mean(1), trials, network=digest(variables), familiarity=familiarity
    ).save(file_of(tmp_path / "runs" / "demo"))


@inplace_warning
@pytest.mark.usefixtures("quick_compilation", "_demo")
def test_own_images(tmp_path, capsys):
    # Magics are IPython's.
    names = {"get_ipython": mock.MagicMock()}
    python = TransformerManager()
    with mpl.rc_context({"backend": "agg"}):
        for cell in read("own_images").cells:
            if cell.cell_type == "code":
                exec(python.transform_cell(cell.source), names)
        plt.close("all")
    assert names["eeg"].images == tuple(f"my_pictures/drawn_{i}.png" for i in range(3))
    said = capsys.readouterr().out
    assert f"(3, {AXES.shape[0]}, {AXES.shape[1]}) µV" in said
    assert "IT (3, 1, 1, 32)" in said
    check_files(tmp_path, names["eeg"].data)


def check_files(folder, eeg_uv):
    """Compares what the notebook writes with what it predicts, f32[image, ...]."""
    epochs = mne.read_epochs(folder / "predicted-epo.fif", verbose="error")
    np.testing.assert_allclose(epochs.get_data() * 1e6, eeg_uv, rtol=1e-5)
    table = pd.read_csv(folder / "predicted.csv")
    assert len(table) == eeg_uv.size
    with np.load(folder / "predicted.npz") as arrays:
        np.testing.assert_array_equal(arrays["eeg"], eeg_uv)


@inplace_warning
@pytest.mark.slow
def test_quickstart_and_own_images(tmp_path, monkeypatch):
    """Minutes: it trains the demo; its pictures and its network serve both."""
    scripts = sysconfig.get_path("scripts")
    monkeypatch.setenv("PATH", scripts + os.pathsep + os.environ["PATH"])
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    # As a user has it: conftest.py asks for four devices.
    monkeypatch.setenv("XLA_FLAGS", "")
    book = execute("quickstart", tmp_path)
    assert n_figures(book) >= 6
    text = printed(book)
    assert "(100, 17, 41) µV" in text
    # 0.71 is possible, and half of it by pixels alone.
    assert float(text.split("encoding_r")[1].split()[0]) > 0.55
    assert (tmp_path / "report.html").stat().st_size > 1e6

    photographs = tmp_path / "my_pictures"
    photographs.mkdir()
    noise = np.random.default_rng(0).integers(0, 256, (90, 60, 3), np.uint8)
    Image.fromarray(noise).save(photographs / "noise.png")
    Image.new("RGB", (30, 50), "teal").save(photographs / "teal.png")
    book = execute("own_images", tmp_path)
    assert n_figures(book) >= 3
    assert "(2, 17, 41) µV" in printed(book)
    epochs = mne.read_epochs(tmp_path / "predicted-epo.fif", verbose="error")
    assert len(epochs) == 2


def test_documented_as_it_is():
    """The kernel is any Python 3, so that Colab and Jupyter open it."""
    for path in NOTEBOOKS:
        kernel = json.loads(path.read_text())["metadata"]["kernelspec"]
        assert kernel["name"] == "python3"
