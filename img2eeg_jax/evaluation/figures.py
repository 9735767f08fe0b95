"""Figures of a run: losses, evoked responses, and r over time and over channels.

Each function writes one PNG, through matplotlib's objects rather than pyplot, so that
it needs no display and leaves no global state. Colours are of the Okabe-Ito palette,
which colour-blind readers can tell apart.
"""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath

import mne
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import Circle
from matplotlib.patheffects import withStroke
from matplotlib.ticker import MaxNLocator
from numpy.typing import ArrayLike, NDArray

_BLUE = "#0072B2"
_SKY_BLUE = "#56B4E9"
_VERMILION = "#D55E00"
_GREEN = "#009E73"
_GREY = "#767676"
_LIGHT_GREY = "#D9D9D9"

_DPI = 150
# The 10-05 system; MNE below 1.13 calls it standard_1005.
_MONTAGE = "colin27_1005"
_MIN_TOPOMAP_CHANNELS = 4
_MAX_NAMED_SENSORS = 8

# Centre and radius (m) of the head's outline, so large that the lowest electrodes of
# the 10-05 system's usual caps, such as TP9 and FT10, lie inside it.
_HEAD_SPHERE_M = (0.0, 0.01, 0.0, 0.11)


def plot_loss_curves(
    path: str | os.PathLike,
    epochs: Sequence[int],
    losses: Mapping[str, tuple[Sequence[float], Sequence[float] | None]],
    best_epoch: int | None = None,
    selection_name: str = "validation",
) -> None:
    """Draws each loss over epochs, one panel a loss.

    Args:
      path: PNG to write or replace.
      epochs: numbers of the epochs.
      losses: {name: (training loss, validation loss or None)}, one value an epoch,
        unitless.
      best_epoch: epoch of the weights that were kept, marked with a line.
      selection_name: what the second losses are of: "validation", or "test" where a
        recipe selects by it.

    Raises:
      ValueError: `losses` is empty, or a loss has another length than `epochs`.
    """
    if not losses:
        raise ValueError("losses: expected at least one, found none")
    n_columns = 2 if len(losses) == 4 else min(3, len(losses))
    n_rows = -(-len(losses) // n_columns)
    figure = _figure(max(4.5, 3.2 * n_columns), 2.5 * n_rows + 0.5)
    panels = figure.subplots(n_rows, n_columns, squeeze=False).ravel()
    for axes, (name, (train, validation)) in zip(panels, losses.items(), strict=False):
        _line(axes, epochs, train, color=_BLUE, label="training")
        if validation is not None:
            _line(axes, epochs, validation, color=_VERMILION, label=selection_name)
        if best_epoch is not None:
            axes.axvline(best_epoch, color=_GREY, ls=":", label="kept weights")
        axes.set_title(name, parse_math=False)
        axes.xaxis.set_major_locator(
            MaxNLocator(5, integer=True, steps=[1, 2, 5, 10], min_n_ticks=1)
        )
        axes.set_xlabel("epoch")
        axes.set_ylabel("loss (unitless)")
        _tidy(axes)
    for axes in panels[len(losses) :]:
        axes.remove()
    _legend_below(figure)
    _save(figure, path)


def plot_evoked(
    path: str | os.PathLike,
    prediction: ArrayLike,
    measured: ArrayLike,
    images: ArrayLike,
    ch_names: Sequence[str],
    times_s: ArrayLike,
    image_names: Sequence[str],
    *,
    channel: str | None = None,
    ceiling: ArrayLike | None = None,
    n: int = 6,
) -> None:
    """Draws predicted and measured evoked responses to some images.

    The images are evenly spaced over the test set, so that nothing is hand-picked. A
    column shows an image, one channel's response, and the mean over channels.

    Args:
      path: PNG to write or replace.
      prediction: f[image, channel, time], z-scored EEG (unitless).
      measured: f[image, channel, time], mean over repetitions, z-scored as
        `prediction` is.
      images: u8[image, height, width, 3].
      ch_names: names of the channels.
      times_s: f[time], seconds after image onset.
      image_names: file names of the images; a folder and suffix are not shown.
      channel: channel to show; by default the one with the highest `ceiling`.
      ceiling: f[channel], a noise ceiling (r) of each channel; nan where unknown.
        Where none is known the first channel is shown.
      n: number of images at most.

    Raises:
      ValueError: lengths or shapes do not agree, or `channel` is not in `ch_names`.
    """
    prediction, measured = np.asarray(prediction), np.asarray(measured)
    images = np.asarray(images)
    times_ms = np.asarray(times_s, np.float64) * 1e3
    expected = (len(images), len(ch_names), len(times_ms))
    if not prediction.shape == measured.shape == expected:
        raise ValueError(
            f"evoked responses: expected shape {expected}, found prediction "
            f"{prediction.shape} and measured {measured.shape}"
        )
    if len(image_names) != len(images):
        raise ValueError(
            f"image names: expected {len(images)}, found {len(image_names)}"
        )
    rows = _evoked_rows(prediction, measured, ch_names, channel, ceiling)
    chosen = np.linspace(0, len(images) - 1, min(n, len(images))).round().astype(int)

    figure = _figure(max(4.5, 1.9 * len(chosen) + 0.8), 1.9 + 1.8 * len(rows))
    panels = figure.subplots(
        1 + len(rows), len(chosen), squeeze=False, height_ratios=[1.2] + [1] * len(rows)
    )
    for column, image in zip(panels.T, chosen, strict=True):
        column[0].imshow(images[image])
        column[0].set_axis_off()
        column[0].set_title(
            _short(image_names[image]), fontsize="small", parse_math=False
        )
        for axes, (_, predicted, response) in zip(column[1:], rows, strict=True):
            _mark_onset(axes)
            _line(axes, times_ms, response[image], color=_GREY, label="measured")
            _line(axes, times_ms, predicted[image], color=_BLUE, label="predicted")
            _tidy(axes)
            axes.xaxis.set_major_locator(MaxNLocator(4))
        column[-1].set_xlabel("time (ms)")
    for row_panels, (label, *_) in zip(panels[1:], rows, strict=True):
        row_panels[0].set_ylabel(f"{label}\n(z-scored)", parse_math=False)
        _share_y(row_panels)
    for axes in panels[1:-1].ravel():
        axes.tick_params(labelbottom=False)
    _legend_below(figure)
    _save(figure, path)


def plot_r_over_time(path: str | os.PathLike, summary: Mapping) -> None:
    """Draws r, averaged over channels, over time with the noise ceilings.

    Where there are no halves (a single repetition), r is against all repetitions.

    Args:
      path: PNG to write or replace.
      summary: of `encoding.summarise`, or `metrics.json` read back.
    """
    per_time = summary["per_time"]
    times_ms = np.asarray(per_time["times_s"], np.float64) * 1e3
    main, label = _main_metric(per_time)
    figure = _figure(6.5, 4.2)
    axes = figure.subplots()
    _mark_window(axes, times_ms, summary["window_s"])
    _mark_onset(axes)
    _noise_ceiling(axes, times_ms, per_time)
    best = _known(per_time, "best_possible_r")
    if best is not None:
        _line(axes, times_ms, best, color=_GREEN, ls="--", label="best possible")
    control = _numbers(per_time["permutation_r"])
    _line(axes, times_ms, control, color=_VERMILION, lw=1, label="wrong images")
    _line(axes, times_ms, _numbers(per_time[main]), color=_BLUE, lw=2, label=label)
    axes.set_xlabel("time after image onset (ms)")
    axes.set_ylabel("Pearson r over images")
    _tidy(axes)
    axes.set_title(_title(summary))
    _legend_below(figure)
    _save(figure, path)


def plot_r_by_channel(path: str | os.PathLike, summary: Mapping) -> None:
    """Draws each channel's r in the window, with a scalp map where there can be one.

    The map needs at least 4 channels that are all in MNE's 10-05 montage.
    Where there are no halves (a single repetition), r is against all repetitions.

    Args:
      path: PNG to write or replace.
      summary: of `encoding.summarise`, or `metrics.json` read back.
    """
    ch_names = summary["ch_names"]
    per_channel = {
        metric: _numbers([summary["per_channel"][name][metric] for name in ch_names])
        for metric in summary["per_channel"][ch_names[0]]
    }
    main, label = _main_metric(per_channel)
    info = _topomap_info(ch_names)
    bars_width = max(4.5, 1.2 + 0.17 * len(ch_names))
    map_width = 0 if info is None else 3.8
    figure = _figure(bars_width + map_width, 4.2)
    if info is None:
        bars = figure.subplots()
    else:
        ratios = [bars_width, map_width]
        bars, scalp = figure.subplots(1, 2, width_ratios=ratios)
        _topomap(scalp, per_channel[main], info, label)
    _channel_bars(bars, ch_names, per_channel, main, label)
    bars.set_xlabel("channel")
    bars.set_ylabel(f"Pearson r, {_window_label(summary['window_s'])}")
    bars.set_title(_title(summary))
    _legend_below(figure)
    _save(figure, path)


def _evoked_rows(
    prediction: NDArray,
    measured: NDArray,
    ch_names: Sequence[str],
    channel: str | None,
    ceiling: ArrayLike | None,
) -> list[tuple[str, NDArray, NDArray]]:
    """Returns (label, predicted, measured) of each row, arrays f[image, time]."""
    if channel is not None and channel not in ch_names:
        raise ValueError(f"channel: expected one of {[*ch_names]}, found {channel!r}")
    if channel is not None:
        picked = [*ch_names].index(channel)
    elif ceiling is None or np.isnan(ceiling).all():
        picked = 0
    else:
        picked = int(np.nanargmax(ceiling))
    rows = [(ch_names[picked], prediction[:, picked], measured[:, picked])]
    if len(ch_names) > 1:
        label = f"mean of\n{len(ch_names)} channels"
        rows.append((label, prediction.mean(axis=1), measured.mean(axis=1)))
    return rows


def _main_metric(metrics: Mapping[str, ArrayLike]) -> tuple[str, str]:
    """Returns the name and label of the official score, or of its stand-in."""
    if _known(metrics, "encoding_r") is None:
        return "encoding_r_all_repetitions", "prediction (all repetitions)"
    return "encoding_r", "prediction"


def _title(summary: Mapping) -> str:
    return (
        f"{_count(summary['n_images'], 'image')}, "
        f"{_count(summary['n_repetitions'], 'repetition')}, "
        f"{_count(len(summary['ch_names']), 'channel')}"
    )


def _count(n: int, noun: str) -> str:
    return f"{n} {noun}" if n == 1 else f"{n} {noun}s"


def _noise_ceiling(axes: Axes, times_ms: NDArray, per_time: Mapping) -> None:
    lower = _known(per_time, "noise_ceiling_lower")
    upper = _known(per_time, "noise_ceiling_upper")
    if lower is None or upper is None:
        return
    style = {"color": _LIGHT_GREY, "label": "noise ceiling, lower to upper"}
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
        color=_SKY_BLUE,
        lw=0,
        label=f"window, {_window_label(window_s)}",
    )


