import pytest

from img2eeg_jax.drawing import canvas


@pytest.fixture
def drawn(monkeypatch):
    """Collects figures in place of writing them."""
    collected = []
    monkeypatch.setattr(canvas, "save", lambda figure, path: collected.append(figure))
    return collected
