"""Backbones that are a few lines of JAX."""

import jax.numpy as jnp
import numpy as np

from img2eeg_jax.linear.features import JaxBackbone


class NetworkWithGrayLayer:
    """Two layers, of which NumPy computes the same: a map, and its mean."""

    KERNEL = np.float32([[0.2], [0.5], [0.3]])

    @staticmethod
    def apply(variables, pixels):
        gray = pixels @ variables["kernel"]
        return {"gray": gray, "mean": gray.mean((1, 2))}

    @classmethod
    def backbone(cls, image_size, kernel=KERNEL):
        variables = {"kernel": jnp.asarray(kernel)}
        return JaxBackbone("gray", cls.apply, variables, image_size)

    @classmethod
    def gray(cls, images):
        return (images / 255.0) @ cls.KERNEL.astype(np.float64)
