"""Checks of a config's values that need no data: wrong ones are refused at once."""

import math
from collections.abc import Iterable
from typing import Any

from ml_collections import ConfigDict

from img2eeg_jax.errors import unexpected
from img2eeg_jax.models.cornet_s import AREAS
from img2eeg_jax.signal_layout import CHANNEL_MEAN, CHANNELS_BY_TIMES, FEATURES
from img2eeg_jax.training.subjects import MODES

# Learning rates of Adam from which on random weights get anywhere.
_FROM_SCRATCH = 1e-4
_CHOICES = {
    "zscore": ("training", "training_and_test", "none"),
    "signal": (CHANNELS_BY_TIMES, CHANNEL_MEAN, FEATURES),
    "precision": ("float32", "tf32", "bfloat16"),
    "remat": ("none", "elementwise", "areas"),
    "subjects_mode": MODES,
    "nonfinite": ("stop", "skip"),
    "task": ("none", "mse", "cross_entropy"),
    "correlation": ("pearson", "spearman"),
    "learning_rate_schedule": ("constant", "cosine"),
    "select_by": ("validation", "test"),
}
_SMALLEST = {
    "image_size": 1,
    "validation_concepts": 0,
    "features": 1,
    "width": 1,
    "num_classes": 1,
    "bn_updates": 1,
    "generation_weight": 0.0,
    "num_epochs": 1,
    "batch_size": 1,
    "learning_rate": 0.0,
    "adam_eps": 0.0,
    "warmup_steps": 0,
    "weight_decay": 0.0,
    "max_gradient_norm": 0.0,
    "accumulate_steps": 1,
    "early_stopping_epochs": 0,
    "max_seconds": 0.0,
    "checkpoint_minutes": 0.0,
    "profile_steps": 0,
    "peak_tflops": 0.0,
    "seed": 0,
}


def names(values: Iterable[Any]) -> tuple[str, ...]:
    """Returns names one by one, some of which may have been given with commas between.

    A command line has "TP9,TP10" for one name, and reads names such as 1,2 as numbers.
    """
    words = [word.strip() for value in values for word in str(value).split(",")]
    return tuple(word for word in words if word)


def check_values(config: ConfigDict) -> None:
    """Refuses values that no data could make right.

    Args:
      config: see configs/default.py.

    Raises:
      InputError: naming the first key whose value is wrong.
    """
    for key, choices in _CHOICES.items():
        _check(config, key, config[key] in choices, _one_of(choices))
    for key, smallest in _SMALLEST.items():
        # `isfinite` also refuses NaN.
        fits = math.isfinite(config[key]) and config[key] >= smallest
        _check(config, key, fits, f"a number of at least {smallest}")
    fits = config.task != "none" or not config.teacher
    _check(config, "task", fits, "'mse' or 'cross_entropy' beside a teacher")
    areas = tuple(config.areas)
    known = set(areas) <= set(AREAS) and len(set(areas)) == len(areas) > 0
    _check(config, "areas", known, f"different names out of {', '.join(AREAS)}")
    frozen = tuple(config.frozen_areas)
    known = set(frozen) <= set(AREAS) and len(set(frozen)) == len(frozen)
    _check(config, "frozen_areas", known, f"different names out of {', '.join(AREAS)}")
    stops_early = config.early_stopping_epochs and config.select_by == "validation"
    fits = config.validation_concepts > 0 or not stops_early
    _check(config, "validation_concepts", fits, "at least 1, to stop early by")
    fits = 0 <= config.ema_decay < 1
    _check(config, "ema_decay", fits, "a number from 0 to less than 1")
    fits = len(config.window_s) == 2 and all(map(math.isfinite, config.window_s))
    _check(config, "window_s", fits, "(first, last) in seconds")


def _check(config: ConfigDict, key: str, fits: bool, expected: str) -> None:
    if not fits:
        raise unexpected(f"`{key}`", expected, f"{config[key]!r}")


def _one_of(choices: tuple[str, ...]) -> str:
    return " or ".join(map(repr, choices))


def fine_tunes_random_weights(config: ConfigDict) -> bool:
    """Tells whether random weights are trained at a learning rate of fine-tuning.

    Only of networks that CORnet-S fits into, which has 64 channels in V1.
    """
    rate = config.get("learning_rate")
    fits = config.get("width") == 64 and config.get("init_from") == ""
    return fits and rate is not None and rate < _FROM_SCRATCH
