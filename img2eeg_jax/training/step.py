"""One step of training, validation or prediction: pure functions of arrays."""

import dataclasses
from collections.abc import Callable
from typing import Any

import chex
import flax.linen as nn
import jax
import jax.numpy as jnp
import optax
from jax import lax

from img2eeg_jax import objectives
from img2eeg_jax.models.cornet_s import normalise_pixels
from img2eeg_jax.training.state import TrainState

Array = jax.Array
Batch = dict[str, Array]
Metrics = dict[str, objectives.SumAndCount]

# The losses that a step reports; `total` is the one that is minimised.
LOSSES = ("task", "mse", "contrast", "generation", "total")


@dataclasses.dataclass(frozen=True)
class Recipe:
    """How the loss is put together: task + generation_weight · (MSE + contrast).

    Attributes:
      task: "mse" to the teacher's logits, "cross_entropy" to its argmax, or "none".
      generation_weight: β.
      correlation: of the contrast, "pearson" or "spearman".
      contrast_gradient: False detaches the contrast, as released.
      average_channels: the target is the mean over channels.
      signal_window: (start, stop), the entries of the signal that the loss sees; None
        for all of them.
      teacher_batch_stats: the teacher normalises with the batch's statistics.
      skip_nonfinite: a step whose loss or gradient is not finite changes nothing.
      ema_decay: of the running average of the parameters; 0 for none.
    """

    task: str = "none"
    generation_weight: float = 100.0
    correlation: str = "pearson"
    contrast_gradient: bool = True
    average_channels: bool = False
    signal_window: tuple[int, int] | None = None
    teacher_batch_stats: bool = False
    skip_nonfinite: bool = False
    ema_decay: float = 0.0

    def __post_init__(self):
        if self.task not in ("none", "mse", "cross_entropy"):
            raise ValueError(
                f"task: expected 'none', 'mse' or 'cross_entropy', found {self.task!r}"
            )


def make_train_step(
    model: nn.Module,
    optimizer: optax.GradientTransformation,
    recipe: Recipe,
    teacher: nn.Module | None = None,
    axis_name: str | None = None,
) -> Callable[[TrainState, Any, Batch], tuple[TrainState, Metrics]]:
    """Builds the training step.

    Args:
      model: ReAlNet, built with the same `axis_name`.
      optimizer: Optax transformation.
      recipe: how the loss is put together.
      teacher: CORnetS, built with the same `axis_name`, which runs in each step; None
        if there is no task or batches bring its logits.
      axis_name: mapped axis that the batch is split over, or None.

    Returns:
      (state, teacher's variables, batch) → (next state, losses before the update).
      A batch is a dict of `image` u8[b, h, w, 3], `response` f32[b, channel, time]
      (z-scored EEG), `mask` f32[b] and, of a cached teacher, `teacher_logits`
      f32[b, class]. EEG of several subjects, f32[b, subject, channel, time], trains one
      network for all of them, whose signal has an axis of subjects; their losses are
      averaged. Losses are (sum, count) over all devices, so that sums over batches
      divide to means over images; `skipped` counts steps.

    Raises:
      ValueError: the recipe needs a teacher's logits, and the batch has none.
    """
    losses = _make_losses(model, recipe, teacher, axis_name)

    def train_step(
        state: TrainState, teacher_variables: Any, batch: Batch
    ) -> tuple[TrainState, Metrics]:
        _check_batch(batch)
        # Each device differentiates its share of the mean over all devices' rows;
        # the shares, and so the gradients, add up over devices.
        real_rows = _sum_over_devices(batch["mask"].sum(), axis_name)

        def loss_share(params: Any) -> tuple[Array, tuple[Metrics, Any]]:
            variables = {"params": params, "batch_stats": state.batch_stats}
            sums, batch_stats = losses(variables, teacher_variables, batch, train=True)
            return sums["total"][0] / jnp.maximum(real_rows, 1), (sums, batch_stats)

        grads, (sums, batch_stats) = jax.grad(loss_share, has_aux=True)(state.params)
        grads, sums = _sum_over_devices((grads, sums), axis_name)
        # A gradient or loss that is not finite makes all gradients NaN, so that no run
        # trains on unnoticed. The factor also lets XLA update parameters in place:
        # every update waits for it, and it for the last use of the old parameters.
        is_finite = jnp.isfinite(optax.tree.norm(grads) + sums["total"][0])
        factor = jnp.where(is_finite, 1.0, jnp.nan)
        grads = jax.tree.map(lambda grad: grad * factor, grads)
        updates, opt_state = optimizer.update(grads, state.opt_state, state.params)
        params = optax.apply_updates(state.params, updates)
        after = state.replace(
            params=params,
            batch_stats=batch_stats,
            opt_state=opt_state,
            ema_params=_running_average(state.ema_params, params, recipe.ema_decay),
        )
        sums["skipped"] = jnp.zeros(()), jnp.ones(())
        if recipe.skip_nonfinite:
            after, sums = jax.tree.map(
                lambda new, old: jnp.where(is_finite, new, old),
                (after, sums),
                (state, _skipped(sums)),
            )
        return after.replace(step=state.step + 1), sums

    return train_step


def make_loss_step(
    model: nn.Module,
    recipe: Recipe,
    teacher: nn.Module | None = None,
    axis_name: str | None = None,
) -> Callable[[Any, Any, Batch], Metrics]:
    """Builds the validation step: the same losses in eval mode, nothing updated.

    Arguments and errors are those of `make_train_step`.

    Returns:
      (model's variables, teacher's variables, batch) → losses, and as `moments` what
      `objectives.add_moments` takes for r over images.
    """
    losses = _make_losses(model, recipe, teacher, axis_name)

    def loss_step(variables: Any, teacher_variables: Any, batch: Batch) -> Metrics:
        _check_batch(batch)
        sums, _ = losses(variables, teacher_variables, batch, train=False)
        # Moments are of all devices already.
        moments = sums.pop("moments")
        return _sum_over_devices(sums, axis_name) | {"moments": moments}

    return loss_step


