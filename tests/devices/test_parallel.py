"""The same numbers on 1, 2 and 4 devices as on one that sees the real rows only.

Thirteen rows of which twelve are real: of two devices, which get seven rows each, the
second has two of padding; of four, which get four each, the last has nothing else.
"""

import os
import subprocess
import sys

import chex
import jax
import numpy as np
import pytest

from helpers import tiny_network
from helpers.commands import ROOT, free_port
from helpers.tiny_network import (
    Toy,
    assert_trees_close,
    draw_batch,
    draw_variables,
    gradient_sgd,
    initial_state,
    last_gradient,
    real_rows,
    run,
)
from img2eeg_jax.devices.parallel import BATCH_AXIS, DataParallel
from img2eeg_jax.training.step import (
    LOSSES,
    Recipe,
    make_loss_step,
    make_predict_step,
    make_train_step,
)

pytestmark = pytest.mark.usefixtures("quick_compilation")

DEVICES = [1, 2, 4]
N_REAL, N_ROWS = 12, 13

# What ReAlNet's test leaves out, on a smaller network.
TOY_RECIPE = Recipe(
    task="cross_entropy",
    generation_weight=2.0,
    correlation="spearman",
    contrast_gradient=False,
    average_channels=True,
    signal_window=(5, 10),
)


@pytest.fixture(scope="module")
def batch():
    return draw_batch(N_REAL, N_ROWS - N_REAL)


@pytest.fixture(scope="module")
def teacher():
    return draw_variables(Toy(), seed=7)


@pytest.fixture(scope="module")
def start():
    return initial_state(tiny_network.realnet(), learning_rate=1.0)


@pytest.fixture(scope="module")
def smooth_start():
    return tiny_network.smooth_state()


def run_unmapped(step, state, teacher, batches):
    losses = []
    for batch in batches:
        state, metrics = step(state, teacher, real_rows(batch))
        losses.append(jax.device_get(metrics))
    return jax.device_get(state), losses


def assert_same_step(found, expected):
    (state, (losses,)), (expected_state, (expected_losses,)) = found, expected
    for name in LOSSES:
        # Counts must be equal; a sum of terms that cancel is as exact as its terms.
        total, count = losses[name]
        reference, reference_count = expected_losses[name]
        assert count == reference_count, name
        np.testing.assert_allclose(total, reference, 1e-5, 1e-5, err_msg=name)
    gradient, reference = last_gradient(state), last_gradient(expected_state)
    assert_trees_close(gradient, reference, 1e-4)
    assert_trees_close(state.batch_stats, expected_state.batch_stats, 1e-4)
    assert_trees_close(state.params, expected_state.params, 1e-4)
    assert state.step == expected_state.step == 1


@pytest.fixture(scope="module")
def batches():
    return [draw_batch(N_REAL, N_ROWS - N_REAL, seed=seed) for seed in range(20)]


@pytest.fixture(scope="module")
def expected_step(start, teacher, batch):
    _, step = tiny_network.realnet_step(None)
    return run_unmapped(step, start, teacher, [batch])


@pytest.fixture(scope="module")
def expected_end(smooth_start, teacher, batches):
    _, step = tiny_network.realnet_step(None)
    return run_unmapped(step, smooth_start, teacher, batches)[0]


@pytest.mark.parametrize("n_devices", DEVICES)
class TestReAlNet:
    """With the contrast's gradient, and a teacher that uses batch statistics."""

    def test_one_step(self, n_devices, start, teacher, batch, expected_step):
        parallel, step = tiny_network.realnet_step(n_devices)
        found = run(parallel, step, start, teacher, [batch])
        assert_same_step(found, expected_step)
        assert found[1][0]["total"][1] == N_REAL

    def test_twenty_steps(
        self, n_devices, smooth_start, teacher, batches, expected_end
    ):
        parallel, step = tiny_network.realnet_step(n_devices)
        state, _ = run(parallel, step, smooth_start, teacher, batches)
        assert_trees_close(state.params, expected_end.params, 1e-4)
        assert_trees_close(state.batch_stats, expected_end.batch_stats, 1e-4)
        # They went somewhere: the bound is not met by standing still.
        changes = [
            np.linalg.norm(after - before) / np.linalg.norm(before)
            for after, before in zip(
                jax.tree.leaves(state.params),
                jax.tree.leaves(smooth_start.params),
                strict=True,
            )
        ]
        assert max(changes) > 1e-2


