"""Backbones: what makes features of images, a layer at a time, whatever it is."""

import abc
import dataclasses
import functools
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from img2eeg_jax.checkpoints.load import Checkpoint, load_whole
from img2eeg_jax.checkpoints.trees import named_leaves, variable_shapes
from img2eeg_jax.errors import counted, unexpected
from img2eeg_jax.models.cornet_s import AREAS, CORnetS, normalise_pixels
from img2eeg_jax.models.linear_encoder import LOGITS, PIXELS, pooled
from img2eeg_jax.prediction.network import Network, Run
from img2eeg_jax.provenance import digest_of, sha256_of_bytes

Array = jax.Array
# (variables, f32[b, height, width, 3] from 0 to 1) → layer → f[b, ..., channel]
Function = Callable[[Any, Array], Mapping[str, Array]]

# Names in a message; of some backbones there are hundreds.
_SHOWN = 12


class WithLayers:
    """What has features of images, by layers.

    Attributes:
      layers: names of those whose features it can give.
    """

    layers: Sequence[str]

    def check_layers(self, layers: Sequence[str]) -> None:
        """Refuses layers that there are not.

        Raises:
          InputError: naming those that there are.
        """
        unknown = [layer for layer in layers if layer not in self.layers]
        if unknown or not layers or len({*layers}) < len(layers):
            shown = ", ".join(self.layers[:_SHOWN])
            more = len(self.layers) - _SHOWN
            if more > 0:
                shown += f" and {more} more"
            found = ", ".join(unknown or layers) or "none"
            raise unexpected("`layers`", f"different ones of {shown}", found)


class Backbone(WithLayers, abc.ABC):
    """What makes features of images.

    Attributes:
      name: what people call it.
      digest: tells its weights from others.
      image_size: height and width of the images that it takes, in pixels.
    """

    name: str
    digest: str
    image_size: int

    @abc.abstractmethod
    def features(
        self, images: Iterable[np.ndarray], layers: Sequence[str], pool: str
    ) -> Iterator[dict[str, np.ndarray]]:
        """Computes features, a batch at a time.

        Args:
          images: each u8[image_size, image_size, 3], RGB.
          layers: of `layers`.
          pool: "flat" or "avg", see `models.linear_encoder.pooled`.

        Yields:
          Layer → f32[b, feature] of the next images.

        Raises:
          InputError: there is no such layer.
        """

    @property
    def program(self) -> str:
        """Tells what it computes from what others do; "" where only its name does."""
        return ""

    def describe(self) -> dict[str, Any]:
        """Returns what a checkpoint says of it, JSON's own types."""
        return {"kind": "own", "name": self.name, "digest": self.digest}


class JaxBackbone(Backbone):
    """A function of JAX, Flax or any library on it.

    Example:
      >>> def alexnet(variables, pixels):
      ...     return {"conv1": jax.nn.relu(conv(pixels, variables["conv1"]))}
      >>> backbone = JaxBackbone("alexnet", alexnet, variables, 224)
    """

    def __init__(
        self,
        name: str,
        function: Function,
        variables: Any,
        image_size: int,
        *,
        precision: str = "float32",
    ):
        """Compiles nothing yet.

        Args:
          name: what people call it.
          function: pure, of variables and pixels f32[b, height, width, 3] from 0 to 1;
            it normalises them itself, and returns layer → f[b, ..., channel].
          variables: its weights, a tree of arrays.
          image_size: height and width of its images in pixels.
          precision: of matrix products, as `Description.precision`.
        """
        self.name, self.image_size = name, image_size
        self.digest = digest_of_arrays(variables)
        self._function, self._variables = function, variables
        self._precision = precision
        # (layers, pool) → what computes them.
        self._runs: dict[Any, Run] = {}
        self.layers = tuple(jax.eval_shape(function, variables, self._image))

    @property
    def _image(self) -> jax.ShapeDtypeStruct:
        shape = (1, self.image_size, self.image_size, 3)
        return jax.ShapeDtypeStruct(shape, jnp.float32)

    @functools.cached_property
    def program(self) -> str:
        """See the base class: SHA-256 of the function, traced, and the precision."""
        traced = jax.jit(self._function).lower(self._variables, self._image)
        return f"{sha256_of_bytes(traced.as_text().encode())} {self._precision}"

    def features(
        self, images: Iterable[np.ndarray], layers: Sequence[str], pool: str
    ) -> Iterator[dict[str, np.ndarray]]:
        """See the base class."""
        self.check_layers(layers)
        key = (tuple(layers), pool)
        if key not in self._runs:
            self._runs[key] = self._compiled(*key)
        for rows in self._runs[key](images):
            yield {layer: rows[layer] for layer in layers}

    def _compiled(self, layers: Sequence[str], pool: str) -> Run:
        def step(variables: Any, batch: dict[str, Array]) -> dict[str, Array]:
            outputs = self._function(variables, batch["image"] / jnp.float32(255))
            return {
                layer: pooled(outputs[layer], pool).astype(jnp.float32)
                for layer in layers
            }

        return self._network.compiled(step)

    @functools.cached_property
    def _network(self) -> Network:
        return Network(self._variables, self._precision)


