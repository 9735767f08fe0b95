"""Interactive charts of tidy tables, as Plotly draws them, and the same in words.

Colours of text, axes and backgrounds are the page's, which its style sheet sets.
"""

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from img2eeg_jax.drawing import canvas
from img2eeg_jax.evaluation.findings import Table
from img2eeg_jax.evaluation.metrics import METRICS
from img2eeg_jax.evaluation.report_page import columns

# Of lines, in their order: those of Okabe and Ito that show on white and on black.
_COLOURS = (
    "#0072B2",
    "#D55E00",
    "#009E73",
    "#CC79A7",
    "#E69F00",
    "#56B4E9",
    "#8C8C8C",
)

# Column that curves are over → label of its axis, factor of its numbers, unit.
_OVER = {
    "time_s": ("time after image onset (ms)", 1e3, "ms"),
    "set_size": ("candidate images", 1, "images"),
    "n_repetitions": ("repetitions averaged", 1, "repetitions"),
}


@dataclasses.dataclass(frozen=True)
class Chart:
    """One interactive chart.

    Attributes:
      title: in a few words.
      alt_text: what it shows, for who cannot see it.
      figure: JSON of Plotly.
      height: pixels.
    """

    title: str
    alt_text: str
    figure: str
    height: int = 380


@dataclasses.dataclass(frozen=True)
class _Curve:
    """A line: what it is called, its points, and its interval if it has one."""

    label: str
    colour: str
    x: NDArray
    y: NDArray
    low: NDArray | None = None
    high: NDArray | None = None
    is_thin: bool = False
    dash: str = "solid"

    def bare(self) -> "_Curve":
        """Returns the same without its interval."""
        return dataclasses.replace(self, low=None, high=None)


def curves_over(
    key: str, tables: Mapping[Any, Table], names: Sequence[str], where: str = ""
) -> Chart:
    """Draws metrics over times, sizes of a set or numbers of repetitions.

    Args:
      key: column of the horizontal axis, one of `_OVER`.
      tables: subject → table; lines are means over subjects and all other columns.
      names: the metrics; those that compare with each other.
      where: of which rows, in words.

    Returns:
      The chart; of several subjects with a thin line each, of the first metric.
    """
    curves = []
    for name, colour in zip(names, _colours_of(names), strict=True):
        curve = _curve(key, tables, name, METRICS[name].short_label, colour)
        # Bounds overlap each other: they have no band.
        curves.append(curve if name == names[0] else curve.bare())
    if len(tables) > 1:
        for subject, table in tables.items():
            x, y = columns.mean_by(table, key, names[0])
            label = f"subject {subject}"
            curves.append(_Curve(label, _COLOURS[0], x, y, is_thin=True))
    return _chart(key, curves, names, where, len(tables))


def curves_by(
    by: str, key: str, tables: Mapping[Any, Table], name: str, where: str = ""
) -> Chart:
    """Draws one metric, a line for each layer, say.

    Args:
      by: column that has a line for each of its values.
      key: see `curves_over`.
      tables: see `curves_over`.
      name: the metric.
      where: see `curves_over`.
    """
    first = next(iter(tables.values()))
    curves = []
    for i, value in enumerate(columns.unique(first, by)):
        rows = {s: columns.rows_where(t, by, value) for s, t in tables.items()}
        colour = _COLOURS[i % len(_COLOURS)]
        # A band around each line would hide the others.
        curves.append(_curve(key, rows, name, str(value), colour).bare())
    return _chart(key, curves, [name], where, len(tables))


