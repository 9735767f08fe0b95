"""Times starts: one JSON line for each, the median and all of several processes.

    python -m benchmarks.start_up --checkpoint=runs/demo

- `import`: `import img2eeg_jax`, less what Python itself takes.
- `help`: `--help` of each script.
- `predict`: `predict.py` of one image; `cold` compiles, `warm` finds what was compiled.
- `eval`: `eval.py --only=encoding`, as `predict`.

Cold and warm come in turns, with a cache folder of their own. Have the machine to
yourself. The last two need a run: the demo's.
"""

import json
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time

from absl import app, flags
from PIL import Image

NAMES = ("import", "help", "predict", "eval")
ROOT = pathlib.Path(__file__).parents[1]
SCRIPTS = ("predict", "eval", "train", "fit_linear", "prepare_data")

_CHECKPOINT = flags.DEFINE_string("checkpoint", "runs/demo", "A run of the demo.")
_RUNS = flags.DEFINE_integer("runs", 3, "Timed turns.", lower_bound=1)
_NAMES = flags.DEFINE_multi_enum("name", NAMES, NAMES, "What to time.")


def main(argv):
    """Prints the lines of what is asked for."""
    del argv
    lines = {"import": imports, "help": helps, "predict": predict, "eval": evaluate}
    for name in _NAMES.value:
        for line in lines[name]():
            facts = {"python": sys.version.split()[0], "cores": os.cpu_count()}
            print(json.dumps({"name": name} | line | facts), flush=True)


def imports():
    """Yields the seconds of the import, and of a Python that imports nothing."""
    programs = {"import": "import img2eeg_jax", "nothing": ""}
    found = {name: [] for name in programs}
    for _ in range(_RUNS.value):
        for name, program in programs.items():
            found[name].append(seconds("-c", program))
    pairs = zip(found["import"], found["nothing"], strict=True)
    yield of([one - other for one, other in pairs])


def helps():
    """Yields the seconds of each script's help."""
    for script in SCRIPTS:
        runs = [seconds(f"{script}.py", "--help") for _ in range(_RUNS.value)]
        yield {"script": script} | of(runs)


def predict():
    """Yields the seconds of a prediction of one image."""
    with tempfile.TemporaryDirectory() as folder:
        Image.new("RGB", (500, 500)).save(f"{folder}/x.jpg")
        flags_ = f"--images={folder}/x.jpg", f"--output={folder}/x.npz", "--overwrite"
        yield from cold_and_warm("predict.py", *flags_)


def evaluate():
    """Yields the seconds of encoding scores; each run makes them anew."""
    with tempfile.TemporaryDirectory() as folder:
        yield from cold_and_warm("eval.py", "--only=encoding", output=folder)


def cold_and_warm(*command, output=None):
    """Yields a line for runs that compile, and one for runs that need not."""
    runs = {"cold": [], "warm": []}
    command = *command, f"--checkpoint={_CHECKPOINT.value}"
    for turn in range(_RUNS.value):
        with tempfile.TemporaryDirectory() as cache:
            for name, times in runs.items():
                more = () if output is None else (f"--output={output}/{turn}{name}",)
                times.append(seconds(*command, *more, IMG2EEG_CACHE=cache))
    for name, times in runs.items():
        yield {"cache": name} | of(times)


def of(times):
    """Returns the median of seconds, and all of them."""
    return {
        "seconds": round(statistics.median(times), 2),
        "all": [round(time_s, 2) for time_s in times],
    }


def seconds(*arguments, **environment):
    """Returns how long Python takes from its start to its end."""
    start = time.perf_counter()
    subprocess.run(
        [sys.executable, *arguments],
        cwd=ROOT,
        env=os.environ | environment,
        check=True,
        capture_output=True,
    )
    return time.perf_counter() - start


if __name__ == "__main__":
    app.run(main)
