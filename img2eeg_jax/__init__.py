"""Predict the EEG a person's brain produces when they see an image, in JAX/Flax.

Names are imported when they are first used: JAX takes its time.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from img2eeg_jax.axes import Axes
    from img2eeg_jax.evaluation.evaluation import Evaluation
    from img2eeg_jax.evaluation.run import evaluate
    from img2eeg_jax.prediction.encoder import Encoder

    __version__: str

__all__ = ["Axes", "Encoder", "Evaluation", "__version__", "evaluate"]

_HOMES = {
    "Axes": "img2eeg_jax.axes",
    "Encoder": "img2eeg_jax.prediction.encoder",
    "Evaluation": "img2eeg_jax.evaluation.evaluation",
    "evaluate": "img2eeg_jax.evaluation.run",
}


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from importlib import metadata

        value = metadata.version("img2eeg_jax")
    elif name in _HOMES:
        value = getattr(importlib.import_module(_HOMES[name]), name)
    else:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
