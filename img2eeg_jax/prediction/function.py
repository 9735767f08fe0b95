"""A network as a pure function of its weights and of pixels."""

from collections.abc import Callable
from typing import Any

import jax
import numpy as np

from img2eeg_jax.checkpoints.description import Description
from img2eeg_jax.checkpoints.load import Checkpoint
from img2eeg_jax.devices.precision import matmul_precision
from img2eeg_jax.errors import unexpected
from img2eeg_jax.models.cornet_s import normalise_pixels
from img2eeg_jax.prediction.units import factor_and_offset

Array = jax.Array
# (weights, pixels f32[b, height, width, 3]) → f32[b, channel, time] or f32[b, feature]
Function = Callable[[Any, Array], Array]


def response_function(checkpoint: Checkpoint) -> Function:
    """Returns what a network computes; see `Encoder.function`.

    Args:
      checkpoint: a network that predicts a signal; its `variables` are the weights.

    Raises:
      InputError: it is a linear encoder whose backbone is not in its checkpoint.
    """
    model, description = checkpoint.model, checkpoint.description
    if description.linear is not None and not description.has_images:
        raise unexpected(
            checkpoint.path,
            "a network that is in JAX as a whole, for gradients and exports",
            f"a linear encoder of {description.linear['backbone']['name']}",
        )
    meaning = description.encoder_signal
    factor, offset = unit_change(description)

    def respond(weights: Any, pixels: Array) -> Array:
        signal: Any
        with matmul_precision(description.precision):
            # Bytes come back exactly: in float32 n / 255 · 255 = n for n up to 255.
            _, signal = model.apply(weights, normalise_pixels(pixels * 255))
        z = meaning.to_eeg(signal).reshape(-1, *factor.shape)
        return z * factor[None] + offset[None]

    return respond


def unit_change(description: Description) -> tuple[np.ndarray, np.ndarray]:
    """Returns how z-scores get the unit of what an encoder predicts.

    Args:
      description: of a network that predicts a signal.

    Returns:
      (factor, offset) of z · factor + offset, f32[channel, time] each; ones and zeros
      where an encoder predicts z-scores; of features f32[feature].
    """
    meaning, zscore = description.encoder_signal, description.zscore
    # The statistics of single channels tell nothing of a channel mean.
    known = zscore if meaning.window is None else None
    factor, offset = (
        np.broadcast_to(x, meaning.axes.shape).astype(np.float32)
        for x in factor_and_offset(meaning.axes, known)
    )
    return (factor, offset) if meaning.is_eeg else (factor[:, 0], offset[:, 0])