def _window_label(window_s: Sequence[float]) -> str:
    first, last = (f"{1e3 * end:.4g}" for end in window_s)
    return f"{first} ms" if first == last else f"{first} to {last} ms"


def _mark_onset(axes: Axes) -> None:
    axes.axhline(0, color="black", lw=0.6)
    axes.axvline(0, color="black", lw=0.6, ls=":")


def _channel_bars(
    axes: Axes,
    ch_names: Sequence[str],
    per_channel: Mapping[str, NDArray],
    main: str,
    label: str,
) -> None:
    at = np.arange(len(ch_names))
    axes.bar(at, per_channel[main], width=0.7, color=_BLUE, label=label)
    lower = _known(per_channel, "noise_ceiling_lower")
    if lower is not None:
        axes.hlines(
            lower, at - 0.4, at + 0.4, color="black", lw=2, label="lower noise ceiling"
        )
    best = _known(per_channel, "best_possible_r")
    if best is not None:
        axes.plot(at, best, "D", color=_GREEN, ms=4, label="best possible")
    control = per_channel["permutation_r"]
    axes.plot(at, control, "o", color=_VERMILION, ms=3, label="wrong images")
    axes.axhline(0, color="black", lw=0.6)
    rotation = 90 if len(ch_names) > 6 else 0
    size = "small" if len(ch_names) > 20 else "medium"
    axes.set_xticks(at, ch_names, rotation=rotation, fontsize=size, parse_math=False)
    axes.set_xlim(-0.8, len(ch_names) - 0.2)
    _tidy(axes)


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


