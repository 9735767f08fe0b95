"""Figures of a prediction: curves, maps of the scalp, channels by times."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from img2eeg_jax.axes import UNKNOWN, Z
from img2eeg_jax.drawing import canvas, scalp
from img2eeg_jax.errors import InputError, unexpected
from img2eeg_jax.prediction.responses import Responses, told_simulated
from img2eeg_jax.prediction.trust import interval

# Maps that are drawn unless the user names times.
_N_MAPS = 5
_MOST_CURVES_NAMED = 8
# Letters of an image's name in a title, of a path the last ones.
_LONGEST_NAME = 60
# The probability that shaded intervals have.
_LEVEL = 0.95


def plot(prediction: Responses) -> Figure:
    """Draws each channel over time, and the spread over channels (SD, the GFP).

    Curves of channels whose position is known have its colour in the small head; up to
    8 are named instead. Where it is known how far to trust them (`Prediction.interval`)
    these are shaded where the true response lies with a probability of 95 %. Of more
    channels that would hide the curves: a band around 0 shows instead how far, on
    average over channels, that interval reaches to both sides of each curve.

    Args:
      prediction: of one image, or a mean.

    Returns:
      The figure, which notebooks show and `savefig` writes.

    Raises:
      InputError: it is no EEG.
    """
    values, times_ms = _single(prediction), prediction.times_s * 1e3
    figure = canvas.new_figure(6.5, 3.8)
    axes = figure.subplots()
    canvas.mark_onset(axes)
    positions = scalp.positions_of(prediction.ch_names)
    colours = scalp.colours_of(positions)
    are_named = len(values) <= _MOST_CURVES_NAMED
    for row, curve in enumerate(values):
        style = {"label": prediction.ch_names[row], "lw": 1.5}
        if not are_named:
            style = {"color": colours[row], "lw": 0.8}
        canvas.line(axes, times_ms, curve, **style)
    axes.set_xlabel("time after image onset (ms)")
    if prediction.trust is not None and prediction.trust.noise is not None:
        shade = _shade_each if are_named else _shade_mean
        what = shade(axes, prediction.times_s * 1e3, *interval(prediction, _LEVEL))
        axes.set_xlabel(f"{axes.get_xlabel()}\n{what}")
    if len(values) > 1:
        gfp = values.std(axis=0)
        canvas.line(axes, times_ms, gfp, color="black", lw=2, label="SD over channels")
    axes.set_ylabel(_label(prediction))
    axes.set_title(_title(prediction), fontsize="medium", parse_math=False)
    canvas.tidy(axes)
    if not are_named and np.isfinite(positions).any():
        head = axes.inset_axes((0.86, 0.74, 0.16, 0.3))
        scalp.draw_colours(head, positions, colours)
    canvas.legend_below(figure)
    return figure


def plot_topomap(
    prediction: Responses, times_s: float | Sequence[float] | None = None
) -> Figure:
    """Draws the scalp at some times, in one range of colours.

    Channels whose position is not known are left out; fewer than 8 are dots.

    Args:
      prediction: of one image, or a mean.
      times_s: when, in seconds from image onset; the nearest samples are shown. By
        default 5 times, evenly spaced over what comes after onset.

    Raises:
      InputError: it is no EEG, no channel has a known position, or a time is outside.
    """
    values = _single(prediction)
    positions = scalp.positions_of(prediction.ch_names)
    is_unknown = np.isnan(positions).any(axis=1)
    if is_unknown.all():
        raise unexpected(
            "prediction",
            "channels of the 10-05 system for a map",
            ", ".join(prediction.ch_names),
        )
    scalp.tell_unknown(prediction.ch_names)
    columns = _columns(prediction, times_s)
    shown = values[:, columns]
    limit = np.abs(shown[~is_unknown]).max() or 1.0
    figure = canvas.new_figure(max(3.6, 1.9 * len(columns) + 0.9), 2.9)
    panels = figure.subplots(1, len(columns), squeeze=False)[0]
    for axes, column in zip(panels, columns, strict=True):
        drawn = scalp.draw_scalp(
            axes, values[:, column], positions, prediction.ch_names
        )
        if drawn is not None:
            drawn.set(cmap="RdBu_r", clim=(-limit, limit))
            last = drawn
        axes.set_title(f"{prediction.times_s[column] * 1e3:.4g} ms", fontsize="small")
    bar = figure.colorbar(last, ax=panels, shrink=0.7, ticks=MaxNLocator(5))
    bar.set_label(_label(prediction))
    figure.suptitle(_title(prediction), fontsize="medium", parse_math=False)
    return figure


def plot_image(prediction: Responses) -> Figure:
    """Draws channels by times in colours, zero in white.

    Args:
      prediction: of one image, or a mean.

    Raises:
      InputError: it is no EEG.
    """
    values, times_ms = _single(prediction), prediction.times_s * 1e3
    figure = canvas.new_figure(6.5, min(12.0, 2.2 + 0.14 * len(values)))
    axes = figure.subplots()
    limit = np.abs(values).max() or 1.0
    # A sample stands for half the way to its neighbours; alone, for 5 ms.
    half_ms = np.median(np.diff(times_ms)) / 2 if len(times_ms) > 1 else 5.0
    between_ms = (times_ms[:-1] + times_ms[1:]) / 2
    edges_ms = [times_ms[0] - half_ms, *between_ms, times_ms[-1] + half_ms]
    rows = np.arange(len(values) + 1) - 0.5
    drawn = axes.pcolormesh(
        edges_ms, rows, values, cmap="RdBu_r", vmin=-limit, vmax=limit
    )
    axes.invert_yaxis()
    if edges_ms[0] < 0 < edges_ms[-1]:
        axes.axvline(0, color="black", lw=0.6, ls=":")
    size = "small" if len(values) <= 20 else "x-small"
    ticks = range(len(values))
    axes.set_yticks(ticks, prediction.ch_names, fontsize=size, parse_math=False)
    axes.set_xlabel("time after image onset (ms)")
    axes.set_title(_title(prediction), fontsize="medium", parse_math=False)
    figure.colorbar(drawn, ax=axes, ticks=MaxNLocator(5)).set_label(_label(prediction))
    return figure


def _shade_each(
    axes: Axes, times_ms: np.ndarray, low: np.ndarray, high: np.ndarray
) -> str:
    """Shades each curve's interval in its colour; returns what is shaded, in words."""
    for row, curve in enumerate(axes.get_lines()[-len(low[0]) :]):
        colour = curve.get_color()
        axes.fill_between(
            times_ms, low[0, row], high[0, row], color=colour, alpha=0.15, lw=0
        )
    return f"shaded: {100 * _LEVEL:.0f} % of true responses"


