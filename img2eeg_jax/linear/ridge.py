"""Ridge regression of all responses at once, each with the penalty that suits it."""

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from img2eeg_jax.errors import unexpected
from img2eeg_jax.linear import kernel, pca, selection
from img2eeg_jax.linear.design import Design, Features, Matrix, Rows, as_parts
from img2eeg_jax.linear.kernel import KernelProjection
from img2eeg_jax.linear.moments import Basis, Moments, cross_moments
from img2eeg_jax.linear.pca import Projection
from img2eeg_jax.linear.products import cross_product, product

# Penalties that are tried by default, over the mean eigenvalue of the Gram matrix.
RELATIVE_ALPHAS = tuple(float(alpha) for alpha in np.logspace(-3, 4, 10))
# Whose penalties are one: of each response alone, of a channel's, or of all.
PENALTY_PER = ("target", "channel", "all")
# Published encoders, as arguments of `fit`. The authors of THINGS-EEG2 (Gifford et al.
# 2022, doi:10.1016/j.neuroimage.2022.119754) have least squares on components of a
# polynomial kernel; the other is the same with the components of PCA.
PRESETS: dict[str, dict[str, Any]] = {
    "gifford2022": {"n_components": 1000, "degree": 4, "alphas": (0.0,)},
    "pca1000": {"n_components": 1000, "alphas": (0.0,)},
}
# Images in folds whose predictions are kept: of more, folds that are not needed for so
# many are left out.
ENOUGH = 1000
# Without components, the smaller of images and features; for 2 GB of memory.
LARGEST_SIDE = 8000


@dataclasses.dataclass(frozen=True, eq=False)
class Ridge:
    """A linear map from features to responses.

    Responses are `projection(features) @ coefficients + intercept`.

    Attributes:
      projection: standardises features, and projects them on components, of a kernel
        maybe, if there are.
      coefficients: f32[component or feature, target].
      intercept: f32[target].
      shape: of an image's responses; targets are flattened, row-major.
      alphas: f64[alpha], the penalties that were tried.
      alpha: f64[*shape], the penalty of each response.
      scores: f64[alpha, *shape], R² of responses to images that the fit did not see;
        None of a single penalty.
      held_out: what fits without them predict of such images, with these penalties;
        None if it was not kept.
    """

    projection: Projection | KernelProjection
    coefficients: np.ndarray
    intercept: np.ndarray
    shape: tuple[int, ...]
    alphas: np.ndarray
    alpha: np.ndarray
    scores: np.ndarray | None = None
    held_out: selection.HeldOut | None = None

    def predict(self, features: Features) -> np.ndarray:
        """Returns f32[image, *shape], the responses to images.

        Args:
          features: f[image, feature], or layers by their names, as in the fit.

        Raises:
          InputError: another number of features.
        """
        design = self.projection.design(features)
        predicted = np.concatenate(
            [
                product(self.projection.project(block), self.coefficients)
                for _, block in design.blocks()
            ]
        )
        predicted += self.intercept
        return predicted.reshape(-1, *self.shape)


@dataclasses.dataclass(frozen=True, eq=False)
class Prepared:
    """What a fit needs of features alone: responses of many subjects can share it.

    Attributes:
      projection: see `Ridge`.
      rows: the images' features after it, or after one whose components `folded` are.
      folded: f32[feature, component]; coefficients of components times these are those
        of features. None if `rows` are what the projection makes.
      weights: f64[image].
      basis: in which the Gram matrix of `rows` is diagonal.
      chunks: i64[row] of each part of the images: the folds, and what is in none.
      folds: held-out images, to choose penalties by; None for leave-one-out.
    """

    projection: Projection | KernelProjection
    rows: Rows
    folded: np.ndarray | None
    weights: np.ndarray
    basis: Basis
    chunks: tuple[np.ndarray, ...]
    folds: tuple[selection.Fold, ...] | None

    @property
    def alphas(self) -> np.ndarray:
        """f64[alpha], the penalties that are tried by default."""
        return np.array(RELATIVE_ALPHAS) * (self.basis.values.mean() or 1.0)


