"""The layers of another network than the one that is scored."""

import os
from typing import Any

import numpy as np
from numpy.typing import NDArray

from img2eeg_jax.checkpoints.load import load_checkpoint
from img2eeg_jax.errors import unexpected
from img2eeg_jax.models.cornet_s import AREAS, normalise_pixels
from img2eeg_jax.prediction.network import Network


def backbone_layers(
    path: str | os.PathLike, images: NDArray[np.uint8]
) -> dict[str, NDArray[np.float32]]:
    """Computes the activations of a CORnet-S, on its own or within an encoder.

    Args:
      path: see `load_checkpoint`; the last checkpoint of a run that selects none.
      images: u8[image, height, width, 3], of the size that the network takes.

    Returns:
      Area → f32[image, feature].

    Raises:
      InputError: there is no network, or it takes images of another size.
    """
    checkpoint = load_checkpoint(path)
    size = checkpoint.description.image_size
    if images.shape[1] != size:
        expected = f"a network that takes images of {images.shape[1]} pixels"
        raise unexpected(path, expected, size)
    model, variables = checkpoint.backbone
    network = Network(variables, checkpoint.description.precision)

    def step(variables: Any, batch: dict[str, Any]) -> Any:
        _, areas = model.apply(variables, normalise_pixels(batch["image"]))
        return areas

    parts = [*network.compiled(step)(images)]
    return {
        area: np.concatenate([rows[area] for rows in parts]).reshape(len(images), -1)
        for area in AREAS
    }
