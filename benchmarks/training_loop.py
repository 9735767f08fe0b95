"""Times training beside its bare step, and looks for leaks: one JSON line for each.

    python -m benchmarks.training_loop
    python -m benchmarks.training_loop --full_size --name=steps

- `demo` and `full_size` train on synthetic images, an epoch at a time, with the real
  `Trainer` and the real pipeline, nothing validated or saved. After each epoch the same
  compiled step is taken as often with a batch that is on the device. `ratio` is of the
  median seconds a step, `ratio_of_fastest` of the shortest, and `cpu_ratio` of the
  processor's seconds: beside other jobs these two say more. An epoch's seconds are all
  from its start, with nothing read ahead, to the arrival of its last losses.
- `epochs_after_the_first` is the real `training.experiment.train` on the demo: what JAX
  compiled after the first epoch, and how much memory the process had at the end of the
  first epoch from step 200 on, and of the last, pages of files aside. Hundreds of MB
  that compiling took are given back at some later time and would hide growth, so
  `memory_peak_growth_mb` compares the largest of the last third of the epochs with the
  largest of the third before. Needs /proc (Linux).

Each runs in a process of its own. With --full_size on CPU: several minutes, 6 GB.
"""

import contextlib
import dataclasses
import json
import multiprocessing
import os
import pathlib
import statistics
import sys
import tempfile
import time
from concurrent import futures
from unittest import mock

import jax
from absl import app, flags

from configs import default, demo
from img2eeg_jax.data import batches as pipeline
from img2eeg_jax.devices.parallel import BATCH_AXIS, DataParallel
from img2eeg_jax.training import experiment, parts
from img2eeg_jax.training.loop import Trainer
from img2eeg_jax.training.requests import Limits
from img2eeg_jax.training.step import make_loss_step, make_train_step
from img2eeg_jax.training.workdir import Workdir

COMPILED = "/jax/core/compile/backend_compile_duration"

# From here on memory should not grow.
SETTLED_STEP = 200

_NAMES = flags.DEFINE_multi_enum(
    "name",
    ["steps", "epochs_after_the_first"],
    ["steps", "epochs_after_the_first"],
    "What to measure, in this order; may be given several times.",
)
_BLOCKS = flags.DEFINE_integer(
    "blocks", 15, "Timed epochs of the demo, each of 68 steps.", lower_bound=1
)
_FULL_SIZE = flags.DEFINE_bool(
    "full_size", False, "Steps at full size, not the demo's."
)
_FULL_SIZE_BLOCKS = flags.DEFINE_integer(
    "full_size_blocks", 3, "Timed epochs at full size.", lower_bound=1
)
_FULL_SIZE_STEPS = flags.DEFINE_integer(
    "full_size_steps", 3, "Steps of an epoch at full size.", lower_bound=2
)
_EPOCHS = flags.DEFINE_integer(
    "epochs", 31, "Of epochs_after_the_first; 31 are 2108 steps.", lower_bound=4
)


def main(argv):
    """Prints one JSON line per measurement."""
    del argv
    for name in _NAMES.value:
        if name == "epochs_after_the_first":
            report(name, watch_epochs, _EPOCHS.value)
        elif _FULL_SIZE.value:
            config = full_size_config(_FULL_SIZE_STEPS.value)
            report("full_size", time_steps, config, _FULL_SIZE_BLOCKS.value)
        else:
            report("demo", time_steps, demo.get_config(), _BLOCKS.value)


def report(name, function, *args):
    """Calls a function in a new process, and prints what it returns."""
    load = os.getloadavg()[0]
    context = multiprocessing.get_context("spawn")
    with futures.ProcessPoolExecutor(1, context) as pool:
        line = {"name": name} | pool.submit(function, *args).result()
    line |= {"cores": os.cpu_count(), "load_before": round(load, 2)}
    print(json.dumps(line), flush=True)


