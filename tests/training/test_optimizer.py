"""The optimizer against the formulas of the papers, in NumPy and float64."""

import jax
import numpy as np
import optax
import pytest

from helpers import tiny_network
from img2eeg_jax.training import optimizer

pytestmark = pytest.mark.usefixtures("quick_compilation")

RATE = 0.1
# So large that it matters where ε goes: outside of the square root.
EPS = 0.5
# How near float32 comes: its 1 - 0.999 is 5e-5 off.
RTOL = 1e-4
N_IMAGES = 16.0


def draw_gradients(n, seed=0):
    rng = np.random.default_rng(seed)
    shapes = {"kernel": (2, 3), "bias": (3,)}
    return [
        {
            k: rng.standard_normal(shape).astype(np.float32)
            for k, shape in shapes.items()
        }
        for _ in range(n)
    ]


def start():
    return {"kernel": np.full((2, 3), 2, np.float32), "bias": np.ones(3, np.float32)}


def run(transformation, params, gradients):
    """Returns the update that each gradient leads to."""
    state, updates = transformation.init(params), []
    take = jax.jit(transformation.update)
    for step, gradient in enumerate(gradients):
        update, state = take(gradient, state, params, step=step, n_images=N_IMAGES)
        params = optax.apply_updates(params, update)
        updates.append(jax.device_get(update))
    return updates


def adam(gradients, rate=RATE, eps=EPS):
    """Algorithm 1 of Kingma & Ba (2015, arXiv:1412.6980) for one array."""
    m = v = 0.0
    updates = []
    for t, gradient in enumerate(np.float64(gradients), 1):
        m = 0.9 * m + 0.1 * gradient
        v = 0.999 * v + 0.001 * gradient**2
        m_hat, v_hat = m / (1 - 0.9**t), v / (1 - 0.999**t)
        updates.append(-rate * m_hat / (np.sqrt(v_hat) + eps))
    return updates


def assert_adam(updates, gradients):
    for name in ("kernel", "bias"):
        expected = adam([gradient[name] for gradient in gradients])
        found = [update[name] for update in updates]
        np.testing.assert_allclose(found, expected, RTOL, 1e-7, err_msg=name)


def rates(n_batches, **settings):
    """Learning rates, read off: Adam's update for a constant gradient is -rate."""
    transformation = optimizer.build(learning_rate=RATE, **settings)
    gradients = [{"w": np.ones(2, np.float32)}] * n_batches
    updates = run(transformation, {"w": np.zeros(2, np.float32)}, gradients)
    return -np.array([update["w"][0] for update in updates])


def cosine(n_steps):
    """RATE to 0 in so many steps, both ends included (arXiv:1608.03983, eq. 5)."""
    return RATE * (1 + np.cos(np.pi * np.arange(n_steps + 1) / n_steps)) / 2


def test_adam_as_in_the_paper():
    gradients = draw_gradients(3)
    transformation = optimizer.build(learning_rate=RATE, eps=EPS)
    assert_adam(run(transformation, start(), gradients), gradients)


class TestLearningRate:
    def check(self, found, expected):
        np.testing.assert_allclose(found, expected, RTOL, 1e-8)

    def test_constant(self):
        self.check(rates(4, steps_per_epoch=2), 4 * [RATE])

    def test_warm_up(self):
        expected = RATE * np.array([0, 0.25, 0.5, 0.75, 1, 1, 1])
        self.check(rates(7, warmup_steps=4, steps_per_epoch=5), expected)

    def test_cosine(self):
        """Zero at the end of the run, and from then on."""
        found = rates(8, schedule="cosine", steps_per_epoch=6)
        self.check(found, [*cosine(6), 0])

    def test_warm_up_and_cosine(self):
        """The warm-up is part of the run."""
        found = rates(8, schedule="cosine", warmup_steps=2, steps_per_epoch=6)
        self.check(found, [0, RATE / 2, *cosine(4), 0])

    def test_warm_up_only(self):
        """A run that ends while the rate still rises."""
        found = rates(4, schedule="cosine", warmup_steps=4, steps_per_epoch=4)
        self.check(found, RATE * np.array([0, 0.25, 0.5, 0.75]))

    @pytest.mark.parametrize(("warmup", "total"), [(4, 6), (3, 5)])
    def test_counts_batches_not_updates(self, warmup, total):
        """2 of 6 updates of 2 batches at most, in two epochs."""
        found = rates(
            2 * total,
            schedule="cosine",
            warmup_steps=warmup,
            num_epochs=2,
            steps_per_epoch=total,
            accumulate_steps=2,
        )
        is_update = np.arange(2 * total) % total % 2 == 1
        if total == 5:
            is_update[[4, 9]] = True
        self.check(found[is_update], [0, RATE / 2, *cosine(4)[:4]])
        assert not np.any(found[~is_update])


