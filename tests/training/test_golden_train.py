"""Three steps of both published recipes, as the published code computes them."""

import jax
import numpy as np
import pytest

from configs import image2eeg, realnet
from helpers import seeded
from helpers.golden_weights import (
    compiled_forward,
    relative_error,
    seeded_variables,
)
from img2eeg_jax.axes import Axes
from img2eeg_jax.interop import names
from img2eeg_jax.models.cornet_s import CORnetS, normalise_pixels
from img2eeg_jax.models.realnet import ReAlNet
from img2eeg_jax.signal_layout import SignalLayout
from img2eeg_jax.training import experiment, parts
from img2eeg_jax.training.state import create_state
from img2eeg_jax.training.step import LOSSES, make_train_step

# Columns of `losses`, and how far each may be off.
TOLERANCES = dict.fromkeys(LOSSES, 1e-3)
EVAL_TOLERANCES = {"image2eeg": 1e-3, "realnet": 5e-2}


@pytest.fixture(scope="module", params=["image2eeg", "realnet"])
def run(request, golden_dir):
    """Takes the three steps with the shipped config; returns what they left."""
    golden = np.load(golden_dir / f"golden_train_{request.param}.npz")
    config = {"image2eeg": image2eeg, "realnet": realnet}[request.param].get_config()
    seed = int(golden["seed"])
    epoch_times_s = np.arange(-20, 80) / 100
    layout = SignalLayout.for_eeg(
        config.signal,
        Axes([f"ch{i}" for i in range(17)], epoch_times_s[20:40]),
        epoch_times_s,
    )
    model = ReAlNet(**experiment.model_arguments(config, layout))
    teacher = CORnetS()
    optimizer = parts.build_optimizer(config)
    before = seeded_variables(model, seed)
    state = create_state(before, optimizer)
    step = jax.jit(
        make_train_step(
            model, optimizer, parts.build_recipe(config, layout, True), teacher
        )
    )
    teacher_variables = seeded_variables(teacher, seed)
    images = seeded.seeded_images(12, seed=seed)
    eeg = seeded.seeded_eeg(12, seed=seed)
    losses = []
    for start in (0, 4, 8):
        rows = slice(start, start + 4)
        mask = np.ones(4, np.float32)
        batch = {"image": images[rows], "response": eeg[rows], "mask": mask}
        state, sums = step(state, teacher_variables, batch)
        losses.append([float(sums[name][0] / sums[name][1]) for name in LOSSES])
    forward = compiled_forward(model)
    outputs, _ = forward(state.variables, normalise_pixels(images[:2]))
    return request.param, golden, np.array(losses), before, state, outputs


def test_golden_losses(run):
    recipe, golden, losses, *_ = run
    for column, name in enumerate(LOSSES):
        rank_based = recipe == "image2eeg" and name == "contrast"
        np.testing.assert_allclose(
            losses[:, column],
            golden["losses"][:, column],
            rtol=2e-3 if rank_based else 1e-3,
            err_msg=name,
        )


def test_golden_running_statistics(run):
    _, golden, _, _, state, _ = run
    ours = names.to_state_dict(state.variables)
    keys = [key for key in golden if "running" in key]
    assert keys
    for key in keys:
        name = key.replace("after_", "realnet.")
        assert relative_error(ours[name], golden[key]) < 1e-3, key


def test_golden_weight_changes(run):
    _, golden, _, before, state, _ = run
    before, after = names.to_state_dict(before), names.to_state_dict(state.variables)
    keys = [key for key in golden if key.startswith("delta_absmean_")]
    assert keys
    for key in keys:
        name = key.removeprefix("delta_absmean_")
        change = np.abs(np.asarray(after[name]) - before[name]).mean()
        np.testing.assert_allclose(change, golden[key], rtol=0.03, err_msg=key)


def test_golden_eval_after_training(run):
    recipe, golden, _, _, _, (logits, signal) = run
    tolerance = EVAL_TOLERANCES[recipe]
    assert relative_error(logits, golden["after_eval_logits"]) < tolerance
    assert relative_error(signal, golden["after_eval_eeg"]) < tolerance
