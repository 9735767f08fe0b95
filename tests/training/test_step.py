"""The step against losses and gradients written without masks, devices or recipes."""

import functools

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from scipy import stats
from tiny_network import Toy, assert_trees_close, draw_batch, draw_variables, real_rows

from img2eeg_jax.models.cornet_s import normalise_pixels
from img2eeg_jax.training.state import create_state, init_variables
from img2eeg_jax.training.step import (
    LOSSES,
    Recipe,
    make_loss_step,
    make_predict_step,
    make_train_step,
)

pytestmark = pytest.mark.usefixtures("quick_compilation")

N_REAL, N_PADDING = 5, 3
SIZE = 8
RECIPES = {
    "no_task": Recipe(task="none", generation_weight=100.0),
    "image2eeg": Recipe(
        task="mse",
        generation_weight=3.0,
        correlation="spearman",
        contrast_gradient=False,
        average_channels=True,
        signal_window=(2, 7),
    ),
    "realnet": Recipe(
        task="cross_entropy",
        generation_weight=0.5,
        contrast_gradient=False,
        teacher_batch_stats=True,
    ),
    "default": Recipe(task="mse", generation_weight=2.0),
}
OPTIMIZER = optax.sgd(0.1, momentum=0.9)
TEACHER = Toy(signal_size=1)

batch_of = functools.partial(draw_batch, image_size=SIZE)


class Case:
    """A recipe with its network, compiled once."""

    def __init__(self, recipe):
        self.recipe = recipe
        self.model = Toy(signal_size=9 if recipe.average_channels else 15)
        teacher = None if recipe.task == "none" else TEACHER
        self.teacher_variables = draw_variables(TEACHER, seed=7, image_size=SIZE)
        self.state = create_state(
            draw_variables(self.model, image_size=SIZE), OPTIMIZER
        )
        self.step = jax.jit(make_train_step(self.model, OPTIMIZER, recipe, teacher))
        self.loss_step = jax.jit(make_loss_step(self.model, recipe, teacher))

    def train(self, batch):
        return self.step(self.state, self.teacher_variables, batch)

    def outputs(self, params, batch, train):
        """Returns logits, signal, updated statistics; of real rows only."""
        (logits, signal), updated = self.model.apply(
            {"params": params, "batch_stats": self.state.batch_stats},
            normalise_pixels(batch["image"]),
            train=train,
            mutable=["batch_stats"],
        )
        return logits, signal, updated.get("batch_stats", self.state.batch_stats)

    def teacher_logits(self, batch, batch_stats=None):
        batch_stats = (
            self.recipe.teacher_batch_stats if batch_stats is None else batch_stats
        )
        (logits, _), _ = TEACHER.apply(
            self.teacher_variables,
            normalise_pixels(batch["image"]),
            train=batch_stats,
            mutable=["batch_stats"],
        )
        return logits

    def trained(self, signal, eeg):
        """Returns what the generation loss compares (REFERENCE.md §3)."""
        if self.recipe.average_channels:
            return signal[:, 2:7], eeg.mean(1)
        return signal, eeg.reshape(len(eeg), 15)


@pytest.fixture(scope="module", params=RECIPES)
def case(request):
    return Case(RECIPES[request.param])


@pytest.fixture(scope="module")
def padded():
    return batch_of(N_REAL, N_PADDING)


def losses_by_hand(case, batch, train):
    """The losses of REFERENCE.md §3 in NumPy, from the network's own outputs."""
    logits, signal, _ = case.outputs(case.state.params, batch, train)
    logits, signal = np.float64(logits), np.float64(signal)
    teacher = np.float64(case.teacher_logits(batch))
    signal, target = case.trained(signal, batch["eeg"].astype(np.float64))
    n = len(signal)
    correlate = getattr(stats, f"{case.recipe.correlation}r")
    r = np.array([[correlate(s, t).statistic for t in target] for s in signal])
    off_diagonal = r[~np.eye(n, dtype=bool)].mean()
    if case.recipe.task == "mse":
        task = np.mean((logits - teacher) ** 2)
    elif case.recipe.task == "cross_entropy":
        probability = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
        task = -np.log(probability[range(n), teacher.argmax(1)]).mean()
    else:
        task = 0.0
    mse = np.mean((signal - target) ** 2)
    contrast = 1 - np.trace(r) / n + off_diagonal
    generation = mse + contrast
    total = task + case.recipe.generation_weight * generation
    return {
        "task": task,
        "mse": mse,
        "contrast": contrast,
        "generation": generation,
        "total": total,
    }


