"""AlexNet's convolutions as a function of pictures: a model that is not ours."""

import pathlib

import jax
import jax.numpy as jnp
import numpy as np

from img2eeg_jax.linear.features import JaxBackbone

STRIDES, PADDINGS = (4, 1, 1, 1, 1), (2, 2, 1, 1, 1)
# Max pooling comes after the first two.
N_POOLED = 2
IMAGENET_MEAN, IMAGENET_SD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def load(path):
    """Returns [(kernel, bias)] of `alexnet_flax.npz`."""
    with np.load(path) as file:
        names = [f"AlexNet_0.Conv_{i}" for i in range(5)]
        return [(file[f"{name}.kernel"], file[f"{name}.bias"]) for name in names]


@jax.jit
def layers(weights, images):
    """Returns conv1 to conv5 → f32[image, height, width, channel] of u8 images."""
    x = (images / 255.0 - jnp.array([[[IMAGENET_MEAN]]])) / jnp.array([[[IMAGENET_SD]]])
    features = {}
    for i, (kernel, bias) in enumerate(weights):
        x = jax.lax.conv_general_dilated(
            x,
            kernel,
            (STRIDES[i],) * 2,
            [(PADDINGS[i],) * 2] * 2,
            dimension_numbers=("NHWC", "HWIO", "NHWC"),
        )
        features[f"conv{i + 1}"] = x = jax.nn.relu(x + bias[None, None, None])
        if i < N_POOLED:
            window, strides = (1, 3, 3, 1), (1, 2, 2, 1)
            x = jax.lax.reduce_window(
                x, -jnp.inf, jax.lax.max, window, strides, "VALID"
            )
    return features


def backbone(folder):
    """Returns AlexNet with the weights of the only ``.npz`` in a folder."""
    (path,) = pathlib.Path(folder).glob("*.npz")
    return JaxBackbone(
        "AlexNet",
        lambda weights, pixels: layers(weights, pixels * 255),
        load(path),
        224,
    )
