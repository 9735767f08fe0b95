"""What all figures share: colours, lines, legends and how they are written.

Figures are drawn through matplotlib's objects rather than pyplot, so that they need no
display and leave no global state. Colours are of the Okabe-Ito palette, which
colour-blind readers can tell apart.
"""

import os
import pathlib
import warnings
from collections.abc import Sequence
from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from numpy.typing import NDArray

from img2eeg_jax.files import replacing

BLUE = "#0072B2"
SKY_BLUE = "#56B4E9"
VERMILION = "#D55E00"
GREEN = "#009E73"
GREY = "#767676"
LIGHT_GREY = "#D9D9D9"

_DPI = 150


def new_figure(width: float, height: float) -> Figure:
    """Returns an empty figure; sizes in inches."""
    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def line(
    axes: Axes, x: Sequence[float] | NDArray, y: Sequence[float] | NDArray, **style: Any
) -> None:
    """Draws a line, with markers where points have no neighbour to join."""
    if len(x) != len(y):
        raise ValueError(f"curve: expected {len(x)} values, found {len(y)}")
    marker = "o" if len(x) == 1 else None
    axes.plot(x, y, **{"marker": marker, "lw": 1.5, **style})


def tidy(axes: Axes) -> None:
    """Leaves only the frame's left and lower sides."""
    axes.spines[["top", "right"]].set_visible(False)


def mark_onset(axes: Axes) -> None:
    """Marks 0 on both axes: no response, and the image's onset."""
    axes.axhline(0, color="black", lw=0.6)
    axes.axvline(0, color="black", lw=0.6, ls=":")


def legend_below(figure: Figure, title: str | None = None) -> None:
    """Adds one legend for all panels, each label once.

    Args:
      figure: whose panels have labelled lines.
      title: of the legend: what is true of all panels.
    """
    by_label: dict[str, Any] = {}
    for axes in figure.axes:
        handles, labels = axes.get_legend_handles_labels()
        by_label.update(zip(labels, handles, strict=True))
    # A column is as wide as its longest label.
    longest = max(len(label) for label in by_label)
    columns = max(1, int(figure.get_figwidth() / max(1.9, 0.5 + 0.06 * longest)))
    figure.legend(
        by_label.values(),
        by_label.keys(),
        loc="outside lower center",
        ncols=min(columns, len(by_label)),
        frameon=False,
        fontsize="small",
        title=title,
        title_fontsize="small",
    )


def save(figure: Figure, path: str | os.PathLike) -> None:
    """Writes a figure so that `path` is at all times absent, the old or the new one.

    Args:
      figure: of `new_figure`.
      path: its ending, .png or .svg, is the format.

    Raises:
      InputError: it cannot be written.
    """
    path = pathlib.Path(path)
    kind = path.suffix.removeprefix(".") or "png"
    # The same figure is the same file: no date, and names that do not change.
    metadata = {"Date": None} if kind == "svg" else None
    fixed_names = matplotlib.rc_context({"svg.hashsalt": "img2eeg_jax"})
    with replacing(path) as temporary, fixed_names, warnings.catch_warnings():
        # A box stands for characters that the font lacks.
        warnings.filterwarnings("ignore", r"Glyph \d+ .* missing")
        figure.savefig(temporary, format=kind, dpi=_DPI, metadata=metadata)
