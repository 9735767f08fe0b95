"""Every key of the default config changes what it says, and nothing else.

Everything that a config is turned into is built, but for data, weights and programs.
"""

import contextlib
import dataclasses
import types

import jax
import numpy as np
import optax
import pytest

from configs import default, demo
from helpers import fake_training
from img2eeg_jax.data.examples import EncodingData
from img2eeg_jax.data.pairing import Pairing
from img2eeg_jax.data.sources import synthetic
from img2eeg_jax.data.zscore import ZScore
from img2eeg_jax.devices.parallel import DataParallel
from img2eeg_jax.devices.precision import MATMUL_PRECISION
from img2eeg_jax.errors import InputError
from img2eeg_jax.models.cornet_s import CORnetS
from img2eeg_jax.training import experiment, parts

# Key → (a value, what changes with it, what else must be set for that).
KEYS = {
    "data_dir": ("/other", {"source"}),
    "shards_dir": ("/shards", {"source"}),
    "subjects": ("2", {"source", "data", "whose"}),
    "subjects_mode": (
        "vmapped",
        {"how", "data", "whose", "ceiling"},
        {"subjects": "1,2"},
    ),
    "channels": (("O1", "Oz"), {"data", "signal", "model", "flops"}),
    "window_s": ((0.1, 0.2), {"data", "signal", "model", "flops"}),
    "image_size": (32, {"source", "images", "flops"}),
    "zscore": ("training_and_test", {"data"}),
    "validation_concepts": (3, {"data"}),
    "shuffle_eeg": (True, {"data"}),
    "signal": ("channel_mean", {"signal", "model", "flops", "recipe"}),
    "areas": (("V1", "IT"), {"model", "flops"}),
    "features": (16, {"model", "flops"}),
    "width": (8, {"model", "flops"}),
    "num_classes": (10, {"model", "flops", "teacher"}),
    "bn_updates": (2, {"model"}),
    "precision": ("tf32", {"precision"}),
    "frozen_areas": (("V1",), {"network", "optimizer"}),
    "remat": ("areas", {"network"}),
    "task": ("cross_entropy", {"recipe"}),
    "teacher": ("/teacher_2", {"teacher"}),
    "teacher_batch_stats": (True, {"recipe"}),
    "generation_weight": (1.0, {"recipe"}),
    "correlation": ("spearman", {"recipe"}),
    "contrast_gradient": (False, {"recipe"}),
    "init_from": ("/initial", {"initial"}),
    "num_epochs": (3, {"limits", "optimizer"}),
    "batch_size": (4, {"batches", "optimizer"}),
    "even_batches": (False, {"batches"}),
    "learning_rate": (1.0, {"optimizer"}),
    "learning_rate_schedule": ("cosine", {"optimizer"}),
    "warmup_steps": (3, {"optimizer"}),
    "adam_eps": (1.0, {"optimizer"}),
    "weight_decay": (1.0, {"optimizer"}),
    "max_gradient_norm": (1.0, {"optimizer"}),
    "accumulate_steps": (2, {"optimizer"}),
    "ema_decay": (0.5, {"recipe", "start"}),
    "nonfinite": ("skip", {"recipe", "columns"}),
    "seed": (1, {"data", "start", "batches"}),
    "select_by": ("test", {"selection", "ceiling"}),
    "first_selectable_epoch": (2, {"selection"}),
    "early_stopping_epochs": (2, {"selection"}),
    "max_seconds": (5.0, {"limits"}),
    "checkpoint_minutes": (1.0, {"limits"}),
    "profile_steps": (3, {"limits"}),
    "peak_tflops": (7.0, {"limits"}),
}