@dataclasses.dataclass(frozen=True)
class OwnNetwork:
    """CORnet-S, or only the pixels, as a linear encoder holds it.

    Attributes:
      arguments: `width` and `num_classes`; width 0 of the pixels alone.
      variables: of CORnet-S; {} of the pixels alone.
      dtype: of its areas' computation.
    """

    arguments: Mapping[str, Any]
    variables: Mapping[str, Any]
    dtype: str = "float32"


class OwnBackbone(JaxBackbone):
    """A backbone that a linear encoder holds: it is an encoder in JAX as a whole.

    Attributes:
      network: what it holds.
      path: of the checkpoint that it is of, or "".
      precision: of its matrix products.
    """

    def __init__(
        self,
        name: str,
        network: OwnNetwork,
        image_size: int,
        precision: str = "float32",
        path: str = "",
    ):
        """Arguments are the attributes; `path` is the checkpoint that it is of."""
        self.network, self.path, self.precision = network, path, precision
        width = network.arguments["width"]
        model = CORnetS(**network.arguments, dtype=network.dtype)

        def function(variables: Any, pixels: Array) -> dict[str, Array]:
            # Bytes come back exactly: in float32 n / 255 · 255 = n for n up to 255.
            images = normalise_pixels(pixels * 255)
            if not width:
                return {PIXELS: images}
            logits, areas = model.apply(variables, images)
            return {**areas, LOGITS: logits, PIXELS: images}

        # Devices map nothing where there are no arrays.
        variables = dict(network.variables) or {"none": np.zeros(1, np.float32)}
        super().__init__(name, function, variables, image_size, precision=precision)
        # JAX sorts the keys of a dict.
        self.layers = (*AREAS, LOGITS, PIXELS) if width else (PIXELS,)

    @property
    def program(self) -> str:
        """See the base class; the function is always the same."""
        return f"{self.network.dtype} {self.precision}"

    def describe(self) -> dict[str, Any]:
        """See the base class."""
        return {**super().describe(), "kind": "jax", "path": self.path}


def of_checkpoint(path: str | os.PathLike) -> OwnBackbone:
    """Returns the CORnet-S of a checkpoint: converted, trained, or of an encoder.

    Raises:
      InputError: there is no checkpoint, or it is not made of CORnet-S.
    """
    loaded: Checkpoint = load_whole(path)
    model, variables = loaded.backbone
    description = loaded.description
    network = OwnNetwork(
        {"width": model.width, "num_classes": model.num_classes},
        variables,
        description.model.get("dtype", "float32"),
    )
    # The last part of the path: a checkpoint is passed on to other machines.
    whose = "" if description.kind == "cornet_s" else f" of the {description.kind}"
    name = f"CORnet-S{whose} {os.path.basename(os.fspath(loaded.path))}"
    return OwnBackbone(
        name,
        network,
        description.image_size,
        description.precision,
        os.path.abspath(loaded.path),
    )


def random_cornet_s(width: int, image_size: int, seed: int = 0) -> OwnBackbone:
    """Returns a CORnet-S of random weights: a control.

    Args:
      width: of V1.
      image_size: of its images, pixels.
      seed: of the weights.
    """
    arguments: dict[str, Any] = {"width": width, "num_classes": 10}
    model = CORnetS(**arguments)
    shapes = variable_shapes(model, image_size)
    image = jnp.zeros((1, image_size, image_size, 3), jnp.float32)
    # One program: compiling layer by layer takes a minute.
    variables = jax.jit(model.init)(jax.random.key(seed), image)
    variables = jax.tree.map(np.asarray, {name: variables[name] for name in shapes})
    name = f"CORnet-S of random weights, width {width}, seed {seed}"
    return OwnBackbone(name, OwnNetwork(arguments, variables), image_size)


def pixels(image_size: int) -> OwnBackbone:
    """Returns the backbone that is none: a control."""
    network = OwnNetwork({"width": 0, "num_classes": 0}, {})
    return OwnBackbone("pixels", network, image_size)


def digest_of_arrays(tree: Any) -> str:
    """Returns the SHA-256 of the names, shapes and bytes of a tree's arrays."""
    sums = {
        name: [list(leaf.shape), sha256_of_bytes(np.ascontiguousarray(leaf))]
        for name, leaf in named_leaves(tree).items()
    }
    return digest_of(sums)


def check_rows(values: np.ndarray, n_images: int, where: str) -> np.ndarray:
    """Refuses features that are not one finite vector an image.

    Args:
      values: f[image, ..., channel].
      n_images: how many images there are.
      where: names the features in the message.

    Returns:
      The features.

    Raises:
      InputError: another number of rows, no numbers, or NaN among them.
    """
    if values.dtype.kind not in "fiu" or values.ndim < 2 or 0 in values.shape[1:]:
        found = f"{values.dtype} of shape {values.shape}"
        raise unexpected(where, "numbers [image, feature]", found)
    if len(values) != n_images:
        expected = f"a row for each of {counted(n_images, 'image')}"
        raise unexpected(where, expected, counted(len(values), "row"))
    for start in range(0, n_images, 1024):
        block = values[start : start + 1024]
        # Features become float32; NaN compares as False.
        fits = np.abs(block) <= np.finfo(np.float32).max
        if not fits.all():
            place = tuple(np.argwhere(~fits)[0])
            value, row = block[place], start + int(place[0])
            found = f"{value:.3g}" if np.isfinite(value) else "NaN or infinity"
            expected = "finite numbers" + " of float32" * bool(np.isfinite(value))
            raise unexpected(where, expected, f"{found} in row {row}")
    return values
