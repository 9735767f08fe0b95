"""Pairwise decoding of predictions, beside that of measured EEG."""

import numpy as np
from numpy.typing import NDArray

from img2eeg_jax.errors import counted
from img2eeg_jax.evaluation.decoding import DecodingScores, decoding_scores
from img2eeg_jax.evaluation.findings import Findings, NotApplicable
from img2eeg_jax.evaluation.material import Material
from img2eeg_jax.evaluation.pair_statistics import (
    accuracies_of_orders,
    mean_interval,
    p_values,
    random_orders,
)

PART = "decoding"

_ACCURACIES = ("decoding_accuracy", "decoding_ceiling_lower", "decoding_ceiling_upper")


def find(
    material: Material, *, n_splits: int = 1, n_permutations: int = 1000
) -> Findings:
    """Decodes all pairs of test images at all times that the network predicts.

    Args:
      material: the network and the data.
      n_splits: random halvings of the repetitions.
      n_permutations: random assignments of predictions to images.

    Returns:
      Findings whose `decoding` table has a row a time (of features one): accuracies,
      the interval of 95 % of the first over images, and p. Scores are means of the
      window. The array `accuracy` f32[3, pair] has the window's means of single pairs,
      in the order of the scores.

    Raises:
      NotApplicable: there is one repetition, or one image.
    """
    measured, prediction = material.measured, material.prediction
    n_images, n_repetitions, n_channels, _ = measured.eeg.shape
    if n_repetitions < 2:
        raise NotApplicable("one repetition has no halves to train and to test on")
    if n_images < 2:
        raise NotApplicable("one test image is no pair")
    seed = material.seed
    scores = decoding_scores(
        prediction.grid, measured.eeg, n_splits=n_splits, seed=seed
    )
    inside = prediction.axes.window(material.window_s)
    orders = random_orders(n_images, n_permutations, seed)
    by_name = {name: getattr(scores, name) for name in _ACCURACIES}
    in_window = {name: of[:, inside].mean(1) for name, of in by_name.items()}
    of_pairs = in_window["decoding_accuracy"][:, np.newaxis]
    low, high = mean_interval(of_pairs, n_images, seed=seed)[:, 0]
    return Findings(
        PART,
        scores={
            **{name: float(of.mean()) for name, of in in_window.items()},
            "decoding_accuracy_ci_low": float(low),
            "decoding_accuracy_ci_high": float(high),
            **_tests(scores.wins, orders, inside),
            "window_s": prediction.axes.span_s(inside),
            "n_images": n_images,
            "n_pairs": len(scores.decoding_accuracy),
            "n_channels": n_channels,
            "n_repetitions": n_repetitions,
            "n_pseudo_trials": scores.n_pseudo_trials,
            "n_splits": n_splits,
            "n_permutations": n_permutations,
        },
        tables={"decoding": _table(scores, orders, prediction.times_s, seed)},
        arrays={"accuracy": np.array([*in_window.values()], np.float32)},
        notes=_notes(n_channels, n_repetitions, n_splits),
    )


def _tests(
    wins: NDArray[np.float64], orders: NDArray[np.int64], inside: slice
) -> dict[str, float]:
    by_time = accuracies_of_orders(wins, orders)
    return {
        "decoding_p": float(p_values(by_time[:, inside].mean(1))),
        "decoding_p_corrected": float(p_values(by_time.max(1))),
    }


def _table(
    scores: DecodingScores,
    orders: NDArray[np.int64],
    times_s: NDArray[np.float64],
    seed: int,
) -> dict[str, NDArray]:
    accuracy = scores.decoding_accuracy
    low, high = mean_interval(accuracy, len(scores.wins), seed=seed)
    by_order = accuracies_of_orders(scores.wins, orders)
    # The largest of all times takes part in each time's test.
    corrected = np.concatenate(
        [by_order[:1], by_order[1:].max(1, keepdims=True).repeat(by_order.shape[1], 1)]
    )
    return {
        **({"time_s": times_s} if len(times_s) else {}),
        "decoding_accuracy": accuracy.mean(0),
        "decoding_accuracy_ci_low": low,
        "decoding_accuracy_ci_high": high,
        "decoding_ceiling_lower": scores.decoding_ceiling_lower.mean(0),
        "decoding_ceiling_upper": scores.decoding_ceiling_upper.mean(0),
        "decoding_p": p_values(by_order),
        "decoding_p_corrected": p_values(corrected),
    }


def _notes(n_channels: int, n_repetitions: int, n_splits: int) -> tuple[str, ...]:
    notes = [
        f"{counted(n_splits, 'halving')} of {n_repetitions} repetitions; the "
        "publication has 100",
        "the upper ceiling is tested on repetitions that trained the classifiers: it "
        "is above 0.5 even for noise",
        "C = 1 in the unit of z-scored EEG: in another unit other lines are found",
        "the interval is over images with the classifiers as they are; it does not "
        "hold what other repetitions would have trained",
    ]
    if n_channels == 1:
        notes.append("one channel: the classifiers are thresholds")
    return tuple(notes)
