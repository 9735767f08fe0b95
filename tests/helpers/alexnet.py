"""AlexNet's five convolutions as a function of JAX; weights from a file."""

import pathlib

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from img2eeg_jax.linear.features import JaxBackbone
from img2eeg_jax.models.cornet_s import normalise_pixels


def alexnet(variables, pixels):
    x, outputs = normalise_pixels(pixels * 255), {}
    for place, padding in enumerate((2, 2, 1, 1, 1)):
        strides, name = (1 if place else 4,) * 2, f"AlexNet_0.Conv_{place}"
        kernel, bias = (variables[f"{name}.{part}"] for part in ("kernel", "bias"))
        pads = [(padding, padding)] * 2
        x = lax.conv_general_dilated(
            x, kernel, strides, pads, dimension_numbers=("NHWC", "HWIO", "NHWC")
        )
        outputs[f"conv{place + 1}"] = x = jax.nn.relu(x + bias.reshape(1, 1, 1, -1))
        if place < 2:
            x = lax.reduce_window(
                x, -jnp.inf, lax.max, (1, 3, 3, 1), (1, 2, 2, 1), "VALID"
            )
    return outputs


def backbone(folder):
    """Returns AlexNet with the weights of the only ``.npz`` in a folder."""
    (path,) = pathlib.Path(folder).glob("*.npz")
    with np.load(path) as file:
        return JaxBackbone("AlexNet", alexnet, dict(file), 224)
