"""Trees of arrays by name: their shapes and checksums, and how two of them differ."""

import json
import zlib
from typing import Any

import flax.linen as nn
import jax
import numpy as np

from img2eeg_jax.errors import unexpected


def variable_shapes(model: nn.Module, image_size: int) -> dict[str, Any]:
    """Returns the shapes and dtypes of a model's variables; computes nothing.

    Args:
      model: of `description.MODELS`.
      image_size: height and width of its images, pixels; a model that takes no images
        has an `input_shape`.

    Returns:
      {"params": …, "batch_stats": …} of `jax.ShapeDtypeStruct`.
    """
    shape = getattr(model, "input_shape", (image_size, image_size, 3))
    image = jax.ShapeDtypeStruct((1, *shape), np.float32)
    return dict(jax.eval_shape(model.init, jax.random.key(0), image))


def shapes_of(tree: Any) -> dict[str, tuple[int, ...]]:
    """Returns the shape of each array of a tree, by name."""
    return {name: tuple(leaf.shape) for name, leaf in named_leaves(tree).items()}


def check_shapes(source: str, found: Any, expected: Any) -> None:
    """Compares two trees of things with shapes.

    Args:
      source: what `found` was read from, for the message.
      found: a tree.
      expected: a tree.

    Raises:
      InputError: naming the first variable that is missing, left over or mis-shaped.
    """
    there, wanted = shapes_of(found), shapes_of(expected)
    for name in sorted(there.keys() | wanted.keys()):
        shape, other = wanted.get(name, "nothing"), there.get(name, "nothing")
        if shape != other:
            raise unexpected(f"{source}: {name}", str(shape), other)


def checksums(arrays: dict[str, Any], documents: dict[str, Any]) -> dict[str, Any]:
    """Returns CRC-32 sums of what a checkpoint holds.

    Args:
      arrays: item → tree of arrays.
      documents: item → what JSON can hold.

    Returns:
      Item → name → sum of each array's bytes; and item → sum of each document's text.
    """
    texts = {
        name: zlib.crc32(json.dumps(document, sort_keys=True).encode())
        for name, document in documents.items()
    }
    return texts | {
        item: {
            name: zlib.crc32(np.ascontiguousarray(array).reshape(-1).view(np.uint8))
            for name, array in named_leaves(tree).items()
        }
        for item, tree in arrays.items()
    }


def compare_checksums(found: dict[str, Any], expected: dict[str, Any]) -> None:
    """Compares the sums of what was read with those of what was saved.

    Raises:
      ValueError: naming an item, or its array, that is another.
    """
    for item, sums in found.items():
        if sums == expected[item]:
            continue
        if isinstance(sums, dict):
            item += "/" + next(key for key in sums if sums[key] != expected[item][key])
        raise ValueError(f"{item} is not what was saved")


def named_leaves(tree: Any, separator: str = "/") -> dict[str, Any]:
    """Returns what has a shape in a tree, or in Orbax's description of one.

    Args:
      tree: of dicts.
      separator: of the keys that name a leaf.

    Returns:
      Name → leaf, in the order of the tree's leaves.
    """
    leaves = jax.tree_util.tree_leaves_with_path(
        getattr(tree, "tree", tree), is_leaf=lambda leaf: hasattr(leaf, "shape")
    )
    return {
        jax.tree_util.keystr(path, simple=True, separator=separator): leaf
        for path, leaf in leaves
        if hasattr(leaf, "shape")
    }
