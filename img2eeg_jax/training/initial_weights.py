"""Initial weights from a checkpoint: of the whole network, or of its backbone."""

import os
from typing import Any

from img2eeg_jax.checkpoints.load import load_checkpoint
from img2eeg_jax.checkpoints.trees import check_shapes, variable_shapes
from img2eeg_jax.models.realnet import ReAlNet


def load(path: str | os.PathLike, model: ReAlNet, image_size: int) -> dict[str, Any]:
    """Returns the variables that a checkpoint holds, of a part of a network or all.

    Args:
      path: of a checkpoint of ReAlNet or CORnet-S.
      model: the network that is trained.
      image_size: height and width of its images, pixels.

    Returns:
      {"params": …, "batch_stats": …}, module by module; modules that the checkpoint
      lacks are absent.

    Raises:
      InputError: the checkpoint cannot be read, or has other shapes.
    """
    loaded = load_checkpoint(path)
    given = loaded.variables
    if loaded.description.kind == "cornet_s":
        given = {name: {"realnet": tree} for name, tree in given.items()}
    everything = variable_shapes(model, image_size)
    expected = {
        name: {module: everything[name].get(module, {}) for module in tree}
        for name, tree in given.items()
    }
    check_shapes(os.fspath(path), given, expected)
    return given
