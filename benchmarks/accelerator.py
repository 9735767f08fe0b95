"""Times training on one GPU or TPU: one JSON line per measurement.

    python benchmarks/accelerator.py
    python benchmarks/accelerator.py --name=ours --batch_sizes=256 --precision=bfloat16

Where not installed, set PYTHONPATH to the repository. A try on CPU, about 100 s:

    python benchmarks/accelerator.py --width=2 --image_size=32 --batch_sizes=8 \
        --precision=bfloat16 --steps=5 --n_images=600 --minute_seconds=2 --subjects=2

- `ours` is the step with its data on the device and no teacher, as when its logits are
  known: for each batch size, in bfloat16 and in tf32.
- `torch` is the same step in PyTorch on CUDA: channels last, one pass, fused Adam, and
  autocast where the precision is bfloat16.
- `minute_...` trains for so long in bfloat16, as `training.loop` does: shuffled
  images in host memory, of bytes, with a teacher's logits, are gathered and put on the
  device while it computes; losses are fetched a step late. `minute_batch256` and
  `minute_one_by_one_batch16` train one network, `minute_vmapped10x16` one for each of
  ten subjects in step with each other, each image going to all.
  `ten_subjects_minutes` is what ten subjects' 25 epochs of THINGS-EEG2 would take at
  that rate, validation aside.

Each runs in a process of its own. What fails, or takes too long, has an `error` in its
line. `flop_utilisation` is of `--peak_tflops`, whatever the precision. Needs
TensorFlow, which reads the batches of `minute_...`, but no data.
"""

import dataclasses
import importlib
import importlib.util
import itertools
import json
import math
import multiprocessing
import statistics
import sys
import time
import traceback
from collections.abc import Callable, Iterator

import jax
import numpy as np
import optax
from absl import app, flags

from img2eeg_jax.data import batches as pipeline
from img2eeg_jax.data.examples import Split
from img2eeg_jax.devices.parallel import BATCH_AXIS, DataParallel
from img2eeg_jax.models.flops import training_flops
from img2eeg_jax.models.realnet import ReAlNet
from img2eeg_jax.training.state import create_state, init_variables
from img2eeg_jax.training.step import Recipe, make_train_step

# Matrix products of float32 numbers, as `training.experiment` sets them.
PRECISIONS = {"bfloat16": "default", "tf32": "tensorfloat32"}

# Images that ten subjects' 25 epochs of THINGS-EEG2 go over.
TEN_SUBJECTS_IMAGES = 10 * 25 * 16540

SIGNAL_SHAPE = (17, 20)
NUM_CLASSES = 1000
LEARNING_RATE = 2e-5

# Of a process that has sent its result.
_SECONDS_TO_END = 30

_NAMES = flags.DEFINE_multi_enum(
    "name",
    None,
    [
        "ours",
        "torch",
        "minute_batch256",
        "minute_vmapped10x16",
        "minute_one_by_one_batch16",
    ],
    "What to time; may be given several times. Default: all, without torch where it "
    "has no CUDA.",
)
_BATCH_SIZES = flags.DEFINE_list(
    "batch_sizes", ["16", "64", "256"], "Images a step of ours and torch."
)
flags.register_validator(
    "batch_sizes",
    lambda sizes: all(size.isdecimal() and int(size) > 1 for size in sizes),
    "expected numbers above 1",
)
_PRECISIONS = flags.DEFINE_multi_enum(
    "precision",
    list(PRECISIONS),
    list(PRECISIONS),
    "Of ours and torch; may be given several times.",
)
_STEPS = flags.DEFINE_integer(
    "steps", 20, "Of a block, at whose end the device is waited for.", lower_bound=1
)
_BLOCKS = flags.DEFINE_integer("blocks", 5, "Timed blocks.", lower_bound=1)
_MINUTE_SECONDS = flags.DEFINE_float(
    "minute_seconds", 60.0, "Length of a minute_...", lower_bound=0.1
)
_N_IMAGES = flags.DEFINE_integer(
    "n_images", 16540, "In host memory, of a minute_...", lower_bound=1
)
_SUBJECTS = flags.DEFINE_integer(
    "subjects", 10, "Networks of minute_vmapped10x16.", lower_bound=1
)
_IMAGE_SIZE = flags.DEFINE_integer("image_size", 224, "Pixels.")
_WIDTH = flags.DEFINE_integer("width", 64, "Channels of V1.")
_PEAK_TFLOPS = flags.DEFINE_float(
    "peak_tflops", 790.0, "What the device can do; default: an H200 in bfloat16."
)
_TORCH_COMPILE = flags.DEFINE_bool("torch_compile", False, "Compile PyTorch's network.")
_LIMIT_SECONDS = flags.DEFINE_float(
    "limit_seconds", 600.0, "After which a measurement is given up."
)