@pytest.mark.parametrize(
    ("n_processes", "n_devices"), [(2, 2), pytest.param(4, 1, marks=pytest.mark.slow)]
)
def test_several_processes(
    n_processes, n_devices, start, expected_step, expected_end, tmp_path
):
    """Each process has a part of each batch, and they add up through the network."""
    arguments = f"127.0.0.1:{free_port()}", n_processes
    processes = [
        subprocess.Popen(
            [
                *(sys.executable, "-m", "helpers.process_steps"),
                *map(str, (*arguments, i, n_devices, tmp_path)),
            ],
            env=os.environ | {"PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'tests'}"},
            stderr=subprocess.PIPE,
            text=True,
        )
        for i in range(n_processes)
    ]
    for process in processes:
        _, error = process.communicate(timeout=300)
        assert process.returncode == 0, error
    for i in range(n_processes):
        saved = np.load(tmp_path / f"{i}.npz")
        structure = jax.tree.structure((start, expected_step[1], expected_end))
        leaves = [saved[name] for name in saved.files]
        after_one, losses, end = jax.tree.unflatten(structure, leaves)
        assert_same_step((after_one, losses), expected_step)
        assert_trees_close(end.params, expected_end.params, 1e-4)
        assert_trees_close(end.batch_stats, expected_end.batch_stats, 1e-4)


@pytest.mark.parametrize(
    ("in_turn", "n_devices"), [(False, 1), (True, 1), (False, 2), (True, 2)]
)
def test_several_networks_in_step_are_as_if_alone(in_turn, n_devices):
    """The same images, EEG of two subjects, an initial state for each."""
    batches = [draw_batch(N_REAL, N_ROWS - N_REAL, seed=seed) for seed in (0, 1)]
    alone = [{**batches[0], "response": batch["response"]} for batch in batches]
    together = {
        **batches[0],
        "response": np.stack([b["response"] for b in alone], axis=1),
    }
    states = [initial_state(tiny_network.realnet(), rate) for rate in (1.0, 0.5)]
    step = make_train_step(
        tiny_network.realnet(BATCH_AXIS),
        gradient_sgd(1.0),
        Recipe(task="none", generation_weight=3.0),
        axis_name=BATCH_AXIS,
    )
    devices = jax.devices()[:n_devices]
    parallel = DataParallel(devices, n_subjects=2)
    parallel.in_turn = in_turn
    state, losses = run(
        parallel,
        parallel.train_step(step),
        parallel.put_together(states),
        {},
        [together],
    )
    single = DataParallel(devices)
    single_step = single.train_step(step)
    for i, (own, batch) in enumerate(zip(states, alone, strict=True)):
        expected = run(single, single_step, own, {}, [batch])
        found = tuple(parallel.take_apart(tree)[i] for tree in (state, losses))
        assert_same_step(found, expected)
        assert_trees_close(found[0].params, expected[0].params, 1e-5)


def toy_steps(axis_name):
    """Returns the training step and the validation step."""
    model, teacher = Toy(axis_name=axis_name), Toy(axis_name=axis_name)
    train = make_train_step(model, gradient_sgd(1.0), TOY_RECIPE, teacher, axis_name)
    return train, make_loss_step(model, TOY_RECIPE, teacher, axis_name)


@pytest.fixture(scope="module")
def toy_expected(teacher, batch):
    train_step, loss_step = toy_steps(None)
    state = initial_state(Toy(), learning_rate=1.0)
    losses = jax.jit(loss_step)(state.variables, teacher, real_rows(batch))
    trained = run_unmapped(jax.jit(train_step), state, teacher, [batch])
    return trained, jax.device_get(losses)


class TestToy:
    @pytest.mark.parametrize("n_devices", [2, 4])
    def test_train_step(self, n_devices, teacher, batch, toy_expected):
        parallel = DataParallel(jax.devices()[:n_devices])
        step = parallel.train_step(toy_steps(BATCH_AXIS)[0])
        state = initial_state(Toy(), learning_rate=1.0)
        found = run(parallel, step, state, teacher, [batch])
        assert_same_step(found, toy_expected[0])

    @pytest.mark.parametrize("n_devices", [2, 4])
    def test_loss_step(self, n_devices, teacher, batch, toy_expected):
        parallel = DataParallel(jax.devices()[:n_devices])
        step = parallel.loss_step(toy_steps(BATCH_AXIS)[1])
        arguments = parallel.replicate((draw_variables(Toy()), teacher))
        losses = step(*arguments, parallel.split(batch))
        chex.assert_trees_all_close(losses, toy_expected[1], rtol=1e-5, atol=1e-5)