def make_predict_step(model: nn.Module) -> Callable[[Any, Batch], Array]:
    """Builds the prediction step.

    Args:
      model: ReAlNet.

    Returns:
      (variables, batch) → f32[b, n] signal in eval mode; rows where the mask is 0 are
      predictions of padding.
    """

    def predict_step(variables: Any, batch: Batch) -> Array:
        _, signal = model.apply(variables, normalise_pixels(batch["image"]))
        return signal

    return predict_step


def _check_batch(batch: Batch) -> None:
    """Checks shapes and types while the step is traced, at no cost in the loop."""
    image, response, mask = batch["image"], batch["response"], batch["mask"]
    chex.assert_rank([image, response, mask], [4, {3, 4}, 1])
    chex.assert_type([image, response, mask], [jnp.uint8, jnp.float32, jnp.float32])
    chex.assert_equal_shape_prefix([image, response, mask], 1)


def _running_average(average: Any, params: Any, decay: float) -> Any:
    if average is None:
        return None
    # In this form a parameter that does not change is its own average, exactly.
    return jax.tree.map(
        lambda old, new: old + (1 - decay) * (new - old), average, params
    )


def _skipped(sums: Metrics) -> Metrics:
    """Returns what a step that is skipped adds to the losses: nothing but itself."""
    nothing = jax.tree.map(jnp.zeros_like, sums)
    return nothing | {"skipped": (jnp.ones(()), jnp.ones(()))}


def _make_losses(
    model: nn.Module, recipe: Recipe, teacher: nn.Module | None, axis_name: str | None
) -> Callable[..., tuple[Metrics, Any]]:
    """Builds (variables, teacher's variables, batch, train) → losses, batch_stats."""

    def losses(
        variables: Any, teacher_variables: Any, batch: Batch, train: bool
    ) -> tuple[Metrics, Any]:
        images, mask = normalise_pixels(batch["image"]), batch["mask"]
        (logits, signal), updated = model.apply(
            variables, images, train=train, mask=mask, mutable=["batch_stats"]
        )
        signal, target = _by_subject(recipe, signal, batch["response"])
        sums = _generation(recipe, signal, target, mask, axis_name)
        if not train:
            sums["moments"] = objectives.moments(
                signal, target, mask, axis_name=axis_name
            )
        sums["task"] = jnp.zeros(()), mask.sum()
        if recipe.task != "none":
            teacher_logits = batch.get("teacher_logits")
            if teacher_logits is None:
                teacher_logits = _live_logits(
                    recipe, teacher, teacher_variables, images, mask
                )
            sums["task"] = _task(recipe, logits, teacher_logits, mask)
        total = sums["task"][0] + recipe.generation_weight * sums["generation"][0]
        sums["total"] = total, mask.sum()
        return sums, updated.get("batch_stats", variables["batch_stats"])

    return losses


def _live_logits(
    recipe: Recipe,
    teacher: nn.Module | None,
    variables: Any,
    images: Array,
    mask: Array,
) -> Array:
    if teacher is None:
        raise ValueError(
            f"task {recipe.task!r} needs a teacher or its logits, found none"
        )
    (logits, _), _ = teacher.apply(
        variables,
        images,
        train=recipe.teacher_batch_stats,
        mask=mask,
        mutable=["batch_stats"],
    )
    return logits


def _by_subject(recipe: Recipe, signal: Array, eeg: Array) -> tuple[Array, Array]:
    """Returns signal and target as the loss sees them, f32[b, subject, n]."""
    eeg = eeg if eeg.ndim == 4 else eeg[:, None]
    target = eeg.mean(2) if recipe.average_channels else eeg
    target = target.reshape(*eeg.shape[:2], -1)
    signal = signal.reshape(*eeg.shape[:2], -1)
    if recipe.signal_window is not None:
        signal = signal[..., slice(*recipe.signal_window)]
    return signal, target


def _generation(
    recipe: Recipe, signal: Array, target: Array, mask: Array, axis_name: str | None
) -> Metrics:
    def of_subject(signal: Array, target: Array) -> tuple[Array, Array]:
        mse, _ = objectives.mean_squared_error(signal, target, mask)
        contrast, _ = objectives.contrast(
            signal,
            target,
            mask,
            correlation=recipe.correlation,
            with_gradient=recipe.contrast_gradient,
            axis_name=axis_name,
        )
        return mse, contrast

    mse, contrast = jax.vmap(of_subject, in_axes=1)(signal, target)
    mse, contrast, count = mse.mean(), contrast.mean(), mask.sum()
    return {
        "mse": (mse, count),
        "contrast": (contrast, count),
        "generation": (mse + contrast, count),
    }


def _task(
    recipe: Recipe, logits: Array, teacher_logits: Array, mask: Array
) -> objectives.SumAndCount:
    teacher_logits = lax.stop_gradient(teacher_logits)
    if recipe.task == "mse":
        return objectives.mean_squared_error(logits, teacher_logits, mask)
    return objectives.cross_entropy_to_argmax(logits, teacher_logits, mask)


def _sum_over_devices(tree: Any, axis_name: str | None) -> Any:
    return tree if axis_name is None else lax.psum(tree, axis_name)
