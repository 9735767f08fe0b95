"""r of each channel, with a scalp map where there can be one."""

import os
from collections.abc import Mapping, Sequence
from typing import Any

import mne
import numpy as np
from matplotlib.axes import Axes
from matplotlib.patches import Circle
from matplotlib.patheffects import withStroke
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from img2eeg_jax.evaluation.figures import canvas, labels

# The 10-05 system; MNE below 1.13 calls it standard_1005.
_MONTAGE = "colin27_1005"
_MIN_TOPOMAP_CHANNELS = 4
_MAX_NAMED_SENSORS = 8

# Centre and radius (m) of the head's outline, so large that the lowest electrodes of
# the 10-05 system's usual caps, such as TP9 and FT10, lie inside it.
_HEAD_SPHERE_M = (0.0, 0.01, 0.0, 0.11)


def plot_r_by_channel(path: str | os.PathLike, summary: Mapping[str, Any]) -> None:
    """Draws each channel's r in the window, with a scalp map where there can be one.

    The map needs at least 4 channels that are all in MNE's 10-05 montage.
    Where there are no halves (a single repetition), r is against all repetitions.

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
    info = _topomap_info(ch_names)
    bars_width = max(4.5, 1.2 + 0.17 * len(ch_names))
    map_width = 0 if info is None else 3.8
    figure = canvas.new_figure(bars_width + map_width, 4.2)
    if info is None:
        bars = figure.subplots()
    else:
        ratios = [bars_width, map_width]
        bars, scalp = figure.subplots(1, 2, width_ratios=ratios)
        _topomap(scalp, per_channel[main], info, labels.style(main)["label"])
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
    best = labels.known(per_channel, "best_possible_r")
    if best is not None:
        axes.plot(at, best, "D", ms=4, **labels.style("best_possible_r"))
    control = per_channel["permutation_r"]
    axes.plot(at, control, "o", ms=3, **labels.style("permutation_r"))
    axes.axhline(0, color="black", lw=0.6)
    rotation = 90 if len(ch_names) > 6 else 0
    size = "small" if len(ch_names) > 20 else "medium"
    axes.set_xticks(at, ch_names, rotation=rotation, fontsize=size, parse_math=False)
    axes.set_xlim(-0.8, len(ch_names) - 0.2)
    canvas.tidy(axes)


def _topomap_info(ch_names: Sequence[str]) -> mne.Info | None:
    """Returns sensor positions; None where a scalp map cannot be drawn."""
    montage = mne.channels.make_standard_montage(_MONTAGE)
    known = set(ch_names) <= set(montage.ch_names)
    if not known or len(ch_names) < _MIN_TOPOMAP_CHANNELS:
        return None
    # The sampling rate is required but of no consequence here.
    info = mne.create_info([*ch_names], sfreq=1.0, ch_types="eeg", verbose="error")
    return info.set_montage(montage, verbose="error")


def _topomap(axes: Axes, r: NDArray, info: mne.Info, label: str) -> None:
    """Maps r over the scalp inside the sensors; undefined channels are left out."""
    defined = np.flatnonzero(~np.isnan(r))
    axes.set_title(label)
    if len(defined) < _MIN_TOPOMAP_CHANNELS:
        axes.set_axis_off()
        axes.text(0.5, 0.5, "r is undefined", ha="center", va="center")
        return
    names = None
    if len(defined) <= _MAX_NAMED_SENSORS:
        # An empty second line lifts the centred name above its sensor.
        names = [f"{info.ch_names[i]}\n" for i in defined]
    # Zero keeps its colour, so that a map of noise does not look like one of signal.
    limit = max(np.abs(r[defined]).max(), 0.1)
    image, _ = mne.viz.plot_topomap(
        r[defined],
        mne.pick_info(info, defined),
        axes=axes,
        cmap="RdBu_r",
        vlim=(-limit, limit),
        sphere=_HEAD_SPHERE_M,
        extrapolate="local",
        contours=0,
        res=256,
        names=names,
        show=False,
    )
    for text in axes.texts:
        text.set_path_effects([withStroke(linewidth=2, foreground="white")])
    x, y, _, radius = _HEAD_SPHERE_M
    image.set_clip_path(Circle((x, y), radius, transform=axes.transData))
    bar = axes.figure.colorbar(image, ax=axes, shrink=0.6, ticks=MaxNLocator(5))
    bar.set_label("Pearson r")
