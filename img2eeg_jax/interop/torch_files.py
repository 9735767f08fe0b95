"""Files of PyTorch weights, read and written as dicts of NumPy arrays.

`.pt` and `.pth`, in the zip and in the older format, through PyTorch, which builds
tensors and plain Python values and nothing else; `.safetensors` without PyTorch.
"""

import contextlib
import dataclasses
import os
import pathlib
import pickle
import pickletools
import re
import struct
import types
import warnings
from collections.abc import Mapping
from typing import Any

import ml_dtypes
import numpy as np
import safetensors.numpy

from img2eeg_jax.errors import expecting, first_line, unexpected
from img2eeg_jax.files import replacing

SAFETENSORS = ".safetensors"
SUFFIXES = (".pt", ".pth", SAFETENSORS)

# Where training scripts keep the weights in what they save.
CONTAINERS = ("state_dict", "model_state_dict", "model")

# Names of what training checkpoints hold beside weights, tensors among it.
_EXTRAS = re.compile(r"(optim|sched|scaler|rng).*|.*_?(optimizer|scheduler)")


@dataclasses.dataclass(frozen=True)
class Weights:
    """What a file holds.

    Attributes:
      tensors: names in the file to arrays, in the file's order.
      container: the key that they lay under, or None.
      ignored: keys beside them that hold no weights, such as an optimizer's state.
    """

    tensors: dict[str, np.ndarray]
    container: str | None = None
    ignored: tuple[str, ...] = ()


def read(path: str | os.PathLike) -> Weights:
    """Reads a file of weights; what is in it decides the format, not its name.

    Args:
      path: the file.

    Returns:
      Its tensors, in the dtypes they are stored in.

    Raises:
      InputError: it is missing, damaged, holds something other than tensors and plain
        values, or needs PyTorch, which is not installed.
    """
    path = pathlib.Path(path)
    if not path.is_file():
        raise unexpected(path, "a file of weights", "none")
    if _is_safetensors(path):
        return Weights(_read_safetensors(path))
    content = _load(path)
    if not isinstance(content, Mapping):
        raise unexpected(path, "a dict of tensors", type(content).__name__)
    return _weights(path, content)


def write(
    path: str | os.PathLike,
    tensors: Mapping[str, np.ndarray],
    container: str | None = None,
) -> None:
    """Writes a file of weights, as a whole or not at all.

    Args:
      path: `.pt` or `.pth` for PyTorch's format, `.safetensors` for the other.
      tensors: names to arrays.
      container: key to put them under; safetensors files have none.

    Raises:
      InputError: another suffix, or PyTorch is needed and not installed.
    """
    path = pathlib.Path(path)
    check_name(path)
    arrays = {name: np.asarray(array, order="C") for name, array in tensors.items()}
    torch = None if path.suffix == SAFETENSORS else _import_torch(path)
    errors = (RuntimeError, safetensors.SafetensorError)
    with (
        expecting(path, "a file that can be written", *errors),
        replacing(path) as temporary,
    ):
        if torch is None:
            safetensors.numpy.save_file(arrays, temporary)
        else:
            content = {name: _to_torch(torch, a) for name, a in arrays.items()}
            torch.save({container: content} if container else content, temporary)


def check_name(path: pathlib.Path) -> None:
    """Refuses a name that tells no format.

    Raises:
      InputError: it ends in none of `SUFFIXES`.
    """
    if path.suffix not in SUFFIXES:
        raise unexpected(
            path,
            f"a file name that ends in {', '.join(SUFFIXES)}",
            path.suffix or "none",
        )


def _is_safetensors(path: pathlib.Path) -> bool:
    """Tells by the start: the length of a JSON header, and its first brace."""
    with open(path, "rb") as file:
        start = file.read(9)
    if len(start) < 9:
        return path.suffix == SAFETENSORS
    return start[8:] == b"{" and struct.unpack("<Q", start[:8])[0] < 1 << 32


def _read_safetensors(path: pathlib.Path) -> dict[str, np.ndarray]:
    try:
        return safetensors.numpy.load_file(path)
    except (safetensors.SafetensorError, KeyError, ValueError, OSError) as error:
        raise unexpected(
            path,
            "a whole safetensors file",
            f"one that cannot be read ({first_line(error)})",
        ) from error


def _import_torch(path: pathlib.Path) -> types.ModuleType:
    try:
        import torch
    except ImportError as error:
        raise unexpected(
            path,
            "PyTorch to be installed",
            "none; pip install 'img2eeg_jax[torch]', or use a .safetensors file",
        ) from error
    return torch