def means(metrics):
    return {name: float(total / count) for name, (total, count) in metrics.items()}


def naive_total(case, params, batch):
    """The loss as one would write it for one device and full batches."""
    logits, signal, batch_stats = case.outputs(params, batch, train=True)
    signal, target = case.trained(signal, batch["eeg"])
    n = len(signal)
    loss = jnp.mean((signal - target) ** 2)
    # Where the contrast has no gradient, its value does not matter here.
    if case.recipe.contrast_gradient:
        r = jnp.corrcoef(signal, target)[:n, n:]
        loss += 1 - jnp.trace(r) / n + (r.sum() - jnp.trace(r)) / (n * (n - 1))
    loss *= case.recipe.generation_weight
    teacher = case.teacher_logits(batch)
    if case.recipe.task == "mse":
        loss += jnp.mean((logits - teacher) ** 2)
    elif case.recipe.task == "cross_entropy":
        label = teacher.argmax(1)
        loss += optax.softmax_cross_entropy_with_integer_labels(logits, label).mean()
    return loss, batch_stats


class TestTrainStep:
    def test_losses(self, case, padded):
        _, metrics = case.train(padded)
        assert set(metrics) == {*LOSSES, "skipped"}
        expected = losses_by_hand(case, real_rows(padded), train=True)
        found = means(metrics)
        for name in LOSSES:
            np.testing.assert_allclose(
                found[name], expected[name], rtol=2e-5, atol=1e-6, err_msg=name
            )

    def test_teacher_statistics_matter(self, case, padded):
        """So that `test_losses` tells the two modes of the teacher apart."""
        batch = real_rows(padded)
        on, off = (case.teacher_logits(batch, batch_stats=on) for on in (True, False))
        assert np.abs(on - off).max() > 0.1
        assert np.any(on.argmax(1) != off.argmax(1))

    def test_update(self, case, padded):
        """The gradient is of the mean over real rows, whatever the padding."""

        @jax.jit
        def expected_state(params, opt_state):
            loss = functools.partial(naive_total, case, batch=real_rows(padded))
            grads, batch_stats = jax.grad(loss, has_aux=True)(params)
            updates, opt_state = OPTIMIZER.update(grads, opt_state, params)
            return optax.apply_updates(params, updates), batch_stats, opt_state

        params, batch_stats, opt_state = expected_state(
            case.state.params, case.state.opt_state
        )
        state, _ = case.train(padded)
        assert state.step == 1
        assert_trees_close(state.params, params, 1e-5)
        assert_trees_close(state.batch_stats, batch_stats, 1e-5)
        # The momentum after one step is the gradient.
        assert_trees_close(state.opt_state[0].trace, opt_state[0].trace, 1e-4)

    def test_metrics_are_sums_and_counts(self, case, padded):
        _, metrics = case.train(padded)
        for name, (total, count) in metrics.items():
            assert count == (1 if name == "skipped" else N_REAL), name
            assert total.shape == count.shape == ()
        assert float(metrics["total"][0]) != 0

    def test_only_padding_changes_no_statistics(self, case, padded):
        batch = {**padded, "mask": np.zeros_like(padded["mask"])}
        state, metrics = case.train(batch)
        assert_trees_close(state.batch_stats, case.state.batch_stats, 0)
        assert_trees_close(state.params, case.state.params, 0)
        assert metrics.pop("skipped") == (0, 1)
        assert all(pair == (0, 0) for pair in metrics.values())