def _figure(width: float, height: float) -> Figure:
    """Returns an empty figure; sizes in inches."""
    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def _line(axes: Axes, x: ArrayLike, y: ArrayLike, **style) -> None:
    """Draws a line, with markers where points have no neighbour to join."""
    if len(x) != len(y):
        raise ValueError(f"curve: expected {len(x)} values, found {len(y)}")
    marker = "o" if len(x) == 1 else None
    axes.plot(x, y, **{"marker": marker, "lw": 1.5, **style})


def _tidy(axes: Axes) -> None:
    axes.spines[["top", "right"]].set_visible(False)


def _share_y(row: Sequence[Axes]) -> None:
    limits = np.array([axes.get_ylim() for axes in row])
    low, high = limits.min(), limits.max()
    # Room for the marker of a lone time point at the edge.
    margin = 0.05 * (high - low)
    for axes in row:
        axes.set_ylim(low - margin, high + margin)
        axes.yaxis.set_major_locator(MaxNLocator(4))
    for axes in row[1:]:
        axes.tick_params(labelleft=False)


def _legend_below(figure: Figure) -> None:
    """Adds one legend for all panels, each label once."""
    by_label = {}
    for axes in figure.axes:
        handles, labels = axes.get_legend_handles_labels()
        by_label.update(zip(labels, handles, strict=True))
    columns = int(figure.get_figwidth() / 1.9)
    figure.legend(
        by_label.values(),
        by_label.keys(),
        loc="outside lower center",
        ncols=min(columns, len(by_label)),
        frameon=False,
        fontsize="small",
    )


def _known(metrics: Mapping[str, ArrayLike], name: str) -> NDArray[np.float64] | None:
    """Returns a metric's values; None if it is absent or undefined everywhere."""
    values = _numbers(metrics.get(name, np.nan))
    return None if np.isnan(values).all() else values


def _numbers(values: ArrayLike) -> NDArray[np.float64]:
    """Turns JSON's None back into nan."""
    return np.asarray(values, np.float64)


def _short(image_name: str, max_length: int = 18) -> str:
    name = PurePosixPath(image_name).stem
    return name if len(name) <= max_length else name[: max_length - 1] + "…"


def _save(figure: Figure, path: str | os.PathLike) -> None:
    """Writes a PNG so that `path` is at all times absent, the old or the new one."""
    path = Path(path)
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        figure.savefig(part, format="png", dpi=_DPI)
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)