class TestWeightDecay:
    def test_decoupled_and_of_kernels_only(self):
        """AdamW (arXiv:1711.05101): what Adam adapts to has no part in the decay."""
        shapes = {"conv": (3, 3, 1, 2), "linear": (2, 3), "bias": (3,), "scale": (2,)}
        params = {k: np.full(shape, 2, np.float32) for k, shape in shapes.items()}
        gradient = jax.tree.map(np.ones_like, params)
        transformation = optimizer.build(learning_rate=RATE, weight_decay=0.3)
        first, second = run(transformation, params, [gradient, gradient])
        for name in ("conv", "linear"):
            step = RATE * (1 + 0.3 * 2)
            np.testing.assert_allclose(first[name], -step, RTOL)
            step = RATE * (1 + 0.3 * (2 - step))
            np.testing.assert_allclose(second[name], -step, RTOL)
        for name in ("bias", "scale"):
            np.testing.assert_allclose([first[name], second[name]], -RATE, RTOL)

    def test_follows_the_schedule(self):
        """The learning rate scales the decay as it does Adam's part."""
        zero = jax.tree.map(np.zeros_like, start())
        transformation = optimizer.build(
            learning_rate=RATE, warmup_steps=2, weight_decay=0.3, eps=EPS
        )
        updates = run(transformation, start(), [zero, zero])
        found = [update["kernel"][0, 0] for update in updates]
        np.testing.assert_allclose(found, [0, -RATE / 2 * 0.3 * 2], RTOL)

    def test_eps(self):
        """The same ε with decay: biases move as under Adam."""
        (gradient,) = gradients = draw_gradients(1)
        transformation = optimizer.build(learning_rate=RATE, weight_decay=0.3, eps=EPS)
        (update,) = run(transformation, start(), gradients)
        (expected,) = adam([gradient["bias"]])
        np.testing.assert_allclose(update["bias"], expected, RTOL)


# Norms 3 and 4: together 5.
GRADIENT = {
    "kernel": np.array([[1, -2, 2], [0, 0, 0]], np.float32),
    "bias": np.array([0, 0, 4], np.float32),
}


class TestClipping:
    @pytest.mark.parametrize(("limit", "factor"), [(2.5, 0.5), (10, 1), (0, 1)])
    def test_by_the_norm_of_all_gradients(self, limit, factor):
        transformation = optimizer.build(
            learning_rate=RATE, eps=EPS, max_gradient_norm=limit
        )
        updates = run(transformation, start(), [GRADIENT])
        assert_adam(updates, [jax.tree.map(lambda x: factor * x, GRADIENT)])

    def test_decay_is_not_clipped(self):
        transformation = optimizer.build(
            learning_rate=RATE, max_gradient_norm=1e-3, weight_decay=0.3
        )
        zero = jax.tree.map(np.zeros_like, start())
        (update,) = run(transformation, start(), [zero])
        np.testing.assert_allclose(update["kernel"], -RATE * 0.3 * 2, RTOL)


