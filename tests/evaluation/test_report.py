from img2eeg_jax.evaluation import figures, report
from img2eeg_jax.evaluation.metrics import METRICS
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


def test_table_of_what_is_known():
    scores = {name: i / 10 for i, name in enumerate(METRICS, 1)}
    del scores["best_possible_r"]
    scores["noise_ceiling_lower"] = None
    summary = {
        "n_images": 20,
        "n_repetitions": 8,
        "ch_names": ["O1", "O2"],
        "window_s": [0.1, 0.2],
        **scores,
    }
    assert report.result_table(summary).splitlines() == [
        "20 test images, 8 repetitions, mean of 2 channels and 100-200 ms",
        "  encoding r                     0.100",
        "  encoding r, all repetitions    0.200",
        "  noise ceiling, lower          undefined",
        "  noise ceiling, upper           0.400",
        "  permutation control            0.500",
    ]
