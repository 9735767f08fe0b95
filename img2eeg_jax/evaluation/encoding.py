"""How well predicted EEG agrees with measured EEG, and how well it could.

Every score is Pearson's r over the test images, for each channel and time, as in the
evaluation of Gifford et al. 2022 (NeuroImage 264:119754): the repetitions are halved
at random, the prediction is correlated with the mean of one half, and the other half
and the whole, correlated with the same half, bound what a perfect prediction could
score. NumPy only; all functions are pure.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from img2eeg_jax.errors import unexpected
from img2eeg_jax.evaluation.correlation import correlate_units, unit_columns
from img2eeg_jax.evaluation.halvings import halves


@dataclass(frozen=True, eq=False)
class EncodingScores:
    """Pearson r over images, per channel and time.

    Arrays are f64[channel, time], unitless. A prediction that is the same for all
    images scores 0: it tells nothing about them. Where the measured EEG is constant
    over images, r is nan. With a single repetition there are no halves: `encoding_r`,
    both ceilings and `best_possible_r` are nan and `n_splits` is 0.

    The names are those of the table in `metrics`.

    Attributes:
      encoding_r: prediction against the mean of one half of the repetitions, averaged
        over halvings (the official score).
      encoding_r_all_repetitions: prediction against the mean of all repetitions.
      noise_ceiling_lower: other half against the half, averaged over halvings.
      noise_ceiling_upper: all repetitions against the half, averaged over halvings.
        The whole contains the half: see `metrics.upper_ceiling_of_noise`.
      reliability: of the mean of all repetitions, from the lower ceiling; see
        `reliability_of_mean`. nan of a single repetition.
      noise_normalised_r: `encoding_r_all_repetitions` over the root of `reliability`;
        see `noise_normalised`.
      explained_fraction: its square, with its sign.
      best_possible_r: noise-free response against the half, averaged over halvings;
        None where the noise-free response is not known.
      best_possible_r_all_repetitions: noise-free response against the mean of all
        repetitions; None where it is not known.
      n_images: number of images that r is taken over.
      n_repetitions: number of repetitions of each image.
      n_splits: number of halvings used.
    """

    encoding_r: NDArray[np.float64]
    encoding_r_all_repetitions: NDArray[np.float64]
    noise_ceiling_lower: NDArray[np.float64]
    noise_ceiling_upper: NDArray[np.float64]
    reliability: NDArray[np.float64]
    noise_normalised_r: NDArray[np.float64]
    explained_fraction: NDArray[np.float64]
    best_possible_r: NDArray[np.float64] | None
    best_possible_r_all_repetitions: NDArray[np.float64] | None
    n_images: int
    n_repetitions: int
    n_splits: int


def encoding_scores(
    prediction: ArrayLike,
    eeg: ArrayLike,
    *,
    n_splits: int = 100,
    seed: int,
    noise_free: ArrayLike | None = None,
) -> EncodingScores:
    """Scores a prediction against measured EEG, beside the noise ceilings.

    Averages over halvings are plain means of r. The same halvings serve all scores.

    Args:
      prediction: f[image, channel, time], the predicted EEG; r ignores its unit.
      eeg: f[image, repetition, channel, time], the measured EEG.
      n_splits: number of random halvings of the repetitions.
      seed: of the halvings.
      noise_free: f[image, channel, time], the response without noise, known for
        simulated EEG only.

    Returns:
      The scores.

    Raises:
      InputError: shapes do not agree, there are fewer than 3 images, or a value is not
        finite.
      ValueError: `n_splits` is below 1.
    """
    prediction, eeg = checked_pair(prediction, eeg, min_images=3)
    n_images, n_repetitions = eeg.shape[:2]
    mean = eeg.mean(axis=1, dtype=np.float64)
    candidates = [prediction, mean]
    if noise_free is not None:
        noise_free = _checked_response("noise-free response", noise_free, eeg.shape)
        candidates.append(noise_free)
    if n_repetitions > 1:
        by_candidate, lower = _scores_over_halvings(candidates, eeg, n_splits, seed)
    else:
        n_splits = 0
        by_candidate = np.full((len(candidates), *eeg.shape[2:]), np.nan)
        lower = np.full(eeg.shape[2:], np.nan)
    r_all = _against_mean(prediction, mean)
    reliability = reliability_of_mean(lower, n_repetitions)
    normalised = noise_normalised(r_all, reliability)
    return EncodingScores(
        encoding_r=by_candidate[0],
        encoding_r_all_repetitions=r_all,
        reliability=reliability,
        noise_normalised_r=normalised,
        explained_fraction=explained_fraction(normalised),
        noise_ceiling_lower=lower,
        noise_ceiling_upper=by_candidate[1],
        best_possible_r=None if noise_free is None else by_candidate[2],
        best_possible_r_all_repetitions=(
            None if noise_free is None else _against_mean(noise_free, mean)
        ),
        n_images=n_images,
        n_repetitions=n_repetitions,
        n_splits=n_splits,
    )


def reliability_of_mean(
    lower_ceiling: ArrayLike, n_repetitions: int
) -> NDArray[np.float64]:
    """Steps r between halves up to the mean of all repetitions (Spearman, Brown 1910).

    The share of the variance over images that another n repetitions would have in
    common with it. Nothing keeps that of noise from being negative. Of an odd number
    of repetitions it is within 0.01 of what it should be: their halves differ in size.

    Args:
      lower_ceiling: f[...], r between halves, or its mean over channels and times.
      n_repetitions: how many there are; of one the reliability is unknown.

    Returns:
      f64[...], k r / (1 + (k - 1) r); k is n over the halves' (geometric mean) size.
    """
    lower = np.asarray(lower_ceiling, np.float64)
    if n_repetitions < 2:
        return np.full(lower.shape, np.nan)
    half = n_repetitions // 2
    k = n_repetitions / np.sqrt(half * (n_repetitions - half))
    with np.errstate(divide="ignore", invalid="ignore"):
        return k * lower / (1 + (k - 1) * lower)


def noise_normalised(r: ArrayLike, reliability: ArrayLike) -> NDArray[np.float64]:
    """Divides r by the root of the reliability: what r might be without trial noise.

    Not clipped: where reliability is underestimated, it is above 1.

    Args:
      r: f[...], with the mean of all repetitions.
      reliability: f[...], of that mean.

    Returns:
      f64[...], nan where the reliability is not above 0.
    """
    reliability = np.asarray(reliability, np.float64)
    positive = np.where(reliability > 0, reliability, np.nan)
    return np.asarray(r, np.float64) / np.sqrt(positive)


def explained_fraction(normalised_r: ArrayLike) -> NDArray[np.float64]:
    """Returns r |r|, the fraction of the explainable variance that is explained.

    The sign stays, so that noise explains 0 on average, and the opposite less.

    Args:
      normalised_r: f[...], of `noise_normalised`.
    """
    r = np.asarray(normalised_r, np.float64)
    return r * np.abs(r)


def checked_pair(
    prediction: ArrayLike, eeg: ArrayLike, min_images: int
) -> tuple[NDArray[np.float64], NDArray]:
    """Returns a prediction and the EEG that it is scored against, if they fit.

    Args:
      prediction: f[image, channel, time].
      eeg: f[image, repetition, channel, time].
      min_images: number of images that a score needs.

    Raises:
      InputError: shapes do not agree, there are too few images, or a value is not
        finite.
    """
    eeg = np.asarray(eeg)
    if eeg.ndim != 4 or 0 in eeg.shape:
        expected = "a filled array [image, repetition, channel, time]"
        raise unexpected("EEG", expected, f"shape {eeg.shape}")
    prediction = _checked_response("prediction", prediction, eeg.shape)
    if len(eeg) < min_images:
        raise unexpected("correlation over images", f"at least {min_images}", len(eeg))
    _check_finite("EEG", eeg)
    return prediction, eeg


def _against_mean(
    candidate: NDArray[np.float64], mean: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Returns f64[channel, time], r of a candidate, which is 0 where it is constant."""
    return correlate_units(unit_columns(candidate, constant=0.0), unit_columns(mean))