def heat_map(tables: Mapping[Any, Table], name: str, where: str = "") -> Chart:
    """Draws a metric by channel and time, mean over subjects."""
    (channels, times_s), mean = columns.mean_grid(
        tables.values(), ("channel", "time_s"), name
    )
    limit = float(np.nanmax(np.abs(mean), initial=1e-9))
    times_ms = np.round(np.asarray(times_s) * 1e3, 3)
    metric = METRICS[name]
    trace = {
        "type": "heatmap",
        "x": times_ms,
        "y": channels,
        "z": np.round(mean, 4),
        "zmin": -limit,
        "zmax": limit,
        "colorscale": "RdBu",
        "reversescale": True,
        "colorbar": {"title": {"text": metric.unit, "side": "right"}, "thickness": 12},
        "hovertemplate": "%{y}, %{x} ms: %{z:.3f}<extra></extra>",
    }
    layout = _layout("time after image onset (ms)", "")
    layout["yaxis"] |= {"autorange": "reversed", "type": "category", "dtick": 1}
    layout["hovermode"] = "closest"
    alt = f"Colours of {metric.short_label} by channel (rows) and time. "
    if np.isfinite(mean).any():
        at = np.unravel_index(np.nanargmax(mean), mean.shape)
        alt += (
            f"Highest: {mean[at]:.3f} at {channels[at[0]]}, {times_ms[at[1]]:.0f} ms. "
        )
    height = 140 + 16 * max(12, len(channels))
    title = f"{_capital(metric.short_label)} by channel and time{where}"
    return Chart(title, alt.strip(), _json([trace], layout), height)


def _curve(
    key: str, tables: Mapping[Any, Table], name: str, label: str, colour: str
) -> _Curve:
    """Returns a metric's mean over subjects; with its interval if rows are points."""
    x, y = _mean(key, tables, name)
    low = high = None
    points = [len(np.unique(t[key])) == len(t[key]) for t in tables.values()]
    first = next(iter(tables.values()))
    # An interval of a mean is not the mean of intervals.
    ends = columns.interval_of(first, name)
    if len(tables) == 1 and all(points) and ends:
        low, high = (columns.mean_by(first, key, end)[1] for end in ends)
    dash = "dash" if "best_possible" in name else "solid"
    return _Curve(label, colour, x, y, low, high, dash=dash)


def _mean(
    key: str, tables: Mapping[Any, Table], name: str
) -> tuple[NDArray, NDArray[np.float64]]:
    """Averages over subjects, at the points that all of them have."""
    by_subject = [
        dict(zip(*(a.tolist() for a in columns.mean_by(t, key, name)), strict=True))
        for t in tables.values()
    ]
    shared = [x for x in by_subject[0] if all(x in other for other in by_subject)]
    return np.array(shared), np.array(
        [np.mean([values[x] for values in by_subject]) for x in shared]
    )


def _colours_of(names: Sequence[str]) -> Iterator[str]:
    """Yields a colour for each metric; bounds and chance have the same everywhere."""
    free = iter(_COLOURS * len(names))
    for name in names:
        if "ceiling" in name:
            yield canvas.GREY
        elif "best_possible" in name:
            yield canvas.GREEN
        elif "permutation" in name or "null" in name or "chance" in name:
            yield canvas.VERMILION
        else:
            yield next(free)


def _chart(
    key: str, curves: Sequence[_Curve], names: Sequence[str], where: str, n: int
) -> Chart:
    label, factor, unit = _OVER[key]
    traces = [trace for curve in curves for trace in _traces(curve, factor)]
    _fill_between_ceilings(traces, names)
    metric = METRICS[names[0]]
    layout = _layout(label, metric.unit)
    if key == "set_size":
        layout["xaxis"] |= {"type": "log"}
    if key == "time_s":
        layout["shapes"] = [_line_at(x=0)]
    if isinstance(metric.chance, float | int):
        layout.setdefault("shapes", []).append(_line_at(y=metric.chance))
    title = f"{_capital(metric.short_label)} over {label.split(' (')[0]}{where}"
    title = title.replace("over time after image onset", "over time")
    said = [_in_words(c, factor, unit) for c in curves if not c.is_thin]
    whose = f", mean over {n} subjects" if n > 1 else ""
    alt = f"Lines over {label}{where}{whose}. {' '.join(filter(None, said))}"
    return Chart(title, alt.strip(), _json(traces, layout))


