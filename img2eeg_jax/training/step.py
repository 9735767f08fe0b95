"""One step of training, validation or prediction: pure functions of arrays."""

import dataclasses
from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import optax
from jax import lax

from img2eeg_jax import objectives
from img2eeg_jax.models.cornet_s import normalise_pixels
from img2eeg_jax.training.optimizer import has_updated
from img2eeg_jax.training.state import TrainState

Array = jax.Array
Batch = dict[str, Array]
Metrics = dict[str, objectives.SumAndCount]

# The losses that a step reports; `total` is the one that is minimised.
LOSSES = ("task", "mse", "contrast", "generation", "total")

# A running average starts as one over about the last 1 / _WARM_UP of the updates.
_WARM_UP = 10.0


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

    def total(self, task: Any, generation: Any) -> Any:
        """Returns the loss that is minimised."""
        return task + self.generation_weight * generation

    def __post_init__(self) -> None:
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
      divide to means over images; `skipped` counts steps whose loss, gradient or batch
      statistics are not finite.

    Raises:
      ValueError: the recipe needs a teacher's logits, and the batch has none.
    """
    losses = _make_losses(model, recipe, teacher, axis_name)
    optimizer = optax.with_extra_args_support(optimizer)

    def train_step(
        state: TrainState, teacher_variables: Any, batch: Batch
    ) -> tuple[TrainState, Metrics]:
        _check_batch(batch)
        # Each device differentiates its share of the mean over all devices' rows;
        # the shares, and so the gradients, add up over devices.
        real_rows = _sum_over_devices(batch["mask"].sum(), axis_name)

        def loss_share(params: Any) -> tuple[Array, tuple[Metrics, Any]]:
            variables = {"params": params, "batch_stats": state.batch_stats}
            sums, batch_stats = losses(variables, teacher_variables, batch)
            return sums["total"][0] / jnp.maximum(real_rows, 1), (sums, batch_stats)

        grads, (sums, batch_stats) = jax.grad(loss_share, has_aux=True)(state.params)
        grads, sums = _sum_over_devices((grads, sums), axis_name)
        # A loss, gradient or statistic that is not finite makes all gradients NaN, so
        # that no run trains on unnoticed. The factor also lets XLA update parameters in
        # place: every update waits for it, and it for their last use.
        is_finite = jnp.isfinite(optax.tree.norm(grads) + sums["total"][0])
        # One that overflows makes a batch norm's output its bias, and the loss finite.
        is_finite &= _all_finite(batch_stats)
        factor = jnp.where(is_finite, 1.0, jnp.nan)
        grads = jax.tree.map(lambda grad: grad * factor, grads)
        updates, opt_state = optimizer.update(
            grads, state.opt_state, state.params, step=state.step, n_images=real_rows
        )
        after = state.replace(
            params=optax.apply_updates(state.params, updates),
            batch_stats=batch_stats,
            opt_state=opt_state,
        )
        if state.ema_params is not None:
            after = _average(after, recipe.ema_decay, has_updated(opt_state))
        sums["skipped"] = jnp.where(is_finite, 0.0, 1.0), jnp.ones(())
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
      (model's variables, teacher's variables, batch) → what `validation_losses` takes,
      added up over batches: `task` and `mse`, (sum, count), and of each subject `pairs`
      (see `objectives.pairs`); and as `moments` what `objectives.add_moments` takes for
      r over images.
    """
    outputs = _make_outputs(model, recipe, teacher, axis_name)

    def loss_step(
        variables: Any, teacher_variables: Any, batch: Batch
    ) -> dict[str, Any]:
        _check_batch(batch)
        signal, target, task, _ = outputs(
            variables, teacher_variables, batch, train=False
        )
        mask = batch["mask"]

        def of_subject(signal: Array, target: Array) -> Any:
            return objectives.pairs(
                signal, target, mask, correlation=recipe.correlation
            )

        sums = {
            "task": task,
            "mse": _mean_squared_error(signal, target, mask),
            "pairs": jax.vmap(of_subject, in_axes=1)(signal, target),
        }
        # Moments are of all devices already.
        moments = objectives.moments(signal, target, mask, axis_name=axis_name)
        return _sum_over_devices(sums, axis_name) | {"moments": moments}

    return loss_step


def validation_losses(recipe: Recipe, sums: dict[str, Any]) -> dict[str, float]:
    """Returns the mean losses over images, whatever batches they came in.

    The contrast is over all pairs of them: images that share a batch may be more alike
    than others, as those of one concept are.

    Args:
      recipe: how the loss is put together.
      sums: `task`, `mse` and `pairs` of a loss step, added up over batches.
    """
    task, mse = (float(sums[name][0] / sums[name][1]) for name in ("task", "mse"))
    each = objectives.contrast_of_pairs(sums["pairs"], float(sums["mse"][1]))
    contrast = float(each.mean())
    generation = mse + contrast
    values = task, mse, contrast, generation, recipe.total(task, generation)
    return dict(zip(LOSSES, values, strict=True))


def make_predict_step(model: nn.Module) -> Callable[[Any, Batch], Array]:
    """Builds the prediction step.

    Args:
      model: ReAlNet.

    Returns:
      (variables, batch) → f32[b, n] signal in eval mode; rows where the mask is 0 are
      predictions of padding.
    """

    def predict_step(variables: Any, batch: Batch) -> Any:
        _, signal = model.apply(variables, normalise_pixels(batch["image"]))
        return signal

    return predict_step


