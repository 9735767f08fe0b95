"""Banded ridge regression: a penalty for each layer (Nunez-Elizalde et al. 2019).

Penalties are drawn at random (Dupré la Tour et al. 2022, himalaya,
doi:10.1016/j.neuroimage.2022.119728): those of layers relative to each other from a
Dirichlet distribution, all together on a grid.
"""

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import ArrayLike

from img2eeg_jax.errors import unexpected
from img2eeg_jax.linear import pca, ridge, selection
from img2eeg_jax.linear.design import Design, Features, Matrix, Rows
from img2eeg_jax.linear.moments import Moments, cross_moments
from img2eeg_jax.linear.pca import Projection
from img2eeg_jax.linear.products import cross_product, product

# Draws are sparse, or alike, in turn.
CONCENTRATIONS = (0.1, 1.0)


@dataclasses.dataclass(frozen=True, eq=False)
class BandedRidge(ridge.Ridge):
    """A linear map from layers to responses, with a penalty for each layer.

    The penalty of a layer is `alpha` over its part of `balance`.

    Attributes:
      bands: layer → its features, among those of all.
      balance: f64[layer, *shape], how much of each response is left to each layer; its
        sum over layers is 1.
    """

    bands: Mapping[str, slice] = dataclasses.field(kw_only=True)
    balance: np.ndarray = dataclasses.field(kw_only=True)

    @property
    def alpha_of_bands(self) -> np.ndarray:
        """f64[layer, *shape], penalties; infinite of a layer that is left out."""
        with np.errstate(divide="ignore"):
            return self.alpha / self.balance

    def variance_shares(
        self, features: Features, responses: np.ndarray
    ) -> dict[str, np.ndarray]:
        """Divides the explained variance of responses among layers.

        The share of a layer that predicts p of the whole prediction q of responses y,
        all centred, is sum(p (2 y - q)) / sum(y²): they add up to R². It is negative of
        a layer that makes predictions worse.

        Args:
          features: layers by their names.
          responses: f[image, *shape], best of images that the fit did not see.

        Returns:
          layer → f64[*shape].
        """
        design, n = self.projection.design(features), len(responses)
        y, _, _ = ridge.centred(responses, np.ones(n))
        parts = {name: np.empty_like(y) for name in self.bands}
        for rows, block in design.blocks():
            for name, band in self.bands.items():
                alone = np.zeros_like(block)
                alone[:, band] = block[:, band]
                along = self.projection.project(alone)
                parts[name][rows] = product(along, self.coefficients)
        parts = {name: part - part.mean(0) for name, part in parts.items()}
        left = 2 * y - sum(parts.values())
        total = np.square(y, dtype=np.float64).sum(0)
        return {
            name: ((part * left).sum(0, dtype=np.float64) / total).reshape(self.shape)
            for name, part in parts.items()
        }


