"""Pairwise decoding over time."""

import os

import numpy as np

from img2eeg_jax.drawing import canvas
from img2eeg_jax.errors import counted
from img2eeg_jax.evaluation.figures.labels import window_label
from img2eeg_jax.evaluation.findings import Findings
from img2eeg_jax.evaluation.metrics import METRICS

# Times whose corrected p is below are marked.
_P = 0.05


def plot_decoding(path: str | os.PathLike, findings: Findings) -> None:
    """Draws the accuracy of pairwise decoding over time, with its ceilings.

    Args:
      path: PNG or SVG to write or replace.
      findings: of the part `decoding`.
    """
    table, scores = findings.tables["decoding"], findings.scores
    times_ms = 1e3 * table["time_s"]
    figure = canvas.new_figure(6.5, 4.4)
    axes = figure.subplots()
    axes.axhline(0.5, color="black", lw=0.6, label="chance")
    axes.axvline(0, color="black", lw=0.6, ls=":")
    low, high = (table[f"decoding_accuracy_ci_{end}"] for end in ("low", "high"))
    label = "interval of 95 % over images"
    if len(times_ms) > 1:
        axes.fill_between(times_ms, low, high, color=canvas.SKY_BLUE, alpha=0.35, lw=0)
        axes.fill_between([], [], color=canvas.SKY_BLUE, alpha=0.35, label=label)
    else:
        axes.vlines(times_ms, low, high, color=canvas.SKY_BLUE, lw=6, label=label)
    for name, style in (
        ("decoding_ceiling_upper", {"color": canvas.GREY, "ls": ":"}),
        ("decoding_ceiling_lower", {"color": "black", "ls": "--"}),
        ("decoding_accuracy", {"color": canvas.BLUE, "lw": 2}),
    ):
        label = METRICS[name].label
        canvas.line(axes, times_ms, table[name], label=label, **style)
    is_above = table["decoding_p_corrected"] < _P
    bottom, top = axes.get_ylim()
    marks = np.full(is_above.sum(), bottom - 0.03 * (top - bottom))
    axes.plot(
        times_ms[is_above],
        marks,
        ls="",
        marker="s",
        ms=3,
        color=canvas.VERMILION,
        label=f"p < {_P:g}, corrected for all times",
    )
    axes.set_xlabel("time after image onset (ms)")
    axes.set_ylabel("share of pairs told apart")
    axes.set_title(
        f"{counted(scores['n_pairs'], 'pair')} of images, "
        f"{counted(scores['n_splits'], 'halving')}; mean over "
        f"{window_label(scores['window_s'])}: {scores['decoding_accuracy']:.3f}",
        fontsize="medium",
    )
    canvas.tidy(axes)
    canvas.legend_below(figure)
    canvas.save(figure, path)
