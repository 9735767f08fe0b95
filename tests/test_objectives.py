"""The losses against SciPy, naive loops and numbers worked out by hand."""

import functools

import hypothesis
import hypothesis.extra.numpy as hypothesis_numpy
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import strategies as st
from scipy import stats

from img2eeg_jax import objectives

BATCH, N = 5, 7


def random_pair(seed=0, batch=BATCH, n=N):
    rng = np.random.default_rng(seed)
    signal, target = rng.standard_normal((2, batch, n)).astype(np.float32)
    return signal, target


def ones(n):
    return np.ones(n, np.float32)


def mean(sum_and_count):
    return float(sum_and_count[0] / sum_and_count[1])


def with_padding(signal, target):
    """Adds padding rows between and after the real ones, far from anything real."""
    rows, mask = [0, 1, -1, 2, 3, 4, -1, -1], [1, 1, 0, 1, 1, 1, 0, 0]
    mask = np.array(mask, np.float32)
    signal, target = signal[rows], target[rows]
    signal[mask == 0] = 1e6 * np.linspace(-1, 3, N)
    target[mask == 0] = -1e8 * np.linspace(-2, 1, N) ** 2
    return signal, target, mask


def naive_contrast(signal, target, correlate):
    """REFERENCE.md §3, term by term, in float64."""
    n = len(signal)
    r = np.array(
        [[correlate(s, t).statistic for t in target] for s in signal.astype(np.float64)]
    )
    matching = np.mean([r[i, i] for i in range(n)])
    others = [r[i, j] for i in range(n) for j in range(n) if i != j]
    return 1 - matching + (np.mean(others) if others else 0.0)


CORRELATIONS = {"pearson": stats.pearsonr, "spearman": stats.spearmanr}


class TestMeanSquaredError:
    def test_by_hand(self):
        pred = np.array([[1.0, 2.0], [0.0, 0.0]], np.float32)
        target = np.array([[0.0, 4.0], [3.0, 1.0]], np.float32)
        # (1 + 4) / 2 and (9 + 1) / 2.
        total, count = objectives.mean_squared_error(pred, target, ones(2))
        assert (float(total), float(count)) == (7.5, 2.0)

    def test_counts_real_rows_only(self):
        signal, target = random_pair()
        total, count = objectives.mean_squared_error(*with_padding(signal, target))
        assert float(count) == BATCH
        expected = np.square(signal.astype(np.float64) - target).mean(1).sum()
        np.testing.assert_allclose(total, expected, rtol=1e-6)


class TestCrossEntropy:
    def test_by_hand(self):
        logits = np.log(np.array([[0.7, 0.2, 0.1], [0.5, 0.25, 0.25]], np.float32))
        teacher = np.array([[-1.0, 5.0, 2.0], [3.0, 2.0, 1.0]], np.float32)
        # The teacher finds class 1 and class 0 likeliest.
        total, count = objectives.cross_entropy_to_argmax(logits, teacher, ones(2))
        np.testing.assert_allclose(total, -np.log(0.2) - np.log(0.5), rtol=1e-6)
        assert float(count) == 2

    def test_counts_real_rows_only(self):
        logits, teacher = random_pair(seed=1)
        total, count = objectives.cross_entropy_to_argmax(
            *with_padding(logits, teacher)
        )
        probability = np.exp(logits.astype(np.float64))
        probability /= probability.sum(1, keepdims=True)
        expected = -np.log(probability[np.arange(BATCH), teacher.argmax(1)])
        assert float(count) == BATCH
        np.testing.assert_allclose(total, np.sum(expected), rtol=1e-6)

    def test_large_logits_stay_finite(self):
        logits = np.array([[1e4, -1e4]], np.float32)
        total, _ = objectives.cross_entropy_to_argmax(logits, -logits, ones(1))
        np.testing.assert_allclose(total, 2e4)


