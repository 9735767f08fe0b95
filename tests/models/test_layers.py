"""Layers against SciPy and numbers worked out by hand, with PyTorch's semantics."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from scipy import signal

from img2eeg_jax.models import convolution
from img2eeg_jax.models.layers import BatchNorm, Conv, Linear

ALGORITHMS = [convolution.xla_conv, convolution.matmul_conv]

# Kernel size, stride, height, width, input channels. Between them they make
# `convolution.conv` take every algorithm, and leave tiles and strides incomplete.
SHAPES = [
    (1, 1, 5, 4, 8),
    (1, 2, 5, 4, 3),
    (1, 2, 4, 7, 9),
    (3, 1, 4, 5, 8),
    (3, 1, 20, 18, 9),
    (3, 2, 7, 8, 8),
    (3, 2, 8, 5, 3),
    (3, 1, 21, 20, 256),
    (3, 2, 41, 39, 256),
    (7, 2, 9, 12, 3),
    (7, 1, 6, 7, 8),
]


def correlate(x, kernel, stride):
    """PyTorch's Conv2d(padding=size // 2, bias=False), by scipy.signal, in float64."""
    x, kernel = x.astype(np.float64), kernel.astype(np.float64)
    padding = len(kernel) // 2
    x = np.pad(x, ((0, 0), (padding, padding), (padding, padding), (0, 0)))
    channels, features = kernel.shape[2:]
    out = [
        [
            sum(
                signal.correlate2d(image[..., i], kernel[..., i, o], mode="valid")
                for i in range(channels)
            )[::stride, ::stride]
            for o in range(features)
        ]
        for image in x
    ]
    return np.array(out).transpose(0, 2, 3, 1)


def draw(seed, *shape):
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def vdot(a, b):
    """Returns the inner product in float64: BLAS's float32 depends on the CPU."""
    return np.vdot(np.asarray(a, np.float64), np.asarray(b, np.float64))


