"""RSA: layers over time, and the dissimilarities themselves."""

import os
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from img2eeg_jax.drawing import canvas
from img2eeg_jax.evaluation import rsa
from img2eeg_jax.evaluation.findings import Findings, Table

# Of layers, from early to late, dark to light; then others.
_COLOURS = (
    "#000000",
    canvas.BLUE,
    canvas.SKY_BLUE,
    canvas.GREEN,
    "#CC79A7",
    canvas.VERMILION,
)
# p of a time that is marked: corrected for the number of times.
_ALPHA = 0.05
# RDM pictures in a row.
_COLUMNS = 4


def plot_rsa_over_time(path: str | os.PathLike, findings: Findings) -> None:
    """Draws each layer's similarity with the measured RDM over time.

    A panel for each way to measure it. Bands are 95 % intervals; lines at the foot mark
    times at which p, corrected for the highest of all times, is below .05.

    Args:
      path: PNG or SVG to write or replace.
      findings: of the part "rsa".
    """
    table = findings.tables["rsa"]
    kinds, layers = _kinds_and_layers(table)
    figure = canvas.new_figure(0.8 + 4.8 * len(kinds), 4.2)
    panels = figure.subplots(1, len(kinds), squeeze=False, sharey=True)[0]
    for axes, kind in zip(panels, kinds, strict=True):
        canvas.mark_onset(axes)
        _draw_reliability(axes, findings, kind)
        for number, layer in enumerate(layers):
            rows = (table["eeg_rdm"] == kind) & (table["layer"] == layer)
            _draw_layer(axes, {n: of[rows] for n, of in table.items()}, number, layer)
        axes.set_xlabel("time after image onset (ms)")
        axes.set_title(f"measured: {kind}, {_about(findings)}", fontsize="medium")
        canvas.tidy(axes)
    panels[0].set_ylabel("Spearman's r over pairs of images")
    title = "bands: 95 % intervals; lines at the foot: p < .05, corrected for all times"
    canvas.legend_below(figure, title)
    canvas.save(figure, path)


def plot_rsa_map(path: str | os.PathLike, findings: Findings) -> None:
    """Draws the same as time × layer, in colours.

    Args:
      path: PNG or SVG to write or replace.
      findings: of the part "rsa".
    """
    table = findings.tables["rsa"]
    kinds, layers = _kinds_and_layers(table)
    figure = canvas.new_figure(7.5, 0.9 + (0.7 + 0.3 * len(layers)) * len(kinds))
    panels = figure.subplots(len(kinds), 1, squeeze=False, sharex=True)[:, 0]
    r = table["rsa_spearman"].reshape(len(kinds), len(layers), -1)
    # Zero keeps its colour, so that a map of noise does not look like one of signal.
    limit = max(float(np.nanmax(np.abs(r), initial=0, where=~np.isnan(r))), 0.1)
    times_ms = 1e3 * findings.arrays["times_s"]
    edges = _edges(times_ms)
    for axes, kind, values in zip(panels, kinds, r, strict=True):
        drawn = axes.pcolormesh(
            edges,
            np.arange(len(layers) + 1),
            np.ma.masked_invalid(values),
            cmap="RdBu_r",
            vmin=-limit,
            vmax=limit,
            rasterized=True,
        )
        axes.set_facecolor(canvas.LIGHT_GREY)
        axes.axvline(0, color="black", lw=0.6, ls=":")
        axes.set_yticks(np.arange(len(layers)) + 0.5, layers, parse_math=False)
        axes.set_title(f"measured: {kind}, {_about(findings)}", fontsize="medium")
    panels[-1].set_xlabel("time after image onset (ms)")
    bar = figure.colorbar(drawn, ax=panels, ticks=MaxNLocator(5))
    bar.set_label("Spearman's r")
    canvas.save(figure, path)


def plot_rdms(path: str | os.PathLike, findings: Findings) -> None:
    """Draws dissimilarities as pictures: of the layers, and measured at the best time.

    Colours are ranks, which Spearman's r compares. The measured RDM is of the time at
    which the best layer fits best.

    Args:
      path: PNG or SVG to write or replace.
      findings: of the part "rsa".
    """
    rdms = {}
    for name, of in findings.arrays.items():
        kind, _, of_what = name.partition("/")
        if kind == "layer_rdms":
            rdms[of_what] = of
        elif kind == "eeg_rdms":
            place = _best_time(findings, of_what)
            time_ms = 1e3 * findings.arrays["times_s"][place]
            when = "" if np.isnan(time_ms) else f",\n{time_ms:.0f} ms"
            rdms[f"measured: {of_what}{when}"] = of[place]
    _draw_rdms(path, rdms, _about(findings))


def plot_file_rdms(path: str | os.PathLike, findings: Findings) -> None:
    """Draws RDMs from files as pictures, each before the layer that is most alike.

    Args:
      path: PNG or SVG to write or replace.
      findings: of the part "rsa_files".
    """
    table, rdms = findings.tables["rsa_files"], {}
    for name in dict.fromkeys(table["rdm"].tolist()):
        rdms[name] = findings.arrays[f"file_rdms/{name}"]
        rows = np.flatnonzero(table["rdm"] == name)
        r = table["rsa_spearman"][rows]
        if not np.isnan(r).all():
            layer = str(table["layer"][rows[np.nanargmax(r)]])
            rdm = findings.arrays[f"layer_rdms/{name}/{layer}"]
            rdms[f"{layer}, as {name}"] = rdm
    _draw_rdms(path, rdms, "")


