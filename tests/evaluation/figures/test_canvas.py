"""How figures are written."""

import pytest
from matplotlib.figure import Figure

from helpers.pictures import check_png
from img2eeg_jax.errors import InputError
from img2eeg_jax.evaluation import figures


def test_a_failed_write_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "loss.png"
    path.write_bytes(b"old")

    def fail(figure, part, **_):
        part.write_bytes(b"half")
        raise OSError("disk full")

    monkeypatch.setattr(Figure, "savefig", fail)
    with pytest.raises(InputError, match=r"loss\.png: expected .* disk full"):
        figures.plot_loss_curves(path, [1], {"loss": ([1.0], None)})
    assert [(p.name, p.read_bytes()) for p in tmp_path.iterdir()] == [
        ("loss.png", b"old")
    ]


def test_a_write_replaces_the_old_file(tmp_path):
    path = tmp_path / "loss.png"
    path.write_bytes(b"old")
    figures.plot_loss_curves(str(path), [1], {"loss": ([1.0], None)})
    check_png(path)
