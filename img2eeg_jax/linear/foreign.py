"""Linear encoders whose backbone is no part of their checkpoint."""

from collections.abc import Iterable, Iterator
from typing import Any

import jax
import numpy as np

from img2eeg_jax.checkpoints.load import Checkpoint
from img2eeg_jax.errors import unexpected
from img2eeg_jax.linear.features import Backbone
from img2eeg_jax.prediction.network import Run

# Images that go through the backbone together.
_BATCH = 64


def signals(checkpoint: Checkpoint, backbone: Backbone | None) -> Run:
    """Returns what predicts signals of images through a backbone.

    Args:
      checkpoint: of kind "readout".
      backbone: makes its features; None builds the one that its description names.

    Returns:
      Images u8[height, width, 3] of its size → flat signals f32[b, n], a batch at a
      time.

    Raises:
      InputError: it cannot be built again, or is not the one of the fit.
    """
    linear = checkpoint.description.linear
    if linear is None:
        raise unexpected(checkpoint.path, "a linear encoder", "another network")
    if backbone is None:
        backbone = _rebuilt(checkpoint, linear["backbone"])
    if backbone.digest != linear["backbone"]["digest"]:
        expected = f"the weights of {linear['backbone']['name']} that it was fitted on"
        raise unexpected(checkpoint.path, expected, f"others, of {backbone.name}")
    layers, pool = tuple(linear["layers"]), linear["pool"]
    readout = jax.jit(checkpoint.model.apply)

    def run(images: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
        for features in backbone.features(images, layers, pool):
            joined = np.concatenate([features[layer] for layer in layers], 1)
            rows = np.zeros((_BATCH, joined.shape[1]), np.float32)
            # One size of batch, so that no number of images compiles another.
            for start in range(0, len(joined), _BATCH):
                part = joined[start : start + _BATCH]
                rows[: len(part)] = part
                yield np.asarray(readout(checkpoint.variables, rows))[: len(part)]

    return run


def _rebuilt(checkpoint: Checkpoint, said: dict[str, Any]) -> Backbone:
    """Builds a backbone again from what a checkpoint says of it.

    Raises:
      InputError: nothing says how, or what it needs is not there.
    """
    if said["kind"] == "torch":
        # Imported here: it needs PyTorch.
        from img2eeg_jax.linear import torch_backbone

        return torch_backbone.named(
            said["library"], said["model"], said["path"], image_size=said["image_size"]
        )
    if said["kind"] == "files":
        from img2eeg_jax.linear.feature_files import KnownImages

        return KnownImages.open(checkpoint.path, said)
    raise unexpected(
        checkpoint.path,
        f"the backbone {said['name']}, which only the program has that fitted it",
        "none; Encoder(checkpoint, backbone=…) takes it",
    )
