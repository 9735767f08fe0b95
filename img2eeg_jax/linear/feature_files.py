"""Features that another program has written, a row an image, in image order."""

import json
import os
import pathlib
import zipfile
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from img2eeg_jax.data.array_files import read_mat_or_hdf5
from img2eeg_jax.data.layout import PARTITIONS
from img2eeg_jax.data.shards.store import Shards
from img2eeg_jax.errors import expecting, unexpected
from img2eeg_jax.files import write_text
from img2eeg_jax.linear.features import Backbone, WithLayers, check_rows
from img2eeg_jax.models.linear_encoder import pooled
from img2eeg_jax.provenance import digest_of, sha256_of, sha256_of_bytes

SUFFIXES = (".npy", ".npz", ".h5", ".hdf5", ".mat")

# The layer of a file that holds one array without a name.
UNNAMED = "features"
# Entries that name the images, and thingsvision's file beside its features.
_NAMES = ("images", "image_names", "file_names", "filenames", "names")
_NAMES_FILE = "file_names.txt"
# The file beside the checkpoint that says which image each row of features is of.
_INDEX = "images.json"
_BATCH = 64


class FeatureFiles(WithLayers):
    """Files of features: one of the training images, and one of the test images.

    ``.npy`` holds one array f[image, …, channel]; ``.npz``, ``.h5`` and ``.mat`` (also
    of version 7.3) one for each layer, by name, and may name the images. Spatial maps
    are [image, height, width, channel].

    Attributes:
      name: as the checkpoint tells it.
      digest: tells these files from others.
      layers: that all files have.
      image_size: of the shards that images are looked up in, pixels.
    """

    def __init__(
        self,
        training: str | os.PathLike,
        test: str | os.PathLike | None = None,
        image_size: int = 64,
    ):
        """Opens files; ``.npy`` stay on disk.

        Raises:
          InputError: there is no such file, or it holds no features.
        """
        paths = {"training": training} | ({"test": test} if test else {})
        self.paths = {part: pathlib.Path(path) for part, path in paths.items()}
        self._arrays, self._names = {}, {}
        for part, path in self.paths.items():
            self._arrays[part], self._names[part] = _open(path)
        of_test = self._arrays.get("test", self._arrays["training"])
        self.layers = tuple(one for one in self._arrays["training"] if one in of_test)
        self.digest = digest_of([sha256_of(path) for path in self.paths.values()])
        self.name = f"features in {self.paths['training'].name}"
        self.image_size = image_size
        if not self.layers:
            expected = f"a layer of {', '.join(self._arrays['training'])}"
            raise unexpected(self.paths["test"], expected, ", ".join(of_test))

    # Files of features refuse unknown layers in a backbone's words.
    check_layers = Backbone.check_layers

    def describe(self) -> dict[str, Any]:
        """Returns what a checkpoint says of it, JSON's own types."""
        return {
            "kind": "files",
            "name": self.name,
            "digest": self.digest,
            "paths": {part: os.path.abspath(p) for part, p in self.paths.items()},
            "image_size": self.image_size,
        }

    def read(
        self, images: Mapping[str, Sequence[str]], layers: Sequence[str], pool: str
    ) -> dict[str, dict[str, np.ndarray]]:
        """Returns partition → layer → f32[image, feature], of each file there is.

        Args:
          images: partition → CONCEPT/FILE of each image.
          layers: names.
          pool: "flat" or "avg".

        Raises:
          InputError: another number of rows than images, names that do not match,
            values that are not finite in float32, another number of features of the
            test images, or there is no such layer.
        """
        self.check_layers(layers)
        found = {}
        for part, path in self.paths.items():
            names = images[part]
            _check_names(path, self._names[part], names)
            found[part] = {
                layer: _vectors(
                    self._arrays[part][layer], len(names), f"{path}: {layer}", pool
                )
                for layer in layers
            }
            for layer, values in found[part].items():
                expected = found["training"][layer].shape[1]
                if values.shape[1] != expected:
                    raise unexpected(
                        f"{path}: {layer}",
                        f"{expected} features, as of the training images",
                        values.shape[1],
                    )
        return found

    def write_index(self, folder: pathlib.Path, shards: Shards) -> None:
        """Writes which image has which row, so that the encoder finds them again."""
        index = {
            part: [digest[:16] for digest in shards.pixels_sha256[part]]
            for part in self.paths
        }
        write_text(folder / _INDEX, json.dumps(index) + "\n")