def _traces(curve: _Curve, factor: float) -> list[dict[str, Any]]:
    x = np.round(curve.x * factor, 3)
    is_alone = len(x) == 1
    line = {"color": curve.colour, "width": 1 if curve.is_thin else 2.5}
    trace: dict[str, Any] = {
        "type": "scatter",
        "mode": "markers" if is_alone else "lines",
        "x": x,
        "y": np.round(curve.y, 4),
        "name": curve.label,
        "line": line | {"dash": curve.dash},
        "hovertemplate": "%{y:.3f}",
    }
    if curve.is_thin:
        trace |= {"opacity": 0.35, "showlegend": False, "hoverinfo": "skip"}
        del trace["hovertemplate"]
    if curve.low is None:
        return [trace]
    band = {
        "type": "scatter",
        "mode": "lines",
        "x": np.concatenate([x, x[::-1]]),
        "y": np.round(np.concatenate([curve.high, curve.low[::-1]]), 4),
        "fill": "toself",
        "fillcolor": curve.colour,
        "opacity": 0.2,
        "line": {"width": 0},
        "name": f"{curve.label}, 95 % CI",
        "hoverinfo": "skip",
    }
    return [band, trace]


def _fill_between_ceilings(traces: list[dict[str, Any]], names: Sequence[str]) -> None:
    """Shades what lies between a lower and an upper ceiling."""
    labels = {METRICS[n].short_label: n for n in names if "ceiling" in n}
    lower = None
    for trace in traces:
        name = labels.get(trace["name"])
        if name is None:
            continue
        trace["line"] = {"color": canvas.GREY, "width": 1}
        if name.endswith("_lower"):
            lower = name
        elif lower is not None and name == lower.replace("_lower", "_upper"):
            trace |= {"fill": "tonexty", "fillcolor": "rgba(128,128,128,0.22)"}


def _in_words(curve: _Curve, factor: float, unit: str) -> str:
    if not np.isfinite(curve.y).any():
        return f"{curve.label}: undefined."
    best = int(np.nanargmax(curve.y))
    at = f"{curve.x[best] * factor:.0f} {unit}"
    return f"{curve.label}: highest {curve.y[best]:.3f} at {at}."


def _line_at(**where: float) -> dict[str, Any]:
    """Returns a dotted line over the whole panel, at one x or at one y."""
    (axis, value), *_ = where.items()
    other = "y" if axis == "x" else "x"
    return {
        "type": "line",
        f"{axis}0": value,
        f"{axis}1": value,
        f"{other}0": 0,
        f"{other}1": 1,
        f"{other}ref": "paper",
        "layer": "below",
        "line": {"color": canvas.GREY, "width": 1, "dash": "dot"},
    }


def _layout(x: str, y: str) -> dict[str, Any]:
    def axis(title: str) -> dict[str, Any]:
        return {
            "title": {"text": title, "standoff": 8},
            "automargin": True,
            "zeroline": False,
            "fixedrange": True,
        }

    return {
        "template": {},
        "paper_bgcolor": "rgba(0,0,0,0)",
        "plot_bgcolor": "rgba(0,0,0,0)",
        "margin": {"l": 8, "r": 8, "t": 12, "b": 8},
        "hovermode": "x unified",
        "dragmode": False,
        "xaxis": axis(x),
        "yaxis": axis(y),
        "legend": {"orientation": "h", "x": 0, "y": -0.22, "yanchor": "top"},
        "font": {"size": 13, "family": "inherit"},
    }


def _json(traces: Sequence[Mapping[str, Any]], layout: Mapping[str, Any]) -> str:
    """Returns Plotly's JSON of a figure that Plotly finds valid."""
    from plotly import graph_objects

    return graph_objects.Figure(data=traces, layout=layout).to_json()


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]
