"""How far an image is from those that a network was trained on, by its features."""

import dataclasses
import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from img2eeg_jax.models.cornet_s import AREAS, CORnetS, normalise_pixels

# Training images that features are taken of, at most.
N_IMAGES = 2000
# The share of images of new concepts that are closer than distance 1.
SHARE = 0.99

# A feature that hardly varies counts as if it varied so much of what others do.
_LEAST_SD = 0.01
# Names of unfamiliar images in the message.
_SHOWN = 3

_log = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True, eq=False)
class Familiarity:
    """Where the features of training images lie.

    Features are the means over positions of the areas' activations. The distance is
    Mahalanobis', by a covariance that is shrunk (Chen, Wiesel, Eldar & Hero 2010,
    arXiv:0907.4698, OAS), so that few images are enough for many features.

    Attributes:
      mean: f32[feature], over training images.
      whitening: f32[feature, feature]; (features - mean) @ whitening are uncorrelated
        over training images, and have a length of 1 at the 99th percentile of images
        that are not of the training.
    """

    mean: np.ndarray
    whitening: np.ndarray

    @classmethod
    def fit(cls, training: np.ndarray, held_out: np.ndarray) -> "Familiarity":
        """Learns what is familiar.

        Args:
          training: f32[image, feature] of training images.
          held_out: f32[image, feature] of other images like them, such as those for
            validation: features of training images lie closer to their own mean.
        """
        training = training.astype(np.float64)
        mean, sd = training.mean(0), training.std(0)
        least = _LEAST_SD * np.sqrt(np.square(sd).mean())
        sd = np.maximum(sd, least if least > 0 else 1)
        values, vectors = np.linalg.eigh(_shrunk((training - mean) / sd))
        whitening = vectors / np.sqrt(values) / sd[:, np.newaxis]
        distances = np.linalg.norm((held_out - mean) @ whitening, axis=1)
        limit = np.quantile(distances, SHARE)
        whitening /= limit if limit > 0 else 1
        return cls(mean.astype(np.float32), whitening.astype(np.float32))

    def distance(self, features: np.ndarray) -> np.ndarray:
        """Returns f32[image] of f32[image, feature].

        It is 1 at the 99th percentile of images of concepts that the network was not
        trained on, from the data set of its training; larger is less familiar.
        """
        return np.linalg.norm((features - self.mean) @ self.whitening, axis=1)

    def arrays(self) -> dict[str, np.ndarray]:
        """Returns what a file keeps of it."""
        return {f"features_{name}": value for name, value in vars(self).items()}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, np.ndarray]) -> "Familiarity":
        """Rebuilds it from `arrays`, among others."""
        return cls(arrays["features_mean"], arrays["features_whitening"])


def make_step(model: nn.Module) -> Callable[[Any, dict[str, Any]], jax.Array]:
    """Builds the step that predicts, and gives the features of `Familiarity` too.

    Args:
      model: ReAlNet.

    Returns:
      (variables, {"image": u8[b, height, width, 3]}) → f32[b, signal and features].
    """

    def is_backbone(module: nn.Module, _: str) -> bool:
        return isinstance(module, CORnetS)

    def step(variables: Any, batch: dict[str, Any]) -> jax.Array:
        (_, signal), kept = model.apply(
            variables,
            normalise_pixels(batch["image"]),
            capture_intermediates=is_backbone,
            mutable=["intermediates"],
        )
        ((_, areas),) = kept["intermediates"]["realnet"]["__call__"]
        features = [areas[area].astype(jnp.float32).mean((1, 2)) for area in AREAS]
        return jnp.concatenate([signal, *features], axis=1)

    return step


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

    def __init__(self):
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
        which = "drawn ones, and its EEG is simulated" if is_simulated else "others"
        _log.warning(
            "%d of %d images are further from the training images than %.0f %% of new "
            "ones like those (%s): the network knows %s, and its errors here are not "
            "known",
            *(self._n_found, self._n_images, 100 * SHARE, names, which),
        )