def plot_rsa_files(path: str | os.PathLike, findings: Findings) -> None:
    """Draws each layer's similarity with RDMs from files, with intervals and ceilings.

    Filled points are those whose p is below .05.

    Args:
      path: PNG or SVG to write or replace.
      findings: of the part "rsa_files".
    """
    table = findings.tables["rsa_files"]
    names = list(dict.fromkeys(table["rdm"].tolist()))
    figure = canvas.new_figure(1.2 + 2.6 * len(names), 3.6)
    panels = figure.subplots(1, len(names), squeeze=False, sharey=True)[0]
    for axes, name in zip(panels, names, strict=True):
        rows = {n: of[table["rdm"] == name] for n, of in table.items()}
        r, at = rows["rsa_spearman"], np.arange(len(rows["layer"]))
        lower, upper = rows["rsa_ceiling_lower"][0], rows["rsa_ceiling_upper"][0]
        if not np.isnan(lower):
            axes.axhspan(
                lower, upper, color=canvas.LIGHT_GREY, label="subject ceilings"
            )
        axes.axhline(0, color="black", lw=0.6)
        axes.vlines(
            at,
            rows["rsa_spearman_ci_low"],
            rows["rsa_spearman_ci_high"],
            color=canvas.BLUE,
        )
        style = {"color": canvas.BLUE, "ls": "", "marker": "o"}
        is_sure = rows["rsa_p"] < _ALPHA
        axes.plot(at[is_sure], r[is_sure], label="p < .05", **style)
        others = {**style, "mfc": "white"}
        axes.plot(at[~is_sure], r[~is_sure], label="not below .05", **others)
        axes.set_xticks(at, rows["layer"], rotation=45, ha="right", parse_math=False)
        axes.set_xlim(-0.6, len(at) - 0.4)
        axes.set_title(f"{name}\n{rows['n_images'][0]} images", parse_math=False)
        canvas.tidy(axes)
    panels[0].set_ylabel("Spearman's r over pairs of images")
    canvas.legend_below(figure, "95 % intervals")
    canvas.save(figure, path)


def _kinds_and_layers(table: Table) -> tuple[list[str], list[str]]:
    """Returns the measured RDMs and the layers of a table, each once, in its order."""
    kinds, layers = (
        list(dict.fromkeys(table[name].tolist())) for name in ("eeg_rdm", "layer")
    )
    return kinds, layers


def _draw_layer(axes: Axes, rows: dict[str, NDArray], number: int, layer: str) -> None:
    times_ms = 1e3 * rows["time_s"]
    colour = _COLOURS[number % len(_COLOURS)]
    if len(times_ms) > 1:
        low, high = rows["rsa_spearman_ci_low"], rows["rsa_spearman_ci_high"]
        axes.fill_between(times_ms, low, high, color=colour, alpha=0.12, lw=0)
    canvas.line(axes, times_ms, rows["rsa_spearman"], color=colour, label=layer)
    # Below the axis of r, a row a layer: in parts of the panel's height.
    is_sure = rows["rsa_p_max"] < _ALPHA
    height = np.where(is_sure, 0.02 + 0.018 * number, np.nan)
    transform = axes.get_xaxis_transform()
    axes.plot(times_ms, height, color=colour, lw=2.5, transform=transform)


def _draw_reliability(axes: Axes, findings: Findings, kind: str) -> None:
    table = findings.tables.get("rsa_reliability")
    if table is not None and kind in table["eeg_rdm"]:
        style = {"color": canvas.GREY, "ls": "--", "label": "measured, split half"}
        canvas.line(axes, 1e3 * table["time_s"], table["rsa_split_half"], **style)


def _best_time(findings: Findings, kind: str) -> int:
    table = findings.tables["rsa"]
    r = table["rsa_spearman"][table["eeg_rdm"] == kind]
    n_times = len(findings.arrays["times_s"])
    return 0 if np.isnan(r).all() else int(np.nanargmax(r)) % n_times


def _draw_rdms(path: str | os.PathLike, rdms: dict[str, NDArray], title: str) -> None:
    n_columns = min(_COLUMNS, len(rdms))
    n_rows = -(-len(rdms) // n_columns)
    figure = canvas.new_figure(0.9 + 2 * n_columns, 0.4 + 2.3 * n_rows)
    panels = figure.subplots(n_rows, n_columns, squeeze=False)
    drawn: Any = None
    for axes in panels.flat:
        axes.set_axis_off()
    for axes, (name, rdm) in zip(panels.flat, rdms.items(), strict=False):
        axes.set_title(name, fontsize="small", parse_math=False)
        drawn = axes.imshow(
            np.ma.masked_invalid(_percentiles(rdm)),
            cmap="viridis",
            vmin=0,
            vmax=100,
            # SVGs then hold the pixels as they are.
            interpolation="none",
        )
    bar = figure.colorbar(drawn, ax=panels, shrink=0.6, ticks=(0, 50, 100))
    bar.set_label("rank of dissimilarity (%)")
    figure.suptitle(title, fontsize="medium")
    canvas.save(figure, path)


def _percentiles(rdm: NDArray) -> NDArray[np.float64]:
    """Returns f64[image, image], the share of pairs that are more alike; nan of none.

    A constant RDM has no ranks.
    """
    ranks = np.full(len(rdm), np.nan)
    if np.ptp(rdm) > 0:
        ranks = 100 * np.searchsorted(np.sort(rdm), rdm) / (len(rdm) - 1)
    return rsa.square(ranks)


def _edges(times_ms: NDArray) -> NDArray[np.float64]:
    """Returns where each time's cell begins, and where the last one ends."""
    if len(times_ms) == 1:
        return times_ms[0] + np.array([-5.0, 5.0])
    middles = (times_ms[1:] + times_ms[:-1]) / 2
    first, last = 2 * times_ms[[0, -1]] - middles[[0, -1]]
    return np.array([first, *middles, last])


def _about(findings: Findings) -> str:
    return f"{findings.scores['n_images']} images"
