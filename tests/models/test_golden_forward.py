"""The published network's outputs, as the published code computes them."""

import jax
import numpy as np
import pytest

from helpers import seeded
from helpers.golden_weights import check_areas, relative_error, seeded_variables
from img2eeg_jax.interop import names
from img2eeg_jax.models.cornet_s import AREAS, CORnetS, normalise_pixels
from img2eeg_jax.models.realnet import ReAlNet

TOLERANCE = 1e-4


@pytest.fixture(scope="module")
def golden(golden_dir):
    return np.load(golden_dir / "golden_forward.npz")


@pytest.fixture(scope="module")
def images(golden):
    return normalise_pixels(seeded.seeded_images(2, seed=int(golden["seed"])))


def outputs(model, variables, images, train):
    """Returns (logits, signal), areas by name, updated statistics."""

    @jax.jit
    def apply(variables, images):
        return model.apply(
            variables,
            images,
            train=train,
            mutable=["batch_stats", "intermediates"],
            capture_intermediates=lambda module, method: (
                module.name in AREAS and method == "__call__"
            ),
        )

    result, updated = apply(variables, images)
    captured = updated["intermediates"].get("realnet", {})
    areas = {area: captured[area]["__call__"][0] for area in captured}
    return result, areas, updated["batch_stats"]


@pytest.fixture(scope="module", params=[340, 100])
def encoder(request, golden):
    model = ReAlNet(signal_shape=(request.param,), bn_updates=2)
    return request.param, model, seeded_variables(model, int(golden["seed"]))


def test_golden_eval(golden, images, encoder):
    size, model, variables = encoder
    (logits, signal), areas, _ = outputs(model, variables, images, train=False)
    assert relative_error(logits, golden["eval_logits"]) < TOLERANCE
    assert relative_error(signal, golden[f"eval_eeg_{size}"]) < TOLERANCE
    assert set(areas) == set(AREAS)
    check_areas(golden, areas, TOLERANCE)


def test_golden_train(golden, images, encoder):
    size, model, variables = encoder
    (logits, signal), _, stats = outputs(model, variables, images, train=True)
    assert relative_error(logits, golden["train_logits"]) < TOLERANCE
    assert relative_error(signal, golden[f"train_eeg_{size}"]) < TOLERANCE
    running = names.to_state_dict({"batch_stats": stats, "params": variables["params"]})
    keys = [key for key in golden if "running" in key]
    assert keys
    for key in keys:
        ours = running[key.removeprefix("train_")]
        assert relative_error(ours, golden[key]) < TOLERANCE, key


def test_golden_teacher(golden, images):
    model = CORnetS()
    variables = seeded_variables(model, int(golden["seed"]))
    logits, _ = jax.jit(model.apply)(variables, images)
    assert relative_error(logits, golden["eval_teacher_logits"]) < TOLERANCE
