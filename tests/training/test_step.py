"""The step against losses and gradients written without masks, devices or recipes."""

import functools

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from scipy import stats

from configs import realnet_fmri
from helpers.tiny_network import (
    EEG_SHAPE,
    Toy,
    assert_trees_close,
    draw_batch,
    draw_variables,
    real_rows,
)
from img2eeg_jax import objectives
from img2eeg_jax.axes import Axes
from img2eeg_jax.models.cornet_s import normalise_pixels
from img2eeg_jax.signal_layout import FEATURES, SignalLayout
from img2eeg_jax.training import optimizer, parts
from img2eeg_jax.training.state import create_state, init_variables
from img2eeg_jax.training.step import (
    LOSSES,
    Recipe,
    make_loss_step,
    make_predict_step,
    make_train_step,
    validation_losses,
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
    # As shipped; the network's 15 numbers are features.
    "realnet_fmri": parts.build_recipe(
        realnet_fmri.get_config(),
        SignalLayout.for_eeg(FEATURES, Axes.of_features("abcdefghijklmno"), np.ones(1)),
        has_teacher=True,
    ),
}
OPTIMIZER = optax.sgd(0.1, momentum=0.9)
TEACHER = Toy(signal_size=1)

batch_of = functools.partial(draw_batch, image_size=SIZE)


class Case:
    """A recipe with its network, compiled once."""

    def __init__(self, recipe):
        self.recipe = recipe
        self.model = Toy(signal_size=9 if recipe.average_channels else 15)
        self.teacher = None if recipe.task == "none" else TEACHER
        self.teacher_variables = draw_variables(TEACHER, seed=7, image_size=SIZE)
        self.state = create_state(
            draw_variables(self.model, image_size=SIZE), OPTIMIZER
        )
        self.step = jax.jit(
            make_train_step(self.model, OPTIMIZER, recipe, self.teacher)
        )
        self.loss_step = jax.jit(make_loss_step(self.model, recipe, self.teacher))

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
    signal, target = case.trained(signal, batch["response"].astype(np.float64))
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
    signal, target = case.trained(signal, batch["response"])
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


def validation(case, batches):
    """Returns the validation losses of some batches."""
    total = None
    for batch in batches:
        sums = case.loss_step(case.state.variables, case.teacher_variables, batch)
        del sums["moments"]
        total = sums if total is None else jax.tree.map(np.add, total, sums)
    return validation_losses(case.recipe, total)


class TestLossStep:
    def test_losses_in_eval_mode(self, case, padded):
        """Updates nothing."""
        found = validation(case, [padded])
        expected = losses_by_hand(case, real_rows(padded), train=False)
        assert found == pytest.approx(expected, 2e-5, 1e-6)
        in_training = losses_by_hand(case, real_rows(padded), train=True)
        assert abs(in_training["mse"] - expected["mse"]) > 1e-3

    def test_batches_do_not_matter(self, case):
        """5 and 2 real rows, whose contrast is over all 42 pairs; other order, too.

        But for a teacher that uses the statistics of the batch.
        """
        batches = [batch_of(N_REAL, N_PADDING), batch_of(2, 6, seed=1)]
        images = {
            name: np.concatenate([real_rows(batch)[name] for batch in batches])
            for name in ("image", "response", "mask")
        }
        expected = losses_by_hand(case, images, train=False)
        names = set(LOSSES)
        if case.recipe.teacher_batch_stats and case.recipe.task != "none":
            names -= {"task", "total"}
        rows = np.random.default_rng(0).permutation(7)
        others = []
        for of in (rows[:1], rows[1:4], rows[4:]):
            padding = np.zeros(8 - len(of), int)
            other = {k: x[np.concatenate([of, padding])] for k, x in images.items()}
            other["mask"][len(of) :] = 0
            others.append(other)
        for some in (batches, others):
            found = validation(case, some)
            for name in names:
                np.testing.assert_allclose(
                    found[name], expected[name], 2e-5, 1e-6, err_msg=name
                )

    def test_moments_add_up_to_the_correlation_over_images(self, case):
        """Of each entry of the signal, over the real rows of all batches."""
        batches = [batch_of(N_REAL, N_PADDING), batch_of(2, 6, seed=1)]
        total, pairs = None, []
        for batch in batches:
            moments = case.loss_step(
                case.state.variables, case.teacher_variables, batch
            )["moments"]
            total = objectives.add_moments(total, moments)
            rows = real_rows(batch)
            _, signal, _ = case.outputs(case.state.params, rows, train=False)
            pairs.append(case.trained(signal, rows["response"]))
        assert total[1] == N_REAL + 2
        pairs = zip(*pairs, strict=True)
        signal, target = (np.concatenate(rows).astype(float) for rows in pairs)
        expected = stats.pearsonr(signal, target).statistic
        found = objectives.correlation(total[0])
        # The step's signal and that by hand are rounded apart, in float32.
        np.testing.assert_allclose(found, [expected], rtol=1e-4, atol=1e-5)


