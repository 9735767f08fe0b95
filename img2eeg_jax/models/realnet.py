"""ReAlNet (Lu, Wang, Golomb 2026): CORnet-S with a multi-layer image-to-EEG head."""

import math
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from img2eeg_jax.models.cornet_s import AREAS, CORnetS
from img2eeg_jax.models.layers import Linear

Array = jax.Array


class ReAlNet(nn.Module):
    """CORnet-S whose areas, each through a linear layer, together give the signal.

    The backbone runs once for logits and signal. The published forward pass runs it
    twice, with the same outputs, and so updates the running statistics twice:
    `bn_updates=2` does the same at half the cost.

    Attributes:
      signal_shape: shape of the signal, e.g. (channels, times); it comes out
        flattened, row-major.
      areas: tapped areas, in the order of their features.
      features: size of each area's features.
      width: channels of V1.
      num_classes: size of the logits.
      axis_name: mapped axis that the batch is split over, or None.
      bn_updates: see `BatchNorm.updates`.
      dtype: dtype of the computation up to the areas' features; parameters, statistics
        and outputs are float32.
      frozen_areas: see `CORnetS`.
      remat: see `CORnetS`.
    """

    signal_shape: tuple[int, ...] = (17, 20)
    areas: tuple[str, ...] = AREAS
    features: int = 128
    width: int = 64
    num_classes: int = 1000
    axis_name: str | None = None
    bn_updates: int = 1
    dtype: Any = jnp.float32
    frozen_areas: tuple[str, ...] = ()
    remat: str = "none"

    @nn.compact
    def __call__(
        self, images: Array, train: bool = False, mask: Array | None = None
    ) -> tuple[Array, Array]:
        """Predicts the signal of each image.

        Args:
          images: f32[batch, height, width, 3] from `normalise_pixels`.
          train: normalise with the statistics of this batch, and update the stored.
          mask: f32[batch], 0 on padding rows; None if every row is real.

        Returns:
          f32[batch, num_classes] logits and f32[batch, prod(signal_shape)] signal,
          z-scored EEG (unitless) when trained on EEG.
        """
        logits, outputs = CORnetS(
            width=self.width,
            num_classes=self.num_classes,
            axis_name=self.axis_name,
            bn_updates=self.bn_updates,
            dtype=self.dtype,
            frozen_areas=self.frozen_areas,
            remat=self.remat,
            name="realnet",
        )(images, train, mask)
        features = [self._head(area, outputs[area]) for area in self.areas]
        size = math.prod(self.signal_shape)
        return logits, Linear(size, name="fc")(jnp.concatenate(features, -1))

    def _head(self, area: str, output: Array) -> Array:
        head = Linear(self.features, self.dtype, name=f"fc_{area.lower()}")
        return nn.relu(head(output.reshape(output.shape[0], -1)))
