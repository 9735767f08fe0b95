"""Published networks, told by their tensors, as networks of ours and back.

State dicts are plain dicts of NumPy arrays: nothing here needs PyTorch. What a network
of ours does not hold, but the file did (its names, dtypes and batch counters), goes
into the description, so that the way back gives every tensor bit for bit.
"""

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from img2eeg_jax.axes import Axes
from img2eeg_jax.checkpoints.description import Description
from img2eeg_jax.checkpoints.trees import variable_shapes
from img2eeg_jax.data.sources.things_eeg2 import (
    OFFICIAL_CH_NAMES,
    OFFICIAL_TIMES_S,
    PUBLISHED_WINDOW,
)
from img2eeg_jax.errors import unexpected
from img2eeg_jax.interop import names
from img2eeg_jax.models.cornet_s import AREAS, CORnetS
from img2eeg_jax.models.realnet import ReAlNet
from img2eeg_jax.signal_layout import (
    CHANNEL_MEAN,
    CHANNELS_BY_TIMES,
    FEATURES,
    SignalLayout,
)

PUBLISHED_IMAGE_SIZE = 224

_FLOATS = {"float16", "bfloat16", "float32", "float64"}


def label(network: Description) -> str:
    """Returns what people call a published network."""
    if network.signal is None:
        return "CORnet-S"
    if network.signal.kind == CHANNEL_MEAN:
        return "Image2EEG encoder"
    return "ReAlNet encoder"


def recognise(
    tensors: Mapping[str, np.ndarray],
    *,
    ch_names: Sequence[str] = (),
    times_s: Sequence[float] = (),
    is_published: bool = False,
    image_size: int | None = None,
) -> Description:
    """Tells which network the tensors of a file belong to.

    Args:
      tensors: PyTorch names, with whatever wraps them, to arrays.
      ch_names: channels of the signal, and
      times_s: their times in seconds from image onset, or the first and the last of
        them; both empty for a published network, or for features without either.
      is_published: whether it is a published network, whose channels and times the size
        of its signal tells. A network of one's own may have as many outputs.
      image_size: height and width of the images in pixels; None reads it off the
        heads, or takes 224.

    Returns:
      The network's kind, arguments, image size and signal.

    Raises:
      InputError: the tensors are of another network, the signal has another size than
        channels × times, or that of a published network, and nothing tells whether it
        is one.
    """
    canonical = names.canonical_names(tensors)
    arrays = {canonical[name]: array for name, array in tensors.items()}
    is_encoder = any(name.startswith("realnet.V1.") for name in arrays)
    prefix = "realnet." if is_encoder else ""
    if not any(name.startswith(f"{prefix}V1.") for name in arrays):
        raise unexpected(
            "",
            "the weights of CORnet-S or ReAlNet",
            f"{len(arrays)} tensors{_such_as(tensors)}",
        )

    def length(name: str, default: int) -> int:
        # `name` is a vector, which cannot be transposed; `from_state_dict` tells if it
        # is missing.
        return (arrays[name].size if name in arrays else 0) or default

    width = length(f"{prefix}V1.norm2.weight", CORnetS.width)
    num_classes = length(f"{prefix}decoder.linear.bias", CORnetS.num_classes)
    arguments: dict[str, Any] = {"width": width, "num_classes": num_classes}
    if not is_encoder:
        if ch_names or times_s:
            raise unexpected(
                "", "an encoder beside `ch_names` and `times_s`", "CORnet-S"
            )
        return Description("cornet_s", arguments, image_size or PUBLISHED_IMAGE_SIZE)
    heads = {name.split(".")[0] for name in arrays}
    areas = tuple(area for area in AREAS if f"fc_{area.lower()}" in heads) or AREAS
    features = length(f"fc_{areas[0].lower()}.bias", ReAlNet.features)
    last = arrays.get("fc.weight")
    if last is not None and last.shape[1:] == (len(AREAS) * features,):
        # The last layer has inputs of four heads: one of them is missing as a whole.
        areas = AREAS
    signal_size = length("fc.bias", 0)
    # A state dict without heads has no size of the signal: any stands in here, because
    # `from_state_dict` refuses it with the names of what is missing.
    is_published = is_published or not signal_size
    signal_size = signal_size or math.prod(ReAlNet.signal_shape)
    signal = _signal(signal_size, ch_names, times_s, is_published)
    arguments |= {"areas": areas, "features": features, "signal_shape": signal.shape}
    size = image_size or _image_size(arrays, areas)
    return Description("realnet", arguments, size, signal)


