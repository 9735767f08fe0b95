"""Predicted and measured responses to some images."""

import os
from collections.abc import Mapping, Sequence
from pathlib import PurePosixPath
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator
from numpy.typing import ArrayLike, NDArray

from img2eeg_jax.axes import Z
from img2eeg_jax.drawing import canvas
from img2eeg_jax.errors import counted
from img2eeg_jax.evaluation.correlation import correlate_over_images
from img2eeg_jax.prediction.prediction import Prediction


def plot_evoked(
    path: str | os.PathLike,
    prediction: Prediction,
    measured: NDArray,
    images: Sequence[NDArray] | NDArray,
    *,
    n_repetitions: int,
    channel: str | None = None,
    ceiling: ArrayLike | None = None,
    n: int = 6,
) -> None:
    """Draws predicted and measured evoked responses to some images.

    The images are evenly spaced over the test set, so that nothing is hand-picked. A
    column shows an image, one channel's response, and the mean over channels, with r
    over time between prediction and measurement where both vary.

    Args:
      path: PNG to write or replace.
      prediction: of EEG; images' folders and suffixes are not shown.
      measured: f[image, channel, time], mean over repetitions, in the unit of
        `prediction`.
      images: u8[image, height, width, 3]; those shown are read.
      n_repetitions: how many `measured` is the mean of.
      channel: channel to show; by default the one with the highest `ceiling`.
      ceiling: f[channel], a noise ceiling (r) of each channel; nan where unknown.
        Where none is known the first channel is shown.
      n: number of images at most.

    Raises:
      ValueError: numbers or shapes do not agree, or there is no such channel.
    """
    if measured.shape != prediction.data.shape or len(images) != len(prediction):
        raise ValueError(
            f"evoked responses: expected {len(prediction)} images and measured "
            f"{prediction.data.shape}, found {len(images)} and {measured.shape}"
        )
    times_ms = prediction.axes.times_s * 1e3
    rows = _evoked_rows(prediction, measured, channel, ceiling)
    unit = "z-scored" if prediction.unit == Z else prediction.unit
    mean_of = "mean of " if n_repetitions > 1 else ""
    measured_label = f"measured, {mean_of}{counted(n_repetitions, 'repetition')}"
    chosen = np.linspace(0, len(images) - 1, min(n, len(images))).round().astype(int)

    figure = canvas.new_figure(max(4.5, 1.9 * len(chosen) + 0.8), 1.9 + 1.8 * len(rows))
    panels = figure.subplots(
        1 + len(rows), len(chosen), squeeze=False, height_ratios=[1.2] + [1] * len(rows)
    )
    for column, image in zip(panels.T, chosen, strict=True):
        column[0].imshow(images[image])
        column[0].set_axis_off()
        column[0].set_title(
            _short(prediction.images[image]), fontsize="small", parse_math=False
        )
        for axes, (_, predicted, response) in zip(column[1:], rows, strict=True):
            curves = {measured_label: response[image], "predicted": predicted[image]}
            _draw_responses(axes, times_ms, curves)
        column[-1].set_xlabel("time (ms)")
    for row_panels, (label, *_) in zip(panels[1:], rows, strict=True):
        row_panels[0].set_ylabel(f"{label}\n({unit})", parse_math=False)
        _share_y(row_panels)
    for axes in panels[1:-1].ravel():
        axes.tick_params(labelbottom=False)
    canvas.legend_below(figure, "r: Pearson, over time")
    canvas.save(figure, path)


def _evoked_rows(
    prediction: Prediction,
    measured: NDArray,
    channel: str | None,
    ceiling: ArrayLike | None,
) -> list[tuple[str, NDArray, NDArray]]:
    """Returns (label, predicted, measured) of each row, arrays f[image, time]."""
    ch_names, predicted = prediction.axes.ch_names, prediction.data
    if channel is not None and channel not in ch_names:
        raise ValueError(f"channel: expected one of {[*ch_names]}, found {channel!r}")
    if channel is not None:
        picked = ch_names.index(channel)
    elif ceiling is None or np.isnan(ceiling).all():
        picked = 0
    else:
        picked = int(np.nanargmax(ceiling))
    rows = [(ch_names[picked], predicted[:, picked], measured[:, picked])]
    if len(ch_names) > 1:
        label = f"mean of\n{counted(len(ch_names), 'channel')}"
        rows.append((label, predicted.mean(axis=1), measured.mean(axis=1)))
    return rows


def _draw_responses(
    axes: Axes, times_ms: NDArray, curves: Mapping[str, NDArray]
) -> None:
    """Draws the measured and the predicted curve, and writes r over time above them.

    r is left out where one of them is constant, and of two times, which always have 1.
    """
    canvas.mark_onset(axes)
    for (label, curve), colour in zip(
        curves.items(), (canvas.GREY, canvas.BLUE), strict=True
    ):
        canvas.line(axes, times_ms, curve, color=colour, label=label)
    r = correlate_over_images(*curves.values())
    if np.isfinite(r) and len(times_ms) > 2:
        corner: dict[str, Any] = {
            "transform": axes.transAxes,
            "ha": "right",
            "va": "top",
        }
        axes.text(1, 1, f"r = {r:.2f}", fontsize="small", **corner)
    canvas.tidy(axes)
    axes.xaxis.set_major_locator(MaxNLocator(4))


def _share_y(row: Sequence[Axes]) -> None:
    limits = np.array([axes.get_ylim() for axes in row])
    low, high = limits.min(), limits.max()
    # Room for the marker of a lone time point at the edge, and for r above the curves.
    margin = 0.05 * (high - low)
    for axes in row:
        axes.set_ylim(low - margin, high + 3 * margin)
        axes.yaxis.set_major_locator(MaxNLocator(4))
    for axes in row[1:]:
        axes.tick_params(labelleft=False)


def _short(image_name: str, max_length: int = 18) -> str:
    # File names may be no text at all, which no font can show.
    name = PurePosixPath(image_name).stem.encode(errors="replace").decode()
    return name if len(name) <= max_length else name[: max_length - 1] + "…"
