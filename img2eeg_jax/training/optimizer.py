"""The optimizer: Optax's Adam and what may be around it."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax import lax


def build(
    *,
    learning_rate: float,
    schedule: str = "constant",
    num_epochs: int = 1,
    steps_per_epoch: int = 1,
    warmup_steps: int = 0,
    eps: float = 1e-8,
    weight_decay: float = 0.0,
    max_gradient_norm: float = 0.0,
    accumulate_steps: int = 1,
    frozen_areas: Sequence[str] = (),
) -> optax.GradientTransformationExtraArgs:
    """Builds Adam; `accumulate` says what its `update` takes.

    Args:
      learning_rate: its largest value.
      schedule: "constant", or "cosine": to 0 at the end of the run.
      num_epochs: of the run, warm-up included.
      steps_per_epoch: batches of an epoch.
      warmup_steps: over which the learning rate rises from 0, linearly.
      eps: Adam's ε.
      weight_decay: decoupled (AdamW), of kernels; biases and batch norms have none.
      max_gradient_norm: longer gradients are scaled to it; 0 for no limit.
      accumulate_steps: batches at most whose gradients are averaged for one update.
      frozen_areas: areas of the backbone that stay as they are.
    """
    # Optax counts updates, not batches.
    per_epoch = updates_per_epoch(steps_per_epoch, accumulate_steps)
    warmup = -(-warmup_steps * per_epoch // steps_per_epoch)
    rate = _schedule(learning_rate, schedule, num_epochs * per_epoch, warmup)
    if weight_decay:
        adam = optax.adamw(rate, eps=eps, weight_decay=weight_decay, mask=_is_kernel)
    else:
        adam = optax.adam(rate, eps=eps)
    if max_gradient_norm:
        adam = optax.chain(optax.clip_by_global_norm(max_gradient_norm), adam)
    if frozen_areas:
        adam = optax.partition(
            {"trained": adam, "frozen": optax.set_to_zero()},
            lambda params: _label(params, frozen_areas),
        )
    if per_epoch < steps_per_epoch:
        return accumulate(adam, per_epoch, steps_per_epoch)
    return optax.with_extra_args_support(adam)


def updates_per_epoch(steps_per_epoch: int, accumulate_steps: int) -> int:
    """Returns the updates of an epoch, each of `accumulate_steps` batches at most."""
    return -(-steps_per_epoch // accumulate_steps)


class Accumulated(NamedTuple):
    """The state of `accumulate`.

    Attributes:
      n_images: f32 scalar, images that `mean` is of; 0 after an update.
      mean: their mean gradient.
      inner: state of the optimizer that gets it.
    """

    n_images: jax.Array
    mean: Any
    inner: Any


def accumulate(
    optimizer: optax.GradientTransformation, n_updates: int, steps_per_epoch: int
) -> optax.GradientTransformationExtraArgs:
    """Makes one update of several batches, the last of an epoch at the epoch's end.

    Every image counts, and all the same: an epoch leaves no batch to the next one or
    to none, its updates are of equally many batches, but for one, and a batch weighs as
    much as it has images. `optax.MultiSteps` knows neither images nor epochs.

    Args:
      optimizer: what makes the updates.
      n_updates: of an epoch.
      steps_per_epoch: batches of an epoch.

    Returns:
      A transformation whose `update` takes the step that the batch is of, counted from
      0, as `step`, and the number of images in it as `n_images`.
    """
    size, n_larger = divmod(steps_per_epoch, n_updates)
    in_larger = n_larger * (size + 1)

    def is_last_of_update(step: jax.Array) -> jax.Array:
        done = step % steps_per_epoch + 1
        is_last_of_larger = done % (size + 1) == 0
        is_last_of_smaller = (done - in_larger) % size == 0
        return jnp.where(done <= in_larger, is_last_of_larger, is_last_of_smaller)

    def init(params: Any) -> Accumulated:
        zeros = jax.tree.map(jnp.zeros_like, params)
        return Accumulated(jnp.zeros(()), zeros, optimizer.init(params))

    def update(
        grads: Any,
        state: Accumulated,
        params: Any = None,
        *,
        step: jax.Array,
        n_images: jax.Array,
    ) -> tuple[Any, Accumulated]:
        count = state.n_images + n_images
        share = n_images / jnp.maximum(count, 1)
        mean = jax.tree.map(lambda m, g: m + share * (g - m), state.mean, grads)
        zeros = jax.tree.map(jnp.zeros_like, mean)

        def make_update() -> tuple[Any, Accumulated]:
            updates, inner = optimizer.update(mean, state.inner, params)
            return updates, Accumulated(jnp.zeros_like(count), zeros, inner)

        def wait() -> tuple[Any, Accumulated]:
            return zeros, Accumulated(count, mean, state.inner)

        return lax.cond(is_last_of_update(step), make_update, wait)

    return optax.GradientTransformationExtraArgs(init, update)


def has_updated(opt_state: Any) -> jax.Array:
    """Tells whether the last call of `update` has not only accumulated."""
    is_waiting = isinstance(opt_state, Accumulated) and opt_state.n_images > 0
    return jnp.logical_not(is_waiting)


def _schedule(
    learning_rate: float, schedule: str, total_steps: int, warmup_steps: int
) -> float | optax.Schedule:
    if not warmup_steps and schedule == "constant":
        return learning_rate
    if not warmup_steps:
        return optax.cosine_decay_schedule(learning_rate, total_steps)
    warmup = optax.linear_schedule(0.0, learning_rate, warmup_steps)
    after = (
        optax.constant_schedule(learning_rate)
        if schedule == "constant"
        else optax.cosine_decay_schedule(
            learning_rate, max(total_steps - warmup_steps, 1)
        )
    )
    return optax.join_schedules([warmup, after], [warmup_steps])


def _is_kernel(params: Any) -> Any:
    return jax.tree.map(lambda leaf: leaf.ndim > 1, params)


def _label(params: Any, frozen_areas: Sequence[str]) -> Any:
    def label(path: Sequence[Any], _: Any) -> str:
        names = {getattr(key, "key", None) for key in path}
        return "frozen" if names & set(frozen_areas) else "trained"

    return jax.tree_util.tree_map_with_path(label, params)