class TestAverageRanks:
    @pytest.mark.parametrize("n_values", [3, 10**6])
    def test_as_rankdata(self, n_values):
        """With few distinct values most ranks are tied."""
        rng = np.random.default_rng(n_values)
        x = rng.integers(0, n_values, (2, 4, 11)).astype(np.float32)
        ranks = objectives.average_ranks(x)
        np.testing.assert_array_equal(ranks, stats.rankdata(x, axis=-1))
        assert ranks.dtype == jnp.float32

    def test_no_gradient(self):
        x, _ = random_pair()
        gradient = jax.grad(lambda x: objectives.average_ranks(x)[0, 0])(x)
        np.testing.assert_array_equal(gradient, np.zeros_like(x))


class TestContrast:
    def test_by_hand(self):
        signal = np.array([[1, 0, -1], [-2, 0, 2]], np.float32)
        target = np.array([[5, 3, 1], [0, 1, 0]], np.float32)
        # r = [[1, 0], [-1, 0]]: 1 - (1 + 0) / 2 + (0 - 1) / 2 = 0.
        # Row by row: 1 - 1 + 0 = 0 and 1 - 0 - 1 = 0.
        total, count = objectives.contrast(signal, target, ones(2))
        np.testing.assert_allclose(total, 0, atol=1e-6)
        assert float(count) == 2
        # r = [[-1, 0], [1, 0]] for the opposite signal: 2 and 1 - 0 + 1 = 2.
        total, _ = objectives.contrast(-signal, target, ones(2))
        np.testing.assert_allclose(total, 4, rtol=1e-6)

    @pytest.mark.parametrize("correlation", CORRELATIONS)
    @pytest.mark.parametrize("shift", [0.0, 10.0])
    def test_as_naive_loop(self, correlation, shift):
        signal, target = random_pair(seed=2)
        signal, target = signal + np.float32(shift), np.round(target, 1)
        found = objectives.contrast(
            signal, target, ones(BATCH), correlation=correlation
        )
        expected = naive_contrast(signal, target, CORRELATIONS[correlation])
        np.testing.assert_allclose(mean(found), expected, rtol=1e-5)

    @pytest.mark.parametrize("correlation", CORRELATIONS)
    def test_padding_changes_nothing(self, correlation):
        signal, target = random_pair(seed=3)
        contrast = functools.partial(objectives.contrast, correlation=correlation)
        total, count = contrast(*with_padding(signal, target))
        assert float(count) == BATCH
        expected = naive_contrast(signal, target, CORRELATIONS[correlation])
        np.testing.assert_allclose(total / count, expected, rtol=1e-5)

    def test_padding_has_no_gradient(self):
        signal, target = random_pair(seed=3)

        def loss(signal, target, mask):
            return objectives.contrast(signal, target, mask)[0]

        expected = jax.grad(loss)(signal, target, ones(BATCH))
        signal, target, mask = with_padding(signal, target)
        gradient = jax.grad(loss)(signal, target, mask)
        np.testing.assert_allclose(gradient[mask > 0], expected, rtol=1e-5, atol=1e-7)
        assert not np.any(gradient[mask == 0])

    def test_single_real_row(self):
        """No other image to compare with: the off-diagonal mean is 0."""
        signal, target = random_pair(batch=2)
        mask = np.array([1, 0], np.float32)
        total, count = objectives.contrast(signal, target, mask)
        expected = 1 - stats.pearsonr(signal[0], target[0]).statistic
        assert float(count) == 1
        np.testing.assert_allclose(total, expected, rtol=1e-5)

    def test_no_real_row(self):
        total, count = objectives.contrast(*random_pair(), 0 * ones(BATCH))
        assert (float(total), float(count)) == (0, 0)

    @pytest.mark.parametrize("correlation", CORRELATIONS)
    @pytest.mark.parametrize("value", [0.0, 0.1, 300.0])
    def test_constant_row_correlates_with_nothing(self, correlation, value):
        signal, target = random_pair(seed=4, batch=2)
        signal[1] = value

        def loss(signal):
            return objectives.contrast(
                signal, target, ones(2), correlation=correlation
            )[0]

        total, gradient = jax.value_and_grad(loss)(signal)
        correlate = CORRELATIONS[correlation]
        matching, other = (correlate(signal[0], t).statistic for t in target)
        expected = (1 - matching + other) + 1
        np.testing.assert_allclose(total, expected, rtol=1e-4)
        assert np.isfinite(gradient).all()

    def test_gradient_as_finite_differences(self):
        signal, target = random_pair(seed=5)

        def loss(signal):
            return objectives.contrast(signal, target, ones(BATCH))[0] / BATCH

        def naive(flat):
            return naive_contrast(flat.reshape(signal.shape), target, stats.pearsonr)

        step = 1e-5
        steps = step * np.eye(signal.size)
        flat = signal.astype(np.float64).ravel()
        expected = [(naive(flat + d) - naive(flat - d)) / (2 * step) for d in steps]
        gradient = np.asarray(jax.grad(loss)(signal)).ravel()
        np.testing.assert_allclose(gradient, expected, rtol=1e-4, atol=1e-6)
        assert np.abs(gradient).max() > 1e-2

    @pytest.mark.parametrize(
        "options", [{"with_gradient": False}, {"correlation": "spearman"}]
    )
    def test_without_gradient(self, options):
        signal, target = random_pair(seed=5)

        def loss(signal):
            return objectives.contrast(signal, target, ones(BATCH), **options)[0]

        assert not np.any(jax.grad(loss)(signal))

    def test_detached_value_is_the_same(self):
        arguments = (*random_pair(), ones(BATCH))
        detached = objectives.contrast(*arguments, with_gradient=False)
        np.testing.assert_array_equal(detached, objectives.contrast(*arguments))

    def test_unknown_correlation(self):
        with pytest.raises(ValueError, match=r"pearson.*spearman.*'kendall'"):
            objectives.contrast(*random_pair(), ones(BATCH), correlation="kendall")


