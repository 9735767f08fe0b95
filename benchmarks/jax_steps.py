"""The steps that `train_step.py` times in JAX: ours, and what matrix products allow."""

import math
import time

import jax
import optax

from img2eeg_jax.devices.parallel import BATCH_AXIS, DataParallel
from img2eeg_jax.models.cornet_s import CORnetS
from img2eeg_jax.models.flops import training_flops
from img2eeg_jax.models.realnet import ReAlNet
from img2eeg_jax.training.state import create_state, init_variables
from img2eeg_jax.training.step import Recipe, make_train_step

# Rows of the square matrices of the floor, and how many products are timed at a time.
PRODUCTS = {2048: 8, 4096: 2}


def build(name, settings, batch):
    """Builds what one name times.

    Args:
      name: "ours", "ours_live_teacher" or "matmul_floor".
      settings: `train_step.Settings`.
      batch: what `train_step.random_batch` returns.

    Returns:
      A function that does the work once and returns the seconds, and a dict of what to
      print besides.
    """
    facts = {"dtype": settings.dtype, "device": jax.devices()[0].device_kind}
    facts["jax"] = jax.__version__
    if name == "ours_live_teacher":
        return build_ours(settings, batch, with_teacher=True), facts
    flop = settings.batch_size * training_flops(
        width=settings.width,
        image_size=settings.image_size,
        signal_size=math.prod(settings.signal_shape),
    )
    facts["gflop"] = round(flop / 1e9, 3)
    if name == "matmul_floor":
        return build_floor(flop, settings.dtype), facts
    return build_ours(settings, batch, with_teacher=False), facts


def build_ours(settings, batch, with_teacher):
    """Returns a function that takes a training step and returns the seconds."""
    parallel = DataParallel(jax.local_devices()[:1])
    sizes = {"width": settings.width, "axis_name": BATCH_AXIS, "dtype": settings.dtype}
    model = ReAlNet(signal_shape=settings.signal_shape, **sizes)
    optimizer = optax.adam(2e-5)
    variables = draw_variables(model, settings)
    state = parallel.replicate(create_state(variables, optimizer))
    teacher, teacher_variables, task = None, {}, "none"
    if with_teacher:
        teacher, task = CORnetS(**sizes), "mse"
        teacher_variables = parallel.replicate(draw_variables(teacher, settings))
    step = parallel.train_step(
        make_train_step(model, optimizer, Recipe(task=task), teacher, BATCH_AXIS)
    )
    batch = parallel.split(batch)

    def take_step():
        nonlocal state
        start = time.perf_counter()
        state, metrics = step(state, teacher_variables, batch)
        jax.block_until_ready((state, metrics))
        return time.perf_counter() - start

    return take_step


def draw_variables(model, settings):
    """Draws a model's variables."""
    return init_variables(model.clone(axis_name=None), settings.image_size, seed=0)


def build_floor(flop, dtype):
    """Returns a function that multiplies matrices and returns the seconds of `flop`."""
    product = jax.jit(products, static_argnums=2)
    # Scaled so that products of products keep their size.
    matrices = {
        n: jax.random.normal(jax.random.key(0), (n, n), dtype) / n**0.5
        for n in PRODUCTS
    }

    def measure(n, times):
        matrix = matrices[n]
        start = time.perf_counter()
        product(matrix, matrix, times).block_until_ready()
        return (time.perf_counter() - start) / (2 * n**3 * times)

    def best_seconds():
        return flop * min(measure(n, times) for n, times in PRODUCTS.items())

    return best_seconds


def products(x, matrix, times):
    """Multiplies by a matrix several times, each on the result of the last."""
    for _ in range(times):
        x = x @ matrix
    return x
