"""A fitted regression as the parameters of a `Readout`, one subject's or another's."""

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np

from img2eeg_jax.linear.features import OwnBackbone, WithLayers


@dataclasses.dataclass(frozen=True, eq=False)
class LinearMap:
    """What a regression found: a map from features to targets.

    ((x − mean) / scale) [· components] · coefficients + intercept; or, with training
    images kept, (γ x·t + 1)^degree · coefficients + intercept.

    Attributes:
      mean: f32[feature].
      scale: f32[feature]; 1 of constant features.
      coefficients: f32[feature, component or kept image; target].
      intercept: f32[target].
      components: f32[feature, component], or None.
      kept: f32[image, feature], standardised features of training images, or None.
      degree: of the kernel.
    """

    mean: np.ndarray
    scale: np.ndarray
    coefficients: np.ndarray
    intercept: np.ndarray
    components: np.ndarray | None = None
    kept: np.ndarray | None = None
    degree: int = 4

    def folded(self) -> "LinearMap":
        """Returns the same map without components, where it has fewer numbers so."""
        if self.components is None or self.kept is not None:
            return self
        n_features, n_components = self.components.shape
        n_targets = len(self.intercept)
        if n_features * n_targets > n_components * (n_features + n_targets):
            return self
        coefficients = self.components @ self.coefficients
        return dataclasses.replace(self, coefficients=coefficients, components=None)

    def parameters(self) -> dict[str, np.ndarray]:
        """Returns the parameters of a `Readout`, f32."""
        named = {
            "mean": self.mean,
            "scale": self.scale,
            "components": self.components,
            "kept": self.kept,
            "kernel": self.coefficients,
            "bias": self.intercept,
        }
        return {
            name: np.ascontiguousarray(value, np.float32)
            for name, value in named.items()
            if value is not None
        }

    def arguments(self) -> dict[str, Any]:
        """Returns the arguments of a `Readout` but for the shape of its signal."""
        n_components = 0 if self.components is None else self.components.shape[1]
        return {
            "n_features": len(self.mean),
            "n_components": n_components,
            "n_kept": 0 if self.kept is None else len(self.kept),
            "degree": self.degree,
        }


def model_of(
    found: LinearMap,
    backbone: WithLayers,
    layers: tuple[str, ...],
    pool: str,
    signal_shape: tuple[int, ...],
) -> tuple[str, dict[str, Any], dict[str, Any]]:
    """Returns what a checkpoint holds of a linear encoder.

    Args:
      found: the map.
      backbone: makes its features.
      layers: of the backbone, in the order of the features.
      pool: "flat" or "avg".
      signal_shape: of what it predicts.

    Returns:
      (kind, arguments of the module, variables), as in `Description` and `Checkpoint`.
    """
    arguments = {"signal_shape": tuple(signal_shape), **found.arguments()}
    readout = found.parameters()
    if not isinstance(backbone, OwnBackbone):
        return "readout", arguments, {"params": readout}
    network = backbone.network
    arguments |= {"layers": tuple(layers), "pool": pool, **network.arguments}
    arguments["dtype"] = network.dtype
    variables: dict[str, Any] = {"params": {"readout": readout}}
    own: Mapping[str, Any] = network.variables
    for name, tree in own.items():
        variables.setdefault(name, {})["realnet"] = tree
    return "linear", arguments, variables
