"""Which regression a linear encoder is fitted by: a preset, and what may be chosen."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from img2eeg_jax.errors import unexpected
from img2eeg_jax.linear import ridge
from img2eeg_jax.linear.readout import LinearMap

RIDGE, PCA1000 = "ridge", "pca1000"
PRESETS = (RIDGE, PCA1000)

# Components of features that are too many for an exact decomposition.
_N_COMPONENTS = 1000

Features = Mapping[str, np.ndarray]


@dataclasses.dataclass(frozen=True)
class Regression:
    """How EEG is regressed on features.

    Attributes:
      preset: "ridge" on all features; "pca1000" on 1,000 principal components.
      alphas: penalties to choose from; () for nine around the mean eigenvalue.
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

    def __post_init__(self):
        if self.preset not in PRESETS:
            expected = f"one of {', '.join(PRESETS)}"
            raise unexpected("`preset`", expected, f"{self.preset!r}")

    def without_bands(self) -> "Regression":
        """Returns the same regression of a single layer."""
        return self

    def prepare(self, features: Features, concepts: Sequence[str]) -> Any:
        """Does what a fit needs of features alone.

        Args:
          features: layer → f32[image, feature].
          concepts: of each image; penalties are chosen on concepts held out.
        """
        n_images, n_features = len(concepts), sum(p.shape[1] for p in features.values())
        n_components = self.n_components
        is_large = min(n_images, n_features) > ridge.LARGEST_SIDE
        if n_components is None and (self.preset == PCA1000 or is_large):
            n_components = min(_N_COMPONENTS, n_images, n_features)
        by_concept = self.n_folds > 0
        return ridge.prepare(
            features,
            n_components,
            np.asarray(concepts) if by_concept else None,
            folds=min(self.n_folds, len(set(concepts))) if by_concept else 5,
            seed=self.seed,
        )

    def fit(self, prepared: Any, responses: np.ndarray) -> "Fitted":
        """Fits the responses of one subject.

        Args:
          prepared: what `prepare` returned.
          responses: f32[image, channel, time], z-scored.
        """
        found = ridge.fit(
            prepared,
            responses,
            self.alphas or None,
            penalty_per=self.penalty_per,
        )
        return Fitted(found, self)


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
