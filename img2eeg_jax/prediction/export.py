"""Encoders in one file that needs neither this package nor Flax to run."""

import contextlib
import inspect
import io
import json
import os
import pathlib
import zipfile
from collections.abc import Iterator
from typing import Any

import jax
import numpy as np
from flax import traverse_util
from jax import export as jax_export

from img2eeg_jax.axes import Axes
from img2eeg_jax.checkpoints.load import Checkpoint
from img2eeg_jax.errors import unexpected
from img2eeg_jax.files import check_new, replacing
from img2eeg_jax.prediction import exported_encoder
from img2eeg_jax.prediction.function import response_function
from img2eeg_jax.provenance import sha256_of_bytes

FORMAT = 1

PLATFORMS = ("cpu", "cuda", "tpu")

# Every file has this date, so that an encoder always gives the same bytes.
_DATE = (1980, 1, 1, 0, 0, 0)


def export(
    checkpoint: Checkpoint,
    axes: Axes,
    path: str | os.PathLike,
    vjp_order: int = 0,
    overwrite: bool = False,
) -> None:
    """Writes an encoder to one file; see `Encoder.export`.

    Args:
      checkpoint: the network.
      axes: channels and times, or features, of what it predicts, and its unit.
      path: the zip file to write.
      vjp_order: how often it can be differentiated.
      overwrite: whether to replace the file.

    Raises:
      InputError: something is there already, it cannot be written, or `vjp_order` is
        negative.
    """
    path = pathlib.Path(path)
    check_new(path, overwrite)
    if vjp_order < 0:
        raise unexpected("`vjp_order`", "0 or more", vjp_order)
    weights = traverse_util.flatten_dict(checkpoint.variables, sep="/")
    with _without_source_files():
        program = _program(checkpoint, weights)
        serialised = bytes(program.serialize(vjp_order=vjp_order))
    about = _about(checkpoint, axes, program, vjp_order)
    parts = {
        "about.json": json.dumps(about, indent=1, ensure_ascii=False).encode(),
        "program.jax_export": serialised,
        "exported_encoder.py": inspect.getsource(exported_encoder).encode(),
    }
    parts |= {f"weights/{name}.npy": _npy(value) for name, value in weights.items()}
    sums = [f"{sha256_of_bytes(data)}  {name}" for name, data in parts.items()]
    parts["SHA256SUMS"] = "\n".join([*sums, ""]).encode()
    with replacing(path) as temporary, zipfile.ZipFile(temporary, "w") as file:
        for name, data in parts.items():
            file.writestr(zipfile.ZipInfo(name, _DATE), data)


def _program(checkpoint: Checkpoint, weights: dict[str, Any]) -> jax_export.Exported:
    """Traces the encoder for images of any number, on all platforms."""
    respond = response_function(checkpoint)

    def predict(weights: dict[str, Any], pixels: jax.Array) -> jax.Array:
        variables = traverse_util.unflatten_dict(weights, sep="/")
        return respond(variables, pixels)

    size = checkpoint.description.image_size
    (n_images,) = jax_export.symbolic_shape("b")
    shapes = {
        name: jax.ShapeDtypeStruct(value.shape, value.dtype)
        for name, value in weights.items()
    }
    pixels = jax.ShapeDtypeStruct((n_images, size, size, 3), np.float32)
    return jax_export.export(jax.jit(predict), platforms=PLATFORMS)(shapes, pixels)


@contextlib.contextmanager
def _without_source_files() -> Iterator[None]:
    """Keeps paths of source files, which tell of a person's disk, out of programs."""
    names = (
        "jax_traceback_in_locations_limit",
        "jax_hlo_source_file_canonicalization_regex",
    )
    before = {name: getattr(jax.config, name) for name in names}
    try:
        for name, value in zip(names, (0, ".*"), strict=True):
            jax.config.update(name, value)
        yield
    finally:
        for name, value in before.items():
            jax.config.update(name, value)


def _about(
    checkpoint: Checkpoint,
    axes: Axes,
    program: jax_export.Exported,
    vjp_order: int,
) -> dict[str, Any]:
    """Returns what `about.json` tells."""
    description = checkpoint.description
    return {
        "format": FORMAT,
        "image_size": description.image_size,
        "response_shape": list(program.out_avals[0].shape[1:]),
        **axes.to_dict(),
        "subject": description.subject,
        "simulated": description.simulated,
        "platforms": list(PLATFORMS),
        "vjp_order": vjp_order,
        "jax_version": jax.__version__,
        "calling_convention_version": program.calling_convention_version,
        "description": description.to_dict(),
    }


def _npy(value: np.ndarray) -> bytes:
    file = io.BytesIO()
    np.save(file, value, allow_pickle=False)
    return file.getvalue()
