"""How far an image is from those that a network was trained on, by its features."""

import dataclasses
import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from img2eeg_jax.models.cornet_s import AREA_WIDTHS, AREAS, CORnetS, normalise_pixels

# Training images that features are taken of, at most.
N_IMAGES = 2000
# The share of images of new concepts that are closer than distance 1.
SHARE = 0.99

# Neighbours that a distance is the mean over.
_N_NEIGHBOURS = 5
# A feature that hardly varies counts as if it varied so much of what others do; and
# images that lie nearly on each other as if they were so far apart of what others are.
_LEAST = 0.01
# Images that lie further apart than this share of all count as lying no further.
_MOST_APART = 0.75
# Fewer images do not show where the last hundredth of them begins.
_MANY = 100
# Names of unfamiliar images in the message.
_SHOWN = 3

_log = logging.getLogger(__name__)


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True, eq=False)
class Neighbours:
    """Training images as points in the space of an area's features.

    Features are whitened by a covariance that is shrunk (Chen, Wiesel, Eldar & Hero
    2010, arXiv:0907.4698, OAS), so that few images are enough for many features.

    Attributes:
      mean: f32[feature], over training images.
      whitening: f32[feature, feature]; (features - mean) @ whitening are uncorrelated.
      points: f16[image, feature], whitened features of training images.
      apart: f32[image], mean distance of each from its nearest neighbours.
    """

    mean: np.ndarray
    whitening: np.ndarray
    points: np.ndarray
    apart: np.ndarray

    @classmethod
    def fit(cls, features: np.ndarray) -> "Neighbours":
        """Learns where training images lie, f32[image, feature]."""
        features = features.astype(np.float64)
        mean, sd = features.mean(0), features.std(0)
        least = _LEAST * np.sqrt(np.square(sd).mean())
        sd = np.maximum(sd, least if least > 0 else 1)
        values, vectors = np.linalg.eigh(_shrunk((features - mean) / sd))
        whitening = (vectors / np.sqrt(values) / sd[:, np.newaxis]).astype(np.float32)
        points = ((features - mean) @ whitening).astype(np.float16)
        squares = np.array(_squares(points.astype(np.float32), points))
        np.fill_diagonal(squares, np.inf)
        nearest = np.sort(squares, 1)[:, : min(_N_NEIGHBOURS, len(points) - 1)]
        apart = np.sqrt(nearest).mean(1) if nearest.size else np.ones(len(points))
        least = _LEAST * apart.mean()
        apart = np.maximum(apart, least if least > 0 else 1)
        # An image that is far from all has the outermost ones for neighbours.
        apart = np.minimum(apart, np.quantile(apart, _MOST_APART))
        return cls(mean.astype(np.float32), whitening, points, apart.astype(np.float32))

    def distance(self, features: jax.Array) -> jax.Array:
        """Returns f32[image], how far f32[image, feature] are from their neighbours.

        That is relative to how far those are from theirs: images lie close together
        where they are pale, and far apart where they are rich.
        """
        rows = jnp.asarray(features, jnp.float32) - self.mean[np.newaxis]
        squares = _squares(_product(rows, self.whitening), self.points)
        n_neighbours = min(_N_NEIGHBOURS, len(self.points))
        nearest, which = jax.lax.top_k(-squares, n_neighbours)
        apart = jnp.asarray(self.apart)[which]
        return jnp.sqrt(-nearest).mean(1) / apart.mean(1)


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True, eq=False)
class Familiarity:
    """What a network was trained on, in the terms of each area of its backbone.

    Features are the roots of means and standard deviations, over positions, of the
    activations. An image is as far as it is in the area where it is furthest: drawn
    images differ from photographs in V1, and birds from tools in IT.

    Attributes:
      areas: training images in the space of each area.
      limits: f32[area], the distance that counts as 1 in each.
    """

    areas: tuple[Neighbours, ...]
    limits: np.ndarray

    @classmethod
    def fit(cls, training: np.ndarray, held_out: np.ndarray) -> "Familiarity":
        """Learns what is familiar.

        Args:
          training: f32[image, feature] of training images, what `make_step` gives.
          held_out: the same of other images like them, such as those for validation:
            training images lie closer to each other.
        """
        sizes = _sizes(training.shape[1])
        areas = tuple(Neighbours.fit(part) for part in _split(training, sizes))
        alone = cls(areas, np.ones(len(areas), np.float32))
        distances = np.asarray(jax.jit(Familiarity._by_area)(alone, held_out))
        limits = np.array([_last_hundredth(of_area) for of_area in distances.T])
        limits *= _last_hundredth((distances / limits).max(1))
        return cls(areas, limits.astype(np.float32))

    def distance(self, features: jax.Array) -> jax.Array:
        """Returns f32[image] of f32[image, feature]; pure, so that a step can hold it.

        It is 1 at the 99th percentile of images of concepts that the network was not
        trained on, from the data set of its training; larger is less familiar.
        """
        return (self._by_area(features) / self.limits[np.newaxis]).max(1)

    def _by_area(self, features: jax.Array) -> jax.Array:
        parts = _split(features, [len(area.mean) for area in self.areas])
        pairs = zip(self.areas, parts, strict=True)
        return jnp.stack([area.distance(part) for area, part in pairs], axis=1)

    def arrays(self) -> dict[str, np.ndarray]:
        """Returns what a file keeps of it."""
        arrays = {"features_limits": self.limits}
        for number, area in enumerate(self.areas):
            arrays |= {f"features_{number}_{k}": v for k, v in vars(area).items()}
        return arrays

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, np.ndarray]) -> "Familiarity | None":
        """Rebuilds it from `arrays`, among others; None if they are not there."""
        if "features_limits" not in arrays:
            return None
        limits = arrays["features_limits"]
        names = [field.name for field in dataclasses.fields(Neighbours)]
        areas = tuple(
            Neighbours(*(arrays[f"features_{number}_{name}"] for name in names))
            for number in range(len(limits))
        )
        return cls(areas, limits)