def test_predict_step_is_in_eval_mode(case):
    batch = batch_of(3)
    predict = make_predict_step(case.model)
    signal = predict(case.state.variables, batch)
    _, expected, _ = case.outputs(case.state.params, batch, train=False)
    np.testing.assert_array_equal(signal, expected)
    alone = predict(case.state.variables, {"image": batch["image"][:1]})
    np.testing.assert_allclose(alone, signal[:1], rtol=1e-5)


N_SUBJECTS = 3


@pytest.fixture(scope="module")
def shared(case, padded):
    """What a step of one network for all subjects gives, and a step for each alone."""
    size = case.model.signal_size
    model = Toy(N_SUBJECTS * size)
    variables = draw_variables(model, seed=3, image_size=SIZE)
    shape = (N_REAL + N_PADDING, N_SUBJECTS, *EEG_SHAPE)
    eeg = np.random.default_rng(1).standard_normal(shape).astype(np.float32)
    step = jax.jit(make_train_step(model, OPTIMIZER, case.recipe, case.teacher))

    def train(step, columns, eeg):
        params = dict(variables["params"])
        params["fc"] = {k: leaf[..., columns] for k, leaf in params["fc"].items()}
        state = create_state(variables | {"params": params}, OPTIMIZER)
        return step(state, case.teacher_variables, padded | {"response": eeg})

    alone = [
        train(case.step, slice(i * size, (i + 1) * size), eeg[:, i])
        for i in range(N_SUBJECTS)
    ]
    return train(step, slice(None), eeg), alone


class TestSeveralSubjects:
    def test_losses_are_averaged(self, shared):
        (_, metrics), alone = shared
        assert metrics["total"][1] == N_REAL
        found, alone = means(metrics), [means(of_one) for _, of_one in alone]
        for name in LOSSES:
            expected = np.mean([of_one[name] for of_one in alone])
            np.testing.assert_allclose(found[name], expected, 1e-5, 1e-6, err_msg=name)

    def test_gradients_are_averaged(self, shared):
        """Those of the last layer side by side, as its outputs are."""
        (state, _), alone = shared
        alone = [of_one.opt_state[0].trace for of_one, _ in alone]
        expected = jax.tree.map(lambda *leaves: np.mean(leaves, 0), *alone)
        for name in ("kernel", "bias"):
            parts = [of_one["fc"][name] / N_SUBJECTS for of_one in alone]
            expected["fc"][name] = np.concatenate(parts, -1)
        assert_trees_close(state.opt_state[0].trace, expected, 1e-5)

    def test_the_backbone_runs_once(self, shared):
        (state, _), [(of_one, _), *_] = shared
        assert_trees_close(state.batch_stats, of_one.batch_stats, 1e-6)


