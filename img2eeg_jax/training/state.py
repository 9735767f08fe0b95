"""The state of a run: arrays only, never replicated."""

from typing import Any

import flax.linen as nn
import flax.struct
import jax
import jax.numpy as jnp
import optax

Tree = Any


@flax.struct.dataclass
class TrainState:
    """What a training step maps to its successor.

    Attributes:
      step: i32 scalar, steps taken.
      params: the model's parameters, float32.
      batch_stats: running statistics of its batch norms, float32.
      opt_state: state of the optimizer.
    """

    step: jax.Array
    params: Tree
    batch_stats: Tree
    opt_state: Tree

    @property
    def variables(self) -> dict[str, Tree]:
        """What `model.apply` takes."""
        return {"params": self.params, "batch_stats": self.batch_stats}


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
    variables: dict[str, Tree], optimizer: optax.GradientTransformation
) -> TrainState:
    """Returns the state before the first step."""
    return TrainState(
        step=jnp.zeros((), jnp.int32),
        params=variables["params"],
        batch_stats=variables["batch_stats"],
        opt_state=optimizer.init(variables["params"]),
    )