def from_state_dict(
    tensors: Mapping[str, np.ndarray],
    network: Description,
    container: str | None = None,
) -> tuple[dict[str, Any], Description]:
    """Converts a file's tensors to the variables and description of a checkpoint.

    Every tensor is used exactly once, and every variable filled exactly once.

    Args:
      tensors: PyTorch names, with whatever wraps them, to arrays.
      network: what `recognise` returned.
      container: the key that the file has its tensors under, or None.

    Returns:
      ({"params": …, "batch_stats": …}, description), NumPy float32.

    Raises:
      InputError: naming every tensor that is left over, missing or mis-shaped, or
        whose values float32 cannot hold.
    """
    shapes = variable_shapes(network.build_model(), network.image_size)
    problems = _problems(tensors, names.torch_shapes(shapes))
    if problems:
        raise unexpected("", f"a {label(network)}", "; ".join(problems))
    canonical = names.canonical_names(tensors)
    weights = {
        canonical[name]: array.astype(np.float32, copy=False)
        for name, array in tensors.items()
        if not name.endswith(names.COUNTER)
    }
    record = {
        "container": container,
        "dtypes": {name: str(array.dtype) for name, array in tensors.items()},
        names.COUNTER: {
            name: int(array)
            for name, array in tensors.items()
            if name.endswith(names.COUNTER)
        },
    }
    description = dataclasses.replace(network, torch=record)
    return names.to_variables(weights), description


def to_state_dict(
    variables: Mapping[str, Any], description: Description, step: int = 0
) -> tuple[dict[str, np.ndarray], str | None]:
    """Converts a checkpoint of ours to what the published PyTorch code loads.

    A network that came from a file gets the names, dtypes, order and batch counters
    it came with; one that was trained here those of the published files.

    Args:
      variables: {"params": …, "batch_stats": …}.
      description: of the checkpoint.
      step: training steps, which the batch counters of a network trained here count.

    Returns:
      Names to arrays, and the key to put them under, or None.
    """
    arrays = names.to_state_dict(variables)
    if description.torch is not None:
        record = description.torch
        canonical = names.canonical_names(record["dtypes"])
        tensors = {
            name: np.asarray(record[names.COUNTER][name], dtype)
            if name.endswith(names.COUNTER)
            else arrays[canonical[name]].astype(dtype, copy=False)
            for name, dtype in record["dtypes"].items()
        }
        return tensors, record["container"]
    if "areas" in description.model:
        arrays["fc.weight"] = _in_published_order(
            arrays["fc.weight"], description.model["areas"]
        )
    updates = np.array(step * description.model.get("bn_updates", 1), np.int64)
    tensors = {}
    for name, array in arrays.items():
        published = names.published_name(name)
        tensors[published] = array
        if name.endswith("running_var"):
            tensors[published.replace("running_var", names.COUNTER)] = updates
    return tensors, None


def _in_published_order(kernel: np.ndarray, areas: Sequence[str]) -> np.ndarray:
    """Moves the columns of the last layer, a block for each area, to V1 V2 V4 IT."""
    blocks = dict(zip(areas, np.split(kernel, len(areas), axis=1), strict=True))
    return np.concatenate([blocks[area] for area in AREAS if area in blocks], axis=1)


def _such_as(tensors: Mapping[str, Any]) -> str:
    return f" such as {', '.join(list(tensors)[:3])}" if tensors else ""


def _image_size(arrays: Mapping[str, np.ndarray], areas: Sequence[str]) -> int:
    """Reads the size of the images off the heads: the one that most of them fit."""
    sides = {}
    for area in areas:
        head, scales = f"fc_{area.lower()}.weight", names.last_norm(area)
        channels = arrays[scales].size if scales in arrays else 0
        if channels and head in arrays and arrays[head].ndim == 2:
            positions, rest = divmod(arrays[head].shape[1], channels)
            side = math.isqrt(positions)
            if rest == 0 and side * side == positions > 0:
                sides[area] = side
    # V1 has a quarter of the resolution, each area after it half of the one before.
    sizes = [side * 4 * 2 ** AREAS.index(area) for area, side in sides.items()]

    def n_fitting(size: int) -> int:
        return sum(sides.get(area) == s for area, s in _area_sides(size).items())

    return max(sizes, key=n_fitting) if sizes else PUBLISHED_IMAGE_SIZE


