"""Scores in numbers: what `metrics.json` holds."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from img2eeg_jax.axes import Axes
from img2eeg_jax.errors import unexpected
from img2eeg_jax.evaluation.bootstrap import EncodingDraws
from img2eeg_jax.evaluation.ceiling_test import ceiling_p
from img2eeg_jax.evaluation.encoding import (
    EncodingScores,
    explained_fraction,
    noise_normalised,
    reliability_of_mean,
)
from img2eeg_jax.evaluation.metrics import METRICS
from img2eeg_jax.evaluation.permutations import PermutationTest, describe_null
from img2eeg_jax.evaluation.statistics import false_discovery, interval


@dataclass(frozen=True, eq=False)
class Evidence:
    """What is known of a prediction's r, cell by cell: a channel at a time.

    Attributes:
      scores: of `encoding_scores`.
      test: of `permutation_test`, of the same prediction and EEG.
      draws: of `encoding_draws`, of the same; None if there is no bootstrap.
      agreement: of `ceiling_test.agreement`, of the same EEG; None if it is not tested.
    """

    scores: EncodingScores
    test: PermutationTest
    draws: EncodingDraws | None = None
    agreement: NDArray[np.float32] | None = None

    def mean(
        self,
        channels: slice | NDArray[np.int64] = slice(None),
        times: slice | NDArray[np.int64] = slice(None),
    ) -> dict[str, float]:
        """Returns scores averaged over channels and times; see `summarise`.

        Args:
          channels: numbers of the channels; all by default.
          times: numbers of the times; all by default.

        Returns:
          Name in `METRICS`, or that and one of its `SUFFIXES` → number.
        """
        values = {
            name: r[channels][:, times].mean()
            for name, r in known_scores(self.scores).items()
        }
        values |= self._normalised(values)
        values |= self.test.summary(channels, times)
        if self.draws is not None:
            drawn = {
                name: r[:, channels][:, :, times].mean((1, 2), np.float64)
                for name, r in vars(self.draws).items()
            }
            values |= self._intervals(drawn)
        if self.agreement is not None:
            agreement = self.agreement[:, channels][:, :, times]
            p = ceiling_p(agreement.mean((1, 2), np.float64))
            values["noise_ceiling_p"] = float(p)
        return values

    def cells(self) -> dict[str, NDArray[np.float64]]:
        """Returns the same of each channel and time: name → f64[channel, time]."""
        cells = known_scores(self.scores) | describe_null(self.test.cells())
        cells["permutation_p_fdr"] = false_discovery(cells["permutation_p"])
        if self.draws is not None:
            drawn = vars(self.draws)
            cells |= self._intervals(drawn)
        if self.agreement is not None:
            cells["noise_ceiling_p"] = ceiling_p(self.agreement)
        return cells

    def _intervals(self, draws: Mapping[str, ArrayLike]) -> dict[str, NDArray]:
        """Returns the ends of intervals: metric and `_ci_low`, `_ci_high` → f64[...].

        Args:
          draws: metric → f[draw, ...].
        """
        ends = {}
        for name, of in {**draws, **self._normalised(draws)}.items():
            both = interval(of, self.scores.n_images)
            ends[f"{name}_ci_low"], ends[f"{name}_ci_high"] = both
        return ends

    def _normalised(self, of: Mapping[str, ArrayLike]) -> dict[str, NDArray]:
        """Returns what is made of averages: a ratio of averages, not one of ratios."""
        reliability = reliability_of_mean(
            of["noise_ceiling_lower"], self.scores.n_repetitions
        )
        r = noise_normalised(of["encoding_r_all_repetitions"], reliability)
        return {
            "reliability": reliability,
            "noise_normalised_r": r,
            "explained_fraction": explained_fraction(r),
        }


def summarise(
    evidence: Evidence, axes: Axes, window_s: tuple[float, float] | None = (0.1, 0.3)
) -> dict[str, Any]:
    """Averages scores over channels and a time window, ready for JSON.

    Averages of r are plain means: where r is undefined for one of the averaged values
    (constant EEG), so is the average. `noise_normalised_r` and `explained_fraction` of
    an average are made of the averages of r and of the lower ceiling. Undefined numbers
    become None.

    Args:
      evidence: scores, and what is known of their chance and spread.
      axes: the channels and times of the scores; names all different, times ascending.
      window_s: first and last time to average, in seconds, see `Axes.window`; None of
        features.

    Returns:
      The means over channels and window, and what the tests say of this mean, under the
      names of `METRICS` (the best possible r only if known), and the ends of bootstrap
      intervals under these and `_ci_low`, `_ci_high`;
      `per_channel`, {channel name: {metric: mean over the window}}; `per_time`,
      {"times_s": [...], metric: [mean over channels, ...]}; `window_s`, the first and
      last sample used, and `window_s_requested`; `n_splits`, `n_permutations`,
      `n_draws`, `n_images`, `n_repetitions` and `ch_names`. Of features there is
      neither `per_channel` nor `per_time`, and no window.

    Raises:
      InputError: names or times do not fit the scores, or no sample is in the window.
    """
    scores = evidence.scores
    _check_axes(axes, known_scores(scores))
    # By number: a slice would sum in another order.
    inside = np.arange(len(axes.times_s))[axes.window(window_s)]
    draws = evidence.draws
    return {
        **_json(evidence.mean(times=inside)),
        "window_s": axes.span_s(inside),
        "window_s_requested": window_s and [float(end) for end in window_s],
        "n_splits": scores.n_splits,
        "n_permutations": evidence.test.n_permutations,
        "n_draws": 0 if draws is None else len(draws.encoding_r),
        "n_images": scores.n_images,
        "n_repetitions": scores.n_repetitions,
        "ch_names": list(axes.ch_names),
        **(_by_channel_and_time(evidence, axes, inside) if axes.has_times else {}),
    }


def _by_channel_and_time(
    evidence: Evidence, axes: Axes, inside: NDArray[np.int64]
) -> dict[str, Any]:
    """Returns `per_channel` and `per_time` of `summarise`."""
    per_channel = {
        name: _json(evidence.mean(np.array([i]), inside))
        for i, name in enumerate(axes.ch_names)
    }
    at_times = [evidence.mean(times=np.array([i])) for i in range(len(axes.times_s))]
    per_time = {name: np.array([at[name] for at in at_times]) for name in at_times[0]}
    per_time["permutation_p_fdr"] = false_discovery(per_time["permutation_p"])
    return {
        "per_channel": per_channel,
        "per_time": {"times_s": axes.times_s.tolist(), **_json(per_time)},
    }


def known_scores(scores: EncodingScores) -> dict[str, NDArray[np.float64]]:
    """Returns {name in metrics.json: f64[channel, time]} of the scores known."""
    values = vars(scores)
    return {name: values[name] for name in METRICS if values.get(name) is not None}


def _check_axes(axes: Axes, metrics: Mapping[str, NDArray[np.float64]]) -> None:
    n_channels, n_times = axes.shape
    if len(set(axes.ch_names)) != n_channels:
        raise unexpected("channel names", "no duplicates", [*axes.ch_names])
    if (np.diff(axes.times_s) <= 0).any():
        raise unexpected("times", "increasing seconds", "another order")
    for metric, r in metrics.items():
        if r.shape != axes.shape:
            fits = f"{n_channels} channel names and {n_times} times"
            raise unexpected(metric, f"shape {axes.shape} for {fits}", r.shape)


def plain(values: ArrayLike) -> list | float | None:
    """Turns numbers into Python's own; what JSON lacks, nan and inf, becomes None."""
    values = np.asarray(values, np.float64)
    objects = values.astype(object)
    objects[~np.isfinite(values)] = None
    return objects.tolist()


def _json(by_metric: Mapping[str, ArrayLike]) -> dict[str, Any]:
    return {metric: plain(values) for metric, values in by_metric.items()}