def _load(path: pathlib.Path) -> Any:
    torch = _import_torch(path)
    try:
        with warnings.catch_warnings(action="ignore"):
            return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        asked_for = re.findall(r"GLOBAL ([\w.]+)", str(error)) or _classes_in(path)
        reason = (
            f"one that asks for {', '.join(asked_for)}"
            if asked_for
            else "one that PyTorch refuses to load with weights_only=True"
        )
        raise unexpected(
            path, "tensors and plain values only", f"{reason}; nothing of it was run"
        ) from error
    except Exception as error:
        # torch.load raises almost anything when a file is damaged.
        raise unexpected(
            path,
            "a whole file of PyTorch weights",
            f"one that cannot be read ({first_line(error)})",
        ) from error


def _classes_in(path: pathlib.Path) -> list[str]:
    """Names the classes and functions that a pickle asks for, besides tensors'.

    Reads the pickle's opcodes; nothing is built or run.
    """
    names: set[str] = set()
    strings: list[str] = []
    # genops raises where the pickle is damaged; what came before it counts.
    with open(path, "rb") as file, contextlib.suppress(Exception):
        for opcode, argument, _ in pickletools.genops(file):
            if isinstance(argument, str):
                strings.append(argument)
            if opcode.name == "GLOBAL":
                names.add(argument.replace(" ", "."))
            elif opcode.name == "STACK_GLOBAL":
                names.add(".".join(strings[-2:]))
    harmless = ("torch.", "collections.OrderedDict")
    return sorted(name for name in names if not name.startswith(harmless))


def _weights(path: pathlib.Path, content: Mapping) -> Weights:
    """Picks the weights out of what a file holds."""
    container = next(
        (key for key in CONTAINERS if isinstance(content.get(key), Mapping)), None
    )
    found = content[container] if container else content
    beside = content.items() if container else ()
    tensors, ignored = {}, []
    for name, value in found.items():
        is_tensor = not isinstance(value, Mapping | str | int | float | type(None))
        if not is_tensor and not _holds_weights(str(name), value):
            ignored.append(str(name))
        else:
            tensors[str(name)] = _to_numpy(path, name, value)
    for name, value in beside:
        if name == container:
            continue
        if _holds_weights(str(name), value):
            raise unexpected(
                path, f"weights under {container!r} only", f"others under {name!r}"
            )
        ignored.append(str(name))
    return Weights(tensors, container, tuple(ignored))


def _holds_weights(name: str, value: Any) -> bool:
    """Tells whether there are tensors in it that are no optimizer's and the like."""
    if _EXTRAS.fullmatch(name):
        return False
    if isinstance(value, Mapping):
        return any(_holds_weights(str(key), inner) for key, inner in value.items())
    if isinstance(value, list | tuple):
        return any(_holds_weights(name, inner) for inner in value)
    # A tensor of one number is a score or an epoch, unless it has a weight's name.
    return hasattr(value, "numel") and (value.numel() > 1 or "." in name)


def _to_numpy(path: pathlib.Path, name: str, tensor: Any) -> np.ndarray:
    torch = _import_torch(path)
    if not isinstance(tensor, torch.Tensor) or tensor.layout != torch.strided:
        raise unexpected(f"{path}: {name}", "a dense tensor", type(tensor).__name__)
    tensor = tensor.detach()
    n_bytes = tensor.numel() * tensor.element_size()
    if tensor.device.type != "cpu" or n_bytes > tensor.untyped_storage().nbytes():
        raise unexpected(
            f"{path}: {name}",
            "a tensor that holds its values",
            f"one of shape {tuple(tensor.shape)} that does not",
        )
    if tensor.dtype == torch.bfloat16:
        # NumPy has no bfloat16 of its own.
        return tensor.view(torch.int16).numpy().view(ml_dtypes.bfloat16)
    try:
        return tensor.numpy()
    except (TypeError, RuntimeError) as error:
        raise unexpected(
            f"{path}: {name}", "a dense tensor of numbers", tensor.dtype
        ) from error


def _to_torch(torch: types.ModuleType, array: np.ndarray) -> Any:
    is_bfloat16 = array.dtype == ml_dtypes.bfloat16
    with warnings.catch_warnings(action="ignore"):
        # PyTorch warns of arrays that may not be written to; nobody writes to them.
        tensor = torch.from_numpy(array.view(np.int16) if is_bfloat16 else array)
    return tensor.view(torch.bfloat16) if is_bfloat16 else tensor
