"""What `accelerator.py` times, each in a process of its own."""

import collections
import concurrent.futures
import dataclasses
import importlib
import itertools
import math
import pathlib
import re
import statistics
import tempfile
import time
from collections.abc import Callable, Generator, Iterator

import jax
import jax.numpy as jnp
import numpy as np
import optax

from img2eeg_jax.data.examples import Split
from img2eeg_jax.devices.parallel import BATCH_AXIS, Batch, DataParallel
from img2eeg_jax.devices.precision import matmul_precision
from img2eeg_jax.models.realnet import ReAlNet
from img2eeg_jax.prediction.network import Network
from img2eeg_jax.training.state import create_state, init_variables
from img2eeg_jax.training.step import Recipe, make_predict_step, make_train_step

# Images that ten subjects' 25 epochs of THINGS-EEG2 go over.
TEN_SUBJECTS_IMAGES = 10 * 25 * 16540

SIGNAL_SHAPE = (17, 20)
NUM_CLASSES = 1000
LEARNING_RATE = 2e-5

# Batches that are gathered while a step is taken.
AHEAD = 2
# Of a profile, the kinds of operations that are named.
LARGEST = 8


@dataclasses.dataclass(frozen=True)
class Settings:
    """What one measurement is of.

    Attributes:
      batch_size: images a step.
      precision: of matrix products, as `config.precision`.
      image_size: their height and width, pixels.
      width: channels of V1.
      steps: of a block.
      blocks: timed blocks.
      seconds: how long a minute is.
      n_images: in host memory.
      n_subjects: networks in step with each other, or None for one alone.
      matrix: rows of the square matrices that are multiplied.
    """

    batch_size: int
    precision: str
    image_size: int
    width: int
    steps: int
    blocks: int
    seconds: float
    n_images: int
    n_subjects: int | None
    matrix: int


def measure_matmul(settings: Settings) -> dict:
    """Times a large matrix product: what the device can do at most."""
    n = settings.matrix
    dtype = jnp.bfloat16 if settings.precision == "bfloat16" else jnp.float32
    with matmul_precision(settings.precision):
        left = jax.random.normal(jax.random.key(0), (n, n), dtype)
        product = jax.jit(lambda a, b: a @ b)

        def take_steps(times):
            result = left
            for _ in range(times):
                result = product(left, result)
            result.block_until_ready()

        line = time_blocks(take_steps, settings)
    line["tflops"] = 2 * n**3 / line["seconds_per_step"] / 1e12
    return line | {"rows": n}


def measure_ours(settings: Settings) -> dict:
    """Times JAX's step with its data on the device."""
    with matmul_precision(settings.precision):
        parallel, take_steps = resident_steps(settings)
        return time_blocks(take_steps, settings) | jax_facts(parallel)


def measure_profile(settings: Settings) -> dict:
    """Tells on which operations the device spends its time."""
    with (
        matmul_precision(settings.precision),
        tempfile.TemporaryDirectory() as folder,
    ):
        _, take_steps = resident_steps(settings)
        take_steps(2)
        with jax.profiler.trace(folder):
            take_steps(settings.steps)
        (trace,) = pathlib.Path(folder).glob("**/*.xplane.pb")
        profile = jax.profiler.ProfileData.from_file(str(trace))
    spent: dict[str, float] = collections.defaultdict(float)
    count = 0
    for kind, seconds in operations(profile):
        spent[kind] += seconds
        count += 1
    total = sum(spent.values())
    largest = sorted(spent.items(), key=lambda item: -item[1])[:LARGEST]
    return {
        "largest": {kind: round(of / total, 3) for kind, of in largest},
        "busy_seconds_per_step": round(total / settings.steps, 6),
        "operations_per_step": round(count / settings.steps),
    }


def operations(profile: jax.profiler.ProfileData) -> Iterator[tuple[str, float]]:
    """Yields the kind and the seconds of compiled operations; of devices, if any."""
    planes = list(profile.planes)
    of_devices = [plane for plane in planes if plane.name.startswith("/device:")]
    for plane in of_devices or planes:
        for event in itertools.chain.from_iterable(line.events for line in plane.lines):
            operation = dict(event.stats).get("hlo_op")
            if operation is not None:
                # XLA numbers those of a kind, as in `input_reduce_fusion.7`.
                kind = re.sub(r"[._]\d+", "", str(operation))
                yield kind, event.duration_ns / 1e9


def resident_steps(settings: Settings) -> tuple[DataParallel, Callable[[int], None]]:
    """Returns the device, and what takes steps with a batch that is on it."""
    parallel, step, state = build(settings, task="none")
    split = random_split(settings.batch_size, settings)
    (batch,) = parallel.load(host_batches(split, settings.batch_size, 0))

    def take_steps(n):
        nonlocal state
        for _ in range(n):
            state, metrics = step(state, {}, batch)
        jax.block_until_ready((state, metrics))

    return parallel, take_steps


def measure_torch(settings: Settings, compiled: bool = False) -> dict:
    """Times PyTorch's step with its data on the device, CPU if there is no CUDA."""
    torch_steps = importlib.import_module("benchmarks.torch_steps")
    torch, plain = torch_steps.torch, torch_steps.plain
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    torch.manual_seed(0)
    torch.backends.cudnn.benchmark = True
    is_exact = settings.precision == "float32"
    torch.set_float32_matmul_precision("highest" if is_exact else "high")
    torch.backends.cudnn.allow_tf32 = not is_exact
    network = plain.ReAlNet(
        signal_size=math.prod(SIGNAL_SHAPE),
        width=settings.width,
        num_classes=NUM_CLASSES,
        image_size=settings.image_size,
        data_parallel=False,
    ).to(device, memory_format=torch.channels_last)
    optimizer = torch.optim.Adam(network.parameters(), LEARNING_RATE, fused=True)
    forward = torch.compile(network) if compiled else network
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

    line = time_blocks(take_steps, settings) | {"torch": torch.__version__}
    if device.type == "cuda":
        line["device"] = torch.cuda.get_device_name()
        line["peak_device_gb"] = gigabytes(torch.cuda.max_memory_allocated())
    return line


