"""Losses over epochs."""

import os
from collections.abc import Mapping, Sequence

from matplotlib.ticker import MaxNLocator

from img2eeg_jax.evaluation.figures import canvas
from img2eeg_jax.training.step import LOSSES


def plot_history(
    path: str | os.PathLike, history: Sequence[Mapping[str, float]], best_step: int
) -> None:
    """Draws the losses of a run; nothing of one that has no epochs yet.

    Args:
      path: PNG to write or replace.
      history: rows of `metrics.csv`: `epoch`, from 0, `step`, and LOSS of the training
        images as `train_LOSS`, of those that select the best epoch as `NAME_LOSS`.
      best_step: step of the weights that were kept, marked where an epoch ends with it.
    """
    if not history:
        return
    others = {key.rsplit("_", 1)[0] for key in history[0] if "_" in key} - {"train"}
    selection = next(iter(others), None)

    def column(images: str | None, loss: str) -> list[float] | None:
        return [row[f"{images}_{loss}"] for row in history] if images else None

    # Counted from 1, as in the log; `metrics.csv` counts from 0.
    epochs = [int(row["epoch"]) + 1 for row in history]
    steps = [row["step"] for row in history]
    plot_loss_curves(
        path,
        epochs,
        {
            loss: (column("train", loss), column(selection, loss))
            for loss in LOSSES
            if any(column("train", loss))  # a task loss that is off is all zeros
        },
        selection_name=selection or "",
        best_epoch=dict(zip(steps, epochs, strict=True)).get(best_step),
    )


def plot_loss_curves(
    path: str | os.PathLike,
    epochs: Sequence[int],
    losses: Mapping[str, tuple[Sequence[float], Sequence[float] | None]],
    best_epoch: int | None = None,
    selection_name: str = "validation",
) -> None:
    """Draws each loss over epochs, one panel a loss.

    Args:
      path: PNG to write or replace.
      epochs: numbers of the epochs.
      losses: {name: (training loss, validation loss or None)}, one value an epoch,
        unitless.
      best_epoch: epoch of the weights that were kept, marked with a line.
      selection_name: what the second losses are of: "validation", or "test" where a
        recipe selects by it.

    Raises:
      ValueError: `losses` is empty, or a loss has another length than `epochs`.
    """
    if not losses:
        raise ValueError("losses: expected at least one, found none")
    n_columns = 2 if len(losses) == 4 else min(3, len(losses))
    n_rows = -(-len(losses) // n_columns)
    figure = canvas.new_figure(max(4.5, 3.2 * n_columns), 2.5 * n_rows + 0.5)
    panels = figure.subplots(n_rows, n_columns, squeeze=False).ravel()
    for axes, (name, (train, validation)) in zip(panels, losses.items(), strict=False):
        canvas.line(axes, epochs, train, color=canvas.BLUE, label="training")
        if validation is not None:
            canvas.line(
                axes, epochs, validation, color=canvas.VERMILION, label=selection_name
            )
        if best_epoch is not None:
            axes.axvline(best_epoch, color=canvas.GREY, ls=":", label="kept weights")
        axes.set_title(name, parse_math=False)
        axes.xaxis.set_major_locator(
            MaxNLocator(5, integer=True, steps=[1, 2, 5, 10], min_n_ticks=1)
        )
        axes.set_xlabel("epoch")
        axes.set_ylabel("loss (unitless)")
        canvas.tidy(axes)
    for axes in panels[len(losses) :]:
        axes.remove()
    canvas.legend_below(figure)
    canvas.save(figure, path)