def fit(
    features: Features | Prepared,
    responses: np.ndarray,
    alphas: ArrayLike | None = None,
    n_components: int | None = None,
    groups: ArrayLike | None = None,
    *,
    folds: int | Sequence[ArrayLike] = 5,
    penalty_per: str = "target",
    degree: int = 1,
    weights: ArrayLike | None = None,
    standardise: bool = True,
    seed: int = 0,
    keep_held_out: bool = False,
) -> Ridge:
    """Fits all responses by ridge regression on features.

    Features are standardised and projected on components by all images, those held
    out included: neither sees responses. The intercept is not penalised. Penalties are
    those of scikit-learn's `Ridge`: of the sum of squares over (weighted) images.

    Args:
      features: f[image, feature], arrays or memory maps, or several layers by their
        names; or what `prepare` made of them, for responses of another subject, whose
        fit then takes the arguments of `prepare` from there.
      responses: f[image, ...], such as [image, channel, time], in any unit.
      alphas: penalties to choose from; None for `RELATIVE_ALPHAS`.
      n_components: of PCA; None for ridge on the features themselves.
      groups: of each image, such as its concept: penalties are chosen on whole groups
        that are held out. None chooses them by exact leave-one-out.
      folds: in how many parts groups are held out, or the rows of each part.
      penalty_per: one of `PENALTY_PER`.
      degree: of the polynomial kernel whose components they are; 1 for PCA.
      weights: f[image], see `repetition_weights`; None weighs all the same.
      standardise: whether features are divided by their standard deviation.
      seed: of which groups are held out together, and of randomised components.
      keep_held_out: whether to keep what is predicted of images in folds, by fits
        without them; of `ENOUGH` images at least, and whole folds.

    Raises:
      InputError: features and responses have different numbers of rows or are not
        finite, or an argument does not fit.
    """
    if not isinstance(features, Prepared):
        features = prepare(
            features,
            n_components,
            groups,
            folds=folds,
            degree=degree,
            weights=weights,
            standardise=standardise,
            seed=seed,
        )
    alphas = check_alphas(features.alphas if alphas is None else alphas)
    responses, mean, shape = centred(responses, features.weights)
    crosses = [
        cross_moments(features.rows, responses, chunk, features.weights)
        for chunk in features.chunks
    ]
    toward = cross_product(features.basis.vectors, np.sum(crosses, axis=0))
    scores, chosen = None, np.zeros(responses.shape[1], int)
    if len(alphas) > 1:
        scores = held_out_scores(features, responses, crosses, toward, alphas)
        chosen = shared(scores, shape, penalty_per).argmax(0)
        scores = scores.reshape(-1, *shape)
    alpha = alphas[chosen]
    coefficients, offset = solve(features, toward, alpha)
    held_out = None
    if keep_held_out and features.folds is not None:
        held_out = predict_held_out(features, responses, crosses, alpha)
        held_out = held_out.shifted(mean, shape)
    return Ridge(
        projection=features.projection,
        coefficients=coefficients,
        intercept=(mean - offset).astype(np.float32),
        shape=shape,
        alphas=alphas,
        alpha=alpha.reshape(shape),
        scores=scores,
        held_out=held_out,
    )


def prepare(
    features: Features,
    n_components: int | None = None,
    groups: ArrayLike | None = None,
    *,
    folds: int | Sequence[ArrayLike] = 5,
    degree: int = 1,
    weights: ArrayLike | None = None,
    standardise: bool = True,
    seed: int = 0,
) -> Prepared:
    """Does what a fit needs of features alone; see `fit` for the arguments.

    Raises:
      InputError: features are not finite, or an argument does not fit them.
    """
    design = Design.of(as_parts(features), standardise)
    n_images, n_features = design.shape
    if n_components is None and min(design.shape) > LARGEST_SIDE:
        raise unexpected(
            "features",
            f"`n_components` or at most {LARGEST_SIDE} images or features",
            f"{n_images} images × {n_features} features",
        )
    weights = check_weights(weights, n_images)
    index = selection.make_folds(groups, folds, n_images, seed)
    projection, rows, folded = _project(design, n_components, degree, seed)
    chunks = partition(index, n_images)
    moments = [Moments.of(rows, chunk, weights) for chunk in chunks]
    basis, made = diagonalise(chunks, moments, 0 if index is None else len(index))
    return Prepared(projection, rows, folded, weights, basis, chunks, made)