@dataclasses.dataclass(frozen=True)
class Settings:
    """What one measurement is of.

    Attributes:
      batch_size: images a step.
      precision: one of `PRECISIONS`.
      image_size: their height and width, pixels.
      width: channels of V1.
      steps: of a block.
      blocks: timed blocks.
      minute_seconds: how long a minute is.
      n_images: in host memory.
      n_subjects: networks in step with each other, or None for one alone.
      torch_compile: whether PyTorch compiles its network.
    """

    batch_size: int
    precision: str
    image_size: int
    width: int
    steps: int
    blocks: int
    minute_seconds: float
    n_images: int
    n_subjects: int | None
    torch_compile: bool


def main(argv):
    """Prints one JSON line per measurement."""
    del argv
    for name, settings in measurements(chosen_names()):
        line = {
            "name": name,
            "batch_size": settings.batch_size,
            "precision": settings.precision,
        }
        line |= in_new_process(MEASURE[name], settings)
        if "images_per_second" in line:
            line |= arithmetic(settings, line["images_per_second"])
        line |= {"image_size": settings.image_size, "width": settings.width}
        print(json.dumps(line), flush=True)


def chosen_names() -> list[str]:
    """Returns the names asked for, or all that can be measured."""
    if _NAMES.value:
        return _NAMES.value
    if in_new_process(torch_has_cuda) == {"has_cuda": True}:
        return list(MEASURE)
    print("PyTorch with CUDA is missing: no torch", file=sys.stderr)
    return [name for name in MEASURE if name != "torch"]


def torch_has_cuda() -> dict[str, bool]:
    """Tells whether PyTorch is there and sees a GPU."""
    if not importlib.util.find_spec("torch"):
        return {"has_cuda": False}
    return {"has_cuda": importlib.import_module("torch").cuda.is_available()}


def measurements(names: list[str]) -> Iterator[tuple[str, Settings]]:
    """Yields what to measure, the names in the order given."""
    for name in names:
        if name in ("ours", "torch"):
            for precision in _PRECISIONS.value:
                for batch_size in _BATCH_SIZES.value:
                    yield name, make_settings(int(batch_size), precision)
        else:
            batch_size = 256 if name == "minute_batch256" else 16
            n_subjects = _SUBJECTS.value if name == "minute_vmapped10x16" else None
            yield name, make_settings(batch_size, "bfloat16", n_subjects)


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
        minute_seconds=_MINUTE_SECONDS.value,
        n_images=_N_IMAGES.value,
        n_subjects=n_subjects,
        torch_compile=_TORCH_COMPILE.value,
    )


def arithmetic(settings: Settings, images_per_second: float) -> dict[str, float]:
    """Returns what a line says about floating-point operations."""
    flop = training_flops(
        width=settings.width,
        image_size=settings.image_size,
        signal_size=math.prod(SIGNAL_SHAPE),
    )
    tflops = flop * images_per_second / 1e12
    return {
        "gflop_per_image": round(flop / 1e9, 3),
        "tflops": round(tflops, 4),
        "peak_tflops": _PEAK_TFLOPS.value,
        "flop_utilisation": round(tflops / _PEAK_TFLOPS.value, 6),
    }


def in_new_process(function: Callable[..., dict], *args) -> dict:
    """Calls a function where all memory is its own; returns its result or an error."""
    context = multiprocessing.get_context("spawn")
    pipe, theirs = context.Pipe()
    arguments = (theirs, function, args)
    process = context.Process(target=send_result, args=arguments, daemon=True)
    process.start()
    theirs.close()
    try:
        if not pipe.poll(_LIMIT_SECONDS.value):
            process.kill()
            return {"error": f"not done after {_LIMIT_SECONDS.value:g} s"}
        return pipe.recv()
    except EOFError:
        process.join()
        return {"error": f"its process ended with {process.exitcode}"}
    finally:
        process.join(_SECONDS_TO_END)
        process.kill()