@pytest.mark.parametrize("case", ["default"], indirect=True)
class TestCachedTeacher:
    """Logits in the batch, and no teacher, as the one that runs in the step."""

    @pytest.fixture
    def cached(self, case, padded):
        logits = np.array(case.teacher_logits(padded))
        logits[N_REAL:] = 1e4
        return padded | {"teacher_logits": logits}

    def test_train_step(self, case, padded, cached):
        step = jax.jit(make_train_step(case.model, OPTIMIZER, case.recipe))
        state, metrics = step(case.state, {}, cached)
        expected, expected_metrics = case.train(padded)
        assert means(metrics) == pytest.approx(means(expected_metrics), 1e-6)
        assert_trees_close(state.params, expected.params, 1e-6)
        assert_trees_close(state.opt_state[0].trace, expected.opt_state[0].trace, 1e-5)

    def test_loss_step(self, case, padded, cached):
        variables = case.state.variables
        step = jax.jit(make_loss_step(case.model, case.recipe))
        metrics = step(variables, {}, cached)
        expected = case.loss_step(variables, case.teacher_variables, padded)
        np.testing.assert_allclose(metrics["task"], expected["task"], 1e-6)


EMA_DECAY = 0.75


@pytest.fixture(scope="module")
def steps():
    """`skip_nonfinite` → a step with momentum and a running average."""
    return {
        skips: jax.jit(
            make_train_step(
                Toy(), OPTIMIZER, Recipe(skip_nonfinite=skips, ema_decay=EMA_DECAY)
            )
        )
        for skips in (False, True)
    }


@pytest.fixture(scope="module")
def start():
    variables = draw_variables(Toy(), image_size=SIZE)
    return create_state(variables, OPTIMIZER, with_ema=True)


@pytest.fixture(scope="module")
def under_way(steps, start, padded):
    """A state after a step: neither momentum nor average are those of the start."""
    return steps[False](start, {}, padded)[0]


class TestNonfinite:
    @pytest.fixture(params=[np.nan, np.inf])
    def spoilt(self, request):
        batch = batch_of(N_REAL, N_PADDING, seed=1)
        batch["response"][1, 2, 3] = request.param
        return batch

    def test_a_skipped_step_only_counts(self, steps, under_way, spoilt):
        state, metrics = steps[True](under_way, {}, spoilt)
        assert state.step == 2
        state = state.replace(step=under_way.step)
        jax.tree.map(np.testing.assert_array_equal, state, under_way)
        assert metrics.pop("skipped") == (1, 1)
        assert set(metrics) == {*LOSSES}
        assert all(pair == (0, 0) for pair in metrics.values())

    def test_else_spoils_all_parameters(self, steps, under_way, spoilt):
        """So that it is seen at once, whichever of them the gradient comes to."""
        state, metrics = steps[False](under_way, {}, spoilt)
        assert not np.isfinite(metrics["total"][0])
        assert metrics["skipped"] == (1, 1)
        for leaf in jax.tree.leaves((state.params, state.ema_params)):
            assert np.isnan(leaf).all()

    def test_finite_steps_are_the_same(self, steps, under_way):
        batch = batch_of(N_REAL, N_PADDING, seed=1)
        found, metrics = steps[True](under_way, {}, batch)
        expected, expected_metrics = steps[False](under_way, {}, batch)
        assert metrics.pop("skipped") == expected_metrics.pop("skipped") == (0, 1)
        assert means(metrics) == pytest.approx(means(expected_metrics), 1e-6)
        # XLA need not round two programs alike.
        for name in ("params", "ema_params", "batch_stats"):
            assert_trees_close(getattr(found, name), getattr(expected, name), 1e-6)
        assert_trees_close(found.opt_state[0].trace, expected.opt_state[0].trace, 1e-6)

    @pytest.mark.parametrize("skips", [False, True])
    def test_gradient_alone(self, skips):
        """The loss is finite, and the slope of the root is not."""

        class Root(nn.Module):
            @nn.compact
            def __call__(self, images, train, mask):
                x = self.param("x", nn.initializers.zeros, (1, 15))
                return None, jnp.sqrt(x).repeat(len(images), 0)

        params = {"x": np.zeros((1, 15), np.float32)}
        state = create_state({"params": params, "batch_stats": {}}, OPTIMIZER)
        step = make_train_step(Root(), OPTIMIZER, Recipe(skip_nonfinite=skips))
        state, metrics = jax.jit(step)(state, {}, batch_of(2))
        assert metrics["skipped"] == (1, 1)
        assert np.isfinite(metrics["total"][0])
        assert metrics["total"][1] == (0 if skips else 2)
        assert not skips or not np.any(state.params["x"])

    @pytest.mark.parametrize("scale", [1e25, 3e38])
    def test_batch_statistics_alone(self, steps, start, scale):
        """A variance, or a mean too, that overflows: the norm's output is its bias."""
        kernel = {"kernel": scale * np.sign(start.params["conv1"]["kernel"])}
        state = start.replace(params=start.params | {"conv1": kernel})
        kept, metrics = steps[True](state, {}, batch_of(N_REAL))
        assert metrics["skipped"] == (1, 1)
        jax.tree.map(np.testing.assert_array_equal, kept.batch_stats, start.batch_stats)
        _, metrics = steps[False](state, {}, batch_of(N_REAL))
        assert metrics["skipped"] == (1, 1)


