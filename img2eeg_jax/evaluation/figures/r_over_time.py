"""r over time, with the noise ceilings."""

import os
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from numpy.typing import NDArray

from img2eeg_jax.drawing import canvas
from img2eeg_jax.evaluation.figures import labels
from img2eeg_jax.evaluation.metrics import upper_ceiling_of_noise


def plot_r_over_time(path: str | os.PathLike, summary: Mapping[str, Any]) -> None:
    """Draws r, averaged over channels, over time with the noise ceilings.

    The thin line is what one in twenty random assignments of images exceeds; the pale
    band around r is its 95 % interval, where the summary has one.
    Where there are no halves (a single repetition), r is against all repetitions.

    Args:
      path: PNG to write or replace.
      summary: of `summary.summarise`, or `metrics.json` read back.
    """
    per_time = summary["per_time"]
    times_ms = np.asarray(per_time["times_s"], np.float64) * 1e3
    main = labels.main_metric(per_time)
    figure = canvas.new_figure(6.5, 4.2)
    axes = figure.subplots()
    _mark_window(axes, times_ms, summary["window_s"])
    canvas.mark_onset(axes)
    _noise_ceiling(axes, times_ms, per_time, summary["n_repetitions"])
    best_name = labels.best_possible(per_time)
    best = labels.known(per_time, best_name)
    if best is not None:
        canvas.line(axes, times_ms, best, ls="--", **labels.style(best_name))
    low, high = (labels.known(per_time, f"{main}_ci_{end}") for end in ("low", "high"))
    if low is not None and high is not None and len(times_ms) > 1:
        style = labels.style(main) | {"label": "its 95 % interval"}
        axes.fill_between(times_ms, low, high, alpha=0.25, lw=0, **style)
    for name, width in (("permutation_r_95", 1), (main, 2)):
        r = labels.numbers(per_time[name])
        canvas.line(axes, times_ms, r, lw=width, **labels.style(name))
    axes.set_xlabel("time after image onset (ms)")
    axes.set_ylabel("Pearson r over images")
    canvas.tidy(axes)
    axes.set_title(labels.title(summary))
    canvas.legend_below(figure)
    canvas.save(figure, path)


def _noise_ceiling(
    axes: Axes, times_ms: NDArray, per_time: Mapping[str, Any], n_repetitions: int
) -> None:
    lower = labels.known(per_time, "noise_ceiling_lower")
    upper = labels.known(per_time, "noise_ceiling_upper")
    if lower is None or upper is None:
        return
    of_noise = upper_ceiling_of_noise(n_repetitions)
    label = f"noise ceiling (upper: {of_noise:.2f} even for noise)"
    style: dict[str, Any] = {"color": canvas.LIGHT_GREY, "label": label}
    if len(times_ms) == 1:
        axes.vlines(times_ms, lower, upper, lw=14, **style)
    else:
        axes.fill_between(times_ms, lower, upper, lw=0, **style)


def _mark_window(axes: Axes, times_ms: NDArray, window_s: Sequence[float]) -> None:
    # Each sample stands for half a sample to both sides; alone, for 5 ms.
    half_ms = np.median(np.diff(times_ms)) / 2 if len(times_ms) > 1 else 5
    axes.axvspan(
        1e3 * window_s[0] - half_ms,
        1e3 * window_s[1] + half_ms,
        ymax=0.025,
        color=canvas.SKY_BLUE,
        lw=0,
        label=f"window, {labels.window_label(window_s)}",
    )
