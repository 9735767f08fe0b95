"""The published network's outputs, as the published code computes them."""

import functools

import jax
import numpy as np
import pytest

from helpers import seeded
from helpers.golden_weights import (
    check_areas,
    compiled_forward,
    relative_error,
    seeded_variables,
)
from img2eeg_jax.interop import names
from img2eeg_jax.models.cornet_s import CORnetS, normalise_pixels
from img2eeg_jax.models.realnet import ReAlNet

TOLERANCE = 1e-4


@pytest.fixture(scope="module")
def golden(golden_dir):
    return np.load(golden_dir / "golden_forward.npz")


@pytest.fixture(scope="module")
def images(golden):
    return normalise_pixels(seeded.seeded_images(2, seed=int(golden["seed"])))


@pytest.fixture(scope="module", params=[340, 100])
def encoder(request, golden):
    model = ReAlNet(signal_shape=(request.param,), bn_updates=2)
    return request.param, model, seeded_variables(model, int(golden["seed"]))


def test_golden_eval(golden, images, encoder):
    size, model, variables = encoder
    (logits, signal), areas = compiled_forward(model)(variables, images)
    assert relative_error(logits, golden["eval_logits"]) < TOLERANCE
    assert relative_error(signal, golden[f"eval_eeg_{size}"]) < TOLERANCE
    check_areas(golden, areas, TOLERANCE)


def test_golden_train(golden, images, encoder):
    size, model, variables = encoder
    apply = jax.jit(functools.partial(model.apply, train=True, mutable=["batch_stats"]))
    (logits, signal), updated = apply(variables, images)
    assert relative_error(logits, golden["train_logits"]) < TOLERANCE
    assert relative_error(signal, golden[f"train_eeg_{size}"]) < TOLERANCE
    running = names.to_state_dict(variables | updated)
    keys = [key for key in golden if "running" in key]
    assert keys
    for key in keys:
        ours = running[key.removeprefix("train_")]
        assert relative_error(ours, golden[key]) < TOLERANCE, key


def test_golden_teacher(golden, images):
    model = CORnetS()
    variables = seeded_variables(model, int(golden["seed"]))
    (logits, _), _ = compiled_forward(model)(variables, images)
    assert relative_error(logits, golden["eval_teacher_logits"]) < TOLERANCE
