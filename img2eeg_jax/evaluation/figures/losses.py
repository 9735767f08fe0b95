"""Losses and validation r over epochs."""

import os
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from img2eeg_jax.drawing import canvas
from img2eeg_jax.training.step import LOSSES


def plot_history(
    path: str | os.PathLike, history: Sequence[Mapping[str, float]], best_step: int
) -> None:
    """Draws the losses of a run and r; nothing of one that has no epochs yet.

    A loss that is off is left out, and so is one that another equals, as `generation`
    does `total` where there is no task.

    Args:
      path: PNG to write or replace.
      history: rows of `metrics.csv`: `epoch`, from 0, `step`, and LOSS of the training
        images as `train_LOSS`, of those that select the best epoch as `NAME_LOSS`, and
        their `NAME_r`, which older runs lack.
      best_step: step of the weights that were kept, marked where an epoch ends with it.
    """
    if not history:
        return
    names = [key.removesuffix("_total") for key in history[0] if "_total" in key]
    selection = next((name for name in names if name != "train"), None)

    def column(images: str | None, value: str) -> list[float] | None:
        name = f"{images}_{value}"
        return [row[name] for row in history] if name in history[0] else None

    # Counted from 1, as in the log; `metrics.csv` counts from 0.
    epochs = [int(row["epoch"]) + 1 for row in history]
    steps = [row["step"] for row in history]
    losses = {
        loss: (trained, column(selection, loss))
        for loss in LOSSES
        if (trained := column("train", loss)) is not None
    }
    plot_loss_curves(
        path,
        epochs,
        _different(losses),
        r=column(selection, "r"),
        selection_name=selection or "",
        best_epoch=dict(zip(steps, epochs, strict=True)).get(best_step),
    )


def plot_loss_curves(
    path: str | os.PathLike,
    epochs: Sequence[int],
    losses: Mapping[str, tuple[Sequence[float], Sequence[float] | None]],
    best_epoch: int | None = None,
    selection_name: str = "validation",
    r: Sequence[float] | None = None,
) -> None:
    """Draws each loss over epochs, one panel a loss, and r.

    Args:
      path: PNG to write or replace.
      epochs: numbers of the epochs.
      losses: {name: (training loss, validation loss or None)}, one value an epoch,
        unitless.
      best_epoch: epoch of the weights that were kept, marked with a line.
      selection_name: what the second losses are of: "validation", or "test" where a
        recipe selects by it.
      r: Pearson r over the images of the second losses, one an epoch; None for no such
        panel.

    Raises:
      ValueError: `losses` is empty, or a loss has another length than `epochs`.
    """
    if not losses:
        raise ValueError("losses: expected at least one, found none")
    curves = {
        name: {"training": training, selection_name: validation}
        for name, (training, validation) in losses.items()
    }
    # Not drawn as a loss: higher is better.
    r_name = f"{selection_name} r"
    if r is not None:
        curves[r_name] = {selection_name: r}
    n_columns = 2 if len(curves) == 4 else min(3, len(curves))
    n_rows = -(-len(curves) // n_columns)
    figure = canvas.new_figure(max(4.5, 3.2 * n_columns), 2.5 * n_rows + 0.5)
    panels = figure.subplots(n_rows, n_columns, squeeze=False).ravel()
    for axes, (name, by_images) in zip(panels, curves.items(), strict=False):
        for images, values in by_images.items():
            if values is not None:
                colour = canvas.BLUE if images == "training" else canvas.VERMILION
                canvas.line(axes, epochs, values, color=colour, label=images)
        axes.set_ylabel("Pearson r" if name == r_name else "loss (unitless)")
        axes.set_title(name, parse_math=False)
        _finish(axes, best_epoch)
    for axes in panels[len(curves) :]:
        axes.remove()
    canvas.legend_below(figure)
    canvas.save(figure, path)


def _different(
    losses: Mapping[str, tuple[list[float], list[float] | None]],
) -> dict[str, tuple[list[float], list[float] | None]]:
    """Returns the losses that are on, of several equal ones the last: `total`."""
    kept: dict[str, Any] = {}
    for name, values in losses.items():
        both = np.concatenate([column for column in values if column is not None])
        for other, (_, of_other) in list(kept.items()):
            if np.allclose(both, of_other, rtol=1e-6, atol=0, equal_nan=True):
                del kept[other]
        if any(values[0]):
            kept[name] = values, both
    return {name: values for name, (values, _) in kept.items()}


def _finish(axes: Axes, best_epoch: int | None) -> None:
    """Marks the epoch that was kept, and numbers the epochs."""
    if best_epoch is not None:
        axes.axvline(best_epoch, color=canvas.GREY, ls=":", label="kept weights")
    axes.xaxis.set_major_locator(
        MaxNLocator(5, integer=True, steps=[1, 2, 5, 10], min_n_ticks=1)
    )
    axes.set_xlabel("epoch")
    canvas.tidy(axes)