def diagonalise(
    chunks: Sequence[np.ndarray], moments: Sequence[Moments], n_folds: int
) -> tuple[Basis, tuple[selection.Fold, ...] | None]:
    """Returns the basis of all images, and those without each fold.

    Args:
      chunks: i64[row] of each part of the images, folds first.
      moments: of each part.
      n_folds: how many of them are folds; None are returned of 0.
    """
    total = sum(moments[1:], moments[0])
    folds = tuple(
        selection.Fold(chunk, Basis.of(total - of_chunk), of_chunk)
        for chunk, of_chunk in zip(chunks[:n_folds], moments[:n_folds], strict=True)
    )
    return Basis.of(total), folds or None


def repetition_weights(n_repetitions: ArrayLike, reliability: float) -> np.ndarray:
    """Weighs images by how far the noise of their repetitions has averaged out.

    Args:
      n_repetitions: of each image.
      reliability: of a single repetition, the share of its variance that another
        repetition has, too: its correlation with another.

    Returns:
      f64[image], 1 on average: the inverse of the variance of the mean response.

    Raises:
      InputError: no repetitions, or a reliability outside of 0 to 1.
    """
    n = np.asarray(n_repetitions, np.float64)
    if not (n > 0).all():
        raise unexpected("n_repetitions", "at least one of each image", n.min())
    if not 0 <= reliability <= 1:
        raise unexpected("reliability", "a number from 0 to 1", reliability)
    weights = 1 / (reliability + (1 - reliability) / n)
    return weights / weights.mean()


def _project(
    design: Design, n_components: int | None, degree: int, seed: int
) -> tuple[Projection | KernelProjection, Rows, np.ndarray | None]:
    """Returns the first three fields of `Prepared`."""
    n_images, n_features = design.shape
    if degree > 1:
        if n_components is None:
            raise unexpected("n_components", "a number, with a kernel", "none")
        of_kernel = kernel.fit(design, n_components, degree, seed=seed)
        return of_kernel.projection, Matrix(of_kernel.scores), None
    if n_components is None and n_features <= n_images:
        return Projection(design.mean, design.scale), design, None
    components = pca.fit(design, n_components, seed=seed)
    projection, rows = components.projection, Matrix(components.scores)
    if n_components is not None:
        return projection, rows, None
    return Projection(design.mean, design.scale), rows, projection.components


def partition(
    folds: tuple[np.ndarray, ...] | None, n_images: int
) -> tuple[np.ndarray, ...]:
    """Returns the parts of all images: the folds, and what is in none."""
    everything = np.arange(n_images)
    if folds is None:
        return (everything,)
    rest = np.setdiff1d(everything, np.concatenate(folds))
    return (*folds, rest) if len(rest) else folds


def held_out_scores(
    prepared: Prepared,
    responses: np.ndarray,
    crosses: Sequence[np.ndarray],
    toward: np.ndarray,
    alphas: np.ndarray,
) -> np.ndarray:
    """Returns f64[alpha, target], R² of images that are held out."""
    rows, weights = prepared.rows, prepared.weights
    if prepared.folds is None:
        return selection.leave_one_out(
            prepared.basis, rows, responses, toward, alphas, weights
        ).r2
    total = np.sum(crosses, axis=0)
    errors = [
        selection.held_out(fold, rows, responses, cross, total - cross, alphas, weights)
        for fold, cross in zip(prepared.folds, crosses, strict=False)
    ]
    return selection.Errors(
        np.sum([one.squares for one in errors], axis=0),
        np.sum([one.total for one in errors], axis=0),
    ).r2


