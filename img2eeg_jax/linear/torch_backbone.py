"""Backbones of PyTorch: any module, read where forward hooks are put; CPU or GPU."""

import functools
import hashlib
import inspect
import os
import re
import types
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import numpy as np

from img2eeg_jax.errors import expecting, unexpected
from img2eeg_jax.interop import torch_files
from img2eeg_jax.linear.features import Backbone
from img2eeg_jax.models.cornet_s import PIXEL_MEAN, PIXEL_STD
from img2eeg_jax.models.linear_encoder import AVERAGE
from img2eeg_jax.prediction.network import MANY, batches
from img2eeg_jax.provenance import sha256_of_bytes

# Libraries that build modules by name, where they are installed.
LIBRARIES = ("timm", "torchvision")

# u8[b, height, width, 3] → what the module takes, f32[b, 3, height, width]
Preprocess = Callable[[np.ndarray], np.ndarray]


class TorchBackbone(Backbone):
    """A `torch.nn.Module` in eval mode; layers are its submodules' names.

    Example:
      >>> backbone = TorchBackbone(module, name="my network", image_size=224)
      >>> fit_linear(backbone, "runs/mine", data_dir="data")
    """

    def __init__(
        self,
        module: Any,
        *,
        name: str,
        image_size: int = 224,
        preprocess: Preprocess | None = None,
        origin: dict[str, str] | None = None,
    ):
        """Puts the module into eval mode.

        Args:
          module: takes what `preprocess` gives, as a tensor.
          name: what people call it.
          image_size: height and width of its images in pixels.
          preprocess: None scales to 0-1 and normalises by ImageNet's mean and standard
            deviation. It is part of the network: another one makes other features.
            Nothing in it may be random.
          origin: the library, model and path that build it again; see `named`.

        Raises:
          InputError: PyTorch is not installed.
        """
        self._torch = _import("torch", "torch")
        self.module, self.name, self.image_size = module.eval(), name, image_size
        self._preprocess = preprocess or normalised
        self._origin = origin
        self.digest = _digest(module)
        self.layers = tuple(layer for layer, _ in module.named_modules() if layer)

    @functools.cached_property
    def program(self) -> str:
        """See the base class: its code, and what goes into it for two images."""
        size = self.image_size
        rng = np.random.default_rng(0)
        images = rng.integers(0, 256, (2, size, size, 3), np.uint8)
        prepared = np.ascontiguousarray(self._preprocess(images))
        about = f"{prepared.dtype} {prepared.shape} {sha256_of_bytes(prepared)}"
        return f"{_code(self.module)} {about}"

    def describe(self) -> dict[str, Any]:
        """See the base class."""
        if self._origin is None:
            return super().describe()
        return {
            **super().describe(),
            "kind": "torch",
            "image_size": self.image_size,
            **self._origin,
        }

    def features(
        self, images: Iterable[np.ndarray], layers: Sequence[str], pool: str
    ) -> Iterator[dict[str, np.ndarray]]:
        """See the base class; maps f[b, channel, height, width] become NHWC."""
        self.check_layers(layers)
        torch, kept = self._torch, {}

        def keep(layer: str) -> Callable[..., None]:
            def hook(_: Any, __: Any, output: Any) -> None:
                first = output[0] if isinstance(output, tuple | list) else output
                if not isinstance(first, torch.Tensor) or first.ndim < 2:
                    found = type(output).__name__
                    raise unexpected(f"layer {layer}", "a tensor [image, …]", found)
                kept[layer] = _vectors(first.detach(), pool)

            return hook

        modules = dict(self.module.named_modules())
        hooks = [modules[layer].register_forward_hook(keep(layer)) for layer in layers]
        try:
            device = next((p.device for p in self.module.parameters()), "cpu")
            for batch in batches(images, MANY):
                real = batch["image"][batch["mask"] > 0]
                kept.clear()
                with torch.inference_mode():
                    self.module(torch.from_numpy(self._preprocess(real)).to(device))
                if missing := [layer for layer in layers if layer not in kept]:
                    expected = "layers that a forward pass goes through"
                    raise unexpected(self.name, expected, ", ".join(missing))
                yield {layer: kept[layer] for layer in layers}
        finally:
            for hook in hooks:
                hook.remove()