def send_result(pipe, function: Callable[..., dict], args: tuple) -> None:
    """Serves `in_new_process`, in that process."""
    try:
        result = function(*args)
    except Exception as error:
        traceback.print_exc()
        line = traceback.format_exception_only(error)[-1].strip().split("\n")[0]
        result = {"error": line}
    pipe.send(result)


def measure_ours(settings: Settings) -> dict:
    """Times JAX's step with its data on the device."""
    with jax.default_matmul_precision(PRECISIONS[settings.precision]):
        parallel, step, state = build(settings, task="none")
        split = random_split(settings.batch_size, settings)
        batches = pipeline.batches(split, batch_size=settings.batch_size)
        (batch,) = parallel.load(batches)

        def take_steps(n):
            nonlocal state
            for _ in range(n):
                state, metrics = step(state, {}, batch)
            jax.block_until_ready((state, metrics))

        return time_blocks(take_steps, settings) | jax_facts(parallel)


def measure_torch(settings: Settings) -> dict:
    """Times PyTorch's step with its data on the device, CPU if there is no CUDA."""
    torch_steps = importlib.import_module("torch_steps")
    torch, plain = torch_steps.torch, torch_steps.plain
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    torch.manual_seed(0)
    torch.backends.cudnn.benchmark = True
    torch.set_float32_matmul_precision("high")
    network = plain.ReAlNet(
        signal_size=math.prod(SIGNAL_SHAPE),
        width=settings.width,
        num_classes=NUM_CLASSES,
        image_size=settings.image_size,
        data_parallel=False,
    ).to(device, memory_format=torch.channels_last)
    optimizer = torch.optim.Adam(network.parameters(), LEARNING_RATE, fused=True)
    forward = torch.compile(network) if settings.torch_compile else network
    split = random_split(settings.batch_size, settings)
    # Bytes, channels last in memory.
    image = torch.from_numpy(split.images).to(device).permute(0, 3, 1, 2)
    target = torch.from_numpy(split.response).to(device).flatten(1)
    mean, std = plain.MEAN.to(device), plain.STD.to(device)
    uses_bfloat16 = settings.precision == "bfloat16"

    def loss():
        pixels = (image / 255 - mean) / std
        with torch.autocast(device.type, torch.bfloat16, enabled=uses_bfloat16):
            _, signal = forward(pixels)
        signal = signal.float()
        mse = torch.nn.functional.mse_loss(signal, target)
        contrast = torch_steps.contrast(signal, target)
        return torch_steps.GENERATION_WEIGHT * (mse + contrast)

    def take_steps(n):
        for _ in range(n):
            optimizer.zero_grad()
            loss().backward()
            optimizer.step()
        if device.type == "cuda":
            torch.cuda.synchronize()

    line = time_blocks(take_steps, settings)
    line |= {"torch": torch.__version__, "torch_compile": settings.torch_compile}
    line["device"] = "cpu"
    if device.type == "cuda":
        line["device"] = torch.cuda.get_device_name()
        line["peak_device_gb"] = gigabytes(torch.cuda.max_memory_allocated())
    return line


def time_blocks(take_steps: Callable[[int], None], settings: Settings) -> dict:
    """Times steps, several between two waits for the device.

    Args:
      take_steps: takes a number of steps and waits for the last.
      settings: how many.
    """
    start = time.perf_counter()
    take_steps(1)
    first = time.perf_counter() - start
    take_steps(settings.steps)
    seconds = []
    for _ in range(settings.blocks):
        start = time.perf_counter()
        take_steps(settings.steps)
        seconds.append((time.perf_counter() - start) / settings.steps)
    median = statistics.median(seconds)
    return {
        "images_per_second": round(settings.batch_size / median, 2),
        "seconds_per_step": round(median, 6),
        "all_seconds_per_step": [round(value, 6) for value in seconds],
        "first_step_seconds": round(first, 1),
    }