def fit(
    features: Mapping[str, np.ndarray],
    responses: np.ndarray,
    alphas: ArrayLike | None = None,
    n_components: int | None = None,
    groups: ArrayLike | None = None,
    *,
    folds: int | Sequence[ArrayLike] = 5,
    penalty_per: str = "target",
    balances: ArrayLike | int = 50,
    weights: ArrayLike | None = None,
    standardise: bool = True,
    seed: int = 0,
    keep_held_out: bool = False,
) -> BandedRidge:
    """Fits all responses by ridge regression with a penalty for each layer.

    Args:
      features: layer → f[image, feature], arrays or memory maps.
      responses: see `ridge.fit`.
      alphas: see `ridge.fit`.
      n_components: of PCA, of each layer; None for ridge on the features themselves.
      groups: see `ridge.fit`.
      folds: see `ridge.fit`.
      penalty_per: whose penalties, and balance of layers, are one.
      balances: f[draw, layer] to choose from, or how many: the first then leaves as
        much to each layer, which is ridge regression; the others are drawn. Each takes
        an eigendecomposition for each fold.
      weights: see `ridge.fit`.
      standardise: see `ridge.fit`.
      seed: of draws, groups and randomised components.
      keep_held_out: see `ridge.fit`.

    Raises:
      InputError: an argument does not fit.
    """
    design = Design.of(features, standardise)
    n_images, n_layers = design.shape[0], len(design.parts)
    weights = ridge.check_weights(weights, n_images)
    index = selection.make_folds(groups, folds, n_images, seed)
    projection, rows, layer_of = _reduce(design, n_components, seed)
    y, mean, shape = ridge.centred(responses, weights)
    balances = _check_balances(balances, n_layers, seed)
    chunks = ridge.partition(index, n_images)
    moments = [Moments.of(rows, chunk, weights) for chunk in chunks]
    crosses = [cross_moments(rows, y, chunk, weights) for chunk in chunks]
    if alphas is None:
        size = sum(np.trace(of_chunk.gram) for of_chunk in moments)
        alphas = np.array(ridge.RELATIVE_ALPHAS) * size / rows.shape[1] / n_layers
    alphas = ridge.check_alphas(alphas)
    best = _Best(len(alphas), rows.shape[1], y.shape[1])
    for number, balance in enumerate(balances):
        roots = np.sqrt(balance)[layer_of]
        scaled = [_scale(of_chunk, roots) for of_chunk in moments]
        basis, made = ridge.diagonalise(
            chunks, scaled, 0 if index is None else len(index)
        )
        prepared = ridge.Prepared(
            projection, _scale_rows(rows, roots), None, weights, basis, chunks, made
        )
        scaled_crosses = [roots[:, np.newaxis] * cross for cross in crosses]
        toward = cross_product(basis.vectors, np.sum(scaled_crosses, axis=0))
        scores = ridge.held_out_scores(prepared, y, scaled_crosses, toward, alphas)
        better = best.improve(number, scores, ridge.shared(scores, shape, penalty_per))
        # Of all targets: XLA compiles anew for each number of them.
        coefficients, offset = ridge.solve(prepared, toward, alphas[best.alpha])
        coefficients = coefficients * roots[:, np.newaxis]
        best.coefficients[:, better] = coefficients[:, better]
        best.offset[better] = offset[better]
        if keep_held_out and made is not None:
            found = ridge.predict_held_out(
                prepared, y, scaled_crosses, alphas[best.alpha]
            )
            best.keep(found, better)
    return BandedRidge(
        projection=projection,
        coefficients=best.coefficients,
        intercept=(mean - best.offset).astype(np.float32),
        shape=shape,
        alphas=alphas,
        alpha=alphas[best.alpha].reshape(shape),
        scores=best.scores.reshape(-1, *shape),
        bands=_bands(design),
        balance=balances[best.balance].T.reshape(n_layers, *shape),
        held_out=best.held_out and best.held_out.shifted(mean, shape),
    )


class _Best:
    """The best draw so far, of each target.

    Attributes:
      balance: i64[target], which balance; -1 of none yet.
      alpha: i64[target], which penalty.
      scores: f64[alpha, target], R² of all penalties with this balance.
      coefficients: f32[column, target].
      offset: f64[target], what the columns' means contribute.
      held_out: see `ridge.Ridge`, of centred responses.
    """

    def __init__(self, n_alphas: int, n_columns: int, n_targets: int):
        self.balance = np.full(n_targets, -1)
        self.alpha = np.zeros(n_targets, int)
        self.scores = np.zeros((n_alphas, n_targets))
        self.coefficients = np.zeros((n_columns, n_targets), np.float32)
        self.offset = np.zeros(n_targets)
        self.held_out: selection.HeldOut | None = None
        self._score = np.full(n_targets, -np.inf)

    def improve(
        self, number: int, scores: np.ndarray, shared: np.ndarray
    ) -> np.ndarray:
        """Takes a draw's scores, f64[alpha, target]; returns for which it is better."""
        found = shared.max(0)
        better = np.flatnonzero(found > self._score)
        self._score[better] = found[better]
        self.balance[better] = number
        self.alpha[better] = shared[:, better].argmax(0)
        self.scores[:, better] = scores[:, better]
        return better

    def keep(self, found: selection.HeldOut, better: np.ndarray) -> None:
        """Takes what a draw predicts of held-out images, of i64[target] of them."""
        if self.held_out is None:
            self.held_out = found
        self.held_out.predicted[:, better] = found.predicted[:, better]


