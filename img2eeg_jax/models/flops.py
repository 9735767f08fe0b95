"""Arithmetic that the networks need: their convolutions and linear layers, counted.

A multiplication and the addition that follows it are two floating-point operations
(FLOP), as in the peak rates that makers of hardware give. What batch norms, ReLUs,
pooling, losses and the optimizer add is small and left out.
"""

import dataclasses
from collections.abc import Iterator, Sequence

from img2eeg_jax.models.cornet_s import AREA_WIDTHS, AREAS, EXPANSION, STEPS


@dataclasses.dataclass(frozen=True)
class Convolution:
    """One convolution of CORnet-S and what it is applied to.

    Attributes:
      name: area, layer and, where shapes differ between them, the recurrent step.
      side: height and width of its input, pixels.
      inputs: input channels.
      outputs: output channels.
      size: height and width of its kernel.
      stride: its stride.
      times: how often a forward pass applies it to this shape.
    """

    name: str
    side: int
    inputs: int
    outputs: int
    size: int
    stride: int = 1
    times: int = 1

    @property
    def macs(self) -> int:
        """Multiply-accumulates of an image's forward pass, padding included."""
        positions = (-(-self.side // self.stride)) ** 2
        return self.times * positions * self.size**2 * self.inputs * self.outputs


def convolutions(width: int, image_size: int) -> Iterator[Convolution]:
    """Yields CORnet-S's convolutions in the order of the forward pass.

    Args:
      width: channels of V1.
      image_size: height and width of the images, pixels.
    """
    yield Convolution("V1.conv1", image_size, 3, width, 7, stride=2)
    side = _halve(_halve(image_size))
    yield Convolution("V1.conv2", side, width, width, 3)
    channels = width
    for area, steps in STEPS.items():
        features = AREA_WIDTHS[area] * width
        yield from _block(area, side, channels, features, steps)
        side, channels = _halve(side), features


def forward_flops(
    width: int = 64,
    image_size: int = 224,
    num_classes: int = 1000,
    signal_size: int = 340,
    features: int = 128,
    areas: Sequence[str] = AREAS,
) -> int:
    """Counts the FLOP of ReAlNet's forward pass for one image.

    Args:
      width: channels of V1.
      image_size: height and width of the images, pixels.
      num_classes: size of the logits.
      signal_size: entries of the signal.
      features: size of each area's features.
      areas: tapped areas; with none there is no head, and the count is CORnet-S's.

    Returns:
      FLOP per image, two for each multiply-accumulate.
    """
    backbone = sum(layer.macs for layer in convolutions(width, image_size))
    decoder = AREA_WIDTHS["IT"] * width * num_classes
    return 2 * (
        backbone + decoder + _head_macs(width, image_size, signal_size, features, areas)
    )


def training_flops(
    width: int = 64,
    image_size: int = 224,
    num_classes: int = 1000,
    signal_size: int = 340,
    features: int = 128,
    areas: Sequence[str] = AREAS,
) -> int:
    """Counts the FLOP of ReAlNet's forward and backward pass for one image.

    Each layer's gradients, with respect to its input and to its kernel, cost a forward
    pass each; the first convolution's input is the image and needs none. A teacher's
    forward pass is not included.

    Args:
      width: channels of V1.
      image_size: height and width of the images, pixels.
      num_classes: size of the logits.
      signal_size: entries of the signal.
      features: size of each area's features.
      areas: tapped areas.

    Returns:
      FLOP per image, two for each multiply-accumulate.
    """
    forward = forward_flops(
        width, image_size, num_classes, signal_size, features, areas
    )
    first = next(convolutions(width, image_size))
    return 3 * forward - 2 * first.macs


def _block(
    area: str, side: int, channels: int, features: int, steps: int
) -> Iterator[Convolution]:
    """Yields a recurrent block's convolutions; the first step halves the side."""
    inner, half = EXPANSION * features, _halve(side)
    later = steps - 1
    yield Convolution(f"{area}.conv_input", side, channels, features, 1)
    yield Convolution(f"{area}.skip", side, features, features, 1, stride=2)
    yield Convolution(f"{area}.conv1 step 0", side, features, inner, 1)
    yield Convolution(f"{area}.conv2 step 0", side, inner, inner, 3, stride=2)
    yield Convolution(f"{area}.conv1 step 1", half, features, inner, 1, times=later)
    yield Convolution(f"{area}.conv2 step 1", half, inner, inner, 3, times=later)
    yield Convolution(f"{area}.conv3", half, inner, features, 1, times=steps)


def _head_macs(
    width: int, image_size: int, signal_size: int, features: int, areas: Sequence[str]
) -> int:
    """Counts the multiply-accumulates of the tapped areas' layers and the last one."""
    side = _halve(_halve(image_size))
    macs = len(areas) * features * signal_size
    for area in AREAS:
        if area in areas:
            macs += AREA_WIDTHS[area] * width * side**2 * features
        side = _halve(side)
    return macs


def _halve(side: int) -> int:
    return -(-side // 2)