def _area_sides(image_size: int) -> dict[str, int]:
    """Returns the height and width of each area's output."""
    return {area: -(-image_size // (4 * 2**i)) for i, area in enumerate(AREAS)}


def _signal(
    size: int, ch_names: Sequence[str], times_s: Sequence[float], is_published: bool
) -> SignalLayout:
    """Returns the signal's layout: as it is given, or else as published."""
    if not ch_names and not times_s:
        signal = published_signal(size)
        if signal.is_eeg and not is_published:
            raise unexpected(
                "",
                f"`ch_names` and `times_s` of the {size} outputs, or `is_published` if "
                f"they are the published network's ({describe_signal(signal)})",
                "neither",
            )
        return signal
    if not ch_names or not times_s:
        raise unexpected("", "`ch_names` and `times_s` together", "one of them")
    n_times, rest = divmod(size, len(ch_names))
    if rest == 0 and len(times_s) == 2 < n_times:
        # From the first to the last, rounded to microseconds.
        times_s = np.linspace(times_s[0], times_s[1], n_times).round(6).tolist()
    if len(ch_names) * len(times_s) != size:
        raise unexpected(
            "",
            f"a signal of {len(ch_names)} channels × {len(times_s)} times",
            f"one of {size} numbers",
        )
    axes = Axes(tuple(ch_names), np.array(times_s))
    # Refuses milliseconds.
    axes.window((times_s[0], times_s[-1]))
    return SignalLayout.for_eeg(CHANNELS_BY_TIMES, axes, axes.times_s)


def published_signal(size: int) -> SignalLayout:
    """Returns the layout of a published network, told by the size of its signal.

    340 are the official 17 channels × 20 times, 100 the times of an epoch, of the mean
    channel; any other size is of features.
    """
    eeg = Axes(OFFICIAL_CH_NAMES, OFFICIAL_TIMES_S[PUBLISHED_WINDOW])
    for kind in (CHANNELS_BY_TIMES, CHANNEL_MEAN):
        layout = SignalLayout.for_eeg(kind, eeg, OFFICIAL_TIMES_S)
        if layout.size == size:
            return layout
    return SignalLayout(FEATURES, (size,))


def describe_signal(signal: SignalLayout) -> str:
    """Returns in words what a network's outputs are."""
    if not signal.is_eeg:
        return f"{signal.size} features"
    times_s = signal.axes.times_s
    times = f"{len(times_s)} times, {times_s[0]:g} to {times_s[-1]:g} s"
    if signal.kind == CHANNEL_MEAN:
        return f"{signal.size}: the mean channel × {times}"
    return f"{signal.size}: {len(signal.axes.ch_names)} channels × {times}"


def _problems(
    tensors: Mapping[str, np.ndarray], expected: Mapping[str, tuple[int, ...]]
) -> list[str]:
    """Lists, by name, what does not fit."""
    norms = {name.rpartition(".")[0] for name in expected if "running_var" in name}
    seen: dict[str, str] = {}
    left_over, unfit = [], []
    parts: dict[str, None] = {}
    for name, canonical in names.canonical_names(tensors).items():
        array, shape = tensors[name], expected.get(canonical)
        if canonical.endswith(f".{names.COUNTER}"):
            shape = () if canonical.rpartition(".")[0] in norms else None
        if canonical in seen:
            parts |= dict.fromkeys(_parts_that_differ(seen[canonical], name))
        if shape is None or canonical in seen:
            left_over.append(name)
        elif array.shape != shape:
            unfit.append(f"{name} of shape {array.shape} instead of {shape}")
        elif reason := _why_not_float32(canonical, array):
            unfit.append(f"{name} {reason}")
        seen.setdefault(canonical, name)
    missing = [name for name in expected if name not in seen]
    listed = [
        f"{what} {_some(found)}"
        for what, found in (("missing:", missing), ("left over:", left_over))
        if found
    ] + unfit
    if parts:
        listed.append(f"`part` takes one of several networks: {_some(list(parts))}")
    return listed


def _parts_that_differ(*names: str) -> list[str]:
    """Returns the beginnings of two names, to where they differ."""
    parts = [name.split(".") for name in names]
    pairs = enumerate(zip(*parts, strict=False))
    n_same = next((n for n, (one, other) in pairs if one != other), 0)
    return [".".join(name[: n_same + 1]) for name in parts]


def _some(listed: Sequence[str], most: int = 10) -> str:
    """Joins the first of a list, and counts the others."""
    rest = len(listed) - most
    return ", ".join(listed[:most]) + (f" and {rest} more" if rest > 0 else "")


def _why_not_float32(name: str, array: np.ndarray) -> str | None:
    if name.endswith(names.COUNTER):
        # A file that was halved as a whole has counters in half precision, too.
        is_float = str(array.dtype) in _FLOATS
        is_count = array.dtype.kind in "iu" or (is_float and float(array).is_integer())
        return None if is_count else f"is no count: {array} ({array.dtype})"
    if str(array.dtype) not in _FLOATS:
        return f"of dtype {array.dtype} instead of floating-point numbers"
    if not np.isfinite(array).all():
        return "with values that are NaN or infinite"
    with np.errstate(over="ignore"):
        is_exact = (
            array.dtype != np.float64 or (array.astype(np.float32) == array).all()
        )
    return None if is_exact else "with float64 values that float32 cannot hold"
