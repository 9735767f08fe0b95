"""Times training and prediction on one GPU or TPU: one JSON line per measurement.

    python -m benchmarks.accelerator
    python -m benchmarks.accelerator --name=ours --batch_sizes=256 --precision=bfloat16

A try on CPU, about 3 minutes:

    python -m benchmarks.accelerator --width=2 --image_size=32 --batch_sizes=8 \
        --steps=3 --blocks=2 --n_images=600 --seconds=1 --subjects=2 --matrix=512

- `matmul` is a product of large square matrices: what the device can do at most.
  `of_matmul` of the other lines is their share of it, in the same precision.
- `ours` is the step with its data on the device and no teacher, as when its logits are
  known, for each batch size and precision.
- `torch` is the same step in PyTorch: channels last, one pass, fused Adam, and autocast
  where the precision is bfloat16; `torch_compiled` after `torch.compile`.
- `minute_...` trains for `--seconds` in bfloat16, as `training.loop` does: shuffled
  images in host memory, of bytes, with a teacher's logits, are gathered and put on the
  device while it computes; losses are fetched a step late. `minute_batch256` and
  `minute_one_by_one_batch16` train one network, `minute_in_step10x16` one for each of
  ten subjects in step with each other, each image going to all.
  `ten_subjects_minutes` is what ten subjects' 25 epochs of THINGS-EEG2 would take at
  that rate, validation aside.
- `encoder` predicts images in host memory, as a call of `Encoder` does.
- `profile` names the kinds of operations that the step at the largest batch size in
  bfloat16 spends its time on, and counts the operations of a step.

The most telling come first, and what `--budget_seconds` leaves no time for is left out,
with an `error` in its line, as is what fails. Each runs in a process of its own;
`first_step_seconds` compile what no line before has compiled. Needs JAX, Flax and
Optax, and PyTorch for its lines; no TensorFlow and no data.
"""

import json
import math
import multiprocessing
import os
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator

from absl import app, flags

from benchmarks import accelerator_steps
from benchmarks.accelerator_steps import SIGNAL_SHAPE, Settings
from img2eeg_jax.devices.precision import MATMUL_PRECISION
from img2eeg_jax.models.flops import forward_flops, training_flops

MEASURE = {
    "matmul": accelerator_steps.measure_matmul,
    "ours": accelerator_steps.measure_ours,
    "torch": accelerator_steps.measure_torch,
    "torch_compiled": accelerator_steps.measure_torch_compiled,
    "minute_batch256": accelerator_steps.measure_minute,
    "encoder": accelerator_steps.measure_encoder,
    "profile": accelerator_steps.measure_profile,
    "minute_in_step10x16": accelerator_steps.measure_minute,
    "minute_one_by_one_batch16": accelerator_steps.measure_minute,
}
SWEPT = ("ours", "torch", "torch_compiled")
# bfloat16 first: it is what the others are for.
PRECISIONS = ("bfloat16", "tf32", "float32")

# Of a process that has sent its result.
_SECONDS_TO_END = 30

_NAMES = flags.DEFINE_multi_enum(
    "name", list(MEASURE), list(MEASURE), "What to time; may be given several times."
)
_BATCH_SIZES = flags.DEFINE_list(
    "batch_sizes", ["256", "64", "16"], "Images a step of ours and torch."
)
flags.register_validator(
    "batch_sizes",
    lambda sizes: all(size.isdecimal() and int(size) > 1 for size in sizes),
    "expected numbers above 1",
)
_PRECISIONS = flags.DEFINE_multi_enum(
    "precision",
    sorted(MATMUL_PRECISION),
    list(PRECISIONS),
    "Of matmul, ours and torch; may be given several times.",
)
_STEPS = flags.DEFINE_integer(
    "steps", 20, "Of a block, at whose end the device is waited for.", lower_bound=1
)
_BLOCKS = flags.DEFINE_integer("blocks", 3, "Timed blocks.", lower_bound=1)
_SECONDS = flags.DEFINE_float(
    "seconds", 15.0, "Length of a minute_... and of encoder.", lower_bound=0.1
)
_N_IMAGES = flags.DEFINE_integer(
    "n_images", 4096, "In host memory, of a minute_...", lower_bound=1
)
_SUBJECTS = flags.DEFINE_integer(
    "subjects", 10, "Networks of minute_in_step10x16.", lower_bound=1
)
_IMAGE_SIZE = flags.DEFINE_integer("image_size", 224, "Pixels.")
_WIDTH = flags.DEFINE_integer("width", 64, "Channels of V1.")
_MATRIX = flags.DEFINE_integer("matrix", 8192, "Rows of the matrices of matmul.")
_BUDGET_SECONDS = flags.DEFINE_float(
    "budget_seconds", 460.0, "For all measurements together."
)


