"""Zero-shot identification over the size of the set, and over repetitions."""

import os

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import NullLocator

from img2eeg_jax.drawing import canvas
from img2eeg_jax.errors import counted
from img2eeg_jax.evaluation.findings import Findings, Table
from img2eeg_jax.evaluation.metrics import METRICS

_COLOURS = {"top1": canvas.BLUE, "top5": canvas.GREEN}


def plot_identification(path: str | os.PathLike, findings: Findings) -> None:
    """Draws how often images are identified: by size of the set, and by repetitions.

    Args:
      path: PNG or SVG to write or replace.
      findings: of the part `identification`.
    """
    table, scores = findings.tables["identification"], findings.scores
    figure = canvas.new_figure(8, 4)
    by_size, by_repetitions = figure.subplots(1, 2, sharey=True)
    rows = table["n_repetitions"] == scores["n_repetitions"]
    _curves(by_size, table, rows, "set_size")
    if scores["n_candidates"]:
        by_size.axvline(scores["n_images"], color=canvas.GREY, lw=0.8, ls="--")
    by_size.set_xlabel("images in the set")
    repetitions = counted(scores["n_repetitions"], "repetition")
    by_size.set_title(f"mean of {repetitions}", fontsize="medium")
    by_size.set_ylabel("share of images")
    rows = table["set_size"] == scores["set_size"]
    _curves(by_repetitions, table, rows, "n_repetitions")
    by_repetitions.set_xlabel("repetitions averaged")
    images = counted(scores["set_size"], "test image")
    by_repetitions.set_title(f"among {images}", fontsize="medium")
    canvas.legend_below(figure)
    canvas.save(figure, path)


def _curves(axes: Axes, table: Table, rows: np.ndarray, over: str) -> None:
    x = table[over][rows]
    for name, colour in _COLOURS.items():
        style = {"color": colour, "marker": "o", "ms": 4}
        canvas.line(axes, x, table[name][rows], label=METRICS[name].label, **style)
        chance = {"top1": "chance", "top5": "chance_top5"}[name]
        label = f"chance, {METRICS[name].short_label}"
        canvas.line(
            axes, x, table[chance][rows], color=colour, lw=0.8, ls=":", label=label
        )
    axes.set_xscale("log")
    axes.set_ylim(-0.02, 1.02)
    axes.xaxis.set_minor_locator(NullLocator())
    ticks = _readable(x)
    axes.set_xticks(ticks, labels=[f"{n:,}" for n in ticks])
    canvas.tidy(axes)


def _readable(x: np.ndarray) -> list[int]:
    """Returns those of the values that leave room for each other's labels."""
    ticks = [int(x[-1])]
    gap = max(1.9, (x[-1] / x[0]) ** 0.13)
    for n in x[-2::-1].tolist():
        if ticks[-1] / n >= gap:
            ticks.append(n)
    return ticks[::-1]