def _scores_over_halvings(
    candidates: Sequence[NDArray[np.float64]], eeg: NDArray, n_splits: int, seed: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Correlates each candidate, and the other half, with the half.

    Args:
      candidates: each f64[image, channel, time].
      eeg: f[image, repetition, channel, time], at least two repetitions.
      n_splits: number of halvings.
      seed: of the halvings.

    Returns:
      f64[candidate, channel, time] and, for the other half, f64[channel, time]; means
      over halvings.
    """
    units = [unit_columns(c, constant=0.0).reshape(len(c), -1) for c in candidates]
    by_candidate = np.empty((len(candidates), *eeg.shape[2:]))
    lower = np.empty(eeg.shape[2:])
    flat_by_candidate = by_candidate.reshape(len(candidates), -1)
    flat_lower = lower.reshape(-1)
    for part in halves(eeg, n_splits, seed):
        for row, unit in zip(flat_by_candidate, units, strict=True):
            row[part.columns] = part.mean_r(unit[:, part.columns])
        flat_lower[part.columns] = part.mean_r_of_others()
    return by_candidate, lower


def _checked_response(
    what: str, response: ArrayLike, eeg_shape: tuple[int, ...]
) -> NDArray[np.float64]:
    """Returns f64[image, channel, time] if it fits the EEG, else raises InputError."""
    response = np.asarray(response, np.float64)
    expected = (eeg_shape[0], *eeg_shape[2:])
    if response.shape != expected:
        raise unexpected(
            what,
            f"shape {expected} [image, channel, time] to fit EEG of shape {eeg_shape}",
            response.shape,
        )
    _check_finite(what, response)
    return response


def _check_finite(what: str, values: NDArray) -> None:
    n_bad = values.size - np.count_nonzero(np.isfinite(values))
    if n_bad:
        raise unexpected(
            what, "finite values", f"{n_bad} of {values.size} that are NaN or infinite"
        )
