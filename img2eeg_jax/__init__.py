"""Predict the EEG a person's brain produces when they see an image, in JAX/Flax.

Names are imported when they are first used: JAX takes its time.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from img2eeg_jax.axes import Axes
    from img2eeg_jax.evaluation.evaluation import Evaluation
    from img2eeg_jax.evaluation.run import evaluate
    from img2eeg_jax.prediction.encoder import Encoder

    __version__: str

__all__ = ["Axes", "Encoder", "Evaluation", "__version__", "evaluate"]


def __getattr__(name: str) -> Any:
    value: Any
    if name == "Axes":
        from img2eeg_jax import axes

        value = axes.Axes
    elif name == "Encoder":
        from img2eeg_jax.prediction import encoder

        value = encoder.Encoder
    elif name == "Evaluation":
        from img2eeg_jax.evaluation import evaluation

        value = evaluation.Evaluation
    elif name == "evaluate":
        from img2eeg_jax.evaluation import run

        value = run.evaluate
    elif name == "__version__":
        from importlib import metadata

        value = metadata.version("img2eeg_jax")
    else:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
