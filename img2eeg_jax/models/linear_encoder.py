"""Linear encoders: a linear map from layers of a network to the EEG."""

import math
from typing import Any, TypeVar

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from img2eeg_jax.models.cornet_s import CORnetS

Array = jax.Array
Values = TypeVar("Values", Array, np.ndarray)

# Layers of CORnet-S that are no areas: its logits, and the image that it sees.
LOGITS, PIXELS = "logits", "pixels"

# How a layer becomes a vector: all its numbers, or the mean over its positions.
FLAT, AVERAGE = "flat", "avg"
POOLS = (FLAT, AVERAGE)


def pooled(values: Values, pool: str) -> Values:
    """Turns activations into one vector an image.

    Args:
      values: f[batch, ..., channel]; the axes between are positions, or tokens.
      pool: "flat", or "avg" over positions.

    Returns:
      f[batch, feature].
    """
    if pool == AVERAGE and values.ndim > 2:
        return values.mean(tuple(range(1, values.ndim - 1)))
    return values.reshape(values.shape[0], -1)


class Readout(nn.Module):
    """The map from features to the signal: linear, or of a polynomial kernel.

    Linear: ((x − mean) / scale) [· components] · kernel + bias. Of a kernel, with the
    training images' standardised features t kept: (γ x·t + 1)^degree · kernel + bias.

    Attributes:
      signal_shape: shape of the signal, which comes out flattened.
      n_features: of the features.
      n_components: principal components that features are projected on; 0 for none.
      n_kept: training images whose features are kept for a kernel; 0 if it is linear.
      degree: of the kernel.
    """

    signal_shape: tuple[int, ...]
    n_features: int
    n_components: int = 0
    n_kept: int = 0
    degree: int = 4

    @property
    def input_shape(self) -> tuple[int, ...]:
        """Shape of what it takes of an image."""
        return (self.n_features,)

    @nn.compact
    def __call__(self, features: Array) -> Array:
        """Maps f32[batch, feature] to f32[batch, prod(signal_shape)]."""
        zeros, ones = nn.initializers.zeros, nn.initializers.ones
        mean = self.param("mean", zeros, (self.n_features,))
        scale = self.param("scale", ones, (self.n_features,))
        x = (features.astype(jnp.float32) - mean[None]) / scale[None]
        if self.n_components:
            shape = (self.n_features, self.n_components)
            x = x @ self.param("components", zeros, shape)
        if self.n_kept:
            kept = self.param("kept", zeros, (self.n_kept, x.shape[-1]))
            x = lax.dot_general(x, kept, (((1,), (1,)), ((), ()))) / x.shape[-1] + 1.0
            x = x**self.degree
        size = math.prod(self.signal_shape)
        kernel = self.param("kernel", zeros, (x.shape[-1], size))
        return x @ kernel + self.param("bias", zeros, (size,))[None]


class LinearEncoder(nn.Module):
    """A read-out of layers of CORnet-S, or of the pixels, from image to signal.

    Its call is ReAlNet's, and so are the names of its backbone's variables.

    Attributes:
      signal_shape: shape of the signal, which comes out flattened, row-major.
      layers: whose features are joined, in order: areas, "logits", "pixels".
      pool: see `pooled`.
      n_features: of all layers together.
      n_components: see `Readout`.
      n_kept: see `Readout`.
      degree: see `Readout`.
      width: of CORnet-S; 0 for none, where the pixels are read alone.
      num_classes: of its logits.
      dtype: of its areas' computation.
    """

    signal_shape: tuple[int, ...]
    layers: tuple[str, ...]
    n_features: int
    pool: str = FLAT
    n_components: int = 0
    n_kept: int = 0
    degree: int = 4
    width: int = 64
    num_classes: int = 1000
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(
        self, images: Array, train: bool = False, mask: Array | None = None
    ) -> tuple[Array, Array]:
        """Predicts the signal of each image.

        Args:
          images: f32[batch, height, width, 3] from `normalise_pixels`.
          train: without effect: nothing of it is trained by steps.
          mask: without effect.

        Returns:
          f32[batch, num_classes] logits, zeros without CORnet-S, and f32[batch,
          prod(signal_shape)] signal.
        """
        outputs = {PIXELS: images}
        if self.width:
            backbone = CORnetS(
                self.width, self.num_classes, dtype=self.dtype, name="realnet"
            )
            outputs[LOGITS], areas = backbone(images)
            outputs |= areas
        else:
            outputs[LOGITS] = jnp.zeros((images.shape[0], self.num_classes))
        features = [
            pooled(outputs[layer].astype(jnp.float32), self.pool)
            for layer in self.layers
        ]
        readout = Readout(
            self.signal_shape,
            self.n_features,
            self.n_components,
            self.n_kept,
            self.degree,
            name="readout",
        )
        return outputs[LOGITS], readout(jnp.concatenate(features, -1))