def _shade_mean(
    axes: Axes, times_ms: np.ndarray, low: np.ndarray, high: np.ndarray
) -> str:
    """Shades around 0 how far intervals reach, the mean over channels; says so."""
    reach = (high[0] - low[0]).mean(axis=0) / 2
    axes.fill_between(times_ms, -reach, reach, color=canvas.LIGHT_GREY, lw=0, zorder=0)
    what = f"grey: {100 * _LEVEL:.0f} % of true responses are so near their curve"
    return f"{what}, mean over channels"


def _single(prediction: Responses) -> np.ndarray:
    """Returns f64[channel, time]."""
    if not prediction.is_eeg:
        raise unexpected("prediction", "EEG to draw", "features")
    return prediction.data[0].astype(np.float64)


def _columns(
    prediction: Responses, times_s: float | Sequence[float] | None
) -> list[int]:
    if times_s is None:
        after = np.flatnonzero(prediction.times_s > 0)
        after = after if len(after) else np.arange(len(prediction.times_s))
        parts = np.array_split(after, min(_N_MAPS, len(after)))
        return [int(part[len(part) // 2]) for part in parts]
    wanted_s = np.atleast_1d(np.asarray(times_s, np.float64))
    if not wanted_s.size:
        raise unexpected("times_s", "times to draw maps of", "none")
    first_s, last_s = prediction.times_s[[0, -1]]
    for time_s in wanted_s:
        # The window's rule says what is outside, and what is milliseconds.
        try:
            prediction.axes.window((time_s, time_s))
        except InputError:
            expected = f"a time in {first_s:.3f} to {last_s:.3f} s"
            raise unexpected("times_s", expected, f"{time_s:g} s") from None
    distances_s = np.abs(wanted_s[:, np.newaxis] - prediction.times_s)
    return distances_s.argmin(axis=1).tolist()


def _label(prediction: Responses) -> str:
    words = {Z: "z-scored", UNKNOWN: "unit unknown"}
    return f"predicted EEG ({words.get(prediction.unit, prediction.unit)})"


def _title(prediction: Responses) -> str:
    # File names may be no text at all, which no font can show.
    name = prediction.images[0].encode(errors="replace").decode()
    if len(name) > _LONGEST_NAME:
        name = f"…{name[1 - _LONGEST_NAME :]}"
    whose = "" if prediction.subject is None else f"subject {prediction.subject}"
    about = ", ".join(filter(None, [whose, told_simulated(prediction)]))
    # No name pushes out of the figure what it is of.
    gap = ", " if len(name + about) < _LONGEST_NAME else "\n"
    return gap.join(filter(None, [name, about]))
