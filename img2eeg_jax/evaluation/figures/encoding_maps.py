"""Encoding r of each channel at each time: as a table of colours, and on the scalp."""

import os
from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from img2eeg_jax.drawing import canvas, scalp
from img2eeg_jax.evaluation.figures import labels
from img2eeg_jax.evaluation.findings import Findings

# Heads in one figure at most: evenly spaced times, so that nothing is hand-picked.
_MAX_HEADS = 10
_HEADS_A_ROW = 5

# r whose colours are the palest that are told from 0.
_MIN_LIMIT = 0.1

# Where p, adjusted for all channels and times, is above it, a dot says so.
_LEVEL = 0.05


def plot_channel_by_time(path: str | os.PathLike, findings: Findings) -> None:
    """Draws r of each channel (rows) at each time (columns).

    Dots mark where p, adjusted for all channels and times, is above 0.05: of images at
    random, in a group of sign flips over subjects, of which few cannot be below.

    Args:
      path: PNG or SVG to write or replace.
      findings: of the part `encoding`, of one subject or a group.
    """
    ch_names, times_ms, columns = _cells(findings)
    name = labels.main_metric(columns)
    r = columns[name]
    figure = canvas.new_figure(6.5, max(2.4, 1.5 + 0.16 * len(ch_names)))
    axes = figure.subplots()
    drawn = axes.imshow(
        r, aspect="auto", interpolation="nearest", extent=_extent(times_ms, ch_names)
    )
    _colour(drawn, r)
    p = columns.get("permutation_p_fdr", columns.get(f"{name}_p_fdr"))
    if p is not None and not np.isnan(p).all():
        rows, at = np.nonzero(~(p <= _LEVEL))
        label = "p above 0.05 (false discovery rate)"
        style: dict[str, Any] = {"color": canvas.GREY, "lw": 0, "marker": ".", "ms": 2}
        axes.plot(times_ms[at], rows, label=label, **style)
        if len(rows):
            canvas.legend_below(figure)
    size = "x-small" if len(ch_names) > 20 else "small"
    axes.set_yticks(range(len(ch_names)), ch_names, fontsize=size, parse_math=False)
    axes.set_xlabel("time after image onset (ms)")
    axes.set_title(f"{labels.style(name)['label']}, {labels.title(findings.scores)}")
    figure.colorbar(drawn, ax=axes, ticks=MaxNLocator(5)).set_label("Pearson r")
    canvas.save(figure, path)


def has_scalp(findings: Findings) -> bool:
    """Tells whether there are 2 channels or more, all with a known place."""
    ch_names = findings.scores["ch_names"]
    return len(ch_names) > 1 and not np.isnan(scalp.positions_of(ch_names)).any()


def plot_scalp_over_time(path: str | os.PathLike, findings: Findings) -> None:
    """Draws r on the scalp at up to ten times, evenly spaced, in one scale of colours.

    Args:
      path: PNG or SVG to write or replace.
      findings: of the part `encoding`, for which `has_scalp`.
    """
    ch_names, times_ms, columns = _cells(findings)
    name = labels.main_metric(columns)
    r, positions = columns[name], scalp.positions_of(ch_names)
    n = min(_MAX_HEADS, len(times_ms))
    shown = np.linspace(0, len(times_ms) - 1, n).round().astype(int)
    n_columns = min(_HEADS_A_ROW, n)
    n_rows = -(-n // n_columns)
    figure = canvas.new_figure(1.5 * n_columns + 1.2, 1.7 * n_rows + 0.6)
    heads = figure.subplots(n_rows, n_columns, squeeze=False)
    drawn = None
    for axes, time in zip(heads.flat, shown, strict=False):
        axes.set_title(f"{times_ms[time]:.0f} ms", fontsize="small")
        if one := scalp.draw_scalp(axes, r[:, time], positions, ch_names):
            _colour(one, r)
            drawn = one
    for axes in heads.flat[n:]:
        axes.set_axis_off()
    if drawn is not None:
        bar = figure.colorbar(drawn, ax=heads, shrink=0.7, ticks=MaxNLocator(5))
        bar.set_label("Pearson r")
    title = f"{labels.style(name)['label']}, {labels.title(findings.scores)}"
    figure.suptitle(title, fontsize="medium")
    canvas.save(figure, path)


def _cells(findings: Findings) -> tuple[list[str], NDArray, Mapping[str, NDArray]]:
    """Returns channels, times (ms) and columns f[channel, time] of the table."""
    ch_names = findings.scores["ch_names"]
    table = findings.tables["encoding"]
    shape = (len(ch_names), -1)
    times_ms = np.asarray(table["time_s"], np.float64).reshape(shape)[0] * 1e3
    columns = {
        name: np.asarray(values, np.float64).reshape(shape)
        for name, values in table.items()
        if name != "channel"
    }
    return ch_names, times_ms, columns


def _extent(
    times_ms: NDArray, ch_names: list[str]
) -> tuple[float, float, float, float]:
    """Returns the borders of the cells, half a sample around the first and last."""
    half = np.median(np.diff(times_ms)) / 2 if len(times_ms) > 1 else 5
    bottom = len(ch_names) - 0.5
    return times_ms[0] - half, times_ms[-1] + half, bottom, -0.5


def _colour(drawn: Any, r: NDArray) -> None:
    """Gives 0 the same colour in all figures, and r of both signs two hues."""
    limit = _MIN_LIMIT if np.isnan(r).all() else max(np.nanmax(np.abs(r)), _MIN_LIMIT)
    if (r < 0).any():
        drawn.set(cmap="RdBu_r", clim=(-limit, limit))
    else:
        drawn.set(cmap="Reds", clim=(0, limit))