class TestPredictStep:
    @pytest.mark.parametrize("n_devices", DEVICES)
    def test_as_on_one_device(self, n_devices, batch):
        parallel = DataParallel(jax.devices()[:n_devices])
        predict = make_predict_step(Toy())
        variables = draw_variables(Toy())
        predictions = parallel.predict_step(predict)(
            parallel.replicate(variables), parallel.split(batch)
        )
        assert predictions.shape == (n_devices, -(-N_ROWS // n_devices), 15)
        merged = parallel.merge(predictions, batch["mask"])
        expected = predict(variables, real_rows(batch))
        np.testing.assert_allclose(merged, expected, rtol=1e-5, atol=1e-6)

    @pytest.mark.parametrize("n_devices", [1, 2])
    def test_loops_from_constants(self, n_devices):
        """As in a network that somebody else wrote."""

        def predict(weight, batch):
            def add(total, pixels):
                return total + weight * pixels, None

            start = jax.numpy.zeros(batch["image"].shape[:1])
            return jax.lax.scan(add, start, batch["image"].T)[0][:, None]

        parallel = DataParallel(jax.devices()[:n_devices])
        rows = {"image": np.arange(8.0).reshape(4, 2), "mask": np.ones(4)}
        found = parallel.predict_step(predict)(
            parallel.replicate(np.float32(3)), parallel.split(rows)
        )
        merged = parallel.merge(found, rows["mask"])
        np.testing.assert_array_equal(merged, [[3], [15], [27], [39]])


class TestSplitAndMerge:
    @pytest.mark.parametrize("n_devices", DEVICES)
    @pytest.mark.parametrize("n_rows", [1, 4, 7])
    def test_round_trip(self, n_devices, n_rows):
        parallel = DataParallel(jax.devices()[:n_devices])
        batch = {
            "index": np.arange(n_rows, dtype=np.int32),
            "response": np.arange(n_rows * 6, dtype=np.float32).reshape(n_rows, 2, 3),
            "mask": np.ones(n_rows, np.float32),
        }
        split = parallel.split(batch)
        rows = -(-n_rows // n_devices)
        assert split["response"].shape == (n_devices, rows, 2, 3)
        assert {name: array.dtype for name, array in split.items()} == {
            name: array.dtype for name, array in batch.items()
        }
        assert split["mask"].sum() == n_rows
        for name, array in batch.items():
            merged = parallel.merge(split[name], batch["mask"])
            np.testing.assert_array_equal(merged, array)

    def test_padding_repeats_the_last_row(self):
        """Something harmless: real pixels, and no NaN."""
        parallel = DataParallel(jax.devices()[:2])
        batch = {"index": np.array([5, 6, 7]), "mask": np.array([1, 1, 0], np.float32)}
        split = parallel.split(batch)
        np.testing.assert_array_equal(split["index"], [[5, 6], [7, 7]])
        np.testing.assert_array_equal(split["mask"], [[1, 1], [0, 0]])

    def test_merge_drops_padding_anywhere(self):
        parallel = DataParallel(jax.devices()[:2])
        predictions = np.arange(8).reshape(2, 2, 2)
        merged = parallel.merge(predictions, np.array([1, 0, 1], np.float32))
        np.testing.assert_array_equal(merged, [[0, 1], [4, 5]])

    def test_split_leaves_the_batch(self, batch):
        before = {name: array.copy() for name, array in batch.items()}
        DataParallel(jax.devices()[:4]).split(batch)
        for name, array in batch.items():
            np.testing.assert_array_equal(array, before[name])


def test_all_local_devices_by_default():
    assert DataParallel().devices == tuple(jax.local_devices())


def test_replicate_puts_the_whole_tree_on_each_device():
    devices = jax.devices()[1:3]
    array = DataParallel(devices).replicate({"a": np.arange(3)})["a"]
    assert array.shape == (3,)
    assert array.is_fully_replicated
    assert array.sharding.device_set == set(devices)
