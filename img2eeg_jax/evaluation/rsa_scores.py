"""Similarities of models with measured RDMs as rows of tables, with p and intervals."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from img2eeg_jax.evaluation import rsa
from img2eeg_jax.evaluation.rsa.rdms import n_images_of

# Columns of similarities that have no p of their own.
_OTHER_METHODS = ("tau_a", "cosine", "whitened_cosine")


@dataclass(frozen=True)
class Sampling:
    """How often images are permuted and drawn.

    Attributes:
      n_permutations: for p.
      n_bootstraps: for intervals.
      seed: of both.
    """

    n_permutations: int = 1000
    n_bootstraps: int = 500
    seed: int = 0

    def draw(self, models: NDArray, targets: NDArray) -> "Samples":
        """Permutes and draws images of models f[model, pair], targets f[target, pair].

        Raises:
          InputError: they are no RDMs, or of different numbers of images.
        """
        permuted = rsa.permute_images(
            models, targets, n_permutations=self.n_permutations, seed=self.seed
        )
        drawn = rsa.bootstrap_images(
            models, targets, n_bootstraps=self.n_bootstraps, seed=self.seed + 1
        )
        return Samples(permuted, drawn, n_images_of(models.shape[-1]))


@dataclass(frozen=True, eq=False)
class Samples:
    """What came of permuted and of drawn images; Spearman's r.

    Attributes:
      permuted: for p; holds the true values, too.
      drawn: f64[bootstrap, model, target].
      n_images: how many are drawn.
    """

    permuted: rsa.PermutedImages
    drawn: NDArray[np.float64]
    n_images: int

    @property
    def true(self) -> NDArray[np.float64]:
        """f64[model, target]."""
        return self.permuted.values[0]

    def interval_of_mean(self, targets: NDArray | slice) -> tuple[NDArray, NDArray]:
        """Returns the ends for each model's mean over targets of these numbers."""
        return rsa.interval(self.drawn[:, :, targets].mean(axis=2), self.n_images)


def time_rows(
    eeg_rdm: str,
    names: Sequence[str],
    times_s: NDArray,
    models: NDArray,
    targets: NDArray,
    samples: Samples,
) -> list[dict[str, Any]]:
    """Returns a row for each model and time.

    Args:
      eeg_rdm: what the measured RDMs are.
      names: of the models.
      times_s: of the measured RDMs.
      models: f[model, pair].
      targets: f[time, pair].
      samples: of these.
    """
    low, high = rsa.interval(samples.drawn, samples.n_images)
    columns = {
        "rsa_spearman": samples.true,
        "rsa_spearman_ci_low": low,
        "rsa_spearman_ci_high": high,
        "rsa_p": samples.permuted.p,
        "rsa_p_max": samples.permuted.p_max,
        **{
            f"rsa_{method}": np.asarray(rsa.compare(models, targets, method))
            for method in _OTHER_METHODS
        },
    }
    return [
        {"eeg_rdm": eeg_rdm, "layer": name, "time_s": float(time_s)}
        | {column: float(values[m, t]) for column, values in columns.items()}
        for m, name in enumerate(names)
        for t, time_s in enumerate(times_s)
    ]


def layer_rows(
    eeg_rdm: str,
    names: Sequence[str],
    times_s: NDArray,
    window: NDArray,
    samples: Samples,
) -> list[dict[str, Any]]:
    """Returns a row for each model: its mean over a window, and its peak.

    p and interval are of the mean; `rsa_p_max` is of the peak among all times.

    Args:
      eeg_rdm: see `time_rows`.
      names: see `time_rows`.
      times_s: see `time_rows`.
      window: numbers of the times of the mean.
      samples: see `time_rows`.
    """
    in_window = samples.permuted.of_targets(window)
    low, high = samples.interval_of_mean(window)
    mean, mean_p = in_window.values[0].mean(axis=1), in_window.mean_p
    rows = []
    for m, name in enumerate(names):
        row = {
            "eeg_rdm": eeg_rdm,
            "layer": name,
            "rsa_spearman": float(mean[m]),
            "rsa_spearman_ci_low": float(low[m]),
            "rsa_spearman_ci_high": float(high[m]),
            "rsa_p": float(mean_p[m]),
            "rsa_peak": np.nan,
            "rsa_peak_time_s": np.nan,
            "rsa_p_max": np.nan,
        }
        if not np.isnan(samples.true[m]).all():
            peak = int(np.nanargmax(samples.true[m]))
            row["rsa_peak"] = float(samples.true[m, peak])
            row["rsa_peak_time_s"] = float(times_s[peak])
            row["rsa_p_max"] = float(samples.permuted.p_max[m, peak])
        rows.append(row)
    return rows


def nested(rows: Sequence[Mapping[str, Any]], by: str) -> dict[str, Any]:
    """Returns rows as JSON holds them: value of a column → layer → metric → value.

    Undefined numbers become None.

    Args:
      rows: with the columns `layer`, metrics and others, which are left out.
      by: that column.
    """
    found: dict[str, Any] = {}
    for row in rows:
        found.setdefault(row[by], {})[row["layer"]] = {
            name: None if np.isnan(value) else value
            for name, value in row.items()
            if name.startswith("rsa_")
        }
    return found
