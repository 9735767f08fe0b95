"""Scores in numbers: what `metrics.json` holds."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from img2eeg_jax.axes import Axes
from img2eeg_jax.errors import unexpected
from img2eeg_jax.evaluation.encoding import EncodingScores
from img2eeg_jax.evaluation.metrics import METRICS
from img2eeg_jax.evaluation.permutations import PermutationTest


def summarise(
    scores: EncodingScores,
    test: PermutationTest,
    axes: Axes,
    window_s: tuple[float, float] = (0.1, 0.3),
) -> dict[str, Any]:
    """Averages scores over channels and a time window, ready for JSON.

    Averages are plain means: where r is undefined for one of the averaged values
    (constant EEG), so is the average. Undefined numbers become None.

    Args:
      scores: of `encoding_scores`.
      test: of `permutation_test`, of the same prediction and EEG.
      axes: the channels and times of the scores; names all different, times ascending.
      window_s: first and last time to average, in seconds, see `Axes.window`.

    Returns:
      The means over channels and window, and what the permutation test says of this
      mean, under the names of `METRICS` (the best possible r only if known);
      `per_channel`, {channel name: {metric: mean over the window}}; `per_time`,
      {"times_s": [...], metric: [mean over channels, ...]}; `window_s`, the first and
      last sample used, and `window_s_requested`; `n_splits`, `n_permutations`,
      `n_images`, `n_repetitions` and `ch_names`.

    Raises:
      InputError: names or times do not fit the scores, or no sample is in the window.
    """
    metrics = _metrics(scores)
    _check_axes(axes, metrics)
    # By number: a slice would sum in another order.
    inside = np.arange(len(axes.times_s))[axes.window(window_s)]
    per_channel = {
        name: _json(
            {metric: r[i, inside].mean() for metric, r in metrics.items()}
            | test.summary(np.array([i]), inside)
        )
        for i, name in enumerate(axes.ch_names)
    }
    tests = [test.summary(times=np.array([i])) for i in range(len(axes.times_s))]
    per_time = _json(
        {metric: r.mean(axis=0) for metric, r in metrics.items()}
        | {metric: [values[metric] for values in tests] for metric in tests[0]}
    )
    return {
        **_json(
            {metric: r[:, inside].mean() for metric, r in metrics.items()}
            | test.summary(times=inside)
        ),
        "window_s": axes.times_s[inside][[0, -1]].tolist(),
        "window_s_requested": [float(end) for end in window_s],
        "n_splits": scores.n_splits,
        "n_permutations": test.n_permutations,
        "n_images": scores.n_images,
        "n_repetitions": scores.n_repetitions,
        "ch_names": list(axes.ch_names),
        "per_channel": per_channel,
        "per_time": {"times_s": axes.times_s.tolist(), **per_time},
    }


def _metrics(scores: EncodingScores) -> dict[str, NDArray[np.float64]]:
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


def _json(by_metric: Mapping[str, ArrayLike]) -> dict[str, Any]:
    """Turns numbers into Python's own, and nan, which JSON lacks, into None."""

    def plain(values: ArrayLike) -> list | float | None:
        values = np.asarray(values)
        return np.where(np.isnan(values), None, values.astype(object)).tolist()

    return {metric: plain(values) for metric, values in by_metric.items()}
