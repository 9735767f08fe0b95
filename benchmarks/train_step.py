"""Times the full-size training step beside PyTorch's: one JSON line per name.

    python -m benchmarks.train_step --batch_size=16 --steps=3

Each name's step lives in a process of its own. They take turns, two steps each, of
which the second counts (the first finds caches and memory as others left them), so that
only one works at a time and all see the same state of the machine; `idle_cpu_seconds`
is the processor time that a process used while others worked. Beside other jobs
PyTorch's threads, which wait for each other busily, lose more than JAX's: have the
machine to yourself, or set OMP_WAIT_POLICY=passive.

- `ours` has no teacher, as when its logits are known; `ours_live_teacher` runs the
  teacher in the step.
- `torch_single_pass` does the work of `ours`, as fast as eager PyTorch goes.
- `torch_published` does the work of the published step; see `torch_steps.py`.
- `matmul_floor` is the time that the step's multiplications take at the rate of large
  matrix products. Convolution algorithms that multiply less can go below it.

Needs neither TensorFlow nor MNE nor data, and PyTorch, on CPU, for its own steps only.
"""

import dataclasses
import importlib
import importlib.util
import json
import multiprocessing
import os
import resource
import statistics
import sys
import time

import numpy as np
from absl import app, flags

NAMES = (
    "ours",
    "ours_live_teacher",
    "torch_single_pass",
    "torch_published",
    "matmul_floor",
)
MEMORY_FORMATS = ("channels_last", "contiguous")

_BATCH_SIZE = flags.DEFINE_integer("batch_size", 16, "Images a step.", lower_bound=2)
_IMAGE_SIZE = flags.DEFINE_integer("image_size", 224, "Pixels.")
_WIDTH = flags.DEFINE_integer("width", 64, "Channels of V1.")
_STEPS = flags.DEFINE_integer(
    "steps", 3, "Timed steps of each, after one that compiles.", lower_bound=1
)
_DTYPE = flags.DEFINE_enum(
    "dtype",
    "float32",
    ["float32", "bfloat16"],
    "Computation of ours and of the floor; PyTorch's is float32.",
)
_MEMORY_FORMAT = flags.DEFINE_enum(
    "torch_memory_format",
    "auto",
    ["auto", *MEMORY_FORMATS],
    "Of torch_single_pass; auto times two steps of each and keeps the faster.",
)
_NAMES = flags.DEFINE_multi_enum(
    "name",
    None,
    NAMES,
    "What to time; may be given several times. Default: all that can be imported.",
)


@dataclasses.dataclass(frozen=True)
class Settings:
    """What the steps have in common.

    Attributes:
      batch_size: images a step.
      image_size: their height and width, pixels.
      width: channels of V1.
      signal_shape: (channels, times) of the EEG.
      dtype: dtype of JAX's computation.
      memory_format: of `torch_single_pass`, one of `MEMORY_FORMATS`.
    """

    batch_size: int
    image_size: int
    width: int
    dtype: str
    memory_format: str
    signal_shape: tuple[int, int] = (17, 20)


class Worker:
    """A process that holds one name's step and takes it when asked.

    Attributes:
      facts: what its line says besides the times.
    """

    def __init__(self, name: str, settings: Settings):
        """Returns when the step has been built and taken once."""
        self._name = name
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        arguments = (theirs, name, settings)
        self._process = context.Process(target=work, args=arguments, daemon=True)
        self._process.start()
        theirs.close()
        self.facts = self._receive()

    def step(self) -> float:
        """Takes two steps; returns the seconds of the second."""
        self._pipe.send(True)
        return self._receive()

    def stop(self) -> dict[str, float]:
        """Ends the process; returns what it used."""
        self._pipe.send(False)
        usage = self._receive()
        self._process.join()
        return usage

    def _receive(self):
        try:
            return self._pipe.recv()
        except EOFError:
            self._process.join()
            code = self._process.exitcode
            raise SystemExit(f"{self._name}: its process ended with {code}") from None


