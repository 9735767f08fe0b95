"""r of each channel, with a scalp map where there can be one."""

import os
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from img2eeg_jax.drawing import canvas, scalp
from img2eeg_jax.evaluation.figures import labels


def plot_r_by_channel(path: str | os.PathLike, summary: Mapping[str, Any]) -> None:
    """Draws each channel's r in the window, and where on the scalp it is.

    The latter needs at least 2 channels that are all in MNE's 10-05 montage. Where
    there are no halves (a single repetition), r is against all repetitions. The small
    dots are what one in twenty random assignments of images exceeds.

    Args:
      path: PNG to write or replace.
      summary: of `summary.summarise`, or `metrics.json` read back.
    """
    ch_names = summary["ch_names"]
    per_channel = {
        metric: labels.numbers(
            [summary["per_channel"][name][metric] for name in ch_names]
        )
        for metric in summary["per_channel"][ch_names[0]]
    }
    main = labels.main_metric(per_channel)
    positions = scalp.positions_of(ch_names)
    has_scalp = len(ch_names) > 1 and not np.isnan(positions).any()
    bars_width = max(4.5, 1.2 + 0.17 * len(ch_names))
    scalp_width = 3.8 if has_scalp else 0
    figure = canvas.new_figure(bars_width + scalp_width, 4.2)
    if not has_scalp:
        bars = figure.subplots()
    else:
        ratios = [bars_width, scalp_width]
        bars, head = figure.subplots(1, 2, width_ratios=ratios)
        head.set_title(labels.style(main)["label"])
        _draw_scalp(head, per_channel[main], positions, ch_names)
    _channel_bars(bars, ch_names, per_channel, main)
    bars.set_xlabel("channel")
    bars.set_ylabel(f"Pearson r, {labels.window_label(summary['window_s'])}")
    bars.set_title(labels.title(summary))
    canvas.legend_below(figure)
    canvas.save(figure, path)


def _channel_bars(
    axes: Axes, ch_names: Sequence[str], per_channel: Mapping[str, NDArray], main: str
) -> None:
    at = np.arange(len(ch_names))
    axes.bar(at, per_channel[main], width=0.7, **labels.style(main))
    lower = labels.known(per_channel, "noise_ceiling_lower")
    if lower is not None:
        style = labels.style("noise_ceiling_lower")
        axes.hlines(lower, at - 0.4, at + 0.4, lw=2, **style)
    best_name = labels.best_possible(per_channel)
    best = labels.known(per_channel, best_name)
    if best is not None:
        axes.plot(at, best, "D", ms=4, **labels.style(best_name))
    chance = per_channel["permutation_r_95"]
    axes.plot(at, chance, "o", ms=3, **labels.style("permutation_r_95"))
    axes.axhline(0, color="black", lw=0.6)
    rotation = 90 if len(ch_names) > 6 else 0
    size = "small" if len(ch_names) > 20 else "medium"
    axes.set_xticks(at, ch_names, rotation=rotation, fontsize=size, parse_math=False)
    axes.set_xlim(-0.8, len(ch_names) - 0.2)
    canvas.tidy(axes)


def _draw_scalp(
    axes: Axes, r: NDArray, positions: NDArray, ch_names: Sequence[str]
) -> None:
    """Shows r on the scalp; channels whose r is undefined are left out."""
    drawn = scalp.draw_scalp(axes, r, positions, ch_names)
    if drawn is None:
        axes.text(0.5, 0.5, "r is undefined", ha="center", va="center")
        return
    # Zero keeps its colour, so that a map of noise does not look like one of signal.
    limit = max(np.nanmax(np.abs(r)), 0.1)
    if (r < 0).any():
        drawn.set(cmap="RdBu_r", clim=(-limit, limit))
    else:
        drawn.set(cmap="Reds", clim=(0, limit))
    bar = axes.figure.colorbar(drawn, ax=axes, shrink=0.6, ticks=MaxNLocator(5))
    bar.set_label("Pearson r")
