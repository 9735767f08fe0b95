"""When a score first rises above chance, and when it is highest.

Definitions, of r averaged over channels, at times from image onset on:

- *onset*: the first time from which r is above a threshold for 2 samples in a row. The
  threshold is what the largest r over times exceeds in one of twenty random assignments
  of predictions to images.
- *peak*: the time at which r is largest.

Both are times of samples, no finer than their distance, and both depend on more than
the brain: an onset comes later where there are fewer images or repetitions.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from img2eeg_jax.evaluation.statistics import expanded_tail

# Samples in a row that are above the threshold from the onset on.
_IN_A_ROW = 2


@dataclass(frozen=True)
class Latency:
    """A time after image onset, with a bootstrap interval.

    Attributes:
      time_s: seconds; nan where r is never above the threshold.
      ci_low_s: lower end of the 95 % interval.
      ci_high_s: its upper end; inf where more than 2.5 % of the draws have no onset.
    """

    time_s: float
    ci_low_s: float
    ci_high_s: float


def threshold(null_r: ArrayLike, times_s: ArrayLike) -> float:
    """Returns the r that the largest of all times exceeds by chance in 5 %.

    Args:
      null_r: f[permutation, time], r of random assignments.
      times_s: f[time], seconds from image onset.

    Returns:
      nan without a time from image onset on.
    """
    after = np.asarray(null_r, np.float64)[:, np.asarray(times_s) >= 0]
    return float(np.quantile(after.max(axis=1), 0.95)) if after.size else np.nan


def onsets(r: ArrayLike, times_s: ArrayLike, threshold_r: float) -> NDArray[np.float64]:
    """Finds from when on r is above a threshold for 2 samples in a row.

    Args:
      r: f[..., time].
      times_s: f[time], seconds from image onset.
      threshold_r: see `threshold`.

    Returns:
      f64[...], seconds; inf where it never is.
    """
    times_s = np.asarray(times_s, np.float64)
    is_above = (np.asarray(r) > threshold_r) & (times_s >= 0)
    n = is_above.shape[-1] - _IN_A_ROW + 1
    if n < 1:
        return np.full(is_above.shape[:-1], np.inf)
    starts = np.all([is_above[..., k : k + n] for k in range(_IN_A_ROW)], axis=0)
    return np.where(starts.any(-1), times_s[starts.argmax(-1)], np.inf)


def peaks(r: ArrayLike, times_s: ArrayLike) -> NDArray[np.float64]:
    """Finds when r is largest, the first time if there are several.

    Args:
      r: f[..., time].
      times_s: f[time], seconds from image onset, at least one of them from 0 on.

    Returns:
      f64[...], seconds.
    """
    times_s = np.asarray(times_s, np.float64)
    return times_s[np.where(times_s >= 0, r, -np.inf).argmax(-1)]


def latency(time_s: float | NDArray, draws_s: ArrayLike, n: int) -> Latency:
    """Puts a bootstrap interval beside a time.

    Args:
      time_s: seconds, of the sample.
      draws_s: f[draw], seconds, of bootstrap draws; inf where there is none.
      n: of how many images a draw is; see `statistics.interval`.
    """
    tail = expanded_tail(n)
    # A time that was drawn: what lies between 0.1 s and never has no meaning.
    drawn = np.asarray(draws_s, np.float64)
    low, high = np.quantile(drawn, (tail, 1 - tail), method="inverted_cdf")
    found_s = float(time_s) if np.isfinite(time_s) else np.nan
    return Latency(found_s, float(low), float(high))