def measure_torch_compiled(settings: Settings) -> dict:
    """Times the same with its network compiled."""
    return measure_torch(settings, compiled=True)


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


def measure_encoder(settings: Settings) -> dict:
    """Times prediction of images in host memory, as a call of `Encoder` runs it."""
    model = make_model(settings)
    variables = jax.device_get(init_variables(model, settings.image_size, seed=0))
    parallel = DataParallel(jax.local_devices()[:1])
    network = Network(variables, settings.precision, parallel)
    signals = network.compiled(make_predict_step(model))
    images = random_split(settings.batch_size, settings).images
    line = for_a_while(
        settings, lambda: (len(part) for part in signals(itertools.cycle(images)))
    )
    return line | {"batch_size": network.batch_size} | jax_facts(parallel)


def measure_minute(settings: Settings) -> dict:
    """Trains on images in host memory for a while."""
    with matmul_precision(settings.precision):
        parallel, step, state = build(settings, task="mse")
        split = random_split(settings.n_images, settings, with_teacher=True)
        line = for_a_while(
            settings, lambda: train(parallel, step, state, split, settings.batch_size)
        )
    minutes = TEN_SUBJECTS_IMAGES / line["images_per_second"] / 60
    return line | {
        "ten_subjects_minutes": round(minutes, 2),
        "epochs": round(line["steps"] * settings.batch_size / settings.n_images, 2),
        "subjects": settings.n_subjects or 1,
        "n_images": settings.n_images,
    } | jax_facts(parallel)  # fmt: skip


def for_a_while(settings: Settings, run: Callable[[], Generator[int]]) -> dict:
    """Counts the images of an endless run in `settings.seconds`.

    Args:
      settings: how long.
      run: starts it; it yields how many images each step was of, when it has ended.
    """
    start = time.perf_counter()
    arriving = run()
    next(arriving)
    first = time.perf_counter() - start
    next(arriving)
    n_images = n_steps = 0
    start = time.perf_counter()
    while (seconds := time.perf_counter() - start) < settings.seconds:
        n_images += next(arriving)
        n_steps += 1
    arriving.close()
    return {
        "images_per_second": round(n_images / seconds, 2),
        "seconds_per_step": round(seconds / n_steps, 6),
        "seconds": round(seconds, 2),
        "steps": n_steps,
        "first_step_seconds": round(first, 1),
    }


def train(parallel, step, state, split, batch_size) -> Generator[int]:
    """Trains for ever, as `training.loop` does.

    Yields:
      For each step the number of its images, once for each network, when its losses
      have come.
    """
    for epoch in itertools.count():
        pending = None
        for batch in parallel.load(host_batches(split, batch_size, epoch)):
            state, metrics = step(state, {}, batch)
            # The losses of the step before: waiting for this one would stall.
            if pending is not None:
                yield count_images(pending)
            pending = metrics
        yield count_images(pending)


def host_batches(split: Split, batch_size: int, epoch: int) -> Iterator[Batch]:
    """Goes once over images in host memory, in a random order, all batches full.

    What `data.batches` does with tf.data, for machines without TensorFlow.
    """
    order = np.random.default_rng(epoch).permutation(len(split.index))
    rows = [order[i : i + batch_size] for i in range(0, len(order), batch_size)]
    rows = [part for part in rows if len(part) == batch_size]

    def gather(part: np.ndarray) -> Batch:
        batch = {
            "image": split.images[part],
            "response": split.response[part],
            "mask": np.ones(batch_size, np.float32),
            "index": split.index[part],
        }
        if split.teacher_logits is not None:
            batch["teacher_logits"] = split.teacher_logits[part]
        return batch

    with concurrent.futures.ThreadPoolExecutor(AHEAD) as threads:
        waiting = collections.deque(
            threads.submit(gather, part) for part in rows[:AHEAD]
        )
        for part in [*rows[AHEAD:], *[None] * AHEAD][: len(rows)]:
            yield waiting.popleft().result()
            if part is not None:
                waiting.append(threads.submit(gather, part))


def count_images(metrics) -> int:
    """Waits for a step's losses; returns the number of images they are of."""
    return int(np.sum(jax.device_get(metrics)["mse"][1]))


def build(settings: Settings, task: str, everywhere: bool = False):
    """Returns one device, or all, the step there, and the state."""
    one = None if everywhere else jax.local_devices()[:1]
    parallel = DataParallel(one, settings.n_subjects)
    model = make_model(settings, BATCH_AXIS)
    optimizer = optax.adam(LEARNING_RATE)
    variables = init_variables(model.clone(axis_name=None), settings.image_size, seed=0)
    state = jax.device_get(create_state(variables, optimizer))
    if settings.n_subjects is not None:
        state = parallel.put_together([state] * settings.n_subjects)
    step = make_train_step(model, optimizer, Recipe(task=task), axis_name=BATCH_AXIS)
    return parallel, parallel.train_step(step), parallel.replicate(state)


def make_model(settings: Settings, axis_name: str | None = None) -> ReAlNet:
    """Returns the network."""
    return ReAlNet(
        signal_shape=SIGNAL_SHAPE,
        width=settings.width,
        num_classes=NUM_CLASSES,
        axis_name=axis_name,
        dtype="bfloat16" if settings.precision == "bfloat16" else "float32",
    )


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
