"""Loads an encoder that was exported to a zip file; imports JAX and NumPy only.

The file holds a copy, found after `sys.path.insert(0, "encoder.zip")`.
"""

import hashlib
import io
import json
import zipfile
from typing import Any

import jax
import numpy as np
from jax import export


class ExportedEncoder:
    """Images in, predicted responses out; `about` has their channels, times, unit."""

    def __init__(self, path: str):
        """Reads a file and checks it; ValueError if it is none, or damaged."""
        try:
            with zipfile.ZipFile(path) as file:
                parts = {name: file.read(name) for name in file.namelist()}
            for line in parts.pop("SHA256SUMS").decode().splitlines():
                digest, name = line.split("  ")
                if hashlib.sha256(parts[name]).hexdigest() != digest:
                    raise ValueError(f"another {name} than was written")
        except (zipfile.BadZipFile, KeyError, ValueError) as error:
            expected = f"{path}: expected an exported encoder"
            raise ValueError(f"{expected}, found: {error}") from error
        self.about = json.loads(parts["about.json"])
        names = [name for name in parts if name.startswith("weights/")]
        arrays = {name[8:-4]: np.load(io.BytesIO(parts[name])) for name in names}
        program = export.deserialize(bytearray(parts["program.jax_export"]))
        self._call, self._weights = jax.jit(program.call), jax.device_put(arrays)

    def predict(self, pixels: Any) -> jax.Array:
        """Predicts from f32[image, height, width, 3], 0 to 1; with `jax.grad` too."""
        return self._call(self._weights, pixels)

    def __call__(self, images: Any) -> np.ndarray:
        """Predicts from u8, or floats from 0 to 1, [image, height, width, 3], RGB."""
        images, size = np.asarray(images), self.about["image_size"]
        is_bytes, shape = images.dtype == np.uint8, (size, size, 3)
        fits = is_bytes or np.all((images >= 0) & (images <= 1))
        if images.shape[1:] != shape or images.dtype.kind not in "uf" or not fits:
            expected = f"uint8, or floats from 0 to 1, [image, {size}, {size}, 3]"
            found = f"{images.dtype} {images.shape}"
            raise ValueError(f"images: expected {expected}, found {found}")
        n = 1 if len(images) < 8 else 64  # Images at once: two sizes are compiled.
        parts = [np.empty((0, *self.about["response_shape"]), np.float32)]
        for start in range(0, len(images), n):
            pixels = images[start : start + n] / np.float32(255 if is_bytes else 1)
            padding = np.zeros((n - len(pixels), *shape))
            batch = np.concatenate([pixels, padding]).astype(np.float32)
            parts.append(np.asarray(self.predict(batch))[: len(pixels)])
        return np.concatenate(parts)
