"""Where the configurations of shards lie, and what describes them.

    SHARDS_DIR/things_eeg2/images-64/3.1.0    images of 64x64 pixels, for all subjects
    SHARDS_DIR/things_eeg2/sub-01/3.1.0       EEG of one subject
    SHARDS_DIR/things_eeg2/sub-01-responses/3.1.0    responses that are no EEG

SHARDS_DIR is a folder, or an address that TensorFlow can write to, such as
``gs://BUCKET/shards``. What lies at an address is copied into the cache to be read.
"""

import contextlib
import dataclasses
import io
import json
import os
import pathlib
import shutil
from collections.abc import Iterator
from typing import Any

from absl import logging

from img2eeg_jax.data.layout import Label, subject_name
from img2eeg_jax.data.shards.tensorflow_setup import tf
from img2eeg_jax.errors import InputError, expecting, unexpected
from img2eeg_jax.files import cache_dir, scratch_dir
from img2eeg_jax.provenance import sha256_of_text

# The builder's name, and the version of what it writes.
NAME = "things_eeg2"
VERSION = "3.1.0"
# TFDS describes a configuration in the first file, we in the second.
INFO_FILE = "dataset_info.json"
METADATA_FILE = "metadata.json"


@dataclasses.dataclass(frozen=True)
class Configuration:
    """The files of one configuration, complete.

    Attributes:
      name: such as images-64 or sub-01.
      address: its folder or address, which messages name.
      folder: where its files are read: that folder, or the local copy of the address.
      metadata: what describes all examples; `metadata["files"]` holds, by partition,
        [file name, number of examples, bytes] of each file.
    """

    name: str
    address: str
    folder: pathlib.Path
    metadata: dict[str, Any]

    def files(self, partition: str) -> list[tuple[pathlib.Path, int]]:
        """Returns the path and the number of examples of each file of a partition."""
        files = self.metadata["files"][partition]
        return [(self.folder / name, n_examples) for name, n_examples, _ in files]

    def n_examples(self, partition: str) -> int:
        """Returns the number of examples of a partition."""
        return sum(n_examples for _, n_examples in self.files(partition))

    @contextlib.contextmanager
    def told_damaged(self, what: str) -> Iterator[None]:
        """Tells of damage that is found meanwhile, and forgets a damaged local copy.

        Args:
          what: what was expected instead of the damage.

        Raises:
          InputError: something shows that the files are damaged; one that comes from
            within passes as it is.
        """
        try:
            yield
        except InputError:
            raise
        except (tf.errors.OpError, OSError, ValueError, KeyError, TypeError) as error:
            if is_remote(self.address):
                shutil.rmtree(self.folder, ignore_errors=True)
            raise unexpected(
                self.address,
                what,
                f"{' '.join(str(error).split())}; delete the folder to build them "
                "again",
            ) from error


def is_remote(shards_dir: str | os.PathLike) -> bool:
    """Tells whether shards lie, or shall lie, at an address and not in a folder."""
    return "://" in os.fspath(shards_dir)


def images_name(image_size: int) -> str:
    """Returns the name of the configuration that holds images of a size in pixels."""
    return f"images-{image_size}"


def responses_name(subject: Label, *, is_eeg: bool) -> str:
    """Returns the name of the configuration that holds a subject's responses."""
    return subject_name(subject) + ("" if is_eeg else "-responses")


def config_dir(shards_dir: str | os.PathLike, name: str) -> str:
    """Returns the folder or address of a configuration, such as sub-01."""
    return f"{os.fspath(shards_dir)}/{NAME}/{name}/{VERSION}"


def exists(shards_dir: str | os.PathLike, name: str) -> bool:
    """Tells whether a configuration is there and complete.

    Raises:
      InputError: there is no access to the address.
    """
    path = f"{config_dir(shards_dir, name)}/{INFO_FILE}"
    with expecting(shards_dir, "shards or a place for them", tf.errors.OpError):
        return tf.io.gfile.exists(path)


def read_metadata(shards_dir: str | os.PathLike, name: str) -> dict[str, Any]:
    """Returns what describes all examples of a configuration.

    Raises:
      InputError: there is no such description, or it is damaged.
    """
    return _read_json(f"{config_dir(shards_dir, name)}/{METADATA_FILE}")


def count_examples(shards_dir: str | os.PathLike, name: str) -> dict[str, int]:
    """Returns the number of examples of each partition of a configuration.

    Raises:
      InputError: there is no such description, or it is damaged.
    """
    path = f"{config_dir(shards_dir, name)}/{INFO_FILE}"
    with expecting(path, "the description of shards", KeyError, TypeError):
        return {
            split["name"]: sum(map(int, split["shardLengths"]))
            for split in _read_json(path)["splits"]
        }


