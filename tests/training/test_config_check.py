"""Every value of the default config that no data could make right, by name."""

import importlib
import pathlib
import re

import pytest
from ml_collections import ConfigDict

from configs import default, scratch
from img2eeg_jax.errors import InputError
from img2eeg_jax.training import config_check

ROOT = pathlib.Path(__file__).parents[2]

# Key → the smallest number allowed and the next one below.
SMALLEST = {
    "image_size": (1, 0),
    "validation_concepts": (0, -1),
    "features": (1, 0),
    "width": (1, 0),
    "num_classes": (1, 0),
    "bn_updates": (1, 0),
    "generation_weight": (0.0, -0.1),
    "num_epochs": (1, 0),
    "batch_size": (1, 0),
    "learning_rate": (0.0, -1e-9),
    "adam_eps": (0.0, -1e-9),
    "warmup_steps": (0, -1),
    "weight_decay": (0.0, -1e-9),
    "max_gradient_norm": (0.0, -0.1),
    "accumulate_steps": (1, 0),
    "ema_decay": (0.0, -0.1),
    "early_stopping_epochs": (0, -1),
    "max_seconds": (0.0, -0.1),
    "checkpoint_minutes": (0.0, -0.1),
    "profile_steps": (0, -1),
    "peak_tflops": (0.0, -0.1),
    "seed": (0, -1),
}
# Key → the words allowed.
CHOICES = {
    "zscore": ("training", "training_and_test"),
    "signal": ("channels_x_times", "channel_mean"),
    "precision": ("float32", "tf32", "bfloat16"),
    "remat": ("none", "elementwise", "areas"),
    "subjects_mode": (
        "auto",
        "one_by_one",
        "side_by_side",
        "vmapped",
        "shared_backbone",
    ),
    "nonfinite": ("stop", "skip"),
    "task": ("none", "mse", "cross_entropy"),
    "correlation": ("pearson", "spearman"),
    "learning_rate_schedule": ("constant", "cosine"),
    "select_by": ("validation", "test"),
}
# Key → values that are neither a number nor a word.
OTHERS = {
    "areas": [(), ("V3",), ("V1", "V1"), ("v1",)],
    "frozen_areas": [("V3",), ("V1", "V1"), ("v1",)],
    "ema_decay": [1.0],
    "window_s": [(0.1,), (0.0, 0.1, 0.2), (0.0, float("nan")), (float("-inf"), 0.1)],
}
# Names of files, subjects and channels need the data; of the rest any value will do.
NOT_CHECKED = {
    "data_dir",
    "shards_dir",
    "teacher",
    "init_from",
    "subjects",
    "channels",
    "even_batches",
    "shuffle_eeg",
    "teacher_batch_stats",
    "contrast_gradient",
    "first_selectable_epoch",
}


def check(**changes):
    # A new one, because a ConfigDict keeps the types that it has.
    config_check.check_values(ConfigDict(default.get_config().to_dict() | changes))


def check_refused(key, value):
    with pytest.raises(InputError) as caught:
        check(**{key: value})
    (line,) = str(caught.value).splitlines()
    assert re.match(f"`{key}`: expected .*, found ", line)
    assert line.endswith(repr(value))


def test_every_key_is_here():
    keys = {*SMALLEST, *CHOICES, *OTHERS, *NOT_CHECKED}
    assert keys == set(default.get_config())


@pytest.mark.parametrize("key", SMALLEST)
def test_numbers(key):
    smallest, below = SMALLEST[key]
    check(**{key: smallest})
    for value in (below, float("nan"), float("inf"), -float("inf")):
        check_refused(key, value)


@pytest.mark.parametrize("key", CHOICES)
def test_words(key):
    for value in CHOICES[key]:
        check(**{key: value})
    for value in ("", CHOICES[key][0].upper()):
        check_refused(key, value)


@pytest.mark.parametrize("key", OTHERS)
def test_other_values(key):
    for value in OTHERS[key]:
        check_refused(key, value)


def test_areas_in_any_order():
    check(areas=("IT", "V2"), frozen_areas=("V4", "V1"))
    check(frozen_areas=("V1", "V2", "V4", "IT"))


def test_teacher_without_a_task():
    check(teacher="somewhere", task="mse")
    check(teacher="", task="none")
    with pytest.raises(InputError, match=r"`task`: expected 'mse' .*'none'"):
        check(teacher="somewhere", task="none")


@pytest.mark.parametrize(
    "path", sorted(ROOT.glob("configs/*.py")), ids=lambda p: p.stem
)
def test_our_configs(path):
    config = importlib.import_module(f"configs.{path.stem}").get_config()
    config_check.check_values(config)


def test_recipe_from_random_weights():
    """It is the default but for what random weights need; the rate reaches 0."""
    given, old = scratch.get_config(), default.get_config()
    assert {key for key in old if given[key] != old[key]} == {
        "task",
        "generation_weight",
        "learning_rate",
        "learning_rate_schedule",
        "warmup_steps",
    }
    assert given.keys() == old.keys()
    assert not given.init_from
    assert given.task == "none"
    assert (given.learning_rate, given.learning_rate_schedule) == (1e-3, "cosine")


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ((), ()),
        (("TP9,TP10",), ("TP9", "TP10")),
        (("TP9, TP10", "Oz"), ("TP9", "TP10", "Oz")),
        (("TP9", "TP10"), ("TP9", "TP10")),
        ((1, 2), ("1", "2")),
    ],
)
def test_names_with_commas_between(given, expected):
    assert config_check.names(given) == expected


@pytest.mark.parametrize(
    ("config", "changes", "warns"),
    [
        ("default", {}, True),
        ("realnet", {}, True),
        ("default", {"init_from": "nowhere"}, False),
        ("default", {"learning_rate": 1e-3}, False),
        ("default", {"width": 32}, False),
        ("scratch", {}, False),
        ("n170", {}, False),
    ],
)
def test_random_weights_at_a_rate_for_trained_ones(config, changes, warns):
    config = importlib.import_module(f"configs.{config}").get_config()
    config.update(changes)
    assert config_check.fine_tunes_random_weights(config) == warns
