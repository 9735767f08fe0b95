"""What `import img2eeg_jax` gives, and what it costs."""

import importlib.metadata
import pathlib
import subprocess
import sys

import pytest

import img2eeg_jax
from img2eeg_jax.axes import Axes
from img2eeg_jax.evaluation.evaluation import Evaluation
from img2eeg_jax.evaluation.run import evaluate
from img2eeg_jax.prediction.encoder import Encoder


def test_exports():
    assert img2eeg_jax.Encoder is Encoder
    assert img2eeg_jax.Axes is Axes
    assert img2eeg_jax.evaluate is evaluate
    assert img2eeg_jax.Evaluation is Evaluation
    assert img2eeg_jax.__version__ == importlib.metadata.version("img2eeg_jax")
    assert set(img2eeg_jax.__all__) <= set(dir(img2eeg_jax))
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        img2eeg_jax.nothing  # noqa: B018


def test_import_is_cheap():
    program = (
        "import sys, img2eeg_jax; dir(img2eeg_jax); "
        "print(sorted({'jax', 'numpy', 'importlib.metadata'} & set(sys.modules)))"
    )
    result = subprocess.run(
        [sys.executable, "-S", "-c", program],
        cwd=pathlib.Path(__file__).parents[1],
        capture_output=True,
        text=True,
        check=True,
    )
    assert result.stdout == "[]\n"