def full_size_config(n_steps):
    """Returns the demo's config at full size, with data for so many steps an epoch."""
    config, full_size = demo.get_config(), default.get_config()
    for key in (
        "image_size",
        "window_s",
        "width",
        "features",
        "num_classes",
        "generation_weight",
        "batch_size",
        "learning_rate",
    ):
        config[key] = full_size[key]
    config.validation_concepts = 0
    config.synthetic.image_size = config.image_size
    config.synthetic.n_training_concepts = n_steps
    config.synthetic.images_per_concept = config.batch_size
    config.synthetic.n_test_concepts = 2
    return config


def time_steps(config, n_blocks):
    """Times epochs and, in turns with them, as many steps on one resident batch."""
    with (
        tempfile.TemporaryDirectory() as folder,
        contextlib.redirect_stdout(sys.stderr),
        # As `experiment.train` does for float32.
        jax.default_matmul_precision("highest"),
    ):
        config.num_epochs = 1 + n_blocks
        trainer, workdir = build_trainer(config, pathlib.Path(folder))
        trainer.train(lambda: False)
    line = {
        "ratio": ratio(statistics.median, workdir.seconds),
        "ratio_of_fastest": ratio(min, workdir.seconds),
        "cpu_ratio": ratio(statistics.median, workdir.cpu_seconds),
    }
    for name, values in workdir.seconds.items():
        line[f"{name}_seconds_per_step"] = round(statistics.median(values), 5)
        line[f"all_{name}"] = [round(value, 5) for value in values]
    return line | {
        "steps_per_block": workdir.n_steps,
        "batch_size": config.batch_size,
        "image_size": config.image_size,
        "width": config.width,
        "device": jax.devices()[0].device_kind,
        "jax": jax.__version__,
    }


def ratio(average, values):
    """Returns the average with the pipeline, as a multiple of that without."""
    return round(average(values["pipeline"]) / average(values["resident"]), 4)


class AlternatingWorkdir(Workdir):
    """A folder that writes nothing, and after each epoch takes steps of its own.

    Attributes:
      n_steps: of an epoch.
      seconds: "pipeline" and "resident" → seconds a step, of all epochs but the first.
      cpu_seconds: the same of the processor, all cores together.
    """

    def __init__(self, networks, take_steps, n_steps):
        """Keeps `take_steps`, which takes a number of steps and waits for the last."""
        super().__init__(pathlib.Path(), networks.describe())
        self.n_steps = n_steps
        self.seconds = {"pipeline": [], "resident": []}
        self.cpu_seconds = {"pipeline": [], "resident": []}
        self._take_steps = take_steps
        self._is_first = True
        self._started_s = self._cpu_started_s = 0.0

    def __enter__(self):
        return self

    def restore(self, like, step=None):
        """Finds nothing."""

    def write_config(self):
        """Writes nothing."""

    def start(self):
        """Writes nothing."""

    def finish_epoch(self, row):
        """Stops the epoch's clock."""
        if not self._is_first:
            self._note("pipeline")
        super().finish_epoch(row)

    def save(self, state, selection_loss=None):
        """Takes the other steps, and starts the next epoch's clock."""
        self._start_clocks()
        if self._is_first:
            self._take_steps(1)
        else:
            self._take_steps(self.n_steps)
            self._note("resident")
        self._is_first = False
        self._start_clocks()

    def _start_clocks(self):
        self._started_s = time.perf_counter()
        self._cpu_started_s = time.process_time()

    def _note(self, name):
        seconds = time.perf_counter() - self._started_s
        cpu_seconds = time.process_time() - self._cpu_started_s
        self.seconds[name].append(seconds / self.n_steps)
        self.cpu_seconds[name].append(cpu_seconds / self.n_steps)


