"""Convolution, batch normalisation and linear layer with PyTorch's semantics, NHWC."""

import functools
from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import lax
from jax.ad_checkpoint import checkpoint_name

from img2eeg_jax.devices.compiler_options import known_options
from img2eeg_jax.models.convolution import (
    conv,
    cpu_algorithm,
    may_be_winograd,
    transform_kernel,
    transformed_conv,
    winograd_conv,
)

Array = jax.Array

# PyTorch's BatchNorm2d defaults. Its momentum weighs the *new* statistics.
BATCH_NORM_EPSILON = 1e-5
BATCH_NORM_MOMENTUM = 0.1

# Name of what "elementwise" rematerialisation keeps: the outputs of convolutions and
# the statistics of batch norms, from which everything else is quickly made.
KEPT = "kept"

# Collection of kernels as Winograd's algorithm multiplies them; see
# `transformed_kernels`.
TRANSFORMED = "transformed"


def transformed_kernels(
    model: nn.Module, image_size: int, variables: Any, batch_size: int
) -> dict[str, Any]:
    """Transforms the kernels of a network's convolutions once, for prediction on CPU.

    A network whose variables have this collection too predicts the same, and leaves
    out the kernels' transforms, which take as long for one image as for many.

    Args:
      model: the network, called in eval mode.
      image_size: height and width of its images, pixels.
      variables: {"params": …, "batch_stats": …}.
      batch_size: images of a batch, which decide on each convolution's algorithm.

    Returns:
      {`TRANSFORMED`: …}, or nothing where no convolution is Winograd's.
    """
    if not any(may_be_winograd(leaf.shape) for leaf in jax.tree.leaves(variables)):
        return {}

    def transform(variables: Any) -> dict[str, Any]:
        images = jnp.zeros((batch_size, image_size, image_size, 3))
        return dict(model.apply(variables, images, mutable=[TRANSFORMED])[1])

    # Used once, so that fast code is not worth the time that it takes to compile.
    quick = known_options({"xla_backend_optimization_level": 0})
    return jax.jit(transform, compiler_options=quick)(variables)


class Conv(nn.Module):
    """Convolution without bias.

    Initialised as the published network: normal, std sqrt(2 / (size² · features)).

    Attributes:
      features: output channels.
      size: height and width of the kernel, odd; padded by half of it on each side.
      dtype: dtype of the computation; the kernel is float32.
    """

    features: int
    size: int
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x: Array, stride: int = 1) -> Array:
        """Maps [b, height, width, in] to [b, ⌈height/stride⌉, ⌈width/stride⌉, out].

        The stride is an argument of the call because CORnet-S's recurrent steps share
        a kernel and not its stride.
        """
        kernel = self.param(
            "kernel",
            nn.initializers.variance_scaling(2.0, "fan_out", "normal"),
            (self.size, self.size, x.shape[-1], self.features),
        )
        x, kernel = x.astype(self.dtype), kernel.astype(self.dtype)
        name = f"stride_{stride}"
        is_asked = (
            self.is_mutable_collection(TRANSFORMED) and not self.is_initializing()
        )
        if is_asked and cpu_algorithm(x.shape, kernel.shape, stride) is winograd_conv:
            self.put_variable(TRANSFORMED, name, transform_kernel(kernel, stride))
        transformed: Any = self.get_variable(TRANSFORMED, name)
        if transformed is not None:
            return transformed_conv(x, transformed, stride)
        return checkpoint_name(conv(x, kernel, stride), KEPT)