class TestRunningAverage:
    @pytest.fixture
    def waiting(self):
        """The start, and a step of which two make an update."""
        accumulating = optimizer.accumulate(OPTIMIZER, 2, 4)
        state = create_state(
            draw_variables(Toy(), image_size=SIZE), accumulating, with_ema=True
        )
        recipe = Recipe(ema_decay=EMA_DECAY, skip_nonfinite=True)
        return state, jax.jit(make_train_step(Toy(), accumulating, recipe))

    def check(self, state, parameters):
        """The first weighs 1 and the n-th 10 / (n + 9), until `EMA_DECAY` is less."""
        average = np.float64(parameters[0]["fc"]["kernel"])
        for n, params in enumerate(parameters[1:], 2):
            weight = max(1 - EMA_DECAY, 10 / (n + 9))
            average = (1 - weight) * average + weight * params["fc"]["kernel"]
        assert state.ema_updates == len(parameters)
        np.testing.assert_allclose(state.ema_params["fc"]["kernel"], average, 1e-5)

    def test_some_steps(self, steps, start):
        state, parameters = start, []
        for seed in range(3):
            state, _ = steps[False](state, {}, batch_of(N_REAL, seed=seed))
            parameters.append(state.params)
        self.check(state, parameters)
        # Validation and prediction use it.
        assert state.variables["params"] is state.ema_params
        assert state.variables["batch_stats"] is state.batch_stats

    def test_late_steps_weigh_as_asked_for(self, steps, start):
        late = start.replace(ema_updates=np.int32(10**6))
        state, _ = steps[False](late, {}, batch_of(N_REAL))
        expected = jax.tree.map(
            lambda old, new: EMA_DECAY * old + (1 - EMA_DECAY) * new,
            start.params,
            state.params,
        )
        assert_trees_close(state.ema_params, expected, 1e-6)

    def test_steps_without_an_update_do_not_count(self, waiting):
        """The first is skipped, and two make an update."""
        state, step = waiting
        spoilt = batch_of(N_REAL)
        spoilt["response"][0] = np.nan
        start = state
        for batch, n_updates in ((spoilt, 0), (batch_of(N_REAL, seed=1), 1)):
            state, _ = step(state, {}, batch)
            assert state.ema_updates == n_updates
        assert np.any(state.params["fc"]["kernel"] != start.params["fc"]["kernel"])
        parameters = [state.params]
        for seed in range(3):
            state, _ = step(state, {}, batch_of(N_REAL, seed=seed))
            if seed == 1:
                parameters.append(state.params)
        self.check(state, parameters)

    def test_starts_as_a_copy(self, start):
        """No two buffers are one: a step is given both, to overwrite."""
        jax.tree.map(np.testing.assert_array_equal, start.ema_params, start.params)
        variables = jax.device_put(draw_variables(Toy(), image_size=SIZE))
        state = create_state(variables, OPTIMIZER, with_ema=True)
        jax.jit(functools.partial(jax.tree.map, jnp.negative), donate_argnums=0)(state)

    def test_none_unless_asked_for(self, case, padded):
        state, _ = case.train(padded)
        assert state.ema_params is None
        assert state.variables["params"] is state.params


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
        batch["response"] = batch["response"][:, :2]
        step = make_loss_step(Toy(), RECIPES["no_task"])
        variables = draw_variables(Toy(), image_size=SIZE)
        with pytest.raises(ValueError, match=r"\(4, 15\).*\(4, 10\)"):
            jax.eval_shape(step, variables, {}, batch)
