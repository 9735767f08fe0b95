"""The state of a run: arrays only, never replicated."""

from typing import Any

import flax.linen as nn
import flax.struct
import jax
import jax.numpy as jnp
import optax

Tree = Any


class TrainState(flax.struct.PyTreeNode):
    """What a training step maps to its successor.

    Attributes:
      step: i32 scalar, steps taken.
      params: the model's parameters, float32.
      batch_stats: running statistics of its batch norms, float32.
      opt_state: state of the optimizer.
      ema_params: running average of the parameters, or None.
      ema_updates: i32 scalar, updates that it has seen, or None.
    """

    step: jax.Array
    params: Tree
    batch_stats: Tree
    opt_state: Tree
    ema_params: Tree = None
    ema_updates: Any = None

    @property
    def variables(self) -> dict[str, Tree]:
        """What `model.apply` takes to validate and predict: averages if there are."""
        params = self.params if self.ema_params is None else self.ema_params
        return {"params": params, "batch_stats": self.batch_stats}


def init_variables(model: nn.Module, image_size: int, seed: int) -> dict[str, Tree]:
    """Draws a model's variables.

    Args:
      model: CORnetS or ReAlNet.
      image_size: height and width of its images, pixels.
      seed: seed of the draw.

    Returns:
      {"params": …, "batch_stats": …}.
    """
    image = jnp.zeros((1, image_size, image_size, 3), jnp.float32)
    return dict(jax.jit(model.init)(jax.random.key(seed), image))


def create_state(
    variables: dict[str, Tree],
    optimizer: optax.GradientTransformation,
    with_ema: bool = False,
) -> TrainState:
    """Returns the state before the first step."""
    params = variables["params"]
    return TrainState(
        # A copy, because a step overwrites both in place.
        ema_params=jax.tree.map(jnp.copy, params) if with_ema else None,
        ema_updates=jnp.zeros((), jnp.int32) if with_ema else None,
        step=jnp.zeros((), jnp.int32),
        params=variables["params"],
        batch_stats=variables["batch_stats"],
        opt_state=optimizer.init(variables["params"]),
    )
