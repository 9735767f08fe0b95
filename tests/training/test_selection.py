import pytest

from img2eeg_jax.training.selection import Selection


def history(*losses):
    return [
        {"epoch": epoch, "validation_total": loss} for epoch, loss in enumerate(losses)
    ]


class TestSelection:
    def test_best_is_the_smallest_from_the_first_epoch_on(self):
        rows = history(1.0, 3.0, 2.0, 2.5)
        assert Selection("validation").best_row(rows)["epoch"] == 0
        assert Selection("validation", first_epoch=1).best_row(rows)["epoch"] == 2
        assert Selection("validation", first_epoch=4).best_row(rows) is None

    @pytest.mark.parametrize(
        ("losses", "patience", "is_over"),
        [
            ((3.0, 2.0, 2.5), 2, False),
            ((3.0, 2.0, 2.5, 2.6), 2, True),
            # The first of equals is the best.
            ((3.0, 2.0, 2.0, 2.0), 2, True),
            ((3.0, 2.0, 2.5, 1.9), 2, False),
            ((1.0, 2.0, 3.0, 4.0), 0, False),
            ((), 1, False),
        ],
    )
    def test_patience(self, losses, patience, is_over):
        selection = Selection("validation", patience=patience)
        assert selection.is_over(history(*losses)) is is_over

    def test_without_validation_images(self):
        rows = [{"epoch": epoch, "train_total": 1.0} for epoch in range(5)]
        assert not Selection("validation", patience=1).is_over(rows)
