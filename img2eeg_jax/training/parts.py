"""Parts of a run that a config stands for by itself: what needs no data."""

from collections.abc import Mapping
from typing import Any

import jax
import optax
from ml_collections import ConfigDict

from img2eeg_jax.devices.parallel import BATCH_AXIS, DataParallel
from img2eeg_jax.errors import unexpected
from img2eeg_jax.models.realnet import ReAlNet
from img2eeg_jax.signal_layout import CHANNEL_MEAN, SignalLayout
from img2eeg_jax.training import optimizer as optimizers
from img2eeg_jax.training.requests import Limits
from img2eeg_jax.training.selection import Selection
from img2eeg_jax.training.step import Recipe


def build_optimizer(
    config: ConfigDict, steps_per_epoch: int = 1
) -> optax.GradientTransformationExtraArgs:
    """Returns the config's optimizer.

    Raises:
      InputError: it would never change anything.
    """
    per_epoch = optimizers.updates_per_epoch(steps_per_epoch, config.accumulate_steps)
    if config.warmup_steps and config.num_epochs * per_epoch == 1:
        # The first update of a warm-up has a learning rate of 0.
        raise unexpected("`warmup_steps`", "0 for a single update", config.warmup_steps)
    return optimizers.build(
        learning_rate=config.learning_rate,
        schedule=config.learning_rate_schedule,
        num_epochs=config.num_epochs,
        steps_per_epoch=steps_per_epoch,
        warmup_steps=config.warmup_steps,
        eps=config.adam_eps,
        weight_decay=config.weight_decay,
        max_gradient_norm=config.max_gradient_norm,
        accumulate_steps=config.accumulate_steps,
        frozen_areas=tuple(config.frozen_areas),
    )


def build_recipe(config: ConfigDict, signal: SignalLayout, has_teacher: bool) -> Recipe:
    """Returns the loss; without a teacher the task loss is off."""
    return Recipe(
        task=config.task if has_teacher else "none",
        generation_weight=config.generation_weight,
        correlation=config.correlation,
        contrast_gradient=config.contrast_gradient,
        average_channels=signal.kind == CHANNEL_MEAN,
        signal_window=signal.window,
        teacher_batch_stats=config.teacher_batch_stats,
        skip_nonfinite=config.nonfinite == "skip",
        ema_decay=config.ema_decay,
    )


def build_model(config: ConfigDict, arguments: Mapping[str, Any]) -> ReAlNet:
    """Returns the network that is trained, for devices that share a batch."""
    return ReAlNet(
        **arguments,
        axis_name=BATCH_AXIS,
        frozen_areas=tuple(config.frozen_areas),
        remat=config.remat,
    )


def build_selection(config: ConfigDict) -> Selection:
    """Returns how the best epoch is found."""
    return Selection(
        config.select_by, config.first_selectable_epoch, config.early_stopping_epochs
    )


def build_limits(
    config: ConfigDict, started_s: float, parallel: DataParallel, is_first: bool
) -> Limits:
    """Returns the limits of a session.

    Args:
      config: see configs/default.py.
      started_s: `time.monotonic()` at the command's start.
      parallel: the devices of the session.
      is_first: whether its steps may be traced: of sessions side by side only the
        first one's are, because JAX traces all that a process does.
    """
    return Limits(
        num_epochs=config.num_epochs,
        deadline_s=started_s + config.max_seconds if config.max_seconds else None,
        checkpoint_minutes=config.checkpoint_minutes,
        profile_steps=config.profile_steps if is_first else 0,
        peak_tflops=config.peak_tflops * parallel.n_devices / jax.device_count(),
    )
