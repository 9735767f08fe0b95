from img2eeg_jax.evaluation import figures, report
from img2eeg_jax.training.step import LOSSES


def test_loss_curves_count_epochs_from_1_as_the_log(tmp_path, monkeypatch):
    drawn = []
    monkeypatch.setattr(
        figures,
        "plot_loss_curves",
        lambda *args, **options: drawn.append((args, options)),
    )
    losses = {f"train_{name}": 1.0 for name in LOSSES}
    history = [{"epoch": epoch, "step": 10 * epoch + 10} | losses for epoch in range(3)]
    for best_step in (20, 25):
        report._plot_losses(tmp_path / "loss.png", history, best_step)
    (first, first_options), (_, second_options) = drawn
    assert first[1] == [1, 2, 3]
    assert first_options["best_epoch"] == 2
    assert second_options["best_epoch"] is None