class TestPairs:
    @pytest.mark.parametrize("correlation", CORRELATIONS)
    @pytest.mark.parametrize("size", [1, 2, BATCH])
    def test_as_contrast_of_one_batch_of_all(self, correlation, size):
        signal, target = random_pair(seed=6)
        signal, target = signal + np.float32(10), np.round(target, 1)
        sums = []
        for first in range(0, BATCH, size):
            rows = np.arange(first, first + size + 1) % BATCH
            mask = np.float32([*(rows[:-1] >= first), 0])
            sums.append(
                objectives.pairs(
                    signal[rows], target[rows], mask, correlation=correlation
                )
            )
        sums = [np.sum(x, 0) for x in zip(*sums, strict=True)]
        found = objectives.contrast_of_pairs(sums, BATCH)
        expected = naive_contrast(signal, target, CORRELATIONS[correlation])
        np.testing.assert_allclose(found, expected, rtol=1e-5)

    def test_a_single_image(self):
        signal, target = random_pair(batch=1)
        sums = objectives.pairs(signal, target, ones(1))
        expected = 1 - stats.pearsonr(signal[0], target[0]).statistic
        found = objectives.contrast_of_pairs(sums, 1)
        np.testing.assert_allclose(found, expected, rtol=1e-5)


def correlation_of(batches, axis_name=None):
    """Returns r over the images of batches, each (signal, target, mask)."""
    of_batch = functools.partial(objectives.moments, axis_name=axis_name)
    if axis_name is not None:
        of_batch = jax.pmap(of_batch, axis_name, out_axes=None)
        batches = [
            [x.reshape(2, len(x) // 2, *x.shape[1:]) for x in batch]
            for batch in batches
        ]
    total = None
    for batch in batches:
        total = objectives.add_moments(total, jax.device_get(of_batch(*batch)))
    return objectives.correlation(total[0])


def numpy_correlation(batches):
    """Returns the same in float64, column by column."""
    signal, target = (
        np.concatenate([batch[i][batch[2] > 0] for batch in batches]).astype(float)
        for i in (0, 1)
    )
    return np.array(
        [
            [np.corrcoef(x, y)[0, 1] for x, y in zip(xs, ys, strict=True)]
            for xs, ys in zip(signal.T, target.T, strict=True)
        ]
    ).T


class TestCorrelation:
    @pytest.mark.parametrize("axis_name", [None, "batch"])
    @pytest.mark.parametrize("spread", [1e-30, 1.0, 1e25])
    @pytest.mark.parametrize("offset", [0.0, 1e3, -1e6])
    def test_like_numpy_in_float64(self, offset, spread, axis_name):
        """Offsets in spreads; batches of their own mean, padding that is not finite."""
        for seed in range(4):
            rng = np.random.default_rng(seed)
            batches = []
            for n_real in rng.integers(0, 9, 4 + seed):
                signal, target = rng.standard_normal((2, 8, 2, N))
                signal += rng.uniform(-1, 1, N) * target + rng.normal()
                mask = np.zeros(8, np.float32)
                mask[rng.permutation(8)[:n_real]] = 1
                pair = [
                    np.float32(spread * (x + offset)) for x in (signal, target[::-1])
                ]
                for x in pair:
                    x[mask == 0] = np.nan
                batches.append((*pair, mask))
            found = correlation_of(batches, axis_name)
            np.testing.assert_allclose(found, numpy_correlation(batches), atol=3e-6)

    @pytest.mark.parametrize("value", [0.0, 0.1, -3e7])
    def test_constant_is_nan(self, value):
        signal, target = random_pair()
        signal[:, 0] = target[:, 1] = value
        batches = [(signal, target, ones(BATCH)), (signal, target[::-1], ones(BATCH))]
        found = correlation_of(batches)
        np.testing.assert_array_equal(np.isnan(found), [True, True] + [False] * (N - 2))

    def test_is_never_outside_one(self):
        """A prediction of two neighbouring numbers, and an exact multiple of it."""
        for seed in range(20):
            rng = np.random.default_rng(seed)
            x = np.where(
                rng.random((50, N)) < 0.5, 0.1, np.nextafter(0.1, 1, dtype="f")
            )
            x = x.astype(np.float32)
            r = correlation_of([(x, -2 * x, ones(50)), (x[:7], -2 * x[:7], ones(7))])
            assert (r >= -1).all()
            np.testing.assert_allclose(r, -1, atol=1e-6)

    @hypothesis.given(
        numbers=hypothesis_numpy.arrays(np.int8, (2, 2, 6, 2)),
        n_real=st.tuples(st.integers(0, 6), st.integers(0, 6)),
        scale=st.tuples(*2 * [st.sampled_from([1e-12, 1e-3, 1.0, 1e12])]),
        offset=st.tuples(*2 * [st.sampled_from([0.0, 1.0, -1e3, 1e6])]),
    )
    def test_any_two_batches(self, numbers, n_real, scale, offset):
        """Where float32 keeps nothing of the numbers but the offset, r is NaN."""
        pairs = np.float32(
            numbers * np.reshape(scale, (2, 1, 1)) + np.reshape(offset, (2, 1, 1))
        )
        batches = [
            (*pair, np.float32(np.arange(6) < n))
            for pair, n in zip(pairs, n_real, strict=True)
        ]
        found = correlation_of(batches)
        real = [pair[:, :n] for pair, n in zip(pairs, n_real, strict=True)]
        x, y = np.concatenate(real, axis=1).astype(np.float64)
        is_constant = np.ptp(x, axis=0) * np.ptp(y, axis=0) == 0 if len(x) else True
        np.testing.assert_array_equal(np.isnan(found), np.broadcast_to(is_constant, 2))
        varying = np.flatnonzero(~np.isnan(found))
        for column in varying:
            r = np.corrcoef(x[:, column], y[:, column])[0, 1]
            assert found[column] == pytest.approx(r, abs=1e-5)
        assert (np.abs(found[varying]) <= 1).all()


@pytest.mark.parametrize(
    "loss",
    [
        objectives.mean_squared_error,
        objectives.cross_entropy_to_argmax,
        objectives.contrast,
        objectives.pairs,
        objectives.moments,
    ],
)
def test_error_names_both_shapes(loss):
    with pytest.raises(ValueError, match=r"\(2, 3\).*\(2, 4\)"):
        loss(np.zeros((2, 3)), np.zeros((2, 4)), ones(2))
