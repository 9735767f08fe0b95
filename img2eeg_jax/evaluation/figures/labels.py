"""Which scores a figure shows, in which words and colours."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from img2eeg_jax.drawing import canvas
from img2eeg_jax.errors import counted
from img2eeg_jax.evaluation.metrics import METRICS

# Metrics drawn in blue have no entry.
_COLOURS = {
    "best_possible_r": canvas.GREEN,
    "best_possible_r_all_repetitions": canvas.GREEN,
    "noise_ceiling_lower": "black",
    "permutation_r_95": canvas.VERMILION,
}


def main_metric(metrics: Mapping[str, ArrayLike]) -> str:
    """Returns the name of the official score, or of its stand-in."""
    is_known = known(metrics, "encoding_r") is not None
    return "encoding_r" if is_known else "encoding_r_all_repetitions"


def best_possible(metrics: Mapping[str, ArrayLike]) -> str:
    """Returns the name of what bounds `main_metric` where the truth is known."""
    return main_metric(metrics).replace("encoding", "best_possible")


def style(name: str) -> dict[str, Any]:
    """Returns a metric's `label` and `color`, the same in all figures."""
    colour = _COLOURS.get(name, canvas.BLUE)
    return {"label": METRICS[name].short_label, "color": colour}


def known(metrics: Mapping[str, ArrayLike], name: str) -> NDArray[np.float64] | None:
    """Returns a metric's values; None if it is absent or undefined everywhere."""
    values = numbers(metrics.get(name, np.nan))
    return None if np.isnan(values).all() else values


def numbers(values: ArrayLike) -> NDArray[np.float64]:
    """Turns JSON's None back into nan."""
    return np.asarray(values, np.float64)


def title(summary: Mapping[str, Any]) -> str:
    """Returns how many images, repetitions and channels a summary is of."""
    n_subjects = summary.get("n_subjects", 1)
    subjects = f"{counted(n_subjects, 'subject')}, " if n_subjects > 1 else ""
    return (
        f"{subjects}"
        f"{counted(summary['n_images'], 'image')}, "
        f"{counted(summary['n_repetitions'], 'repetition')}, "
        f"{counted(len(summary['ch_names']), 'channel')}"
    )


def window_label(window_s: Sequence[float]) -> str:
    """Returns the first and last time (seconds) in milliseconds, in words."""
    first, last = (f"{1e3 * end:.4g}" for end in window_s)
    return f"{first} ms" if first == last else f"{first} to {last} ms"