def named(
    library: str, model: str, path: str = "", image_size: int | None = None
) -> TorchBackbone:
    """Builds a network by its name in `timm` or `torchvision`.

    Args:
      library: one of `LIBRARIES`.
      model: its name there.
      path: of its weights: `.pt`, `.pth`, `.safetensors`, read without pickles of code;
        "" leaves them at random (seed 0), a control.
      image_size: height and width of its images; None for what the library says of
        the model, or 224. Images are resized to it, not cropped.

    Raises:
      InputError: the library is not installed, has no such model, or weights are those
        of another.
    """
    if library not in LIBRARIES:
        raise unexpected("backbone", f"one of {', '.join(LIBRARIES)}", library)
    torch = _import("torch", "torch")
    torch.manual_seed(0)
    mean, std, own_size = PIXEL_MEAN, PIXEL_STD, 224
    with expecting(f"{library}:{model}", "a model of this name", *_NO_MODEL):
        if library == "timm":
            module = _import("timm", "timm").create_model(model, pretrained=False)
            config = getattr(module, "pretrained_cfg", None) or {}
            mean, std = config.get("mean", mean), config.get("std", std)
            own_size = config.get("input_size", (3, own_size, own_size))[-1]
        else:
            models = _import("torchvision", "torchvision").models
            module = models.get_model(model, weights=None)
    if path:
        _load(torch, module, path)
    weights = os.path.basename(path) or "random weights"
    return TorchBackbone(
        module,
        name=f"{library}:{model}, {weights}",
        image_size=image_size or own_size,
        preprocess=lambda images: normalised(images, mean, std),
        origin={"library": library, "model": model, "path": path and _absolute(path)},
    )


# Exceptions by which libraries of models tell that they do not know a name.
_NO_MODEL = (RuntimeError, ValueError, KeyError, AttributeError)


def normalised(
    images: np.ndarray,
    mean: Sequence[float] = PIXEL_MEAN,
    std: Sequence[float] = PIXEL_STD,
) -> np.ndarray:
    """Maps u8[b, height, width, 3] to normalised f32[b, 3, height, width]."""
    centre, scale = np.asarray(mean, np.float32), np.asarray(std, np.float32)
    scaled = (images.astype(np.float32) / np.float32(255) - centre) / scale
    return np.ascontiguousarray(np.moveaxis(scaled, -1, 1))


def _vectors(output: Any, pool: str) -> np.ndarray:
    """Returns f32[b, feature] of f[b, channel, …] maps, or f[b, token, channel]."""
    if output.ndim > 3:
        output = output.movedim(1, -1)
    if pool == AVERAGE and output.ndim > 2:
        output = output.float().mean(tuple(range(1, output.ndim - 1)))
    return output.reshape(len(output), -1).float().cpu().numpy()


def _load(torch: types.ModuleType, module: Any, path: str) -> None:
    tensors = torch_files.read(path).tensors
    state = {name: torch.from_numpy(np.array(a)) for name, a in tensors.items()}
    with expecting(path, f"weights of {type(module).__name__}", RuntimeError):
        missing = module.load_state_dict(state, strict=False)
        wrong = [*missing.missing_keys, *missing.unexpected_keys]
        if wrong:
            more = f" and {len(wrong) - 3} more" if len(wrong) > 3 else ""
            found = f"others: {', '.join(wrong[:3])}{more} missing or left over"
            raise unexpected(path, f"weights of {type(module).__name__}", found)


def _digest(module: Any) -> str:
    """Returns the SHA-256 of the names and bytes of a module's weights."""
    found = hashlib.sha256()
    for name, tensor in sorted(module.state_dict().items()):
        array = tensor.detach().cpu().contiguous()
        found.update(f"{name} {array.dtype} {tuple(array.shape)}".encode())
        found.update(array.view(-1).float().numpy().tobytes())
    return found.hexdigest()


def _code(module: Any) -> str:
    """Tells what modules with equal weights compute: layers, settings and sources."""
    told = [repr(module)]
    for name, part in module.named_modules():
        settings = {
            key: _source(value) if callable(value) else repr(value)
            for key, value in sorted(vars(part).items())
            if not key.startswith("_")
        }
        told += [f"{name} {settings}", _source(type(part))]
    # Addresses of objects differ between processes.
    return re.sub(r" at 0x[0-9a-f]+", "", "\n".join(told))


def _source(code: Any) -> str:
    """Returns the name of a class or function and, but for a library's, its source."""
    module, name = getattr(code, "__module__", ""), getattr(code, "__qualname__", "")
    if str(module).partition(".")[0] == "torch":
        return f"{module}.{name}"
    try:
        return f"{module}.{name} {inspect.getsource(code)}"
    except (OSError, TypeError):
        # Typed in at a prompt, or compiled.
        return f"{module}.{name}"


def _absolute(path: str) -> str:
    return os.path.abspath(os.path.expanduser(path))


def _import(name: str, extra: str) -> types.ModuleType:
    """Imports a library that is optional.

    Raises:
      InputError: it is not installed; the message says how it is.
    """
    how = "pip install 'img2eeg_jax[torch]'" if extra == "torch" else "pip install"
    try:
        if name == "torch":
            import torch

            return torch
        if name == "timm":
            import timm

            return timm
        import torchvision.models

        return torchvision
    except ImportError as error:
        how = how if extra == "torch" else f"{how} {extra}"
        raise unexpected("backbone", f"{name} ({how})", "it not installed") from error