def _check_batch(batch: Batch) -> None:
    """Checks shapes and types while the step is traced, at no cost in the loop."""
    # Imported here: it loads what only tests need, and who predicts has no such batch.
    import chex

    image, response, mask = batch["image"], batch["response"], batch["mask"]
    chex.assert_rank([image, response, mask], [4, {3, 4}, 1])
    chex.assert_type([image, response, mask], [jnp.uint8, jnp.float32, jnp.float32])
    chex.assert_equal_shape_prefix([image, response, mask], 1)


def _average(state: TrainState, decay: float, is_update: Array) -> TrainState:
    """Takes the parameters into their running average, after an update only.

    At first the average is of the last tenth of the updates, about, rather than of as
    many as `decay` stands for (Shamir & Zhang 2013, arXiv:1212.1824, section 4): those
    before the first update have no part in it, and others early ones hardly any.
    """
    count = state.ema_updates + is_update
    weight = jnp.maximum(1 - decay, _WARM_UP / (count + _WARM_UP - 1.0))
    weight = jnp.where(is_update, weight, 0.0)
    # In this form a parameter that does not change is its own average, exactly.
    average = jax.tree.map(
        lambda old, new: old + weight * (new - old), state.ema_params, state.params
    )
    return state.replace(ema_params=average, ema_updates=count)


def _all_finite(tree: Any) -> Array:
    leaves = [leaf.ravel() for leaf in jax.tree.leaves(tree)]
    return jnp.isfinite(jnp.concatenate([jnp.zeros(1), *leaves])).all()


def _skipped(sums: Metrics) -> Metrics:
    """Returns what a step that is skipped adds to the losses: nothing but itself."""
    nothing = jax.tree.map(jnp.zeros_like, sums)
    return nothing | {"skipped": (jnp.ones(()), jnp.ones(()))}


def _make_losses(
    model: nn.Module, recipe: Recipe, teacher: nn.Module | None, axis_name: str | None
) -> Callable[..., tuple[Metrics, Any]]:
    """Builds (variables, teacher's variables, batch) → losses in train mode, stats."""
    outputs = _make_outputs(model, recipe, teacher, axis_name)

    def losses(
        variables: Any, teacher_variables: Any, batch: Batch
    ) -> tuple[Metrics, Any]:
        signal, target, task, batch_stats = outputs(
            variables, teacher_variables, batch, train=True
        )
        sums = _generation(recipe, signal, target, batch["mask"], axis_name)
        total = recipe.total(task[0], sums["generation"][0])
        return sums | {"task": task, "total": (total, task[1])}, batch_stats

    return losses


def _make_outputs(
    model: nn.Module, recipe: Recipe, teacher: nn.Module | None, axis_name: str | None
) -> Callable[..., tuple[Array, Array, objectives.SumAndCount, Any]]:
    """Builds (variables, teacher's variables, batch, train) → what losses are of.

    That is signal and target as the loss sees them, the task loss, and batch_stats.
    """

    def outputs(
        variables: Any, teacher_variables: Any, batch: Batch, train: bool
    ) -> tuple[Array, Array, objectives.SumAndCount, Any]:
        images, mask = normalise_pixels(batch["image"]), batch["mask"]
        (logits, signal), updated = model.apply(
            variables, images, train=train, mask=mask, mutable=["batch_stats"]
        )
        signal, target = _by_subject(recipe, signal, batch["response"])
        task = jnp.zeros(()), mask.sum()
        if recipe.task != "none":
            teacher_logits = batch.get("teacher_logits")
            if teacher_logits is None:
                teacher_logits = _live_logits(
                    recipe, teacher, teacher_variables, images, mask
                )
            task = _task(recipe, logits, teacher_logits, mask)
        return (
            signal,
            target,
            task,
            updated.get("batch_stats", variables["batch_stats"]),
        )

    return outputs


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
    def of_subject(signal: Array, target: Array) -> Array:
        contrast, _ = objectives.contrast(
            signal,
            target,
            mask,
            correlation=recipe.correlation,
            with_gradient=recipe.contrast_gradient,
            axis_name=axis_name,
        )
        return contrast

    contrast = jax.vmap(of_subject, in_axes=1)(signal, target).mean()
    mse, count = _mean_squared_error(signal, target, mask)
    return {
        "mse": (mse, count),
        "contrast": (contrast, count),
        "generation": (mse + contrast, count),
    }


def _mean_squared_error(
    signal: Array, target: Array, mask: Array
) -> objectives.SumAndCount:
    """The mean over subjects, f32[b, subject, n], of `mean_squared_error`."""
    n_images = len(signal)
    return objectives.mean_squared_error(
        signal.reshape(n_images, -1), target.reshape(n_images, -1), mask
    )


def _task(
    recipe: Recipe, logits: Array, teacher_logits: Array, mask: Array
) -> objectives.SumAndCount:
    teacher_logits = lax.stop_gradient(teacher_logits)
    if recipe.task == "mse":
        return objectives.mean_squared_error(logits, teacher_logits, mask)
    return objectives.cross_entropy_to_argmax(logits, teacher_logits, mask)


def _sum_over_devices(tree: Any, axis_name: str | None) -> Any:
    return tree if axis_name is None else lax.psum(tree, axis_name)
