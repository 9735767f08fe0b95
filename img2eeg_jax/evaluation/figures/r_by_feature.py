"""r of each feature, of responses without channels and times, beside its ceiling."""

import os

import numpy as np

from img2eeg_jax.drawing import canvas
from img2eeg_jax.errors import counted
from img2eeg_jax.evaluation.figures import labels
from img2eeg_jax.evaluation.findings import Findings


def plot_r_by_feature(path: str | os.PathLike, findings: Findings) -> None:
    """Draws a point a feature: r over its lower noise ceiling, with the diagonal.

    Where there are no halves (a single repetition) there is no ceiling, and features
    are in their order.

    Args:
      path: PNG or SVG to write or replace.
      findings: of the part `encoding`, whose table has the column `feature`.
    """
    table, scores = findings.tables["encoding"], findings.scores
    main = labels.main_metric(table)
    r, ceiling = labels.numbers(table[main]), labels.known(table, "noise_ceiling_lower")
    figure = canvas.new_figure(4.6, 4.4)
    axes = figure.subplots()
    x = np.arange(len(r)) if ceiling is None else ceiling
    axes.plot(x, r, "o", ms=3, alpha=0.6, mew=0, **labels.style(main))
    chance = labels.numbers(table["permutation_r_95"])
    axes.plot(x, chance, ".", ms=2, **labels.style("permutation_r_95"))
    if ceiling is not None:
        ends = [min(0.0, np.nanmin(ceiling)), np.nanmax(ceiling)]
        canvas.line(axes, ends, ends, color="black", lw=0.8, label="r = ceiling")
    axes.axhline(0, color="black", lw=0.6)
    axes.set_xlabel("feature" if ceiling is None else "noise ceiling, lower")
    axes.set_ylabel("Pearson r")
    counts = (scores["n_images"], "image"), (scores["n_repetitions"], "repetition")
    said = [counted(*one) for one in (*counts, (len(r), "feature"))]
    axes.set_title(", ".join(said))
    canvas.tidy(axes)
    canvas.legend_below(figure)
    canvas.save(figure, path)
