"""CORnet-S (Kubilius et al. 2019), the vision network, in Flax linen.

Submodules carry the names of the published state dict, so that the map between the
two (`img2eeg_jax.interop.names`) is a rule and not a table.
"""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import lax

from img2eeg_jax.models.convolution import max_pool
from img2eeg_jax.models.layers import KEPT, BatchNorm, Conv, Linear

Array = jax.Array

AREAS = ("V1", "V2", "V4", "IT")

# Output channels of each area, as a multiple of the width.
AREA_WIDTHS = {"V1": 1, "V2": 2, "V4": 4, "IT": 8}

# Recurrent steps of each block.
STEPS = {"V2": 2, "V4": 4, "IT": 2}

# A block widens to this multiple of its output inside.
EXPANSION = 4

# Statistics of ImageNet's pixels scaled to [0, 1], per colour.
PIXEL_MEAN = (0.485, 0.456, 0.406)
PIXEL_STD = (0.229, 0.224, 0.225)


def normalise_pixels(image: Array) -> Array:
    """Maps u8[batch, height, width, 3] to the float32 input the network expects."""
    mean = jnp.array(PIXEL_MEAN)[None, None, None]
    std = jnp.array(PIXEL_STD)[None, None, None]
    return (image.astype(jnp.float32) / 255 - mean) / std


class _Area(nn.Module):
    """What the areas have in common.

    Attributes:
      features: output channels.
      axis_name: see `BatchNorm`.
      bn_updates: see `BatchNorm.updates`.
      dtype: dtype of the computation.
    """

    features: int
    axis_name: str | None = None
    bn_updates: int = 1
    dtype: Any = jnp.float32

    def conv(self, features: int, size: int, name: str) -> Conv:
        return Conv(features, size, dtype=self.dtype, name=name)

    def norm(
        self,
        name: str,
        x: Array,
        train: bool,
        mask: Array | None,
        skip: Array | None = None,
        relu: bool = True,
    ) -> Array:
        layer = BatchNorm(self.axis_name, self.bn_updates, self.dtype, name=name)
        return layer(x, not train, mask, skip, relu)


class V1(_Area):
    """The first area: two convolutions and a max-pool, a quarter of the resolution."""

    @nn.compact
    def __call__(self, x: Array, train: bool, mask: Array | None) -> Array:
        """Maps [batch, height, width, 3] to [batch, height/4, width/4, features]."""
        x = self.conv(self.features, 7, "conv1")(x, stride=2)
        x = self.norm("norm1", x, train, mask)
        x = max_pool(x)
        x = self.conv(self.features, 3, "conv2")(x)
        return self.norm("norm2", x, train, mask)


class RecurrentBlock(_Area):
    """A bottleneck applied `steps` times: shared convolutions, own batch norms.

    Attributes:
      steps: recurrent steps.
    """

    steps: int = 1

    @nn.compact
    def __call__(self, x: Array, train: bool, mask: Array | None) -> Array:
        """Maps [batch, height, width, c] to [batch, height/2, width/2, features]."""
        inner = EXPANSION * self.features
        conv1 = self.conv(inner, 1, "conv1")
        conv2 = self.conv(inner, 3, "conv2")
        conv3 = self.conv(self.features, 1, "conv3")
        x = self.conv(self.features, 1, "conv_input")(x)
        for step in range(self.steps):
            stride = 2 if step == 0 else 1
            skip = x
            if step == 0:
                skip = self.conv(self.features, 1, "skip")(x, stride)
                skip = self.norm("norm_skip", skip, train, mask, relu=False)
            x = self.norm(f"norm1_{step}", conv1(x), train, mask)
            x = self.norm(f"norm2_{step}", conv2(x, stride), train, mask)
            x = self.norm(f"norm3_{step}", conv3(x), train, mask, skip)
        return x


class CORnetS(nn.Module):
    """CORnet-S: V1, V2, V4, IT and a linear decoder.

    Attributes:
      width: channels of V1; V2, V4 and IT have 2, 4 and 8 times as many.
      num_classes: size of the logits.
      axis_name: mapped axis that the batch is split over, or None.
      bn_updates: see `BatchNorm.updates`.
      dtype: dtype of the areas' computation; parameters, statistics and logits are
        float32.
      frozen_areas: areas that stay in eval mode when the others train.
      remat: what the backward pass computes again instead of keeping it: "none";
        "elementwise", all but convolutions' outputs; or "areas", everything inside the
        areas. XLA on CPU merges the repeated computations, and so saves nothing.
    """

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
    ) -> tuple[Array, dict[str, Array]]:
        """Runs the network once.

        Args:
          images: f32[batch, height, width, 3] from `normalise_pixels`.
          train: normalise with the statistics of this batch, and update the stored.
          mask: f32[batch], 0 on padding rows; None if every row is real.

        Returns:
          f32[batch, num_classes] logits, and the output of each area, by name,
          [batch, height/k, width/k, width·m], k = 4, 8, 16, 32 and m = 1, 2, 4, 8.
        """
        x = images
        areas = {}
        is_trained = False
        for area in AREAS:
            settings = dict(
                features=AREA_WIDTHS[area] * self.width,
                axis_name=self.axis_name,
                bn_updates=self.bn_updates,
                dtype=self.dtype,
                name=area,
            )
            kind = V1 if area == "V1" else RecurrentBlock
            if area != "V1":
                settings["steps"] = STEPS[area]
            is_frozen = area in self.frozen_areas
            module = self._rematerialised(kind)(**settings)
            x = module(x, train and not is_frozen, mask)
            is_trained |= not is_frozen
            # No gradient is needed before the first trained area.
            areas[area] = x = x if is_trained else lax.stop_gradient(x)
        logits = _Decoder(self.num_classes, name="decoder")(x)
        return logits, areas

    def _rematerialised(self, area: type[nn.Module]) -> type[nn.Module]:
        if self.remat == "none":
            return area
        policy = {
            "elementwise": jax.checkpoint_policies.save_only_these_names(KEPT),
            "areas": jax.checkpoint_policies.nothing_saveable,
        }[self.remat]
        # `train` is the second argument after self.
        return nn.remat(area, static_argnums=(2,), policy=policy)


class _Decoder(nn.Module):
    """Global average pool and a linear layer, in float32."""

    num_classes: int

    @nn.compact
    def __call__(self, x: Array) -> Array:
        pooled = x.astype(jnp.float32).mean((1, 2))
        return Linear(self.num_classes, name="linear")(pooled)