@pytest.fixture
def observe(monkeypatch, tmp_path):
    """Returns a function: config → name → what was built, comparable."""
    seen = {}

    def load_encoding_data(shards, **arguments):
        seen["data"] = arguments
        of_subjects = np.zeros((2, 3, 17, 20), np.float32)
        halves = of_subjects + np.arange(3, dtype=np.float32)[:, None, None]
        if isinstance(arguments["subjects"], tuple):
            halves = np.stack([halves, halves], axis=2)
        ones = np.ones((2, 17, 20), np.float32)
        return EncodingData(
            train=fake_training.split(20),
            validation=fake_training.split(3),
            test=fake_training.split(4),
            zscore=ZScore(ones, ones),
            axes=synthetic.AXES,
            epoch_times_s=synthetic.AXES.times_s,
            pairings={"training": (Pairing.of([], {1: [], 2: []}),)},
            validation_halves=halves,
        )

    def load_teacher(path, num_classes):
        seen["teacher"] = path, num_classes
        return CORnetS(4, num_classes), {"w": np.zeros(1, np.float32)}

    def load_initial(path, model, image_size, signal):
        seen["initial"], seen["images"] = path, image_size
        return {"params": {}, "batch_stats": {}}

    def build_optimizer(**arguments):
        seen["optimizer"] = arguments
        return optax.sgd(1.0)

    def initial_state(networks, optimizer, seed, with_ema):
        seen["start"] = seed, with_ema
        return fake_training.start()

    def make_train_step(model, optimizer, recipe, *_):
        seen["recipe"] = recipe
        return None

    monkeypatch.setattr(experiment.examples, "load_encoding_data", load_encoding_data)
    monkeypatch.setattr(experiment.teacher, "load_teacher", load_teacher)
    monkeypatch.setattr(experiment, "load_initial", load_initial)
    monkeypatch.setattr(parts.optimizers, "build", build_optimizer)
    monkeypatch.setattr(experiment.Networks, "initial_state", initial_state)
    monkeypatch.setattr(experiment, "make_train_step", make_train_step)
    monkeypatch.setattr(DataParallel, "train_step", lambda *_: None)
    of_subject = types.SimpleNamespace(
        preprocessing=None, n_repetitions={"training": 3}, simulated=False
    )
    shards = types.SimpleNamespace(image_list_sha256="", eeg=lambda _: of_subject)

    def build(config):
        plan = experiment.make_plan(config, tmp_path)
        config = plan.config
        networks = experiment.load_networks(config, synthetic.AXES)
        # One by one, the first network comes first.
        n_subjects = len(plan.configs) if plan.how == "vmapped" else None
        parallel = DataParallel(n_subjects=n_subjects)
        configs = dict([*plan.configs.items()][: n_subjects or 1])
        subjects = experiment._subjects_of(configs)
        trainer = experiment._build_trainer(
            configs,
            shards,
            experiment._select_data(config, shards, subjects),
            networks,
            None,
            parallel,
            parts.build_limits(config, 0.0, parallel, is_first=True),
        )
        return {
            **seen,
            "source": dataclasses.replace(plan.source, workdir=None),
            "how": plan.how,
            "precision": MATMUL_PRECISION[plan.config.precision],
            "whose": [workdir.description.subject for workdir in trainer.workdirs],
            "signal": networks.signal.to_dict(),
            "model": networks.arguments,
            "network": (networks.model.frozen_areas, networks.model.remat),
            "flops": networks.flops_per_image,
            "selection": (trainer.selection, len(trainer.selection_split.index)),
            "ceiling": trainer.ceiling,
            "batches": (trainer.batch_size, trainer.even_batches, trainer.seed),
            "limits": trainer.limits,
            "columns": trainer.recipe.skip_nonfinite,
        }

    return build


def base_config(changes=()):
    config = default.get_config()
    config.update({"data_dir": "/data", "teacher": "/teacher"} | dict(changes))
    return config


def test_every_key_is_tested():
    assert set(KEYS) == set(default.get_config())


@pytest.mark.parametrize("key", KEYS)
def test_key(observe, key):
    value, expected, *others = KEYS[key]
    others = others[0] if others else {}
    before = observe(base_config(others))
    assert base_config()[key] != value
    after = observe(base_config({**others, key: value}))
    assert before.keys() == after.keys()
    assert {name for name in before if before[name] != after[name]} == expected


@pytest.mark.parametrize("key", demo.get_config().synthetic)
def test_key_of_synthetic_data(tmp_path, key):
    """They are the arguments of `write_synthetic`."""
    config = demo.get_config()
    config.synthetic[key] += 1
    source = experiment.data_source(config, tmp_path, (1,))
    assert source.synthetic == config.synthetic.to_dict()
    assert source.data_dir == tmp_path / "data"


def test_bfloat16_is_the_models_too(observe):
    found = observe(base_config({"precision": "bfloat16"}))
    assert found["model"]["dtype"] == "bfloat16"
    assert found["precision"] == "default"


@pytest.mark.parametrize(
    ("steps", "changes", "refused"),
    [
        (1, {}, True),
        (9, {"accumulate_steps": 9}, True),
        (9, {"accumulate_steps": 8}, False),
        (1, {"num_epochs": 2}, False),
        (1, {"warmup_steps": 0}, False),
    ],
)
def test_run_that_would_change_nothing(steps, changes, refused):
    """The first update of a warm-up has a learning rate of 0."""
    config = base_config({"num_epochs": 1, "warmup_steps": 3} | changes)
    found = "`warmup_steps`: expected 0 for a single update, found 3"
    expecting = pytest.raises(InputError, match=found)
    with expecting if refused else contextlib.nullcontext():
        parts.build_optimizer(config, steps)


def test_limits_of_a_part_of_the_devices():
    """The peak is of all devices; only the first session of a process is traced."""
    config = base_config({"peak_tflops": 8.0, "profile_steps": 3})
    quarter = DataParallel(jax.devices()[:1])
    limits = parts.build_limits(config, 0.0, quarter, is_first=False)
    assert limits.peak_tflops == 2.0
    assert limits.profile_steps == 0