def _reduce(
    design: Design, n_components: int | None, seed: int
) -> tuple[Projection, Rows, np.ndarray]:
    """Projects each layer on its own components.

    Returns:
      (the projection of all, the images after it, i64[column], the layer of each).
    """
    n_features = design.shape[1]
    bands = _bands(design)
    # All components of a layer that is wider than there are images say the same.
    n_columns = sum(min(part.shape) for part in design.parts.values())
    if n_components is None and n_columns > ridge.LARGEST_SIDE:
        raise unexpected(
            "features",
            f"`n_components` or at most {ridge.LARGEST_SIDE} features",
            f"{n_features} features",
        )
    if n_components is None and n_columns == n_features:
        layer_of = np.repeat(
            np.arange(len(bands)), [band.stop - band.start for band in bands.values()]
        )
        return Projection(design.mean, design.scale), design, layer_of
    found = [
        pca.fit(
            Design({name: part}, design.mean[bands[name]], design.scale[bands[name]]),
            n_components,
            seed=seed,
        )
        for name, part in design.parts.items()
    ]
    layer_of = np.repeat(np.arange(len(found)), [len(one.squares) for one in found])
    components = np.zeros((n_features, len(layer_of)), np.float32)
    for number, (one, band) in enumerate(zip(found, bands.values(), strict=True)):
        components[band, layer_of == number] = one.projection.components
    scores = np.concatenate([one.scores for one in found], axis=1)
    return Projection(design.mean, design.scale, components), Matrix(scores), layer_of


def _bands(design: Design) -> dict[str, slice]:
    """Returns layer → its columns."""
    stops = np.cumsum([part.shape[1] for part in design.parts.values()]).tolist()
    starts = [0, *stops[:-1]]
    return dict(zip(design.parts, map(slice, starts, stops), strict=True))


def _scale(moments: Moments, roots: np.ndarray) -> Moments:
    """Returns the moments of columns times f64[column]."""
    return Moments(
        moments.weight, moments.total * roots, moments.gram * np.outer(roots, roots)
    )


def _scale_rows(rows: Rows, roots: np.ndarray) -> Rows:
    roots = roots.astype(np.float32)
    if isinstance(rows, Matrix):
        return Matrix(rows.array * roots)
    # A column divided by infinity is 0.
    with np.errstate(divide="ignore"):
        return dataclasses.replace(rows, scale=rows.scale / roots)


def _check_balances(balances: ArrayLike | int, n_layers: int, seed: int) -> np.ndarray:
    """Returns f64[draw, layer], of sum 1; drawn if only their number is given."""
    if isinstance(balances, int):
        if balances < 1:
            raise unexpected("balances", "a number above 0", balances)
        rng = np.random.default_rng(seed)
        drawn = [
            rng.dirichlet(np.full(n_layers, CONCENTRATIONS[n % len(CONCENTRATIONS)]))
            for n in range(balances - 1)
        ]
        return np.array([np.full(n_layers, 1 / n_layers), *drawn])
    balances = np.atleast_2d(np.asarray(balances, np.float64))
    is_fit = balances.ndim == 2 and balances.shape[1] == n_layers
    if not is_fit or not (balances >= 0).all() or not (balances.sum(1) > 0).all():
        raise unexpected("balances", f"draws × {n_layers} layers", balances.shape)
    return balances / balances.sum(1, keepdims=True)