def main(argv):
    """Prints one JSON line per measurement."""
    del argv
    with tempfile.TemporaryDirectory() as folder:
        # What was compiled or tried out for one line is there for the next.
        os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", folder)
        measure_all()


def measure_all() -> None:
    """Prints the lines."""
    end = time.monotonic() + _BUDGET_SECONDS.value
    matmul_tflops: dict[str, float] = {}
    for name, settings in measurements():
        line: dict = {
            "name": name,
            "batch_size": settings.batch_size,
            "precision": settings.precision,
        }
        line |= in_new_process(MEASURE[name], settings, end - time.monotonic())
        if name == "matmul" and "tflops" in line:
            del line["batch_size"], line["images_per_second"]
            matmul_tflops[settings.precision] = line["tflops"]
        elif "images_per_second" in line:
            line |= arithmetic(name, settings, line, matmul_tflops)
        line |= {"image_size": settings.image_size, "width": settings.width}
        print(json.dumps(line), flush=True)


def measurements() -> Iterator[tuple[str, Settings]]:
    """Yields what to measure, the most telling first."""
    names, precisions = _NAMES.value, _PRECISIONS.value
    sizes = [int(size) for size in _BATCH_SIZES.value]
    swept = [name for name in SWEPT if name in names]
    if "matmul" in names:
        yield from (("matmul", make_settings(2, precision)) for precision in precisions)
    first, *others = sizes
    yield from ((name, make_settings(first, precisions[0])) for name in swept)
    for name in names:
        if name not in (*SWEPT, "matmul"):
            n_subjects = _SUBJECTS.value if name == "minute_in_step10x16" else None
            size = 16 if name.endswith("16") else first
            yield name, make_settings(size, "bfloat16", n_subjects)
    for size in others:
        yield from ((name, make_settings(size, precisions[0])) for name in swept)
    for precision in precisions[1:]:
        for size in sizes:
            yield from ((name, make_settings(size, precision)) for name in swept)


def make_settings(
    batch_size: int, precision: str, n_subjects: int | None = None
) -> Settings:
    """Returns these, and what the flags say."""
    return Settings(
        batch_size=batch_size,
        precision=precision,
        image_size=_IMAGE_SIZE.value,
        width=_WIDTH.value,
        steps=_STEPS.value,
        blocks=_BLOCKS.value,
        seconds=_SECONDS.value,
        n_images=_N_IMAGES.value,
        n_subjects=n_subjects,
        matrix=_MATRIX.value,
    )


def arithmetic(
    name: str, settings: Settings, line: dict, matmul_tflops: dict[str, float]
) -> dict[str, float]:
    """Returns what a line says about floating-point operations."""
    count = forward_flops if name == "encoder" else training_flops
    flop = count(
        width=settings.width,
        image_size=settings.image_size,
        signal_size=math.prod(SIGNAL_SHAPE),
    )
    tflops = flop * line["images_per_second"] / 1e12
    facts = {"gflop_per_image": round(flop / 1e9, 3), "tflops": round(tflops, 4)}
    if settings.precision in matmul_tflops:
        facts["of_matmul"] = round(tflops / matmul_tflops[settings.precision], 4)
    return facts


def in_new_process(
    function: Callable[[Settings], dict], settings: Settings, limit_seconds: float
) -> dict:
    """Calls a function where all memory is its own; returns its result or an error."""
    if limit_seconds <= 0:
        return {"error": "no time left"}
    context = multiprocessing.get_context("spawn")
    pipe, theirs = context.Pipe()
    arguments = (theirs, function, settings)
    process = context.Process(target=send_result, args=arguments, daemon=True)
    process.start()
    theirs.close()
    try:
        if not pipe.poll(limit_seconds):
            process.kill()
            return {"error": f"not done after {limit_seconds:.0f} s"}
        return pipe.recv()
    except EOFError:
        process.join()
        return {"error": f"its process ended with {process.exitcode}"}
    finally:
        process.join(_SECONDS_TO_END)
        process.kill()


def send_result(pipe, function: Callable[[Settings], dict], settings: Settings) -> None:
    """Serves `in_new_process`, in that process."""
    try:
        result = function(settings)
    except Exception as error:
        traceback.print_exc()
        # Notes that libraries add to an error come after it.
        line = traceback.format_exception_only(error)[0].strip().split("\n")[0]
        result = {"error": line}
    pipe.send(result)


if __name__ == "__main__":
    app.run(main)