def build_trainer(config, workdir):
    """Returns a trainer as `experiment.train` builds it, and its folder."""
    data, shards = experiment.load_data(config, workdir)
    n_steps = pipeline.num_batches(data.train, config.batch_size)
    (subject,) = shards.subjects
    networks = experiment.load_networks(config, shards.eeg(subject).axes)
    recipe = parts.build_recipe(config, networks.signal, has_teacher=False)
    optimizer = parts.build_optimizer(config, n_steps)
    arguments = networks.model, optimizer, recipe
    parallel = DataParallel()
    train_step = parallel.train_step(make_train_step(*arguments, axis_name=BATCH_AXIS))
    loss_step = make_loss_step(networks.model, recipe, axis_name=BATCH_AXIS)
    initial = networks.initial_state(optimizer, config.seed, with_ema=False)
    state = parallel.replicate(initial)
    batches = pipeline.batches(data.train, batch_size=config.batch_size)
    batch = next(parallel.load(batches))

    def take_steps(n):
        nonlocal state
        for _ in range(n):
            state, metrics = train_step(state, {}, batch)
        jax.block_until_ready((state, metrics))

    alternating = AlternatingWorkdir(networks, take_steps, n_steps)
    trainer = Trainer(
        parallel=parallel,
        train_step=train_step,
        loss_step=parallel.loss_step(loss_step),
        recipe=recipe,
        state=initial,
        teacher_variables={},
        train_split=data.train,
        selection_split=None,
        selection=parts.build_selection(config),
        ceiling=None,
        batch_size=config.batch_size,
        even_batches=config.even_batches,
        seed=config.seed,
        workdirs=[alternating],
        limits=Limits(config.num_epochs),
        flops_per_image=0.0,
    )
    return trainer, alternating


@dataclasses.dataclass(frozen=True)
class Seen:
    """What there was at the end of an epoch.

    Attributes:
      step: the step.
      n_compiled: programs compiled so far.
      n_arrays: JAX's arrays in memory.
      memory_mb: of the process.
    """

    step: int
    n_compiled: int
    n_arrays: int
    memory_mb: float


def watch_epochs(n_epochs):
    """Trains the demo and tells what grew after it had settled."""
    compiled, seen = [], []

    def note(event: str, duration_secs: float, **of: str | int) -> None:
        if event == COMPILED:
            compiled.append(of)

    jax.monitoring.register_event_duration_secs_listener(note)
    finish_epoch = Workdir.finish_epoch

    def note_and_finish(workdir, row):
        arrays = len(jax.live_arrays())
        seen.append(Seen(row["step"], len(compiled), arrays, memory_mb()))
        finish_epoch(workdir, row)

    config = demo.get_config()
    config.num_epochs = n_epochs
    with (
        tempfile.TemporaryDirectory() as folder,
        contextlib.redirect_stdout(sys.stderr),
        mock.patch.object(Workdir, "finish_epoch", note_and_finish),
    ):
        experiment.train(config, folder)
    first, last = seen[0], seen[-1]
    settled = next(one for one in seen if one.step >= SETTLED_STEP)
    return {
        "compiled_in_the_first": first.n_compiled,
        "compiled_after_the_first": len(compiled) - first.n_compiled,
        "names_after_the_first": [
            str(of.get("fun_name")) for of in compiled[first.n_compiled :]
        ],
        "steps": [settled.step, last.step],
        "memory_mb": [round(settled.memory_mb, 1), round(last.memory_mb, 1)],
        "memory_growth_mb": round(last.memory_mb - settled.memory_mb, 1),
        "memory_peak_growth_mb": round(peak_growth([one.memory_mb for one in seen]), 1),
        "memory_mb_of_epochs": [round(one.memory_mb, 1) for one in seen],
        "live_arrays": [settled.n_arrays, last.n_arrays],
        "epochs": n_epochs,
        "jax": jax.__version__,
    }


def peak_growth(values):
    """Returns how much the last third's largest exceeds that of the third before."""
    first, second = len(values) // 3, 2 * len(values) // 3
    return max(values[second:]) - max(values[first:second])


def memory_mb():
    """Returns the memory of this process, pages of files aside, in 10⁶ bytes."""
    status = pathlib.Path("/proc/self/status").read_text()
    (line,) = [line for line in status.split("\n") if line.startswith("RssAnon:")]
    return int(line.split()[1]) * 1024 / 1e6


if __name__ == "__main__":
    app.run(main)