class BatchNorm(nn.Module):
    """Batch normalisation with PyTorch's rules, over the real rows of all devices.

    Normalises with the biased variance and stores the unbiased one. Statistics are
    sums and counts over the rows where `mask` is 1, summed over `axis_name`, so that
    any split of a batch over devices gives the same numbers. Parameters and
    statistics are float32 whatever the dtype.

    Attributes:
      axis_name: mapped axis that the batch is split over, or None.
      updates: how often one training pass updates the running statistics; 2
        reproduces the published forward pass, which runs the backbone twice.
      dtype: dtype of the output.
    """

    axis_name: str | None = None
    updates: int = 1
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(
        self,
        x: Array,
        use_running_average: bool,
        mask: Array | None = None,
        skip: Array | None = None,
        relu: bool = False,
    ) -> Array:
        """Normalises [batch, height, width, channel] per channel.

        Args:
          x: [batch, height, width, channel].
          use_running_average: normalise with the stored statistics (eval mode).
          mask: f32[batch], 0 on padding rows; None if every row is real.
          skip: what is added after normalisation, of the shape of `x`, or None.
          relu: whether negative values then become 0.

        Returns:
          Same shape as `x`.
        """
        shape = (x.shape[-1],)
        scale = self.param("scale", nn.initializers.ones, shape)
        bias = self.param("bias", nn.initializers.zeros, shape)
        mean = self.variable("batch_stats", "mean", jnp.zeros, shape)
        var = self.variable("batch_stats", "var", jnp.ones, shape)
        x = x.astype(self.dtype)
        if use_running_average:
            return _normalise(x, mean.value, var.value, scale, bias, skip, relu)
        mask = jnp.ones(x.shape[:1]) if mask is None else mask
        axis_name = None if self.is_initializing() else self.axis_name
        out, batch_mean, batch_var, count = normalise_batch(
            x, scale, bias, skip, mask, relu, axis_name
        )
        if not self.is_initializing():
            unbiased_var = batch_var * count / jnp.maximum(count - 1, 1)
            mean.value = self._running(mean.value, batch_mean, count)
            var.value = self._running(var.value, unbiased_var, count)
        return out

    def _running(self, old: Array, new: Array, count: Array) -> Array:
        """Returns a running statistic after the updates; without rows it stays."""
        keep = (1 - BATCH_NORM_MOMENTUM) ** self.updates
        return jnp.where(count > 0, keep * old + (1 - keep) * new, old)


@functools.partial(jax.custom_vjp, nondiff_argnums=(5, 6))
def normalise_batch(
    x: Array,
    scale: Array,
    bias: Array,
    skip: Array | None,
    mask: Array,
    relu: bool,
    axis_name: str | None,
) -> tuple[Array, Array, Array, Array]:
    """Normalises with the statistics of the batch, adds a skip, rectifies.

    One function, because its gradient needs no more than its input and its output,
    which the convolutions before and after it keep anyway.

    Args:
      x: [batch, height, width, channel].
      scale: f32[channel].
      bias: f32[channel].
      skip: of the shape of `x`, or None.
      mask: f32[batch], 0 on rows that the statistics leave out.
      relu: whether to rectify.
      axis_name: mapped axis that the batch is split over, or None.

    Returns:
      Output like `x`; then, without gradients, f32[channel] mean and biased variance,
      and the number of values of a channel, over all devices.
    """
    return _normalise_forward(x, scale, bias, skip, mask, relu, axis_name)[0]


def _normalise_forward(
    x: Array,
    scale: Array,
    bias: Array,
    skip: Array | None,
    mask: Array,
    relu: bool,
    axis_name: str | None,
) -> tuple[tuple[Array, Array, Array, Array], tuple]:
    """Returns what `normalise_batch` returns, and what its gradient needs."""
    count = _sum_over_devices(mask.sum(), axis_name) * (x.shape[1] * x.shape[2])
    divisor = jnp.maximum(count, 1)

    def average(values: Array) -> Array:
        # Each row is summed first; masking `values` would spread the mask over them.
        total = (values.sum((1, 2)) * mask[:, None]).sum(0)
        return _sum_over_devices(total, axis_name) / divisor

    mean = checkpoint_name(average(x.astype(jnp.float32)), KEPT)
    squares = jnp.square(x.astype(jnp.float32) - _per_channel(mean))
    var = checkpoint_name(average(squares), KEPT)
    out = _normalise(x, mean, var, scale, bias, skip, relu)
    has_skip = None if skip is None else ()
    residuals = x, scale, mean, var, divisor, mask, out if relu else None, has_skip
    return (out, mean, var, count), residuals


