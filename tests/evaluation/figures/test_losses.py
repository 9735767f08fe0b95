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


@pytest.mark.parametrize(
    ("generation_weight", "task", "titles"),
    [
        (1, 0, ["mse", "contrast", "total", "validation r"]),
        (0.1, 0, ["mse", "contrast", "generation", "total", "validation r"]),
        (1, 2, ["task", "mse", "contrast", "generation", "total", "validation r"]),
        # Only the task is trained.
        (0, 2, ["mse", "contrast", "generation", "total", "validation r"]),
    ],
)
def test_no_panel_shows_what_another_shows(drawn, generation_weight, task, titles):
    history = []
    for epoch in range(3):
        row = {"epoch": epoch, "step": epoch}
        for images, scale in (("train", 0.3), ("validation", 0.7)):
            mse, contrast = scale / (1 + epoch), scale / (2 + epoch)
            total = task / (1 + epoch) + generation_weight * (mse + contrast)
            losses = [task / (1 + epoch), mse, contrast, mse + contrast, total]
            names = [f"{images}_{name}" for name in LOSSES]
            row |= dict(zip(names, losses, strict=True))
        row["train_skipped"], row["validation_r"] = 0, 0.1 * epoch
        history.append(row)
    figures.plot_history("loss.png", history, best_step=1)
    panels = {axes.get_title(): axes for axes in drawn[0].axes}
    assert list(panels) == titles
    (r,) = lines(panels["validation r"]).keys() - {"kept weights"}
    assert r == "validation"
    np.testing.assert_allclose(lines(panels["validation r"])[r], [0, 0.1, 0.2])
    assert panels["validation r"].get_ylabel() == "Pearson r"
    expected = [row["validation_total"] for row in history]
    np.testing.assert_allclose(lines(panels["total"])["validation"], expected)


def test_runs_without_validation_r_or_validation(drawn):
    losses = {
        f"{i}_{name}": n for i in ("train", "test") for n, name in enumerate(LOSSES)
    }
    figures.plot_history("loss.png", [{"epoch": 0, "step": 5} | losses], best_step=5)
    assert [axes.get_title() for axes in drawn[0].axes] == list(LOSSES[1:])
    assert "test" in lines(drawn[0].axes[0])
    alone = {name: loss for name, loss in losses.items() if name.startswith("train")}
    figures.plot_history("loss.png", [{"epoch": 0, "step": 5} | alone], best_step=5)
    assert lines(drawn[1].axes[0]).keys() == {"training", "kept weights"}


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
    losses = {f"train_{name}": i + 1.0 for i, name in enumerate(LOSSES)}
    history = [{"epoch": epoch, "step": 10 * epoch + 10} | losses for epoch in range(3)]
    for best_step in (20, 25):
        figures.plot_history(tmp_path / "loss.png", history, best_step)
    (first, first_options), (_, second_options) = drawn
    assert first[1] == [1, 2, 3]
    assert first_options["best_epoch"] == 2
    assert second_options["best_epoch"] is None
