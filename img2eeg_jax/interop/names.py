"""The map between the published PyTorch state dicts and our variables, both ways.

State dicts here are plain dicts of NumPy arrays. Our modules carry PyTorch's names, so
the map is a few rules: how a leaf is called, how its axes are ordered, and how the
rows of an area's head, which PyTorch flattens as channel × height × width and we as
height × width × channel, are permuted.
"""

import math
import re
from collections.abc import Callable, Iterable, Mapping

import jax
import numpy as np
from flax.traverse_util import flatten_dict, unflatten_dict

from img2eeg_jax.errors import unexpected

# A leaf of the variables: its collection, its modules, its own name.
_Path = tuple[str, ...]

# DataParallel's prefix, in the published files and absent from others.
DATA_PARALLEL = "module."

_BATCH_NORM = {
    "weight": ("params", "scale"),
    "bias": ("params", "bias"),
    "running_mean": ("batch_stats", "mean"),
    "running_var": ("batch_stats", "var"),
}
_CONV = {"weight": ("params", "kernel")}
_LINEAR = {"weight": ("params", "kernel"), "bias": ("params", "bias")}

# Modules that hold weights. `norm1_0` is the norm of conv1 in recurrent step 0.
_AREAS_MODULE = (
    r"V1\.(?:conv|norm)[12]|decoder\.linear"
    r"|(?:V2|V4|IT)\.(?:conv_input|skip|norm_skip|conv[123]|norm[123]_\d)"
)
_HEAD = r"fc(?:_v1|_v2|_v4|_it)?"
_MODULE = re.compile(rf"(?:realnet\.)?(?:{_AREAS_MODULE})|{_HEAD}")

# Names that libraries put between those of modules: for data parallelism, compilation,
# sharding and recomputation of activations.
_BETWEEN = re.compile(
    r"(?<![^.])(?:module|_orig_mod|_fsdp_wrapped_module|_checkpoint_wrapped_module)\."
)

# A key that counts batches and holds no weight.
COUNTER = "num_batches_tracked"

# The last parts of the names of a network's tensors.
LEAVES = (*_BATCH_NORM, COUNTER)

# A weight, after the names of whatever the network was an attribute of.
_WRAPPED = re.compile(
    rf"(?:.*\.)??(?P<is_encoder>realnet\.)?"
    rf"(?:(?P<of_area>(?:{_AREAS_MODULE})\.\w+)|(?P<of_head>{_HEAD}\.\w+))"
)


def canonical_name(name: str) -> str:
    """Drops DataParallel's `module.` wherever it stands."""
    return name.replace(DATA_PARALLEL, "")


def canonical_names(names: Iterable[str]) -> dict[str, str]:
    """Finds the networks' names in the names of a file, whatever wraps them.

    Training code keeps a network as an attribute (`model.`, `net.`, `encoder.`) of
    something else, and libraries wrap it or its modules (`module.`, `_orig_mod.`).

    Args:
      names: all names of a file.

    Returns:
      Each name to the canonical one: as in the published files, without `module.`.
      A name that is no weight of CORnet-S or ReAlNet stays as it is, without
      `module.`; several names may become one.
    """
    found = {name: _WRAPPED.fullmatch(_BETWEEN.sub("", name)) for name in names}
    matches = [match for match in found.values() if match is not None]
    # Only an encoder has heads, and a module `realnet`, whatever it is called here.
    is_encoder = any(match["of_head"] or match["is_encoder"] for match in matches)
    backbone = "realnet." if is_encoder else ""
    return {
        name: canonical_name(name)
        if match is None
        else match["of_head"] or f"{backbone}{match['of_area']}"
        for name, match in found.items()
    }


def published_name(canonical: str) -> str:
    """Puts `module.` where the published files have it: before the backbone's areas."""
    if canonical.startswith("fc"):
        return canonical
    realnet = "realnet." if canonical.startswith("realnet.") else ""
    return f"{realnet}{DATA_PARALLEL}{canonical.removeprefix(realnet)}"


def last_norm(area: str) -> str:
    """Returns the name of the scales of an encoder's area's last batch norm."""
    return f"realnet.{area}.{'norm2' if area == 'V1' else 'norm3_0'}.weight"


