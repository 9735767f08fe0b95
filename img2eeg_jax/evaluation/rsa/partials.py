"""What one model's RDM explains that others do not."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from img2eeg_jax.errors import unexpected
from img2eeg_jax.evaluation.rsa.comparison import check_method, units
from img2eeg_jax.evaluation.rsa.rdms import condensed

METHODS = ("spearman", "pearson")

# A residual below this, of a vector of length 1, is rounding: others explain it all.
_NOTHING = 1e-10


@dataclass(frozen=True, eq=False)
class Shares:
    """How the variance of an RDM (of its ranks) is shared among models.

    Unique shares and what is common add up to the whole; common can be negative where
    one model hides what does not fit in another.

    Attributes:
      whole: f64[...], R² of all models together; of as many models as these it is above
        0 even of noise, by about models / pairs.
      unique: f64[model, ...], by how much it falls without each model.
    """

    whole: NDArray[np.float64]
    unique: NDArray[np.float64]

    @property
    def common(self) -> NDArray[np.float64]:
        """What several models explain, f64[...]."""
        return self.whole - self.unique.sum(axis=0)


def partial(
    target: ArrayLike, model: ArrayLike, others: ArrayLike, method: str = "spearman"
) -> NDArray[np.float64] | np.float64:
    """Correlates an RDM with a model's, both without what other models explain.

    Args:
      target: f[..., image, image] or f[..., pair], measured.
      model: f[image, image] or f[pair].
      others: f[other, image, image] or f[other, pair]; or a single one.
      method: "spearman", of ranks, or "pearson".

    Returns:
      f64[...], from -1 to 1; nan where others explain all of the target or the model,
      or an RDM is constant or holds nan.

    Raises:
      InputError: they are no RDMs, or of different numbers of images.
      ValueError: there is no such method.
    """
    target, model, others = _units([target, model, others], method)
    basis = _basis(others.reshape(-1, others.shape[-1]))
    target, model = (_unit(x - (x @ basis) @ basis.T) for x in (target, model))
    return np.clip(target @ model, -1, 1)[()]


def shares(target: ArrayLike, models: ArrayLike, method: str = "spearman") -> Shares:
    """Divides what models explain of an RDM into what each alone does, and the rest.

    Args:
      target: f[..., image, image] or f[..., pair], measured.
      models: f[model, image, image] or f[model, pair].
      method: "spearman", of ranks, or "pearson".

    Raises:
      InputError: they are no RDMs, or of different numbers of images.
      ValueError: there is no such method.
    """
    target, models = _units([target, models], method)
    if models.ndim != 2:
        raise unexpected("models", "[model, pair]", models.shape)

    def explained(some: NDArray) -> NDArray:
        return np.square(target @ _basis(some)).sum(axis=-1)

    whole = explained(models)
    without = [explained(np.delete(models, i, axis=0)) for i in range(len(models))]
    return Shares(whole, whole - np.stack(without))


def _units(rdms: list[ArrayLike], method: str) -> list[NDArray[np.float64]]:
    check_method(method, METHODS)
    pairs = [condensed(one) for one in rdms]
    if len(counts := {one.shape[-1] for one in pairs}) > 1:
        raise unexpected("RDMs", "equally many pairs", sorted(counts))
    return [units(one, method) for one in pairs]


def _basis(vectors: NDArray[np.float64]) -> NDArray[np.float64]:
    """Returns f64[pair, rank], of length 1 and at right angles, that span vectors."""
    if np.isnan(vectors).any():
        return np.full(vectors.T.shape, np.nan)
    left, sizes, _ = np.linalg.svd(vectors.T, full_matrices=False)
    return left[:, sizes > _NOTHING]


def _unit(vectors: NDArray[np.float64]) -> NDArray[np.float64]:
    lengths = np.linalg.norm(vectors, axis=-1, keepdims=True)
    return vectors / np.where(lengths > _NOTHING, lengths, np.nan)