class KnownImages(Backbone):
    """The images whose features are in files: of others there is no prediction."""

    def __init__(self, files: FeatureFiles, index: Mapping[str, Sequence[str]]):
        """Takes the files, and of each row the digest of its image's pixels."""
        self.name, self.digest = files.name, files.digest
        self.layers, self.image_size = files.layers, files.image_size
        self._files = files
        self._rows = {
            digest: (part, row)
            for part in reversed(PARTITIONS)
            for row, digest in enumerate(index.get(part, ()))
        }

    @classmethod
    def open(cls, folder: pathlib.Path, said: Mapping[str, Any]) -> "KnownImages":
        """Opens the files that a checkpoint names.

        Args:
          folder: of the checkpoint.
          said: what `FeatureFiles.describe` told.

        Raises:
          InputError: they are not there any more.
        """
        paths = said["paths"]
        files = FeatureFiles(paths["training"], paths.get("test"), said["image_size"])
        path = folder / _INDEX
        with expecting(path, "a list of images", OSError, ValueError):
            index = json.loads(path.read_text(encoding="utf-8"))
        return cls(files, index)

    def features(
        self, images: Iterable[np.ndarray], layers: Sequence[str], pool: str
    ) -> Iterator[dict[str, np.ndarray]]:
        """See the base class.

        Raises:
          InputError: an image is none of those in the files.
        """
        self.check_layers(layers)
        rows: list[dict[str, np.ndarray]] = []
        for place, image in enumerate(images):
            digest = sha256_of_bytes(np.ascontiguousarray(image))[:16]
            if digest not in self._rows:
                raise unexpected(
                    f"image {place}",
                    f"one of those whose features are in {self.name}",
                    "another: of new images the backbone itself must make them",
                )
            part, row = self._rows[digest]
            arrays = self._files._arrays[part]
            rows.append(
                {
                    layer: np.asarray(pooled(arrays[layer][row : row + 1], pool))
                    for layer in layers
                }
            )
            if len(rows) == _BATCH:
                yield _stacked(rows)
                rows = []
        if rows:
            yield _stacked(rows)


def _stacked(rows: list[dict[str, np.ndarray]]) -> dict[str, np.ndarray]:
    return {
        layer: np.concatenate([row[layer] for row in rows]).astype(np.float32)
        for layer in rows[0]
    }


# Exceptions by which NumPy tells of a damaged file.
_DAMAGE = (
    *(OSError, ValueError, KeyError, TypeError, EOFError),
    *(zipfile.BadZipFile, zlib.error),
)


def _open(
    path: pathlib.Path,
) -> tuple[dict[str, np.ndarray], Sequence[str] | None]:
    """Reads a file: layer → array, and the names of the images if there are any."""
    if path.suffix not in SUFFIXES:
        expected = f"a file of features ({', '.join(SUFFIXES)})"
        raise unexpected(path, expected, repr(path.suffix))
    with expecting(path, "a file of features", *_DAMAGE):
        if path.suffix in (".npy", ".npz"):
            entries = _read_numpy(path)
        else:
            entries = read_mat_or_hdf5(path, "a file of features")
    layers = {
        name: values
        for name, values in entries.items()
        if values.dtype.kind in "fiu" and values.ndim > 1 and name not in _NAMES
    }
    if not layers:
        found = ", ".join(entries) or "nothing"
        raise unexpected(path, "an array [image, feature]", f"none in {found}")
    given = next((entries[name] for name in _NAMES if name in entries), None)
    names = None if given is None else [_text(name) for name in given.ravel()]
    beside = path.with_name(_NAMES_FILE)
    if names is None and beside.is_file():
        lines = beside.read_text(encoding="utf-8").splitlines()
        names = [line.strip() for line in lines if line.strip()]
    return layers, names


def _read_numpy(path: pathlib.Path) -> dict[str, np.ndarray]:
    """Reads an array or an archive, whatever the name says; refuses pickles."""
    found = np.load(path, mmap_mode="r", allow_pickle=False)
    if isinstance(found, np.ndarray):
        return {UNNAMED: found}
    with found:
        return {name: found[name] for name in found.files}


def _text(name: Any) -> str:
    return name.decode() if isinstance(name, bytes) else str(name).strip()


def _check_names(
    path: pathlib.Path, names: Sequence[str] | None, images: Sequence[str]
) -> None:
    """Refuses names that are not those of the images, row by row.

    Folders and endings count only where a name has them.
    """
    if names is None:
        return
    if len(names) != len(images):
        expected = f"a name for each of {len(images)} images"
        raise unexpected(path, expected, f"{len(names)}")
    for row, (name, image) in enumerate(zip(names, images, strict=True)):
        given = pathlib.PurePosixPath(name.replace("\\", "/"))
        wanted = pathlib.PurePosixPath(image)
        is_same = given.stem == wanted.stem or given.name == wanted.stem
        has_folder = len(given.parts) > 1
        if not is_same or (has_folder and given.parent.name != wanted.parent.name):
            expected = f"{image} in row {row}, as the images are ordered"
            raise unexpected(path, expected, name)


def _vectors(values: np.ndarray, n_images: int, where: str, pool: str) -> np.ndarray:
    check_rows(values, n_images, where)
    return np.asarray(pooled(values, pool)).astype(np.float32, copy=False)
