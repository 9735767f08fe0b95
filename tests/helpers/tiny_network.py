"""Networks small enough to compile in a test, with variables drawn by NumPy."""

import functools

import flax.linen as nn
import jax
import numpy as np
import optax

from img2eeg_jax.devices.parallel import BATCH_AXIS, DataParallel
from img2eeg_jax.models.layers import BatchNorm, Conv, Linear
from img2eeg_jax.models.realnet import ReAlNet
from img2eeg_jax.training.state import create_state
from img2eeg_jax.training.step import Recipe, make_train_step

EEG_SHAPE = (3, 5)
IMAGE_SIZE = 32
NUM_CLASSES = 10

# ReAlNet at its smallest; 32 pixels leave 1 x 1 positions in IT.
REALNET_ARGUMENTS = {
    "signal_shape": EEG_SHAPE,
    "features": 8,
    "width": 4,
    "num_classes": NUM_CLASSES,
}
RECIPE = Recipe(task="mse", generation_weight=3.0, teacher_batch_stats=True)


class Toy(nn.Module):
    """One convolution, batch norm and two heads: ReAlNet's interface, fast to compile.

    Serves as the teacher, too: of what a network returns, a step reads the logits.
    """

    signal_size: int = 15
    axis_name: str | None = None

    @nn.compact
    def __call__(self, images, train=False, mask=None):
        x = Conv(6, 3, name="conv1")(images, 2)
        x = nn.relu(BatchNorm(self.axis_name, name="norm1")(x, not train, mask))
        x = x.mean((1, 2))
        logits = Linear(NUM_CLASSES, name="linear")(x)
        return logits, Linear(self.signal_size, name="fc")(x)


def draw_variables(model, seed=0, image_size=IMAGE_SIZE):
    """Draws variables of a model without compiling its initialisation."""
    rng = np.random.default_rng(seed)
    shapes = jax.eval_shape(
        model.init, jax.random.key(0), np.zeros((1, image_size, image_size, 3))
    )

    def draw(leaf):
        if len(leaf.shape) == 1:
            # Scales and variances near 1; harmless for biases and means.
            return rng.uniform(0.5, 1.5, leaf.shape).astype(np.float32)
        values = rng.standard_normal(leaf.shape) / np.sqrt(np.prod(leaf.shape[:-1]))
        return values.astype(np.float32)

    return jax.tree.map(draw, dict(shapes))


def draw_batch(n_real, n_padding=0, seed=0, image_size=IMAGE_SIZE):
    """Draws a batch whose padding rows hold what would be noticed if it counted."""
    rng = np.random.default_rng(seed)
    n = n_real + n_padding
    batch = {
        "image": rng.integers(0, 256, (n, image_size, image_size, 3), dtype=np.uint8),
        "response": rng.standard_normal((n, *EEG_SHAPE)).astype(np.float32),
        "mask": np.ones(n, np.float32),
    }
    batch["mask"][n_real:] = 0
    batch["image"][n_real:] = 255
    batch["response"][n_real:] *= 1e4
    return batch


def real_rows(batch):
    return {name: array[batch["mask"] > 0] for name, array in batch.items()}


def gradient_sgd(learning_rate):
    """Returns plain SGD whose state holds the gradient and the learning rate.

    With momentum 0 the momentum buffer is the last gradient, exactly, where the
    difference of parameters would be rounded; the learning rate in the state lets one
    compiled step serve several.
    """
    return optax.inject_hyperparams(optax.sgd)(learning_rate, momentum=0.0)


def last_gradient(state):
    """Returns the gradient of the last step taken with `gradient_sgd`."""
    return state.opt_state.inner_state[0].trace


def realnet(axis_name=None):
    return ReAlNet(**REALNET_ARGUMENTS, axis_name=axis_name)


@functools.cache
def realnet_step(n_devices):
    """Returns (DataParallel, compiled step) of `RECIPE` with a `Toy` teacher.

    For `n_devices` None the un-mapped step, and no DataParallel. Cached because each
    takes ten seconds to compile.
    """
    if n_devices is None:
        return None, jax.jit(_make_realnet_step(None))
    parallel = DataParallel(jax.devices()[:n_devices])
    return parallel, parallel.train_step(_make_realnet_step(BATCH_AXIS))


def realnet_step_of_all_processes():
    """Returns (DataParallel, compiled step) over the devices of all processes."""
    parallel = DataParallel()
    return parallel, parallel.train_step(_make_realnet_step(BATCH_AXIS))


def _make_realnet_step(axis_name):
    return make_train_step(
        realnet(axis_name),
        gradient_sgd(1.0),
        RECIPE,
        teacher=Toy(axis_name=axis_name),
        axis_name=axis_name,
    )


def initial_state(model, learning_rate):
    """Returns a state of NumPy arrays: steps donate theirs."""
    state = create_state(draw_variables(model), gradient_sgd(learning_rate))
    return jax.tree.map(np.array, state)


def smooth_state():
    """Returns a state from which 20 steps of SGD are no lottery.

    Its batch norms' biases keep nearly all inputs of ReLUs above zero. Where an input
    is zero but for rounding, two runs go different ways, and with 12 values a channel
    in IT one such turn shows.
    """

    def raise_bias(path, leaf):
        module, name = (key.key for key in path[-2:])
        return leaf + 4 if module.startswith("norm") and name == "bias" else leaf

    state = initial_state(realnet(), learning_rate=1e-4)
    params = jax.tree_util.tree_map_with_path(raise_bias, state.params)
    return state.replace(params=params)


def run(parallel, step, state, teacher, batches):
    """Returns the state after the batches, and each one's losses, on the host."""
    state, teacher = parallel.replicate((state, teacher))
    losses = []
    for batch in batches:
        state, metrics = step(state, teacher, parallel.split(batch))
        losses.append(jax.device_get(metrics))
    return jax.device_get(state), losses


def assert_trees_close(actual, expected, rtol):
    """Compares leaf by leaf: ‖actual - expected‖ ≤ rtol · ‖expected‖."""
    actual, expected = jax.device_get((actual, expected))
    assert jax.tree.structure(actual) == jax.tree.structure(expected)
    for path, reference in jax.tree_util.tree_leaves_with_path(expected):
        leaf = functools.reduce(lambda tree, key: tree[key.key], path, actual)
        error, norm = np.linalg.norm(leaf - reference), np.linalg.norm(reference)
        assert error <= rtol * norm, f"{jax.tree_util.keystr(path)}: {error} of {norm}"
