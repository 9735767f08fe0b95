"""Loss curves, read off the drawn objects."""

import numpy as np
import pytest

from helpers.pictures import check_png, lines
from img2eeg_jax.evaluation import figures
from img2eeg_jax.evaluation.figures import losses as module
from img2eeg_jax.training.step import LOSSES


@pytest.mark.parametrize("n_epochs", [1, 5])
def test_loss_figures_of_any_length(tmp_path, n_epochs):
    losses = {"loss": (np.ones(n_epochs), None), "mse": ([2.0] * n_epochs,) * 2}
    figures.plot_loss_curves(tmp_path / "loss.png", range(n_epochs), losses)
    check_png(tmp_path / "loss.png")


def test_loss_panels_hold_both_curves_and_the_kept_epoch(drawn):
    losses = {"loss": ([3, 2, 1], [4, 3, 5]), "mse": ([1, 1, 0], None)}
    figures.plot_loss_curves("loss.png", [0, 1, 2], losses, best_epoch=1)
    first, second = drawn[0].axes
    assert [first.get_title(), second.get_title()] == ["loss", "mse"]
    np.testing.assert_array_equal(lines(first)["training"], [3, 2, 1])
    np.testing.assert_array_equal(lines(first)["validation"], [4, 3, 5])
    assert "validation" not in lines(second)
    kept = next(x for x in second.get_lines() if x.get_label() == "kept weights")
    np.testing.assert_array_equal(kept.get_xdata(), [1, 1])
    (legend,) = drawn[0].legends
    labels = [text.get_text() for text in legend.get_texts()]
    assert labels == ["training", "validation", "kept weights"]


def test_losses_refuse_lengths_that_do_not_fit():
    with pytest.raises(ValueError, match="expected at least one, found none"):
        figures.plot_loss_curves("loss.png", [1], {})
    with pytest.raises(ValueError, match="expected 2 values, found 1"):
        figures.plot_loss_curves("loss.png", [1, 2], {"loss": ([1.0], None)})


def test_loss_curves_count_epochs_from_1_as_the_log(tmp_path, monkeypatch):
    drawn = []
    monkeypatch.setattr(
        module,
        "plot_loss_curves",
        lambda *args, **options: drawn.append((args, options)),
    )
    losses = {f"train_{name}": 1.0 for name in LOSSES}
    history = [{"epoch": epoch, "step": 10 * epoch + 10} | losses for epoch in range(3)]
    for best_step in (20, 25):
        figures.plot_history(tmp_path / "loss.png", history, best_step)
    (first, first_options), (_, second_options) = drawn
    assert first[1] == [1, 2, 3]
    assert first_options["best_epoch"] == 2
    assert second_options["best_epoch"] is None
