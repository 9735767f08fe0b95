"""How well predicted EEG agrees with measured EEG, and how well it could.

Every score is Pearson's r over the test images, for each channel and time, as in the
evaluation of Gifford et al. 2022 (NeuroImage 264:119754): the repetitions are halved
at random, the prediction is correlated with the mean of one half, and the other half
and the whole, correlated with the same half, bound what a perfect prediction could
score. NumPy only; all functions are pure.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from img2eeg_jax.errors import unexpected

# A column whose spread is below this fraction of its mean is rounding, not signal.
_CONSTANT_RTOL = 1e-13

# Float64 values that one block of half means may hold: 16 MiB.
_BLOCK_VALUES = 2**21


@dataclass(frozen=True, eq=False)
class EncodingScores:
    """Pearson r over images, per channel and time.

    Arrays are f64[channel, time], unitless. A prediction that is the same for all
    images scores 0: it tells nothing about them. Where the measured EEG is constant
    over images, r is nan. With a single repetition there are no halves: `encoding_r`,
    both ceilings and `best_possible_r` are nan and `n_splits` is 0.

    Attributes:
      encoding_r: prediction against the mean of one half of the repetitions, averaged
        over halvings (the official score).
      encoding_r_all_repetitions: prediction against the mean of all repetitions.
      noise_ceiling_lower: other half against the half, averaged over halvings.
      noise_ceiling_upper: all repetitions against the half, averaged over halvings.
        The whole contains the half, so that pure noise gives about 0.70.
      best_possible_r: noise-free response against the half, averaged over halvings;
        None where the noise-free response is not known.
      n_images: number of images that r is taken over.
      n_repetitions: number of repetitions of each image.
      n_splits: number of halvings used.
    """

    encoding_r: NDArray[np.float64]
    encoding_r_all_repetitions: NDArray[np.float64]
    noise_ceiling_lower: NDArray[np.float64]
    noise_ceiling_upper: NDArray[np.float64]
    best_possible_r: NDArray[np.float64] | None
    n_images: int
    n_repetitions: int
    n_splits: int


def correlate_over_images(a: ArrayLike, b: ArrayLike) -> NDArray[np.float64]:
    """Correlates two arrays over their first axis.

    Args:
      a: f[image, ...], any unit.
      b: f[image, ...], any unit; the axes after the first broadcast against those of
        `a`.

    Returns:
      f64[...], Pearson r; nan, without a warning, where a column of `a` or `b` is
      constant over images.

    Raises:
      ValueError: the numbers of images differ.
    """
    a, b = np.asarray(a, np.float64), np.asarray(b, np.float64)
    if a.shape[0] != b.shape[0]:
        raise ValueError(f"expected equally many images, found {a.shape} and {b.shape}")
    return _dot_over_images(_unit_columns(a), _unit_columns(b))


def half_split_means(
    eeg: ArrayLike, n_splits: int, seed: int
) -> Iterator[tuple[slice, NDArray[np.float64], NDArray[np.float64]]]:
    """Averages both halves of random halvings of the repetitions.

    One halving serves all images, channels and times. The halvings are a function of
    (number of repetitions, `n_splits`, `seed`) only. Results come in blocks of
    columns, a column being one channel at one time, so that memory stays bounded.

    Args:
      eeg: f[image, repetition, channel, time], any unit.
      n_splits: number of halvings.
      seed: of the halvings.

    Yields:
      (columns, half, other): a slice of the flattened channel-time axis and the
      means f64[image, split, column] of both halves, in the unit of `eeg`. For an odd
      number of repetitions `half` has one repetition fewer than `other`.

    Raises:
      ValueError: `eeg` has another rank, fewer than two repetitions, or `n_splits` is
        below 1.
    """
    eeg = np.asarray(eeg)
    if eeg.ndim != 4 or eeg.shape[1] < 2:
        raise ValueError(
            "EEG to be halved: expected [image, repetition, channel, time] with at "
            f"least 2 repetitions, found shape {eeg.shape}"
        )
    weights = _half_weights(eeg.shape[1], n_splits, seed)
    flat = eeg.reshape(*eeg.shape[:2], -1)
    step = max(1, _BLOCK_VALUES // (2 * n_splits * len(flat)))
    for start in range(0, flat.shape[2], step):
        columns = slice(start, start + step)
        means = weights @ flat[:, :, columns].astype(np.float64)
        yield columns, means[:, :n_splits], means[:, n_splits:]


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
    prediction, eeg = _checked_pair(prediction, eeg, min_images=3)
    n_images, n_repetitions = eeg.shape[:2]
    mean = eeg.mean(axis=1, dtype=np.float64)
    candidates = [prediction, mean]
    if noise_free is not None:
        candidates.append(
            _checked_response("noise-free response", noise_free, eeg.shape)
        )
    if n_repetitions > 1:
        by_candidate, lower = _scores_over_halvings(candidates, eeg, n_splits, seed)
    else:
        n_splits = 0
        by_candidate = np.full((len(candidates), *eeg.shape[2:]), np.nan)
        lower = np.full(eeg.shape[2:], np.nan)
    return EncodingScores(
        encoding_r=by_candidate[0],
        encoding_r_all_repetitions=_dot_over_images(
            _unit_predictions(prediction), _unit_columns(mean)
        ),
        noise_ceiling_lower=lower,
        noise_ceiling_upper=by_candidate[1],
        best_possible_r=None if noise_free is None else by_candidate[2],
        n_images=n_images,
        n_repetitions=n_repetitions,
        n_splits=n_splits,
    )


def random_derangements(
    n_images: int, n_permutations: int, rng: np.random.Generator
) -> NDArray[np.int64]:
    """Draws permutations that leave no image in its place, all equally likely.

    Args:
      n_images: number of images to permute.
      n_permutations: number of permutations.
      rng: source of randomness.

    Returns:
      i64[n_permutations, n_images]; `result[p, i] != i` everywhere.

    Raises:
      InputError: there are fewer than 2 images, so that there is no derangement.
      ValueError: `n_permutations` is below 1.
    """
    if n_images < 2:
        raise unexpected("permutation control", "at least 2 images", n_images)
    if n_permutations < 1:
        raise ValueError(f"n_permutations: expected at least 1, found {n_permutations}")
    identity = np.arange(n_images)
    found = np.empty((0, n_images), np.int64)
    while len(found) < n_permutations:
        # A random permutation is a derangement with a chance of 1/e to 1/2.
        drawn = rng.permuted(np.tile(identity, (3 * n_permutations, 1)), axis=1)
        found = np.concatenate([found, drawn[(drawn != identity).all(axis=1)]])
    return found[:n_permutations]


def permutation_r(
    prediction: ArrayLike,
    eeg: ArrayLike,
    *,
    n_permutations: int = 200,
    n_splits: int = 100,
    seed: int,
) -> NDArray[np.float64]:
    """Scores predictions that are assigned to wrong images.

    This is the mean of `encoding_r` over random derangements of the images, each
    scored against every halving. Its expected value is not 0 but
    -encoding_r / (number of images - 1), because the true assignment is left out.

    Args:
      prediction: f[image, channel, time], the predicted EEG.
      eeg: f[image, repetition, channel, time], the measured EEG. A single repetition,
        which has no halves, is scored against as it is.
      n_permutations: number of derangements.
      n_splits: number of random halvings, the same as in `encoding_scores`.
      seed: of the halvings and of the derangements.

    Returns:
      f64[channel, time], mean r; 0 where the prediction is constant over images, nan
      where the measured EEG is.

    Raises:
      InputError: shapes do not agree, there are fewer than 2 images, or a value is not
        finite.
      ValueError: `n_permutations` or `n_splits` is below 1.
    """
    prediction, eeg = _checked_pair(prediction, eeg, min_images=2)
    n_images = len(prediction)
    # The halvings use `seed` itself; a second word gives an independent stream.
    rng = np.random.default_rng((seed, 1))
    orders = random_derangements(n_images, n_permutations, rng)
    # r is linear in each standardised side and standardising ignores order, so the
    # mean over all (derangement, halving) pairs is one product of the two means.
    assigned = np.zeros((n_images, n_images))
    np.add.at(assigned, (np.arange(n_images), orders), 1 / n_permutations)
    permuted = assigned @ _unit_predictions(prediction).reshape(n_images, -1)
    target = _mean_unit_half(eeg, n_splits, seed)
    return _dot_over_images(permuted, target).reshape(eeg.shape[2:])


def summarise(
    scores: EncodingScores,
    permutation: ArrayLike,
    ch_names: Sequence[str],
    times_s: ArrayLike,
    window_s: tuple[float, float] = (0.1, 0.3),
) -> dict:
    """Averages scores over channels and a time window, ready for JSON.

    Averages are plain means: where r is undefined for one of the averaged values
    (constant EEG), so is the average. Undefined numbers become None.

    Args:
      scores: of `encoding_scores`.
      permutation: f[channel, time], of `permutation_r`.
      ch_names: names of the channels, all different.
      times_s: f[time], in seconds after image onset, increasing.
      window_s: first and last time to average, in seconds. Samples less than half a
        sample outside count as inside; where EEG covers only a part of the window,
        that part is used.

    Returns:
      The means over channels and window under the names of the fields of
      `EncodingScores` and `permutation_r` (`best_possible_r` only if known);
      `per_channel`, {channel name: {metric: mean over the window}}; `per_time`,
      {"times_s": [...], metric: [mean over channels, ...]}; `window_s`, the first and
      last sample used, and `window_s_requested`; `n_splits`, `n_images`,
      `n_repetitions` and `ch_names`.

    Raises:
      InputError: names or times do not fit the scores, or no sample is in the window.
    """
    times_s = np.asarray(times_s, np.float64)
    metrics = _metrics(scores, permutation)
    _check_axes(ch_names, times_s, metrics)
    inside = _window(times_s, window_s)
    per_channel = {
        name: {metric: _json(r[i, inside].mean()) for metric, r in metrics.items()}
        for i, name in enumerate(ch_names)
    }
    per_time = {metric: _json(r.mean(axis=0)) for metric, r in metrics.items()}
    return {
        **{metric: _json(r[:, inside].mean()) for metric, r in metrics.items()},
        "window_s": times_s[inside][[0, -1]].tolist(),
        "window_s_requested": [float(end) for end in window_s],
        "n_splits": scores.n_splits,
        "n_images": scores.n_images,
        "n_repetitions": scores.n_repetitions,
        "ch_names": list(ch_names),
        "per_channel": per_channel,
        "per_time": {"times_s": times_s.tolist(), **per_time},
    }


def _unit_columns(a: NDArray[np.float64]) -> NDArray[np.float64]:
    """Centres columns over axis 0 and scales them to length 1; nan if constant."""
    mean = a.mean(axis=0)
    centred = a - mean
    length = np.sqrt(_dot_over_images(centred, centred))
    constant = length <= _CONSTANT_RTOL * np.sqrt(len(a)) * np.abs(mean)
    return centred / np.where(constant, np.nan, length)


def _unit_predictions(a: NDArray[np.float64]) -> NDArray[np.float64]:
    """As `_unit_columns`, but 0 where constant."""
    return np.nan_to_num(_unit_columns(a), copy=False, nan=0.0)


def _dot_over_images(
    a: NDArray[np.float64], b: NDArray[np.float64]
) -> NDArray[np.float64]:
    return np.einsum("i...,i...->...", a, b)


def _half_weights(n_repetitions: int, n_splits: int, seed: int) -> NDArray[np.float64]:
    """Returns f64[2 * n_splits, repetition]: rows that average one half, then other."""
    if n_splits < 1:
        raise ValueError(f"n_splits: expected at least 1, found {n_splits}")
    rng = np.random.default_rng(seed)
    orders = rng.permuted(np.tile(np.arange(n_repetitions), (n_splits, 1)), axis=1)
    n_half = n_repetitions // 2
    in_half = np.zeros((n_splits, n_repetitions), bool)
    np.put_along_axis(in_half, orders[:, :n_half], True, axis=1)
    return np.concatenate([in_half / n_half, ~in_half / (n_repetitions - n_half)])


def _scores_over_halvings(
    candidates: Sequence[NDArray[np.float64]],
    eeg: NDArray,
    n_splits: int,
    seed: int,
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
    units = [_unit_predictions(c).reshape(len(c), 1, -1) for c in candidates]
    by_candidate = np.empty((len(candidates), *eeg.shape[2:]))
    lower = np.empty(eeg.shape[2:])
    flat_by_candidate = by_candidate.reshape(len(candidates), -1)
    flat_lower = lower.reshape(-1)
    for columns, half, other in half_split_means(eeg, n_splits, seed):
        half = _unit_columns(half)
        for row, unit in zip(flat_by_candidate, units, strict=True):
            row[columns] = _dot_over_images(unit[..., columns], half).mean(axis=0)
        r_other = _dot_over_images(_unit_columns(other), half)
        flat_lower[columns] = r_other.mean(axis=0)
    return by_candidate, lower


def _mean_unit_half(eeg: NDArray, n_splits: int, seed: int) -> NDArray[np.float64]:
    """Returns f64[image, channel-time]: standardised half, mean over halvings."""
    n_images, n_repetitions = eeg.shape[:2]
    if n_repetitions == 1:
        return _unit_columns(eeg.reshape(n_images, -1).astype(np.float64))
    mean = np.empty((n_images, eeg[0, 0].size))
    for columns, half, _ in half_split_means(eeg, n_splits, seed):
        mean[:, columns] = _unit_columns(half).mean(axis=1)
    return mean


def _checked_pair(
    prediction: ArrayLike, eeg: ArrayLike, min_images: int
) -> tuple[NDArray[np.float64], NDArray]:
    eeg = np.asarray(eeg)
    if eeg.ndim != 4 or 0 in eeg.shape:
        raise unexpected(
            "EEG",
            "a filled array [image, repetition, channel, time]",
            f"shape {eeg.shape}",
        )
    prediction = _checked_response("prediction", prediction, eeg.shape)
    if len(eeg) < min_images:
        raise unexpected("correlation over images", f"at least {min_images}", len(eeg))
    _check_finite("EEG", eeg)
    return prediction, eeg


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


def _metrics(
    scores: EncodingScores, permutation: ArrayLike
) -> Mapping[str, NDArray[np.float64]]:
    """Returns {name in metrics.json: f64[channel, time]}."""
    metrics = {
        "encoding_r": scores.encoding_r,
        "encoding_r_all_repetitions": scores.encoding_r_all_repetitions,
        "noise_ceiling_lower": scores.noise_ceiling_lower,
        "noise_ceiling_upper": scores.noise_ceiling_upper,
        "permutation_r": np.asarray(permutation, np.float64),
    }
    if scores.best_possible_r is not None:
        metrics["best_possible_r"] = scores.best_possible_r
    return metrics


def _check_axes(
    ch_names: Sequence[str],
    times_s: NDArray[np.float64],
    metrics: Mapping[str, NDArray[np.float64]],
) -> None:
    if len(set(ch_names)) != len(ch_names):
        raise unexpected("channel names", "no duplicates", [*ch_names])
    if times_s.ndim != 1 or (np.diff(times_s) <= 0).any():
        raise unexpected("times", "increasing seconds", "another order")
    expected = (len(ch_names), len(times_s))
    for metric, r in metrics.items():
        if r.shape != expected:
            raise unexpected(
                metric,
                (
                    f"shape {expected} for {len(ch_names)} channel names and "
                    f"{len(times_s)} times"
                ),
                r.shape,
            )


def _window(
    times_s: NDArray[np.float64], window_s: tuple[float, float]
) -> NDArray[np.bool_]:
    start_s, end_s = window_s
    # A little under half a sample, so that rounding does not decide about ties.
    slack_s = 0.499 * np.median(np.diff(times_s)) if len(times_s) > 1 else 1e-6
    inside = (times_s > start_s - slack_s) & (times_s < end_s + slack_s)
    if start_s > end_s or not inside.any():
        raise unexpected(
            "window",
            f"a part of the EEG's {times_s[0]:g} to {times_s[-1]:g} s",
            f"{start_s:g} to {end_s:g} s",
        )
    return inside


def _json(values: NDArray[np.float64] | np.float64) -> list | float | None:
    """Turns numbers into Python's own, and nan, which JSON lacks, into None."""
    values = np.asarray(values)
    return np.where(np.isnan(values), None, values.astype(object)).tolist()
