"""Times the conversion of the full-size encoder: one JSON line per direction.

    python -m benchmarks.convert

Runs the command as a user does, in a process of its own, on random weights; needs
PyTorch.
"""

import json
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time

import jax
import numpy as np
from absl import app, flags

from img2eeg_jax.checkpoints.trees import variable_shapes
from img2eeg_jax.interop import names, torch_files
from img2eeg_jax.models.realnet import ReAlNet

_RUNS = flags.DEFINE_integer("runs", 3, "Runs in each direction.", lower_bound=1)
_ROOT = pathlib.Path(__file__).parents[1]


def write_encoder(path: pathlib.Path) -> int:
    """Writes the published encoder with random weights; returns their number."""
    rng = np.random.default_rng(0)
    variables = jax.tree.map(
        lambda leaf: rng.standard_normal(leaf.shape, np.float32),
        variable_shapes(ReAlNet(), 224),
    )
    torch_files.write(path, names.to_state_dict(variables))
    return sum(leaf.size for leaf in jax.tree.leaves(variables))


def run(*flags: str) -> tuple[float, float]:
    """Runs the converter; returns seconds and the peak memory in GB."""
    command = [sys.executable, str(_ROOT / "convert_torch_weights.py"), *flags]
    start = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - start
    if status:
        raise SystemExit(f"{' '.join(command)}: ended with {status}")
    unit = 1 if sys.platform == "darwin" else 1024
    return seconds, usage.ru_maxrss * unit / 1e9


def main(argv):
    """Prints one JSON line per direction."""
    del argv
    with tempfile.TemporaryDirectory() as folder:
        file, back = (pathlib.Path(folder) / name for name in ("x.pt", "y.pt"))
        n_weights = write_encoder(file)
        checkpoint = pathlib.Path(folder) / "checkpoint"
        directions = {
            "from_torch": (f"--input={file}", f"--output={checkpoint}"),
            "to_torch": (f"--input={checkpoint}", f"--output={back}", "--to_torch"),
        }
        for name, given in directions.items():
            runs = [run(*given, "--overwrite") for _ in range(_RUNS.value)]
            seconds, peaks = zip(*runs, strict=True)
            line = {
                "name": name,
                "seconds": round(statistics.median(seconds), 2),
                "all_seconds": [round(value, 2) for value in seconds],
                "peak_gb": round(max(peaks), 2),
                "weights": n_weights,
            }
            print(json.dumps(line), flush=True)


if __name__ == "__main__":
    app.run(main)