def make_features_step(model: nn.Module) -> Callable[..., jax.Array]:
    """Builds the step that predicts, and gives the features of `Familiarity` too.

    Args:
      model: ReAlNet.

    Returns:
      (variables, {"image": u8[b, height, width, 3]}) → f32[b, signal and features].
    """

    def step(variables: Any, batch: dict[str, Any]) -> jax.Array:
        return jnp.concatenate(_outputs(model, variables, batch), axis=1)

    return step


def make_step(model: nn.Module) -> Callable[..., jax.Array]:
    """Builds the step that predicts, and tells how familiar images are.

    Args:
      model: ReAlNet.

    Returns:
      (variables, {"image": u8[b, height, width, 3]}, `Familiarity`) →
      f32[b, signal and distance].
    """

    def step(
        variables: Any, batch: dict[str, Any], familiarity: Familiarity
    ) -> jax.Array:
        signal, features = _outputs(model, variables, batch)
        distance = familiarity.distance(features)[:, np.newaxis]
        return jnp.concatenate([signal, distance], axis=1)

    return step


def _outputs(
    model: nn.Module, variables: Any, batch: dict[str, Any]
) -> tuple[jax.Array, jax.Array]:
    """Returns the signal and the features of a batch."""

    def is_backbone(module: nn.Module, _: str) -> bool:
        return isinstance(module, CORnetS)

    (_, signal), kept = model.apply(
        variables,
        normalise_pixels(batch["image"]),
        capture_intermediates=is_backbone,
        mutable=["intermediates"],
    )
    ((_, areas),) = kept["intermediates"]["realnet"]["__call__"]
    features = [_features(areas[area].astype(jnp.float32)) for area in AREAS]
    return signal, jnp.concatenate(features, axis=1)