def to_variables(state_dict: Mapping[str, np.ndarray]) -> dict:
    """Converts a published state dict to Flax variables.

    Args:
      state_dict: PyTorch names, with or without `module.`, to arrays. Keys that end
        in `num_batches_tracked` are passed over.

    Returns:
      {"params": …, "batch_stats": …}, nested dicts of arrays: convolutions HWIO,
      linear layers in × out, heads' rows in NHWC order.

    Raises:
      InputError: a name that is no weight of CORnet-S or ReAlNet, or one given twice;
        a head without its area, or of another size.
    """
    arrays = {}
    for name, array in state_dict.items():
        if name.endswith(COUNTER):
            continue
        if canonical_name(name) in arrays:
            found = f"it twice, with and without {DATA_PARALLEL!r}"
            raise unexpected(name, "a name once", found)
        arrays[canonical_name(name)] = np.asarray(array)
    leaves = {
        _variable_path(name): _to_ours(name, array, _channels_in(arrays))
        for name, array in arrays.items()
    }
    return {"params": {}, "batch_stats": {}} | unflatten_dict(leaves)


def to_state_dict(variables: Mapping) -> dict[str, np.ndarray]:
    """Converts Flax variables to a state dict, without `module.`.

    The inverse of `to_variables`, bit for bit.

    Args:
      variables: {"params": …, "batch_stats": …} of CORnetS or ReAlNet.

    Returns:
      Canonical PyTorch names to arrays in PyTorch's layout.
    """
    ours = {name: variables.get(name, {}) for name in ("params", "batch_stats")}
    leaves = {
        _torch_name(path): np.asarray(value)
        for path, value in flatten_dict(ours).items()
    }
    channels = _channels_in(leaves)
    return {name: _to_torch(name, array, channels) for name, array in leaves.items()}


def torch_shapes(variables: Mapping) -> dict[str, tuple[int, ...]]:
    """Returns the shapes of the state dict that variables become.

    Args:
      variables: {"params": …, "batch_stats": …} of things with shapes, such as
        `jax.ShapeDtypeStruct`.

    Returns:
      Canonical PyTorch names to shapes in PyTorch's layout.
    """
    # One byte stands for a whole weight, and moves as its numbers would.
    empty = jax.tree.map(lambda leaf: np.broadcast_to(False, leaf.shape), variables)
    return {name: array.shape for name, array in to_state_dict(empty).items()}


def _leaf_rules(module: str) -> dict[str, tuple[str, str]]:
    if module.startswith("norm"):
        return _BATCH_NORM
    if module.startswith("conv") or module == "skip":
        return _CONV
    if module == "linear" or module.startswith("fc"):
        return _LINEAR
    return {}


def _variable_path(name: str) -> _Path:
    *modules, leaf = name.split(".")
    is_module = _MODULE.fullmatch(".".join(modules))
    rules = _leaf_rules(modules[-1]) if is_module else {}
    if leaf not in rules:
        raise unexpected(name, "a weight of CORnet-S or ReAlNet", "another")
    collection, our_leaf = rules[leaf]
    return collection, *modules, our_leaf


def _torch_name(path: _Path) -> str:
    collection, *modules, leaf = path
    for torch_leaf, rule in _leaf_rules(modules[-1]).items():
        if rule == (collection, leaf):
            return ".".join((*modules, torch_leaf))
    where = "/".join((*modules, leaf))
    raise unexpected(where, "a variable of CORnet-S or ReAlNet", "another")


def _to_ours(
    name: str, array: np.ndarray, channels: Callable[[str], int]
) -> np.ndarray:
    if array.ndim == 4:
        return array.transpose(2, 3, 1, 0)
    if array.ndim != 2:
        return array
    if area := _head_area(name):
        count = channels(area)
        side = _side(name, array.shape[1], count)
        array = array.reshape(-1, count, side, side).transpose(0, 2, 3, 1)
        array = array.reshape(array.shape[0], -1)
    return array.T


def _to_torch(
    name: str, array: np.ndarray, channels: Callable[[str], int]
) -> np.ndarray:
    if array.ndim == 4:
        return array.transpose(3, 2, 0, 1)
    if array.ndim != 2:
        return array
    array = array.T
    if area := _head_area(name):
        count = channels(area)
        side = _side(name, array.shape[1], count)
        array = array.reshape(-1, side, side, count).transpose(0, 3, 1, 2)
        array = array.reshape(array.shape[0], -1)
    return array


def _head_area(name: str) -> str | None:
    """Returns "V1" for "fc_v1.weight", None for what is not an area's head."""
    module = name.split(".")[0]
    return module.removeprefix("fc_").upper() if module.startswith("fc_") else None


def _channels_in(arrays: Mapping[str, np.ndarray]) -> Callable[[str], int]:
    """Returns area → number of its channels, read off its last batch norm."""

    def channels(area: str) -> int:
        name = last_norm(area)
        if name not in arrays:
            raise unexpected(name, f"one beside the head of {area}", "nothing")
        return len(arrays[name])

    return channels


def _side(name: str, rows: int, channels: int) -> int:
    side = math.isqrt(rows // channels)
    if side * side * channels != rows:
        raise unexpected(name, f"{channels} × side × side inputs", rows)
    return side