class TestLossStep:
    def test_losses_in_eval_mode(self, case, padded):
        """Updates nothing: it returns losses and what r is made of."""
        metrics = case.loss_step(case.state.variables, case.teacher_variables, padded)
        assert set(metrics) == {*LOSSES, "moments"}
        del metrics["moments"]
        found = means(metrics)
        expected = losses_by_hand(case, real_rows(padded), train=False)
        for name in LOSSES:
            np.testing.assert_allclose(
                found[name], expected[name], rtol=2e-5, atol=1e-6, err_msg=name
            )
        in_training = losses_by_hand(case, real_rows(padded), train=True)
        assert abs(in_training["mse"] - expected["mse"]) > 1e-3

    def test_sums_over_batches_divide_to_the_mean_over_images(self, case):
        """5 and 2 real rows: each image weighs the same, whatever its batch."""
        batches = [batch_of(N_REAL, N_PADDING), batch_of(2, 6, seed=1)]
        pairs = [
            case.loss_step(case.state.variables, case.teacher_variables, batch)["mse"]
            for batch in batches
        ]
        found = sum(total for total, _ in pairs) / sum(count for _, count in pairs)
        images = {
            name: np.concatenate([real_rows(batch)[name] for batch in batches])
            for name in ("image", "eeg", "mask")
        }
        expected = losses_by_hand(case, images, train=False)["mse"]
        np.testing.assert_allclose(found, expected, rtol=1e-5)


def test_predict_step_is_in_eval_mode(case):
    batch = batch_of(3)
    predict = make_predict_step(case.model)
    signal = predict(case.state.variables, batch)
    _, expected, _ = case.outputs(case.state.params, batch, train=False)
    np.testing.assert_array_equal(signal, expected)
    alone = predict(case.state.variables, {"image": batch["image"][:1]})
    np.testing.assert_allclose(alone, signal[:1], rtol=1e-5)


class TestState:
    def test_init_variables(self):
        """Another seed gives other parameters; the images are of the size given."""

        class Uniform(nn.Module):
            @nn.compact
            def __call__(self, images):
                return self.param("x", nn.initializers.uniform(1), images.shape)

        drawn = [init_variables(Uniform(), 4, seed) for seed in (0, 1)]
        first, second = (np.asarray(variables["params"]["x"]) for variables in drawn)
        assert first.shape == (1, 4, 4, 3)
        expected = Uniform().init(jax.random.key(0), np.zeros((1, 4, 4, 3)))
        np.testing.assert_array_equal(first, expected["params"]["x"])
        assert not np.allclose(first, second)

    def test_create_state(self):
        variables = draw_variables(Toy(), image_size=SIZE)
        state = create_state(variables, OPTIMIZER)
        assert state.step == 0
        assert state.step.dtype == jnp.int32
        assert state.variables == variables


class TestErrors:
    def test_unknown_task(self):
        with pytest.raises(ValueError, match=r"cross_entropy.*'kl'"):
            Recipe(task="kl")

    @pytest.mark.parametrize("task", ["mse", "cross_entropy"])
    def test_missing_teacher(self, task):
        """Neither a teacher nor its logits in the batch: found at trace time."""
        batch, variables = batch_of(4), draw_variables(Toy(), image_size=SIZE)
        state = create_state(variables, OPTIMIZER)
        train_step = make_train_step(Toy(), OPTIMIZER, Recipe(task=task))
        with pytest.raises(ValueError, match=f"{task}.*teacher"):
            jax.eval_shape(train_step, state, {}, batch)
        loss_step = make_loss_step(Toy(), Recipe(task=task))
        with pytest.raises(ValueError, match=f"{task}.*teacher"):
            jax.eval_shape(loss_step, variables, {}, batch)

    def test_eeg_of_another_shape(self):
        """Found at trace time; names what the network gives and what the data are."""
        batch = batch_of(4)
        batch["eeg"] = batch["eeg"][:, :2]
        step = make_loss_step(Toy(), RECIPES["no_task"])
        variables = draw_variables(Toy(), image_size=SIZE)
        with pytest.raises(ValueError, match=r"\(4, 15\).*\(4, 10\)"):
            jax.eval_shape(step, variables, {}, batch)
