"""Features on disk: a memory map for each layer, filled block by block, once."""

import contextlib
import dataclasses
import json
import pathlib
import urllib.parse
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
from tqdm import tqdm

from img2eeg_jax.data.shards.image_rows import ImageRows
from img2eeg_jax.errors import expecting, unexpected
from img2eeg_jax.files import check_room, write_text
from img2eeg_jax.linear.features import Backbone, check_rows
from img2eeg_jax.locks import only_writer
from img2eeg_jax.provenance import digest_of

# Images between two notes of how far it is; a multiple of a batch.
_BLOCK = 512
# A bar is shown of what takes longer, in seconds.
_BAR_AFTER_S = 1.0


@dataclasses.dataclass(frozen=True)
class FeatureCache:
    """A folder of features; those of another backbone or image list lie beside.

    Attributes:
      folder: `KEY/LAYER.npy`, f32[image, feature], and `KEY/about.json`, where KEY
        digests backbone (name, function, weights), pool and images.
      log: called with a line of what takes long.
    """

    folder: pathlib.Path
    log: Callable[[str], None] = print

    def read(
        self,
        backbone: Backbone,
        images: ImageRows | np.ndarray,
        digests: Sequence[str],
        layers: Sequence[str],
        pool: str,
    ) -> dict[str, np.ndarray]:
        """Reads features; computes those that are missing, from where it was stopped.

        Args:
          backbone: makes them.
          images: u8[image, height, width, 3], of its size; rows are read when needed.
          digests: tell each image from others.
          layers: names.
          pool: "flat" or "avg".

        Returns:
          Layer → f32[image, feature], a memory map that cannot be written to.

        Raises:
          InputError: there is no such layer, features are not finite, or the folder
            cannot be written to.
        """
        backbone.check_layers(layers)
        about = {
            "backbone": backbone.describe(),
            "image_size": backbone.image_size,
            "pool": pool,
            "images_sha256": digest_of([*digests]),
            "n_images": len(images),
        }
        # The place of the weights says nothing of the features.
        told = {name: about[name] for name in about if name != "backbone"}
        whose = {"name": backbone.name, "program": backbone.program}
        key = digest_of({**told, **whose, "digest": backbone.digest})[:16]
        place = self.folder / key
        paths = {layer: place / f"{_safe(layer)}.npy" for layer in layers}
        if not all(path.exists() for path in paths.values()):
            with only_writer(self.folder, key, log=self.log):
                # While this process waited, another may have made them.
                missing = [one for one, path in paths.items() if not path.exists()]
                if missing:
                    place.mkdir(parents=True, exist_ok=True)
                    write_text(place / "about.json", json.dumps(about, indent=1) + "\n")
                    self._fill(backbone, images, pool, {n: paths[n] for n in missing})
        return {layer: _open(path, len(images)) for layer, path in paths.items()}

    def _fill(
        self,
        backbone: Backbone,
        images: ImageRows | np.ndarray,
        pool: str,
        paths: dict[str, pathlib.Path],
    ) -> None:
        """Computes layers together, and gives each its name when all are done."""
        partial = {layer: path.with_suffix(".partial") for layer, path in paths.items()}
        note = next(iter(paths.values())).parent / "progress.json"
        n_done = _progress(note, paths)
        maps: dict[str, np.memmap] = {}
        if n_done:
            self.log(f"going on after {n_done} of {len(images)} images")
            kinds = (OSError, ValueError)
            with expecting(note.parent, "features that can be gone on with", *kinds):
                maps = {
                    layer: np.lib.format.open_memmap(path, "r+")
                    for layer, path in partial.items()
                }
        with self._bar(backbone, len(images), n_done) as bar:
            for start in range(n_done, len(images), _BLOCK):
                block = images[start : start + _BLOCK]
                parts = [*backbone.features(block, tuple(paths), pool)]
                for layer in paths:
                    values = np.concatenate([part[layer] for part in parts])
                    check_rows(values, len(block), f"{backbone.name}: layer {layer}")
                    if layer not in maps:
                        shape = (len(images), values.shape[1])
                        maps[layer] = _new(partial[layer], shape)
                    maps[layer][start : start + len(block)] = values
                    maps[layer].flush()
                done = {"layers": [*paths], "n_done": start + len(block)}
                write_text(note, json.dumps(done))
                bar.update(len(block))
        maps.clear()
        with expecting(note.parent, "a folder that can be written", OSError):
            for layer, path in paths.items():
                partial[layer].replace(path)
            note.unlink(missing_ok=True)

    def _bar(
        self, backbone: Backbone, n_images: int, n_done: int
    ) -> contextlib.AbstractContextManager[Any]:
        return tqdm(
            desc=f"features of {backbone.name}"[:40],
            total=n_images,
            initial=n_done,
            unit="image",
            dynamic_ncols=True,
            delay=_BAR_AFTER_S,
            disable=None,
        )


def _progress(note: pathlib.Path, layers: dict[str, pathlib.Path]) -> int:
    """Returns how many images an earlier call has done of the same layers."""
    try:
        there = json.loads(note.read_text(encoding="utf-8"))
        if there["layers"] != [*layers]:
            return 0
        return int(there["n_done"])
    except (OSError, ValueError, KeyError, TypeError):
        return 0


def _new(path: pathlib.Path, shape: tuple[int, int]) -> np.memmap:
    check_room(path.parent, 4 * shape[0] * shape[1])
    with expecting(path, "a file that can be written", OSError):
        return np.lib.format.open_memmap(path, "w+", np.float32, shape)


def _open(path: pathlib.Path, n_images: int) -> np.ndarray:
    with expecting(path, "features", OSError, ValueError):
        features = np.load(path, mmap_mode="r", allow_pickle=False)
    if features.shape[:1] != (n_images,):
        raise unexpected(path, f"{n_images} rows", features.shape[:1])
    return features


def _safe(layer: str) -> str:
    return urllib.parse.quote(layer, safe="")


def joined(parts: Sequence[np.ndarray], rows: Any = slice(None)) -> np.ndarray:
    """Returns layers side by side, f32[row, feature]."""
    return np.concatenate([part[rows] for part in parts], 1)


def blocks(n: int, size: int = _BLOCK) -> Iterator[slice]:
    """Yields the rows 0 to n a block at a time."""
    for start in range(0, n, size):
        yield slice(start, min(start + size, n))
