"""The optimizer: Optax's Adam and what may be around it."""

from collections.abc import Sequence
from typing import Any

import jax
import optax


def build(
    *,
    learning_rate: float,
    schedule: str = "constant",
    total_steps: int = 1,
    warmup_steps: int = 0,
    eps: float = 1e-8,
    weight_decay: float = 0.0,
    max_gradient_norm: float = 0.0,
    accumulate_steps: int = 1,
    frozen_areas: Sequence[str] = (),
) -> optax.GradientTransformation:
    """Builds Adam.

    Args:
      learning_rate: its largest value.
      schedule: "constant", or "cosine": to 0 at `total_steps`.
      total_steps: of the run, warm-up included.
      warmup_steps: over which the learning rate rises from 0, linearly.
      eps: Adam's ε.
      weight_decay: decoupled (AdamW), of kernels; biases and batch norms have none.
      max_gradient_norm: longer gradients are scaled to it; 0 for no limit.
      accumulate_steps: batches whose gradients are averaged for one update.
      frozen_areas: areas of the backbone that stay as they are.
    """
    # Optax counts updates, not batches.
    updates, warmup = (-(-n // accumulate_steps) for n in (total_steps, warmup_steps))
    rate = _schedule(learning_rate, schedule, updates, warmup)
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
    if accumulate_steps > 1:
        multi = optax.MultiSteps(adam, accumulate_steps)
        return optax.GradientTransformation(multi.init, multi.update)
    return adam


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