def _normalise_backward(
    relu: bool, axis_name: str | None, residuals: tuple, grads: tuple[Array, ...]
) -> tuple[Array, Array, Array, Array | None, Array]:
    """Returns the gradients of x, scale, bias, skip and mask."""
    x, scale, mean, var, divisor, mask, out, has_skip = residuals
    grad = grads[0].astype(jnp.float32)
    if relu:
        grad = jnp.where(out > 0, grad, 0)
    inverse_std = lax.rsqrt(var + BATCH_NORM_EPSILON)
    # Adding a zero that is known with the gradient only makes XLA centre `x` again
    # here, where it would keep the forward pass's centred array until now.
    mean = mean + 0 * grad[0, 0, 0]
    centred = x.astype(jnp.float32) - _per_channel(mean)
    bias_grad = _sum_per_channel(grad)
    scale_grad = _sum_per_channel(grad * centred) * inverse_std
    # Through the mean and the standard deviation, every real row of every device
    # changes the outputs of all rows.
    through_mean, through_std = (
        _sum_over_devices(total, axis_name) / divisor
        for total in (bias_grad, scale_grad)
    )
    weight = mask[:, None, None, None]
    through_std = _per_channel(through_std * inverse_std)
    through_statistics = (_per_channel(through_mean) + centred * through_std) * weight
    x_grad = (grad - through_statistics) * _per_channel(scale * inverse_std)
    skip_grad = None if has_skip is None else grad.astype(x.dtype)
    no_grad = jnp.zeros_like(mask)
    return x_grad.astype(x.dtype), scale_grad, bias_grad, skip_grad, no_grad


normalise_batch.defvjp(_normalise_forward, _normalise_backward)


def _normalise(
    x: Array,
    mean: Array,
    var: Array,
    scale: Array,
    bias: Array,
    skip: Array | None,
    relu: bool,
) -> Array:
    factor = lax.rsqrt(var + BATCH_NORM_EPSILON) * scale
    out = (x.astype(jnp.float32) - _per_channel(mean)) * _per_channel(factor)
    out = out + _per_channel(bias)
    if skip is not None:
        out = out + skip.astype(jnp.float32)
    return (jnp.maximum(out, 0) if relu else out).astype(x.dtype)


def _sum_over_devices(value: Array, axis_name: str | None) -> Array:
    return value if axis_name is None else lax.psum(value, axis_name)


def _sum_per_channel(x: Array) -> Array:
    return x.sum((0, 1, 2))


def _per_channel(vector: Array) -> Array:
    return vector[None, None, None]


def _uniform_fan_in(fan_in: int) -> Callable[..., Array]:
    """PyTorch's default bias initialisation: uniform within ±1/sqrt(fan_in)."""

    def init(key: Array, shape: tuple[int, ...], dtype: Any = jnp.float32) -> Array:
        return jax.random.uniform(key, shape, dtype, -1, 1) / jnp.sqrt(fan_in)

    return init


class Linear(nn.Module):
    """Linear layer with PyTorch's default initialisation, uniform ±1/sqrt(fan_in).

    Attributes:
      features: size of the output.
      dtype: dtype of the computation; parameters are float32.
    """

    features: int
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x: Array) -> Array:
        """Maps [batch, in] to [batch, features]."""
        kernel = self.param(
            "kernel",
            nn.initializers.variance_scaling(1 / 3, "fan_in", "uniform"),
            (x.shape[-1], self.features),
        )
        bias = self.param("bias", _uniform_fan_in(x.shape[-1]), (self.features,))
        x, kernel = x.astype(self.dtype), kernel.astype(self.dtype)
        # On accelerators float32 products may be shortened (TF32, bfloat16). Linear
        # layers are few and come last, so that full products cost little.
        is_exact = jnp.dtype(self.dtype) == jnp.float32
        precision = lax.Precision.HIGHEST if is_exact else None
        out = jnp.matmul(x, kernel, precision=precision)
        return out + bias.astype(self.dtype)[None]