def work(pipe, name: str, settings: Settings) -> None:
    """Serves a `Worker`, in its process."""
    # Several processes share an accelerator's memory.
    os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
    module = "torch_steps" if needs_torch(name) else "jax_steps"
    build = importlib.import_module(f"benchmarks.{module}").build
    step, facts = build(name, settings, random_batch(settings))
    step()
    pipe.send(facts)
    idle_cpu_s, since = 0.0, time.process_time()
    while pipe.recv():
        idle_cpu_s += time.process_time() - since
        step()
        pipe.send(step())
        since = time.process_time()
    idle_cpu_s += time.process_time() - since
    pipe.send({"peak_gb": peak_gb(), "idle_cpu_seconds": round(idle_cpu_s, 3)})


def main(argv):
    """Prints one JSON line per name."""
    del argv
    workers = {name: start(name) for name in chosen_names()}
    seconds = {name: [] for name in workers}
    for _ in range(_STEPS.value):
        for name, worker in workers.items():
            seconds[name].append(worker.step())
    medians = {name: statistics.median(values) for name, values in seconds.items()}
    for name, worker in workers.items():
        line = {
            "name": name,
            "seconds": round(medians[name], 4),
            "all_seconds": [round(value, 4) for value in seconds[name]],
            "images_per_second": round(_BATCH_SIZE.value / medians[name], 3),
        }
        if "ours" in medians:
            line["times_ours"] = round(medians[name] / medians["ours"], 3)
        line |= worker.stop() | worker.facts
        if "gflop" in line:
            line["gflop_per_s"] = round(line["gflop"] / medians[name], 1)
        line |= {"batch_size": _BATCH_SIZE.value, "image_size": _IMAGE_SIZE.value}
        line |= {"width": _WIDTH.value, "cores": os.cpu_count()}
        print(json.dumps(line), flush=True)


def chosen_names() -> list[str]:
    """Returns the names asked for, or all whose libraries are there."""
    if importlib.util.find_spec("torch"):
        return _NAMES.value or list(NAMES)
    if any(needs_torch(name) for name in _NAMES.value or ()):
        raise app.UsageError("PyTorch is missing: pip install -e '.[torch]'")
    if _NAMES.value:
        return _NAMES.value
    skipped = [name for name in NAMES if needs_torch(name)]
    print(f"PyTorch is missing: no {', '.join(skipped)}", file=sys.stderr)
    return [name for name in NAMES if not needs_torch(name)]


def needs_torch(name: str) -> bool:
    """Tells whether a name's step is PyTorch's."""
    return name.startswith("torch_")


def start(name: str) -> Worker:
    """Starts a name's worker; for `torch_single_pass` in the format that is chosen."""
    memory_format = _MEMORY_FORMAT.value
    if name == "torch_single_pass" and memory_format == "auto":
        memory_format = faster_format(name)
    return Worker(name, make_settings(memory_format))


def faster_format(name: str) -> str:
    """Returns the memory format in which the faster of two steps takes less time."""
    seconds = {}
    for memory_format in MEMORY_FORMATS:
        worker = Worker(name, make_settings(memory_format))
        seconds[memory_format] = min(worker.step(), worker.step())
        worker.stop()
    return min(seconds, key=lambda name: seconds[name])


def make_settings(memory_format: str) -> Settings:
    """Returns what the flags say."""
    return Settings(
        batch_size=_BATCH_SIZE.value,
        image_size=_IMAGE_SIZE.value,
        width=_WIDTH.value,
        dtype=_DTYPE.value,
        memory_format=memory_format,
    )


def random_batch(settings: Settings) -> dict[str, np.ndarray]:
    """Returns a batch of noise in host memory."""
    rng = np.random.default_rng(0)
    n, size = settings.batch_size, settings.image_size
    return {
        "image": rng.integers(0, 256, (n, size, size, 3), np.uint8),
        "response": rng.standard_normal((n, *settings.signal_shape), np.float32),
        "mask": np.ones(n, np.float32),
    }


def peak_gb() -> float:
    """Returns the largest memory that this process has had."""
    unit = 1 if sys.platform == "darwin" else 1024
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return round(peak * unit / 1e9, 2)


if __name__ == "__main__":
    app.run(main)