def open_configuration(shards_dir: str | os.PathLike, name: str) -> Configuration:
    """Opens a configuration: copies it if need be, and checks the sizes of its files.

    Args:
      shards_dir: a folder or an address.
      name: such as images-64 or sub-01.

    Raises:
      InputError: it is not there, or a file is missing or has another size than it had
        when it was written.
    """
    address = config_dir(shards_dir, name)
    if not exists(shards_dir, name):
        raise unexpected(address, f"shards of {name}", _others(shards_dir, name))
    metadata = read_metadata(shards_dir, name)
    local = _cached(address, metadata) if is_remote(address) else pathlib.Path(address)
    opened = Configuration(name, address, local, metadata)
    for partition, n_examples in count_examples(shards_dir, name).items():
        with opened.told_damaged(f"complete shards of the {partition} partition"):
            for file_name, _, n_bytes in metadata["files"][partition]:
                n_found = (local / file_name).stat().st_size
                if n_found != n_bytes:
                    raise ValueError(f"{n_found} of {n_bytes} bytes in {file_name}")
            if opened.n_examples(partition) != n_examples:
                n_found = opened.n_examples(partition)
                raise ValueError(f"{n_found} of {n_examples} examples")
    return opened


@contextlib.contextmanager
def quiet_tfds() -> Iterator[None]:
    """Silences TFDS, which announces downloads and warns of custom configurations."""
    verbosity = logging.get_verbosity()
    logging.set_verbosity(logging.ERROR)
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            yield
    finally:
        logging.set_verbosity(verbosity)


def upload(folder: pathlib.Path, shards_dir: str, name: str) -> None:
    """Copies a configuration to an address, in the place of an older one.

    Args:
      folder: the local copy, complete.
      shards_dir: the address.
      name: of the configuration.

    Raises:
      InputError: it cannot be written to.
    """
    target = config_dir(shards_dir, name)
    last = f"{target}/{INFO_FILE}"
    with expecting(target, "a place to write shards to", tf.errors.OpError):
        # Without this file the rest does not count, for us and for TFDS.
        if tf.io.gfile.exists(last):
            tf.io.gfile.remove(last)
        if tf.io.gfile.exists(target):
            tf.io.gfile.rmtree(target)
        tf.io.gfile.makedirs(target)
        for path in sorted(folder.iterdir(), key=lambda path: path.name == INFO_FILE):
            tf.io.gfile.copy(str(path), f"{target}/{path.name}", overwrite=True)


def _others(shards_dir: str | os.PathLike, name: str) -> str:
    """Tells of shards that another version wrote, which their data set renews."""
    folder = os.path.dirname(config_dir(shards_dir, name))
    found = tf.io.gfile.listdir(folder) if tf.io.gfile.isdir(folder) else []
    # A folder of this version is one that was not written to its end.
    others = sorted({version.rstrip("/") for version in found} - {str(VERSION)})
    if not others:
        return "none"
    return (
        f"those of version {', '.join(others)}; name their data set to build them again"
    )


def _read_json(path: str) -> dict[str, Any]:
    expected = "the description of shards"
    with (
        expecting(path, expected, tf.errors.OpError, ValueError),
        tf.io.gfile.GFile(path) as file,
    ):
        found = json.loads(file.read())
    if not isinstance(found, dict):
        raise unexpected(path, expected, type(found).__name__)
    return found


def _cached(address: str, metadata: dict[str, Any]) -> pathlib.Path:
    """Returns the local copy of a configuration that lies at an address."""
    digest = sha256_of_text(address)[:16]
    target = cache_dir() / "shards" / digest
    if _holds(target, metadata):
        return target
    with scratch_dir(target.parent, target.name) as scratch:
        copy = scratch / "copy"
        copy.mkdir()
        with expecting(
            address, f"shards that can be copied to {target.parent}", tf.errors.OpError
        ):
            for name in tf.io.gfile.listdir(address):
                tf.io.gfile.copy(f"{address}/{name}", str(copy / name))
        shutil.rmtree(target, ignore_errors=True)
        try:
            os.replace(copy, target)
        except OSError:
            # A move fails where another process has put the same folder meanwhile.
            if not _holds(target, metadata):
                raise
    return target


def _holds(folder: pathlib.Path, metadata: dict[str, Any]) -> bool:
    """Tells whether a local copy is of shards with this description."""
    try:
        return _read_json(str(folder / METADATA_FILE)) == metadata
    except InputError:
        return False
