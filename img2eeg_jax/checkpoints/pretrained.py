"""A network as people pass it on: safetensors and JSON in a folder, or on the hub.

    model.safetensors    parameters and batch statistics
    description.json     what rebuilds the network and names its outputs; checksums
    README.md            a model card
    config.json, …       what the network's own folder had beside it, if it was there

Nothing in it needs Orbax, or can run code.
"""

import json
import os
import pathlib
import shutil
from collections.abc import Mapping
from typing import Any

import jax
import numpy as np
import safetensors.numpy

from img2eeg_jax.checkpoints import trees
from img2eeg_jax.checkpoints.description import Description
from img2eeg_jax.errors import expecting, naming, unexpected
from img2eeg_jax.files import (
    check_new,
    check_room,
    replace_folder,
    scratch_dir,
    write_text,
)
from img2eeg_jax.locks import only_writer
from img2eeg_jax.provenance import digest_of, sha256_of

FORMAT = 1

WEIGHTS = "model.safetensors"
DESCRIPTION = "description.json"
CARD = "README.md"

# Parts of an array's name.
_SEPARATOR = "."


def is_on_hub(path: str | os.PathLike) -> bool:
    """Tells whether a path is an address on the hub, ``hf://…``."""
    return os.fspath(path).startswith("hf://")


def is_at(folder: pathlib.Path) -> bool:
    """Tells whether a folder is one of these."""
    return (folder / DESCRIPTION).is_file()


def write(
    folder: pathlib.Path,
    network: tuple[int, Description, Mapping[str, Any], str],
    card: str,
    beside: Mapping[str, str | pathlib.Path],
    *,
    overwrite: bool = False,
) -> None:
    """Writes such a folder, as a whole or not at all.

    Args:
      folder: made with its parents.
      network: as `read_network` returns it. Of absolute paths in its description the
        last part is kept only: they tell of the machine that it was trained on.
      card: text of the model card.
      beside: file in the folder → its text, or the file to copy.
      overwrite: whether to replace what is there and was written by this.

    Raises:
      InputError: there is something, or it cannot be written.
    """
    folder = folder.resolve()
    check_new(folder, overwrite)
    if folder.exists() and any(folder.iterdir()) and not is_at(folder):
        raise unexpected(
            folder, "a network saved before to replace", "other files; choose another"
        )
    step, description, variables, which = network
    # The library writes the memory of an array as it lies, whatever its strides: of a
    # subject's part of what several share it would be others' numbers.
    arrays = {
        name: np.asarray(array, order="C")
        for name, array in dict(trees.named_leaves(variables, _SEPARATOR)).items()
    }
    entries = without_places(description.to_dict())
    with (
        only_writer(folder.parent, folder.name),
        scratch_dir(folder.parent, folder.name) as scratch,
        expecting(folder, "a folder that can be written", OSError),
    ):
        check_room(scratch, sum(array.nbytes for array in arrays.values()))
        new = scratch / "new"
        new.mkdir()
        # The library's own files are for nobody else to read.
        weights = safetensors.numpy.save(arrays, {"format": "flax"})
        (new / WEIGHTS).write_bytes(weights)
        for name, content in beside.items():
            (new / name).parent.mkdir(parents=True, exist_ok=True)
            if isinstance(content, str):
                write_text(new / name, content)
            else:
                shutil.copyfile(content, new / name)
        document = {
            "format": FORMAT,
            "step": step,
            "which": which,
            "description": entries,
            "description_sha256": digest_of(entries),
            "files": {name: sha256_of(new / name) for name in (WEIGHTS, *beside)},
        }
        write_text(new / DESCRIPTION, json.dumps(document, indent=1) + "\n")
        write_text(new / CARD, card)
        replace_folder(new, folder)


def read_network(
    folder: pathlib.Path,
) -> tuple[int, Description, dict[str, Any], str]:
    """Reads the network of such a folder.

    Returns:
      (step, description, variables, "best" or "last"), arrays of NumPy.

    Raises:
      InputError: it is damaged, or its arrays do not fit its description.
    """
    document = read_document(folder / DESCRIPTION)
    path = folder / WEIGHTS
    kinds = (OSError, ValueError, KeyError, TypeError, safetensors.SafetensorError)
    with naming(folder / DESCRIPTION), expecting("", "a network's description", *kinds):
        description = Description.from_dict(document["description"])
        step, which = int(document["step"]), str(document["which"])
        shapes = trees.variable_shapes(
            description.build_model(), description.image_size
        )
    with expecting(path, "the weights that were saved", *kinds):
        if sha256_of(path) != document["files"][WEIGHTS]:
            raise unexpected(path, "the weights that were saved", "other bytes")
        arrays = safetensors.numpy.load_file(path)
    wanted = trees.named_leaves(shapes, _SEPARATOR)
    trees.check_shapes(str(path), arrays, wanted)
    names = list(wanted)
    treedef = jax.tree.structure(shapes)
    variables = jax.tree.unflatten(treedef, [arrays[name] for name in names])
    return step, description, variables, which


def read_document(path: pathlib.Path) -> dict[str, Any]:
    """Reads ``description.json``.

    Raises:
      InputError: it is none, of another format, or its description was changed.
    """
    expected = f"a description of format {FORMAT} of a network"
    kinds = (OSError, ValueError, KeyError, TypeError, AttributeError)
    with expecting(path, expected, *kinds):
        document = json.loads(path.read_text(encoding="utf-8"))
        if document["format"] != FORMAT:
            raise unexpected(path, expected, f"format {document['format']!r}")
        if digest_of(document["description"]) != document["description_sha256"]:
            raise unexpected(path, expected, "one that is not what was saved")
        for name in dict(document["files"]):
            parts = name.split("/")
            if not all(parts) or {".", ".."} & {*parts} or "\\" in name:
                raise unexpected(path, expected, f"a file {name!r} outside")
    return document


def without_places(value: Any) -> Any:
    """Returns plain values with only the last part of each absolute path."""
    if isinstance(value, Mapping):
        return {key: without_places(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [without_places(entry) for entry in value]
    if isinstance(value, str) and os.path.isabs(value):
        return os.path.basename(value.rstrip(os.sep))
    return value
