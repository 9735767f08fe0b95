"""Encoding accuracy: r between predicted and measured EEG, beside its ceilings."""

import dataclasses
from typing import Any

import numpy as np
from numpy.typing import NDArray

from img2eeg_jax.axes import Axes
from img2eeg_jax.evaluation import latencies
from img2eeg_jax.evaluation.bootstrap import encoding_draws
from img2eeg_jax.evaluation.ceiling_test import agreement
from img2eeg_jax.evaluation.encoding import encoding_scores
from img2eeg_jax.evaluation.findings import Findings, Table
from img2eeg_jax.evaluation.material import Material
from img2eeg_jax.evaluation.permutations import permutation_test
from img2eeg_jax.evaluation.summary import Evidence, summarise
from img2eeg_jax.evaluation.tables import places

PART = "encoding"

_OF_ONSETS = (
    "The onset depends on the numbers of images and repetitions: it is when the "
    "prediction is first better than chance, not when the brain first responds."
)

_NO_TIMES = (
    "These responses are features without channels and times: latencies, time courses "
    "and maps of the scalp are left out."
)

# Arrays of findings that hold bootstrap draws, f32[draw, channel, time], and of what.
DRAWS = {
    "draws_encoding_r": "encoding_r",
    "draws_encoding_r_all_repetitions": "encoding_r_all_repetitions",
}


def find(
    material: Material,
    *,
    n_splits: int = 100,
    n_permutations: int = 1000,
    n_draws: int = 1000,
) -> Findings:
    """Scores predicted EEG, with chance, ceilings, intervals and latencies.

    Args:
      material: the network and the data.
      n_splits: random halvings of the repetitions.
      n_permutations: random assignments of predictions to images, and of images within
        repetitions.
      n_draws: bootstrap samples of the images.

    Returns:
      Findings whose scores are those of `summarise` and the latencies; the table
      `encoding` has a row a channel and time, `encoding_times` one a time (mean of the
      channels). Of features there is a row each, and nothing of times.
      Arrays are the draws, for comparisons, and the names of the images.
    """
    measured, prediction = material.measured, material.prediction
    halvings = {"n_splits": n_splits, "seed": material.seed}
    random = {"n_permutations": n_permutations, "seed": material.seed}
    pair = (prediction.grid, measured.eeg)
    evidence = Evidence(
        encoding_scores(*pair, noise_free=measured.noise_free, **halvings),
        permutation_test(*pair, n_splits=n_splits, **random),
        encoding_draws(*pair, n_draws=n_draws, **halvings),
        agreement(measured.eeg, **random),
    )
    scores = summarise(evidence, prediction.axes, material.window_s)
    tables = {"encoding": cells_table(evidence, prediction.axes)}
    if prediction.is_eeg:
        scores |= _latencies(evidence, prediction.axes)
        tables["encoding_times"] = {
            name.replace("times_s", "time_s"): np.array(values, np.float64)
            for name, values in scores["per_time"].items()
        }
    return Findings(
        PART,
        scores=scores,
        tables=tables,
        arrays={
            "images": np.array(measured.names),
            **{name: vars(evidence.draws)[of] for name, of in DRAWS.items()},
        },
        notes=_notes(evidence, prediction.is_eeg),
    )


def cells_table(evidence: Evidence, axes: Axes) -> Table:
    """Returns columns of a row a channel and time, see `places`, or feature: scores."""
    cells = {name: values.ravel() for name, values in evidence.cells().items()}
    return {**places(axes), **cells}


def _latencies(evidence: Evidence, axes: Axes) -> dict[str, Any]:
    """Returns onset and peak of r averaged over channels, under the metrics' names."""
    names = ("onset_s", "peak_s")
    ends = [f"{name}{end}" for name in names for end in ("", "_ci_low", "_ci_high")]
    nothing = dict.fromkeys([*ends, "latency_threshold_r"])
    one, drawn, null = _curves(evidence)
    times_s = axes.times_s
    if not (times_s >= 0).any() or not all(np.isfinite(of).all() for of in (one, null)):
        return nothing
    limit = latencies.threshold(null, times_s)
    n_images = evidence.scores.n_images
    onset, peak = (
        latencies.latency(find_time(one), find_time(drawn), n_images)
        for find_time in (
            lambda r: latencies.onsets(r, times_s, limit),
            lambda r: latencies.peaks(r, times_s),
        )
    )
    found = [*dataclasses.astuple(onset), *dataclasses.astuple(peak), limit]
    plain = [float(value) if np.isfinite(value) else None for value in found]
    return dict(zip(nothing, plain, strict=True))


def _curves(evidence: Evidence) -> tuple[NDArray, NDArray, NDArray]:
    """Returns r averaged over channels: f[time], draws, and of random assignments.

    Of a single repetition, which has no halves, r is with that one.
    """
    has_halves = evidence.scores.n_splits > 0
    name = "encoding_r" if has_halves else "encoding_r_all_repetitions"
    r, draws = getattr(evidence.scores, name), getattr(evidence.draws, name)
    null = evidence.test.cells()[1:]
    return r.mean(axis=0), draws.mean(axis=1), null.mean(axis=1)


def _notes(evidence: Evidence, is_eeg: bool) -> tuple[str, ...]:
    notes, cells = [], "channels and times" if is_eeg else "features"
    reliability = evidence.scores.reliability
    n_unreliable = int(np.count_nonzero(reliability <= 0))
    if n_unreliable:
        notes.append(
            f"Noise-normalised r is undefined at {n_unreliable} of "
            f"{reliability.size} {cells}, where repetitions do "
            "not agree (reliability 0 or below)."
        )
    is_constant = ~evidence.test.prediction.any(axis=0)
    if is_constant.any():
        notes.append(
            f"The prediction is the same for all images at {is_constant.sum()} of "
            f"{is_constant.size} {cells}: r is 0 there by definition."
        )
    if evidence.scores.n_splits == 0:
        notes.append(
            "A single repetition has no halves: no noise ceiling, no official score."
        )
    notes.append(_OF_ONSETS if is_eeg else _NO_TIMES)
    return tuple(notes)