def _features(area: jax.Array) -> jax.Array:
    """Returns f32[b, feature] of activations f32[b, height, width, channel]."""
    of_positions = area.mean((1, 2)), area.std((1, 2))
    return jnp.sqrt(jnp.maximum(jnp.concatenate(of_positions, axis=1), 0))


def _sizes(n_features: int) -> list[int]:
    """Returns how many features of all are of each area."""
    widths = [AREA_WIDTHS[area] for area in AREAS]
    return [n_features * width // sum(widths) for width in widths]


def _split(features: Any, sizes: Sequence[int]) -> list[Any]:
    ends = np.cumsum(sizes)
    return [features[:, end - n : end] for n, end in zip(sizes, ends, strict=True)]


def _squares(rows: jax.Array | np.ndarray, points: jax.Array | np.ndarray) -> jax.Array:
    """Returns f32[row, point], squared Euclidean distances."""
    points = jnp.asarray(points, jnp.float32)
    squares = jnp.square(rows).sum(1)[:, np.newaxis]
    squares += jnp.square(points).sum(1)[np.newaxis]
    return jnp.maximum(squares - 2 * _product(rows, points.T), 0)


def _product(one: jax.Array | np.ndarray, other: jax.Array | np.ndarray) -> jax.Array:
    # A GPU's shorter formats would round away what lies close together.
    return jnp.matmul(one, other, precision=jax.lax.Precision.HIGHEST)


def _last_hundredth(distances: np.ndarray) -> float:
    """Returns where the last hundredth of images begins.

    Of few images it is where that of their log-normal distribution does, if that is
    further.
    """
    found, n = np.quantile(distances, SHARE), len(distances)
    if 2 <= n < _MANY and distances.min() > 0:
        # Imported here: who predicts does not need it, and it takes as long as NumPy.
        from scipy import special

        logs = np.log(distances)
        reach = special.stdtrit(n - 1, SHARE) * np.sqrt(1 + 1 / n)
        found = max(found, np.exp(logs.mean() + reach * logs.std(ddof=1)))
    return float(found) if found > 0 else 1.0


def _shrunk(scaled: np.ndarray) -> np.ndarray:
    """Returns the covariance f64[feature, feature] of centred rows, shrunk by OAS."""
    n_images, n_features = scaled.shape
    covariance = scaled.T @ scaled / n_images
    mean = np.trace(covariance) / n_features
    if mean == 0:
        return np.eye(n_features)
    of_squares, square = np.square(covariance).sum(), (n_features * mean) ** 2
    numerator = (1 - 2 / n_features) * of_squares + square
    denominator = (n_images + 1 - 2 / n_features) * (of_squares - square / n_features)
    weight = min(1.0, numerator / denominator) if denominator > 0 else 1.0
    return (1 - weight) * covariance + weight * mean * np.eye(n_features)


class Unfamiliar:
    """Gathers the images that are less familiar than nearly all, to tell of them."""

    def __init__(self) -> None:
        """Has none yet."""
        self._n_images = self._n_found = 0
        self._shown: list[str] = []

    def add(self, names: Sequence[str], distance: np.ndarray) -> None:
        """Takes images and how far they are, f32[image], see `Familiarity.distance`."""
        found = np.flatnonzero(distance > 1)
        self._n_images += len(names)
        self._n_found += len(found)
        free = _SHOWN - len(self._shown)
        self._shown += [str(names[row]) for row in found[: max(0, free)]]

    def tell(self, is_simulated: bool) -> None:
        """Logs a line if there are any.

        Args:
          is_simulated: whether the network was trained on simulated EEG.
        """
        if not self._n_found:
            return
        names = ", ".join(self._shown) + (", …" if self._n_found > _SHOWN else "")
        simulated = ", which was trained on simulated EEG," if is_simulated else ""
        _log.warning(
            "further from the training images than %.0f %% of new images like those: "
            "%d of %d (%s); how the network%s does on them is not known",
            *(100 * SHARE, self._n_found, self._n_images, names, simulated),
        )
