"""r of each channel, with a scalp map where there can be one."""

import os
from collections.abc import Mapping, Sequence
from typing import Any

import mne
import numpy as np
from matplotlib.axes import Axes
from matplotlib.image import AxesImage
from matplotlib.patches import Circle, Ellipse
from matplotlib.patheffects import withStroke
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from img2eeg_jax.evaluation.figures import canvas, labels

# The 10-05 system; MNE below 1.13 calls it standard_1005.
_MONTAGE = "colin27_1005"

# Fewer electrodes are drawn as dots: between them a map would be made up.
_MIN_MAP_CHANNELS = 8

# A map reaches this many times as far from an electrode as its typical neighbour is.
_MAP_REACH = 1.0
_MAP_PIXELS = 256

# Centre and radius (m) of the head's outline, so large that the lowest electrodes of
# the 10-05 system's usual caps, such as TP9 and FT10, lie inside it.
_HEAD_SPHERE_M = (0.0, 0.01, 0.0, 0.11)


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
    positions = _positions(ch_names)
    bars_width = max(4.5, 1.2 + 0.17 * len(ch_names))
    scalp_width = 0 if positions is None else 3.8
    figure = canvas.new_figure(bars_width + scalp_width, 4.2)
    if positions is None:
        bars = figure.subplots()
    else:
        ratios = [bars_width, scalp_width]
        bars, scalp = figure.subplots(1, 2, width_ratios=ratios)
        scalp.set_title(labels.style(main)["label"])
        _draw_scalp(scalp, per_channel[main], positions, ch_names)
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


def _positions(ch_names: Sequence[str]) -> NDArray | None:
    """Returns f64[channel, 2], the scalp seen from above (m): nose up, left at left.

    The angle from the top of the head is the distance from the middle; 90 degrees lie
    on the head's outline.

    Returns:
      None of a single channel, or if one is not in the montage, or twice.
    """
    montage = mne.channels.make_standard_montage(_MONTAGE)
    # Recorders spell them FPZ, Fpz or FpZ.
    spelling = {name.casefold(): name for name in montage.ch_names}
    names = [spelling.get(name.casefold()) for name in ch_names]
    if len(names) < 2 or None in names or len(set(names)) < len(names):
        return None
    # The sampling rate is required but of no consequence here.
    info = mne.create_info(names, sfreq=1.0, ch_types="eeg", verbose="error")
    # Positions relative to the ears and the nose.
    info.set_montage(montage, verbose="error")
    *centre, radius = _HEAD_SPHERE_M
    x, y, z = (np.array([ch["loc"][:3] for ch in info["chs"]]) - centre).T
    from_middle = np.arctan2(np.hypot(x, y), z) / (np.pi / 2) * radius
    azimuth = np.arctan2(y, x)
    directions = np.stack([np.cos(azimuth), np.sin(azimuth)], axis=1)
    return centre[:2] + from_middle[:, np.newaxis] * directions


def _draw_scalp(
    axes: Axes, r: NDArray, positions: NDArray, ch_names: Sequence[str]
) -> None:
    """Shows r on the scalp: a map around the electrodes, or dots of a few of them.

    Channels whose r is undefined are left out.
    """
    defined = ~np.isnan(r)
    r, positions = r[defined], positions[defined]
    if not len(r):
        axes.set_axis_off()
        axes.text(0.5, 0.5, "r is undefined", ha="center", va="center")
        return
    _draw_head(axes)
    if len(r) < _MIN_MAP_CHANNELS:
        drawn = axes.scatter(*positions.T, c=r, s=150, edgecolors="black")
        for name, at in zip(np.array(ch_names)[defined], positions, strict=True):
            _write_name(axes, name, at)
    else:
        drawn = _draw_map(axes, r, positions)
    # Zero keeps its colour, so that a map of noise does not look like one of signal.
    limit = max(np.abs(r).max(), 0.1)
    if (r < 0).any():
        drawn.set(cmap="RdBu_r", clim=(-limit, limit))
    else:
        drawn.set(cmap="Reds", clim=(0, limit))
    bar = axes.figure.colorbar(drawn, ax=axes, shrink=0.6, ticks=MaxNLocator(5))
    bar.set_label("Pearson r")


def _draw_head(axes: Axes) -> None:
    """Draws the outline of the head, with nose and ears."""
    x, y, _, radius = _HEAD_SPHERE_M
    style = {"fill": False, "lw": 1, "clip_on": False}
    axes.add_patch(Circle((x, y), radius, **style))
    for side in (-1, 1):
        ear = (x + side * 1.04 * radius, y)
        axes.add_patch(Ellipse(ear, 0.08 * radius, 0.4 * radius, **style))
    nose = np.array([[-0.15, 0.99], [0, 1.13], [0.15, 0.99]]) * radius + (x, y)
    axes.plot(*nose.T, color="black", lw=1, clip_on=False)
    axes.set(xlim=(x - 1.1 * radius, x + 1.1 * radius), aspect="equal")
    axes.set(ylim=(y - 1.1 * radius, y + 1.15 * radius))
    axes.set_axis_off()


def _write_name(axes: Axes, name: str, at: NDArray) -> None:
    """Writes an electrode's name above its dot."""
    text = axes.annotate(
        name, at, (0, 9), textcoords="offset points", ha="center", parse_math=False
    )
    text.set_path_effects([withStroke(linewidth=3, foreground="white")])


def _draw_map(axes: Axes, r: NDArray, positions: NDArray) -> AxesImage:
    """Interpolates r over the scalp, only where an electrode is near."""
    limits = axes.get_xlim(), axes.get_ylim()
    image, _ = mne.viz.plot_topomap(
        r,
        positions,
        axes=axes,
        outlines=None,
        sphere=_HEAD_SPHERE_M,
        extrapolate="head",
        contours=0,
        res=_MAP_PIXELS,
        show=False,
    )
    axes.set(xlim=limits[0], ylim=limits[1])
    electrodes = cKDTree(positions)
    neighbour_m = np.median(electrodes.query(positions, k=2)[0][:, 1])
    left, right, bottom, top = image.get_extent()
    pixels = np.meshgrid(
        np.linspace(left, right, _MAP_PIXELS), np.linspace(bottom, top, _MAP_PIXELS)
    )
    distance_m, _ = electrodes.query(np.stack(pixels, axis=-1))
    is_far = distance_m > _MAP_REACH * neighbour_m
    image.set_data(np.ma.masked_where(is_far, image.get_array()))
    x, y, _, radius = _HEAD_SPHERE_M
    image.set_clip_path(Circle((x, y), radius, transform=axes.transData))
    return image