def measure_minute(settings: Settings) -> dict:
    """Trains on images in host memory for a while."""
    with jax.default_matmul_precision(PRECISIONS[settings.precision]):
        parallel, step, state = build(settings, task="mse")
        split = random_split(settings.n_images, settings, with_teacher=True)
        start = time.perf_counter()
        arriving = train(parallel, step, state, split, settings.batch_size)
        next(arriving)
        first = time.perf_counter() - start
        next(arriving)
        n_images = n_steps = 0
        start = time.perf_counter()
        while (seconds := time.perf_counter() - start) < settings.minute_seconds:
            n_images += next(arriving)
            n_steps += 1
        arriving.close()
    rate = n_images / seconds
    return {
        "images_per_second": round(rate, 2),
        "ten_subjects_minutes": round(TEN_SUBJECTS_IMAGES / rate / 60, 2),
        "seconds_per_step": round(seconds / n_steps, 6),
        "seconds": round(seconds, 2),
        "steps": n_steps,
        "epochs": round(n_steps / pipeline.num_batches(split, settings.batch_size), 2),
        "first_step_seconds": round(first, 1),
        "subjects": settings.n_subjects or 1,
        "n_images": settings.n_images,
    } | jax_facts(parallel)


def train(parallel, step, state, split, batch_size) -> Iterator[int]:
    """Trains for ever, as `training.loop` does.

    Yields:
      For each step the number of its images, once for each network, when its losses
      have come.
    """
    for epoch in itertools.count():
        batches = pipeline.batches(split, batch_size=batch_size, seed=0, epoch=epoch)
        pending = None
        for batch in parallel.load(batches):
            state, metrics = step(state, {}, batch)
            # The losses of the step before: waiting for this one would stall.
            if pending is not None:
                yield count_images(pending)
            pending = metrics
        yield count_images(pending)


def count_images(metrics) -> int:
    """Waits for a step's losses; returns the number of images they are of."""
    return int(np.sum(jax.device_get(metrics)["mse"][1]))


def build(settings: Settings, task: str):
    """Returns one device, the step on it, and the state there."""
    parallel = DataParallel(jax.local_devices()[:1], settings.n_subjects)
    model = ReAlNet(
        signal_shape=SIGNAL_SHAPE,
        width=settings.width,
        num_classes=NUM_CLASSES,
        axis_name=BATCH_AXIS,
        dtype="bfloat16" if settings.precision == "bfloat16" else "float32",
    )
    optimizer = optax.adam(LEARNING_RATE)
    variables = init_variables(model.clone(axis_name=None), settings.image_size, seed=0)
    state = jax.device_get(create_state(variables, optimizer))
    if settings.n_subjects is not None:
        state = jax.tree.map(lambda leaf: np.stack([leaf] * settings.n_subjects), state)
    step = make_train_step(model, optimizer, Recipe(task=task), axis_name=BATCH_AXIS)
    return parallel, parallel.train_step(step), parallel.replicate(state)


def random_split(n_images: int, settings: Settings, with_teacher: bool = False):
    """Returns noise in host memory, as much as the real data take."""
    rng = np.random.default_rng(0)
    of_subjects = () if settings.n_subjects is None else (settings.n_subjects,)
    size = settings.image_size
    logits = None
    if with_teacher:
        logits = rng.standard_normal((n_images, NUM_CLASSES), np.float32)
    return Split(
        images=rng.integers(0, 256, (n_images, size, size, 3), np.uint8),
        response=rng.standard_normal(
            (n_images, *of_subjects, *SIGNAL_SHAPE), np.float32
        ),
        index=np.arange(n_images, dtype=np.int32),
        teacher_logits=logits,
    )


def jax_facts(parallel: DataParallel) -> dict:
    """Returns what a line says about the device."""
    (device,) = parallel.devices
    facts = {"device": device.device_kind, "jax": jax.__version__}
    memory = device.memory_stats() or {}
    if "peak_bytes_in_use" in memory:
        facts["peak_device_gb"] = gigabytes(memory["peak_bytes_in_use"])
    return facts


def gigabytes(n_bytes: int) -> float:
    """Returns 10⁹ bytes, rounded."""
    return round(n_bytes / 1e9, 2)


MEASURE = {
    "ours": measure_ours,
    "torch": measure_torch,
    "minute_batch256": measure_minute,
    "minute_vmapped10x16": measure_minute,
    "minute_one_by_one_batch16": measure_minute,
}


if __name__ == "__main__":
    app.run(main)
