"""Convolution, batch normalisation and linear layer with PyTorch's semantics, NHWC."""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import lax

from img2eeg_jax.models.convolution import conv

Array = jax.Array

# PyTorch's BatchNorm2d defaults. Its momentum weighs the *new* statistics.
BATCH_NORM_EPSILON = 1e-5
BATCH_NORM_MOMENTUM = 0.1


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
        return conv(x, kernel, stride)


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
        self, x: Array, use_running_average: bool, mask: Array | None = None
    ) -> Array:
        """Normalises [batch, height, width, channel] per channel.

        Args:
          x: [batch, height, width, channel].
          use_running_average: normalise with the stored statistics (eval mode).
          mask: f32[batch], 0 on padding rows; None if every row is real.

        Returns:
          Same shape as `x`.
        """
        shape = (x.shape[-1],)
        scale = self.param("scale", nn.initializers.ones, shape)
        bias = self.param("bias", nn.initializers.zeros, shape)
        mean = self.variable("batch_stats", "mean", jnp.zeros, shape)
        var = self.variable("batch_stats", "var", jnp.ones, shape)
        x = x.astype(jnp.float32)
        if use_running_average:
            batch_mean, batch_var = mean.value, var.value
        else:
            batch_mean, batch_var, count = self._batch_statistics(x, mask)
            if not self.is_initializing():
                unbiased_var = batch_var * count / jnp.maximum(count - 1, 1)
                mean.value = self._running(mean.value, batch_mean, count)
                var.value = self._running(var.value, unbiased_var, count)
        factor = lax.rsqrt(batch_var + BATCH_NORM_EPSILON) * scale
        normalised = (x - _per_channel(batch_mean)) * _per_channel(factor)
        return (normalised + _per_channel(bias)).astype(self.dtype)

    def _batch_statistics(self, x, mask):
        rows = jnp.ones(x.shape[:1]) if mask is None else mask
        weight = rows[:, None, None, None]
        count = self._sum_over_devices(rows.sum()) * (x.shape[1] * x.shape[2])
        divisor = jnp.maximum(count, 1)
        mean = self._sum_over_devices((x * weight).sum((0, 1, 2))) / divisor
        squares = jnp.square(x - _per_channel(mean)) * weight
        return mean, self._sum_over_devices(squares.sum((0, 1, 2))) / divisor, count

    def _sum_over_devices(self, value):
        if self.axis_name is None or self.is_initializing():
            return value
        return lax.psum(value, self.axis_name)

    def _running(self, old, new, count):
        keep = (1 - BATCH_NORM_MOMENTUM) ** self.updates
        return jnp.where(count > 0, keep * old + (1 - keep) * new, old)


def _per_channel(vector: Array) -> Array:
    return vector[None, None, None]


def _uniform_fan_in(fan_in: int):
    """PyTorch's default bias initialisation: uniform within ±1/sqrt(fan_in)."""

    def init(key, shape, dtype=jnp.float32):
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
        kernel, bias = kernel.astype(self.dtype), bias.astype(self.dtype)
        return x.astype(self.dtype) @ kernel + bias[None]
