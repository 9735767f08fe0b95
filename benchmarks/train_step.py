"""Times the full-size training step: one JSON line per measurement.

    python benchmarks/train_step.py --batch_size=16 --steps=3

Needs neither TensorFlow nor MNE nor data. `ours` has no teacher, as when its logits
are known; `ours_live_teacher` runs the teacher in the step.
"""

import json
import resource
import statistics
import sys
import time

import jax
import numpy as np
import optax
from absl import app, flags

from img2eeg_jax.models.cornet_s import CORnetS
from img2eeg_jax.models.realnet import ReAlNet
from img2eeg_jax.training.parallel import BATCH_AXIS, DataParallel
from img2eeg_jax.training.state import create_state, init_variables
from img2eeg_jax.training.step import Recipe, make_train_step

_BATCH_SIZE = flags.DEFINE_integer("batch_size", 16, "Images a step.")
_IMAGE_SIZE = flags.DEFINE_integer("image_size", 224, "Pixels.")
_WIDTH = flags.DEFINE_integer("width", 64, "Channels of V1.")
_STEPS = flags.DEFINE_integer("steps", 3, "Timed steps, after one that compiles.")
_DTYPE = flags.DEFINE_enum("dtype", "float32", ["float32", "bfloat16"], "Computation.")
_NAMES = flags.DEFINE_multi_enum(
    "name",
    ["ours", "ours_live_teacher"],
    ["ours", "ours_live_teacher"],
    "What to time; may be given several times.",
)


def main(argv):
    """Prints one JSON line per name."""
    del argv
    for name in _NAMES.value:
        seconds = time_steps(with_teacher=name == "ours_live_teacher")
        # Peak of the process so far: names run from the lighter to the heavier.
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        peak_bytes = peak if sys.platform == "darwin" else 1024 * peak
        line = {
            "name": name,
            "seconds": round(statistics.median(seconds), 3),
            "all_seconds": [round(value, 3) for value in seconds],
            "images_per_second": round(
                _BATCH_SIZE.value / statistics.median(seconds), 3
            ),
            "peak_gb": round(peak_bytes / 1e9, 2),
            "batch_size": _BATCH_SIZE.value,
            "image_size": _IMAGE_SIZE.value,
            "width": _WIDTH.value,
            "dtype": _DTYPE.value,
            "device": jax.devices()[0].device_kind,
            "jax": jax.__version__,
        }
        print(json.dumps(line), flush=True)


def time_steps(with_teacher):
    """Returns the seconds of each timed step."""
    parallel = DataParallel(jax.local_devices()[:1])
    settings = {"width": _WIDTH.value, "axis_name": BATCH_AXIS, "dtype": _DTYPE.value}
    model = ReAlNet(**settings)
    optimizer = optax.adam(2e-5)
    state = parallel.replicate(create_state(_init(model), optimizer))
    teacher, teacher_variables, task = None, {}, "none"
    if with_teacher:
        teacher, task = CORnetS(**settings), "mse"
        teacher_variables = parallel.replicate(_init(teacher))
    recipe = Recipe(task=task)
    step = parallel.train_step(
        make_train_step(model, optimizer, recipe, teacher, BATCH_AXIS)
    )
    batch = parallel.split(random_batch(model.signal_shape))
    seconds = []
    for _ in range(_STEPS.value + 1):
        start = time.perf_counter()
        state, metrics = step(state, teacher_variables, batch)
        jax.block_until_ready((state, metrics))
        seconds.append(time.perf_counter() - start)
    return seconds[1:]


def random_batch(signal_shape):
    """Returns a batch of noise in host memory."""
    rng = np.random.default_rng(0)
    n, size = _BATCH_SIZE.value, _IMAGE_SIZE.value
    return {
        "image": rng.integers(0, 256, (n, size, size, 3), np.uint8),
        "eeg": rng.standard_normal((n, *signal_shape), np.float32),
        "mask": np.ones(n, np.float32),
    }


def _init(model):
    return init_variables(model.clone(axis_name=None), _IMAGE_SIZE.value, seed=0)


if __name__ == "__main__":
    app.run(main)
