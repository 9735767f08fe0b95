"""Which regression a linear encoder is fitted by: a preset, and what may be chosen."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from img2eeg_jax.errors import unexpected
from img2eeg_jax.linear import banded, ridge
from img2eeg_jax.linear.kernel import KernelProjection
from img2eeg_jax.linear.readout import LinearMap

RIDGE, BANDED = "ridge", "banded"
PRESETS = (RIDGE, BANDED, *ridge.PRESETS)

# Components of features that are too many for an exact decomposition.
_N_COMPONENTS = 1000

Features = Mapping[str, np.ndarray]


@dataclasses.dataclass(frozen=True)
class Regression:
    """How EEG is regressed on features.

    Attributes:
      preset: "ridge" on all features; "banded", with a penalty for each layer; or one
        of `ridge.PRESETS`.
      alphas: penalties to choose from; () for those of the preset, or ten around the
        mean eigenvalue.
      penalty_per: a penalty for each "target" (channel and time), each "channel", or
        for "all".
      n_components: principal components; None for those of the preset.
      n_folds: parts of the training concepts that are held out in turn to choose
        penalties; 0 for exact leave-one-image-out.
      seed: of the parts, and of randomised components.
    """

    preset: str = RIDGE
    alphas: tuple[float, ...] = ()
    penalty_per: str = "target"
    n_components: int | None = None
    n_folds: int = 5
    seed: int = 0

    def __post_init__(self) -> None:
        if self.preset not in PRESETS:
            expected = f"one of {', '.join(PRESETS)}"
            raise unexpected("`preset`", expected, f"{self.preset!r}")

    def without_bands(self) -> "Regression":
        """Returns the same regression of a single layer."""
        return dataclasses.replace(self, preset=RIDGE) if self._is_banded else self

    @property
    def _is_banded(self) -> bool:
        return self.preset == BANDED

    def prepare(self, features: Features, concepts: Sequence[str]) -> Any:
        """Does what a fit needs of features alone.

        Args:
          features: layer → f32[image, feature].
          concepts: of each image; penalties are chosen on concepts held out.
        """
        n_images, n_features = len(concepts), sum(p.shape[1] for p in features.values())
        preset = ridge.PRESETS.get(self.preset, {})
        n_components = self.n_components or preset.get("n_components")
        if n_components is None and min(n_images, n_features) > ridge.LARGEST_SIDE:
            n_components = _N_COMPONENTS
        arguments: dict[str, Any] = {"n_components": n_components, "seed": self.seed}
        if self.n_folds:
            if len(set(concepts)) < 2:
                expected = "0, as no concept can be held out of a single one"
                raise unexpected("`n_folds`", expected, self.n_folds)
            arguments["groups"] = np.asarray(concepts)
            arguments["folds"] = min(self.n_folds, len(set(concepts)))
        if self._is_banded:
            return features, arguments
        return ridge.prepare(features, **arguments, degree=preset.get("degree", 1))

    def fit(
        self, prepared: Any, responses: np.ndarray, keep_held_out: bool = False
    ) -> "Fitted":
        """Fits the responses of one subject.

        Args:
          prepared: what `prepare` returned.
          responses: f32[image, channel, time], z-scored.
          keep_held_out: see `ridge.fit`; None is kept without parts.
        """
        alphas = self.alphas or ridge.PRESETS.get(self.preset, {}).get("alphas")
        arguments: dict[str, Any] = {"penalty_per": self.penalty_per}
        arguments["keep_held_out"] = keep_held_out
        if self._is_banded:
            # Balances of layers differ from response to response: nothing is shared.
            features, own = prepared
            of_bands = banded.fit(features, responses, alphas, **own, **arguments)
            return Fitted(of_bands, self)
        return Fitted(ridge.fit(prepared, responses, alphas, **arguments), self)


@dataclasses.dataclass(frozen=True, eq=False)
class Fitted:
    """A regression of one subject's responses.

    Attributes:
      ridge: what was found.
      regression: how.
    """

    ridge: ridge.Ridge
    regression: Regression

    def predict(self, features: Features) -> np.ndarray:
        """Returns f32[image, channel, time] of layers by their names."""
        return self.ridge.predict(features)

    @property
    def linear_map(self) -> LinearMap:
        """The same as a map."""
        found = self.ridge
        projection = found.projection
        if isinstance(projection, KernelProjection):
            return _of_kernel(found, projection)
        return LinearMap(
            projection.mean,
            projection.scale,
            found.coefficients,
            found.intercept,
            projection.components,
        )

    def told(self) -> dict[str, Any]:
        """Returns what a checkpoint says of it, JSON's own types."""
        alpha, scores = self.ridge.alpha, self.ridge.scores
        said = dataclasses.asdict(self.regression) | {
            "alphas": self.ridge.alphas.tolist(),
            "alpha": alpha.tolist(),
            "chosen_by": self._chosen_by(),
        }
        if isinstance(self.ridge, banded.BandedRidge):
            means = self.ridge.balance.reshape(len(self.ridge.bands), -1).mean(1)
            said["mean_balance"] = dict(
                zip(self.ridge.bands, means.tolist(), strict=True)
            )
        if scores is not None:
            # Of the penalty that was chosen, R² at each channel and time.
            best = np.argmin(np.abs(self.ridge.alphas[:, None] - alpha.ravel()), 0)
            r2 = scores.reshape(len(scores), -1)[best, np.arange(alpha.size)]
            said["held_out_r2"] = float(r2.mean())
        return said

    def _chosen_by(self) -> str:
        if len(self.ridge.alphas) < 2:
            return "one penalty"
        if self.regression.n_folds:
            return f"R² of held-out concepts, {self.regression.n_folds} parts"
        return "R² of each image left out"


def _of_kernel(found: ridge.Ridge, projection: KernelProjection) -> LinearMap:
    """Returns the map of kernels with training images.

    Components are sums of centred kernels. The mean over training images falls away
    with weights that add up to 0, and the mean over the other argument goes into the
    intercept.
    """
    weights = projection.vectors.astype(np.float64)
    weights = (weights - weights.mean(0)) @ found.coefficients.astype(np.float64)
    means = projection.means.astype(np.float64)
    return LinearMap(
        projection.standardised.mean,
        projection.standardised.scale,
        weights.astype(np.float32),
        (found.intercept - (means - means.mean()) @ weights).astype(np.float32),
        kept=projection.training.block(slice(None)),
        degree=projection.degree,
    )
