"""Checkpoints of tiny networks, written as a run writes them."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from helpers import tiny_network
from helpers.tiny_network import draw_variables, realnet
from img2eeg_jax.checkpoints.description import Description
from img2eeg_jax.checkpoints.store import CheckpointStore
from img2eeg_jax.data.zscore import ZScore
from img2eeg_jax.errors import InputError
from img2eeg_jax.models.cornet_s import CORnetS
from img2eeg_jax.training.state import TrainState, create_state

DESCRIPTION = Description(
    kind="realnet",
    model={**tiny_network.REALNET_ARGUMENTS, "signal_shape": [3, 5]},
    image_size=tiny_network.IMAGE_SIZE,
    zscore=ZScore(np.float32([[0.1, 2e-17]]), np.float32([[1, 3]])),
)
# The description of a run as the versions before format 2 wrote it.
TRAINED_1 = {
    "format": 1,
    "kind": "realnet",
    "model": {
        "signal_shape": [3, 5],
        "areas": ["V1", "IT"],
        "features": 8,
        "width": 4,
        "num_classes": 10,
        "bn_updates": 2,
        "dtype": "float32",
    },
    "image_size": 32,
    "signal": {
        "kind": "channels_x_times",
        "shape": [3, 5],
        "ch_names": ["Oz", "Pz", "Cz"],
        "times_s": [0.1, 0.2, 0.3, 0.4, 0.5],
        "window": None,
    },
    "ch_names": ["Oz", "Pz", "Cz"],
    "zscore": {"mean": [[0.5] * 5] * 3, "std": [[2.0] * 5] * 3},
    "subject": 4,
    "initial_weights": "random",
    "config": {"num_epochs": 3, "areas": ["V1", "IT"]},
}
CORNET = {"width": 2, "num_classes": 3}
CORNET_DESCRIPTION = Description(kind="cornet_s", model=CORNET, image_size=32)
PROGRESS = {"epoch": 3, "sums": {"total": [1.5, 8.0]}, "history": [{"step": 7}]}


def random_state(optimizer, step=7, seed=0):
    """A state of NumPy arrays with nothing left at zero."""
    rng = np.random.default_rng(seed)

    def fill(leaf):
        if jnp.issubdtype(leaf.dtype, jnp.integer):
            return np.full(leaf.shape, 5, leaf.dtype)
        return rng.standard_normal(leaf.shape).astype(leaf.dtype)

    state = create_state(draw_variables(realnet(), seed), optimizer)
    state = jax.tree.map(fill, state)
    return state.replace(step=np.int32(step))


def assert_bit_identical(actual, expected):
    assert jax.tree.structure(actual) == jax.tree.structure(expected)
    pairs = zip(jax.tree.leaves(actual), jax.tree.leaves(expected), strict=True)
    for a, b in pairs:
        a, b = np.asarray(a), np.asarray(b)
        assert (a.dtype, a.shape) == (b.dtype, b.shape)
        assert a.tobytes() == b.tobytes()


def save(workdir, *states, losses=(None,), description=DESCRIPTION):
    with CheckpointStore(workdir) as store:
        for state, loss in zip(states, losses, strict=True):
            store.save(state, description, PROGRESS, loss)


def small_state(step):
    """A state that is a checkpoint of CORnet-S's, with the step as its bias."""
    variables = draw_variables(CORnetS(**CORNET))
    variables["params"]["decoder"]["linear"]["bias"][:] = step
    return TrainState(np.int32(step), **variables, opt_state=())


def save_small(workdir, losses):
    """Saves steps 1, 2, ... of CORnet-S with these selection losses."""
    states = [small_state(step) for step in range(1, len(losses) + 1)]
    save(workdir, *states, losses=losses, description=CORNET_DESCRIPTION)


def refusal(load):
    """Returns the message of the InputError; it is one line."""
    with pytest.raises(InputError) as error:
        load()
    message = str(error.value)
    assert "\n" not in message
    return message