def predict_held_out(
    prepared: Prepared,
    responses: np.ndarray,
    crosses: Sequence[np.ndarray],
    alpha: np.ndarray,
) -> selection.HeldOut:
    """Predicts images in folds by fits without them, with penalties f64[target]."""
    total, folds, n_images = np.sum(crosses, axis=0), [], 0
    for fold in prepared.folds or ():
        if n_images >= ENOUGH:
            break
        folds.append(fold)
        n_images += len(fold.index)
    parts = [
        selection.predict(
            fold, prepared.rows, responses, total - cross, alpha, prepared.weights
        )
        for fold, cross in zip(folds, crosses, strict=False)
    ]
    index = np.concatenate([fold.index for fold in folds])
    return selection.HeldOut(index, np.concatenate(parts))


def shared(scores: np.ndarray, shape: tuple[int, ...], penalty_per: str) -> np.ndarray:
    """Returns f64[alpha, target], means over the targets that share a penalty.

    Raises:
      InputError: `penalty_per` is none of `PENALTY_PER`.
    """
    if penalty_per not in PENALTY_PER:
        raise unexpected("penalty_per", f"one of {', '.join(PENALTY_PER)}", penalty_per)
    n_alphas, n_targets = scores.shape
    n_sharing = {
        "target": 1,
        "channel": n_targets // shape[0] if len(shape) > 1 else 1,
        "all": n_targets,
    }[penalty_per]
    means = scores.reshape(n_alphas, -1, n_sharing).mean(-1)
    return np.repeat(means, n_sharing, axis=1)


def solve(
    prepared: Prepared, toward: np.ndarray, alpha: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Returns f32[column, target] coefficients, and their part f64 of the intercept."""
    basis = prepared.basis
    along = toward / (basis.values[:, np.newaxis] + alpha)
    coefficients = product(basis.vectors, along)
    offset = basis.mean @ coefficients
    if prepared.folded is not None:
        coefficients = product(prepared.folded, coefficients)
    return coefficients, offset


def check_alphas(alphas: ArrayLike) -> np.ndarray:
    """Returns f64[alpha].

    Raises:
      InputError: none, or no penalties.
    """
    alphas = np.atleast_1d(np.asarray(alphas, np.float64))
    if (
        alphas.ndim != 1
        or not alphas.size
        or not (np.isfinite(alphas) & (alphas >= 0)).all()
    ):
        raise unexpected("alphas", "penalties of 0 or more", alphas)
    return alphas


def centred(
    responses: np.ndarray, weights: np.ndarray
) -> tuple[np.ndarray, np.ndarray, tuple[int, ...]]:
    """Subtracts the weighted mean over images.

    Returns:
      (f32[image, target] centred, f64[target] mean, shape of an image's responses).

    Raises:
      InputError: there is another number of images, or a response is not finite.
    """
    responses, n_images = np.asarray(responses), len(weights)
    if len(responses) != n_images:
        raise unexpected(
            "features",
            f"{len(responses)} rows, one for the responses of each image",
            f"{n_images} rows",
        )
    shape = responses.shape[1:]
    responses = responses.reshape(n_images, -1)
    is_finite = np.isfinite(responses).all(1)
    if not is_finite.all():
        row = int(np.flatnonzero(~is_finite)[0])
        raise unexpected("responses", "finite numbers", f"others in row {row}")
    mean = weights @ responses / weights.sum()
    return (responses - mean).astype(np.float32), mean, shape


def check_weights(weights: ArrayLike | None, n_images: int) -> np.ndarray:
    """Returns f64[image].

    Raises:
      InputError: there is another number of them, or one is not above 0.
    """
    weights = np.ones(n_images) if weights is None else np.asarray(weights, np.float64)
    if weights.shape != (n_images,) or not (np.isfinite(weights) & (weights > 0)).all():
        raise unexpected("weights", f"{n_images} numbers above 0", weights.shape)
    return weights