class TestAccumulation:
    @pytest.mark.parametrize("limit", [0, 0.3])
    def test_one_update_with_the_mean_gradient(self, limit):
        """Only the mean is clipped: its batches' gradients are longer."""
        gradients = draw_gradients(6)
        transformation = optimizer.build(
            learning_rate=RATE,
            eps=EPS,
            steps_per_epoch=3,
            accumulate_steps=3,
            max_gradient_norm=limit,
        )
        updates = run(transformation, start(), gradients)
        for i in (0, 1, 3, 4):
            assert not any(np.any(leaf) for leaf in updates[i].values()), i
        means = []
        for i in (0, 3):
            mean = {
                k: np.mean([g[k] for g in gradients[i : i + 3]], 0) for k in start()
            }
            norm = np.sqrt(sum(np.sum(np.square(leaf)) for leaf in mean.values()))
            assert norm > 0.3
            factor = limit / norm if limit else 1
            means.append({k: factor * leaf for k, leaf in mean.items()})
        assert_adam([updates[2], updates[5]], means)

    @pytest.mark.parametrize(
        ("n_steps", "most", "sizes"),
        [(21, 32, [21]), (21, 16, [11, 10]), (7, 3, [3, 2, 2]), (5, 1, 5 * [1])],
    )
    def test_no_batch_is_left_over(self, n_steps, most, sizes):
        """Each image of two epochs counts, and the same; batches of 1 to 4 images."""
        rng = np.random.default_rng(n_steps)
        counts = rng.integers(1, 5, 2 * n_steps)
        gradients = rng.standard_normal((2 * n_steps, 2)).astype(np.float32)
        transformation = optimizer.build(
            learning_rate=RATE,
            eps=EPS,
            num_epochs=2,
            steps_per_epoch=n_steps,
            accumulate_steps=most,
        )
        params = {"w": np.zeros(2, np.float32)}
        state, take, found = (
            transformation.init(params),
            jax.jit(transformation.update),
            [],
        )
        for step, gradient in enumerate(gradients):
            count = np.float32(counts[step])
            update, state = take(
                {"w": gradient}, state, params, step=step, n_images=count
            )
            if optimizer.has_updated(state):
                found.append(update["w"])
            else:
                assert not np.any(update["w"])
        ends = np.cumsum(2 * sizes)
        expected = [
            np.average(gradients[end - n : end], 0, counts[end - n : end])
            for end, n in zip(ends, 2 * sizes, strict=True)
        ]
        np.testing.assert_allclose(found, adam(expected), RTOL, 1e-6)

    def test_decays_once_an_update(self):
        zero = jax.tree.map(np.zeros_like, start())
        transformation = optimizer.build(
            learning_rate=RATE, weight_decay=0.3, steps_per_epoch=2, accumulate_steps=2
        )
        updates = run(transformation, start(), [zero] * 2)
        found = [update["kernel"][0, 0] for update in updates]
        np.testing.assert_allclose(found, [0, -RATE * 0.3 * 2], RTOL)


@pytest.fixture(scope="module")
def params():
    """Named as ReAlNet's; of few shapes, for speed."""
    params = tiny_network.draw_variables(tiny_network.realnet())["params"]
    return jax.tree.map(lambda leaf: np.ones(leaf.ndim * (2,), np.float32), params)


class TestFrozenAreas:
    @pytest.mark.parametrize("accumulate", [1, 2])
    def test_stay_as_they_are(self, params, accumulate):
        """Bit for bit, decay or not; all else moves, their heads too."""
        transformation = optimizer.build(
            learning_rate=RATE,
            eps=EPS,
            weight_decay=0.3,
            steps_per_epoch=accumulate,
            accumulate_steps=accumulate,
            frozen_areas=("V1", "V4"),
        )
        gradient = jax.tree.map(np.ones_like, params)
        *_, update = run(transformation, params, accumulate * [gradient])
        for path, leaf in jax.tree_util.tree_leaves_with_path(update):
            names = [key.key for key in path]
            is_frozen = names[:2] in (["realnet", "V1"], ["realnet", "V4"])
            step = 1 / (1 + EPS) + 0.3 * (leaf.ndim > 1)
            expected = 0 if is_frozen else -RATE * step
            np.testing.assert_allclose(leaf, expected, RTOL, err_msg=str(names))

    def test_their_gradients_do_not_count_in_the_norm(self):
        params = {"realnet": {"V1": start(), "V2": start()}}
        gradient = {"V1": draw_gradients(1, seed=1)[0], "V2": GRADIENT}
        transformation = optimizer.build(
            learning_rate=RATE, eps=EPS, max_gradient_norm=2.5, frozen_areas=("V1",)
        )
        (update,) = run(transformation, params, [{"realnet": gradient}])
        halved = jax.tree.map(lambda x: 0.5 * x, GRADIENT)
        assert_adam([update["realnet"]["V2"]], [halved])