class TestConvolution:
    @pytest.mark.parametrize(("size", "stride", "height", "width", "channels"), SHAPES)
    def test_value_and_gradient(self, size, stride, height, width, channels):
        x = draw(0, 2, height, width, channels)
        kernel = draw(1, size, size, channels, 4)
        expected = correlate(x, kernel, stride)
        rows, columns = -(-height // stride), -(-width // stride)
        assert expected.shape == (2, rows, columns, 4)
        grad = draw(2, *expected.shape)
        gradients = []
        winograd = [convolution.winograd_conv] if size == 3 else []
        for convolve in (*ALGORITHMS, *winograd, convolution.conv):

            @jax.jit
            def run(x, kernel, grad, convolve=convolve):
                out, vjp = jax.vjp(lambda x, k: convolve(x, k, stride), x, kernel)
                return out, vjp(grad)

            out, gradient = run(x, kernel, grad)
            np.testing.assert_allclose(out, expected, rtol=1e-4, atol=1e-4)
            gradients.append(gradient)
        # A convolution is linear in either argument: <grad, conv(x, k)> = <∂k, k>.
        # Terms of both signs cancel, so that a float32 error is relative to the norms.
        inner = vdot(grad, expected)
        eps = np.finfo(np.float32).eps
        atol = eps * np.linalg.norm(grad) * np.linalg.norm(expected)
        for grad_x, grad_kernel in gradients:
            np.testing.assert_allclose(vdot(grad_x, x), inner, rtol=0, atol=atol)
            np.testing.assert_allclose(
                vdot(grad_kernel, kernel), inner, rtol=0, atol=atol
            )
            for found, reference in zip(
                (grad_x, grad_kernel), gradients[0], strict=True
            ):
                np.testing.assert_allclose(found, reference, rtol=1e-4, atol=1e-4)

    def test_every_algorithm_is_chosen(self):
        chosen = {
            convolution.cpu_algorithm(
                (2, height, width, channels), (size, size, channels, 4), stride
            )
            for size, stride, height, width, channels in SHAPES
        }
        assert chosen == {*ALGORITHMS, convolution.winograd_conv}

    @pytest.mark.parametrize("convolve", [*ALGORITHMS, convolution.winograd_conv])
    def test_padding_is_symmetric(self, convolve):
        """At stride 2 the first window is centred on the first pixel, as in PyTorch."""
        x = np.arange(1.0, 17, dtype=np.float32).reshape(1, 4, 4, 1)
        centre = np.zeros((3, 3, 1, 1), np.float32)
        centre[1, 1] = 1
        out = convolve(x, centre, 2)
        np.testing.assert_array_equal(out[0, ..., 0], [[1, 3], [9, 11]])


class TestMaxPool:
    @pytest.mark.parametrize(("height", "width"), [(6, 8), (7, 5), (1, 2)])
    def test_like_pytorch_also_where_values_are_equal(self, height, width):
        # Half of the values are equal, as after a ReLU.
        x = np.maximum(draw(0, 2, height, width, 3).round(1), 0.0)
        reference = torch.tensor(x.transpose(0, 3, 1, 2), requires_grad=True)
        expected = torch.nn.functional.max_pool2d(reference, 3, 2, 1)
        grad = draw(1, *expected.permute(0, 2, 3, 1).shape)
        expected.backward(torch.tensor(grad.transpose(0, 3, 1, 2)))
        out, vjp = jax.vjp(convolution.max_pool, x)
        np.testing.assert_array_equal(out, expected.detach().permute(0, 2, 3, 1))
        (found,) = vjp(grad)
        np.testing.assert_allclose(found, reference.grad.permute(0, 2, 3, 1), rtol=1e-6)

    @pytest.mark.parametrize("place", [(0, 0), (2, 3), (5, 7), (3, 4)])
    def test_nan_spreads_to_its_windows_as_in_pytorch(self, place):
        x = draw(0, 2, 6, 8, 3)
        x[0, *place, 1] = x[1, 2, 2, 0] = x[1, 2, 3, 0] = np.nan
        reference = torch.tensor(x.transpose(0, 3, 1, 2), requires_grad=True)
        expected = torch.nn.functional.max_pool2d(reference, 3, 2, 1)
        expected.backward(torch.ones_like(expected))
        out, vjp = jax.vjp(convolution.max_pool, x)
        expected = expected.detach().permute(0, 2, 3, 1).numpy()
        assert np.isnan(expected).any()
        np.testing.assert_array_equal(out, expected)
        (found,) = vjp(np.ones(out.shape, np.float32))
        np.testing.assert_array_equal(found, reference.grad.permute(0, 2, 3, 1))


def batch_norm(x, train=True, mask=None, mean=0, var=1, **arguments):
    """Applies BatchNorm with scale 2 and bias 1; returns output, new mean, new var."""
    one = np.ones(x.shape[-1], np.float32)
    variables = {
        "params": {"scale": 2 * one, "bias": one},
        "batch_stats": {"mean": mean * one, "var": var * one},
    }
    out, updated = BatchNorm(**arguments).apply(
        variables, x, not train, mask, mutable=["batch_stats"]
    )
    return out, updated["batch_stats"]["mean"], updated["batch_stats"]["var"]


class TestBatchNorm:
    # Mean 2.5, biased variance 1.25, unbiased variance 5/3, over rows and positions.
    X = np.array([[1.0, 2.0], [3.0, 4.0]], np.float32).reshape(2, 2, 1, 1)
    MEAN, BIASED, UNBIASED = 2.5, 1.25, 5 / 3

    def test_normalises_with_the_biased_variance(self):
        out, _, _ = batch_norm(self.X)
        expected = 2 * (self.X - self.MEAN) / np.sqrt(self.BIASED + 1e-5) + 1
        np.testing.assert_allclose(out, expected, rtol=1e-6)

    def test_stores_the_unbiased_variance(self):
        _, mean, var = batch_norm(self.X, mean=10, var=20)
        np.testing.assert_allclose(mean, [0.9 * 10 + 0.1 * self.MEAN], rtol=1e-6)
        np.testing.assert_allclose(var, [0.9 * 20 + 0.1 * self.UNBIASED], rtol=1e-6)

    def test_two_updates(self):
        _, mean, var = batch_norm(self.X, mean=10, var=20, updates=2)
        np.testing.assert_allclose(mean, [0.81 * 10 + 0.19 * self.MEAN], rtol=1e-6)
        np.testing.assert_allclose(var, [0.81 * 20 + 0.19 * self.UNBIASED], rtol=1e-6)

    def test_eval_mode(self):
        out, mean, var = batch_norm(self.X, train=False, mean=10, var=4)
        expected = 2 * (self.X - 10) / np.sqrt(4 + 1e-5) + 1
        np.testing.assert_allclose(out, expected, rtol=1e-6)
        assert (mean.item(), var.item()) == (10, 4)

    def test_channels_are_apart(self):
        x = draw(0, 4, 3, 5, 2) * np.float32([1, 10]) + np.float32([0, 100])
        out, mean, var = batch_norm(x)
        flat = x.astype(np.float64).reshape(-1, 2)
        expected = 2 * (x - flat.mean(0)) / np.sqrt(flat.var(0) + 1e-5) + 1
        np.testing.assert_allclose(out, expected, rtol=1e-4, atol=1e-4)
        np.testing.assert_allclose(mean, 0.1 * flat.mean(0), rtol=1e-4)
        np.testing.assert_allclose(var, 0.9 + 0.1 * flat.var(0, ddof=1), rtol=1e-4)

    def test_padding_rows_do_not_count(self):
        x = draw(0, 5, 3, 2, 2)
        mask = np.array([1, 0, 1, 1, 0], np.float32)
        x[mask == 0] = 1e6
        padded = batch_norm(x, mask=mask)
        alone = batch_norm(x[mask > 0])
        np.testing.assert_allclose(padded[0][mask > 0], alone[0], rtol=1e-5, atol=1e-6)
        for found, expected in zip(padded[1:], alone[1:], strict=True):
            np.testing.assert_allclose(found, expected, rtol=1e-6)

    def test_only_padding_leaves_the_statistics(self):
        mask = np.zeros(2, np.float32)
        out, mean, var = batch_norm(self.X, mask=mask, mean=10, var=20)
        assert (mean.item(), var.item()) == (10, 20)
        assert np.isfinite(out).all()

    def test_single_value(self):
        """One value has no unbiased variance; PyTorch refuses, we store 0."""
        out, mean, var = batch_norm(np.full((1, 1, 1, 1), 7, np.float32))
        np.testing.assert_allclose([out.item(), mean.item()], [1, 0.7], rtol=1e-6)
        np.testing.assert_allclose(var, [0.9], rtol=1e-6)

    def test_initial_values(self):
        variables = BatchNorm().init(jax.random.key(0), self.X, False)
        expected = {
            "params": {"scale": [1.0], "bias": [0.0]},
            "batch_stats": {"mean": [0.0], "var": [1.0]},
        }
        assert jax.tree.map(lambda leaf: leaf.tolist(), dict(variables)) == expected


class TestInitialisation:
    """PyTorch's Linear default, and CORnet's normal of std sqrt(2 / (size² · out))."""

    @pytest.mark.parametrize(("size", "features"), [(3, 64), (1, 200)])
    def test_conv(self, size, features):
        x = jnp.zeros((1, 2, 2, 150))
        variables = Conv(features, size).init(jax.random.key(1), x)
        kernel = np.asarray(variables["params"]["kernel"])
        assert kernel.shape == (size, size, 150, features)
        std = np.sqrt(2 / (size * size * features))
        np.testing.assert_allclose(kernel.std(), std, rtol=0.02)
        # 0.27 % of a normal lies beyond 3 standard deviations; none if truncated.
        np.testing.assert_allclose((abs(kernel) > 3 * std).mean(), 0.0027, rtol=0.3)

    def test_linear(self):
        variables = Linear(2000).init(jax.random.key(2), jnp.zeros((1, 16)))
        bound = 1 / np.sqrt(16)
        for name, shape in [("kernel", (16, 2000)), ("bias", (2000,))]:
            values = np.asarray(variables["params"][name])
            assert values.shape == shape
            # Uniform: nothing outside, nearly all of the range used, std = bound / √3.
            assert np.abs(values).max() <= bound
            np.testing.assert_allclose(np.abs(values).max(), bound, rtol=0.01)
            np.testing.assert_allclose(values.std(), bound / np.sqrt(3), rtol=0.05)

    def test_linear_by_hand(self):
        params = {
            "kernel": np.array([[1, 2, 3], [4, 5, 6]], np.float32),
            "bias": np.array([0.5, 0, -1], np.float32),
        }
        out = Linear(3).apply({"params": params}, np.array([[1, -1]], np.float32))
        np.testing.assert_array_equal(out, [[-2.5, -3, -4]])


class TestBfloat16:
    @pytest.mark.parametrize("dtype", [jnp.bfloat16, "bfloat16"], ids=["type", "name"])
    def test_parameters_stay_float32(self, dtype):
        x = jnp.zeros((2, 4, 4, 3))
        key = jax.random.key(0)
        for init in (
            lambda: Conv(4, 3, dtype).init_with_output(key, x),
            lambda: BatchNorm(dtype=dtype).init_with_output(key, x, False),
        ):
            out, variables = jax.eval_shape(init)
            assert out.dtype == jnp.bfloat16
            assert all(leaf.dtype == jnp.float32 for leaf in jax.tree.leaves(variables))

    def test_statistics_are_of_float32_sums(self):
        """512 ones and 511 zeros: their bfloat16 sum would stick at 256."""
        x = np.zeros((1023, 1, 1, 1), jnp.bfloat16)
        x[:512] = 1
        _, mean, var = batch_norm(x, dtype=jnp.bfloat16)
        assert mean.dtype == var.dtype == jnp.float32
        np.testing.assert_allclose(mean, [0.1 * 512 / 1023], rtol=1e-5)
