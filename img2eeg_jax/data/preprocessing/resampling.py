"""Epochs are resampled to times that do not depend on the recording's sampling rate.

MNE resamples each channel of each epoch by Fourier transforms of its own. All of it is
linear: what it makes of unit impulses is a matrix, and the product with that matrix
resamples all epochs at once, on all cores, to the same values but for rounding.
"""

import functools
from typing import NamedTuple

import mne
import numpy as np
import scipy.interpolate

from img2eeg_jax.data.preprocessing.choices import Choices

# Parts of a sample by which epochs may begin off their first time, from rounding.
_SAME_SAMPLES = 1e-6
# Samples of an epoch up to which a product is faster than transforms. The impulses of
# as many samples take 0.13 GB.
_LONGEST_PRODUCT = 4096


class _Sampling(NamedTuple):
    """Times of epochs as they were cut, and as they are wanted."""

    n_samples: int
    start_s: float
    sfreq_hz: float
    wanted_s: tuple[float, float]
    wanted_hz: float


def on_grid(epochs: mne.BaseEpochs, choices: Choices) -> tuple[np.ndarray, np.ndarray]:
    """Returns epochs at times that begin at the first time of the choice.

    Args:
      epochs: of a recording; they are loaded.
      choices: the first and last time, and the sampling rate.

    Returns:
      (f64[trial, channel, time], f64[time] in seconds).
    """
    times_s, eeg = epochs.times, epochs.get_data(copy=False)
    sampling = _Sampling(
        len(times_s),
        float(times_s[0]),
        epochs.info["sfreq"],
        (choices.epoch_s[0], choices.epoch_s[1]),
        choices.sfreq_hz,
    )
    if len(times_s) > _LONGEST_PRODUCT:
        eeg = _resample(eeg, sampling)
    elif (matrix := _matrix(sampling)) is not None:
        # One product of all rows: NumPy would take a product for each trial.
        rows = eeg.reshape(-1, len(matrix)) @ matrix
        eeg = rows.reshape(*eeg.shape[:2], -1)
    return eeg, np.arange(eeg.shape[2]) / choices.sfreq_hz + choices.epoch_s[0]


@functools.lru_cache(maxsize=1)
def _matrix(sampling: _Sampling) -> np.ndarray | None:
    """Returns f64[sample, time], which resamples epochs; None if they stay."""
    impulses = np.eye(sampling.n_samples)[:, None]
    resampled = _resample(impulses, sampling)
    return None if resampled is impulses else resampled[:, 0].copy()


def _resample(eeg: np.ndarray, sampling: _Sampling) -> np.ndarray:
    """Resamples epochs in MNE.

    A recording has a sample at the first time if its rate is such, as 1000 Hz; of
    others, the samples nearest to onsets and ends are cut, and here the values between
    samples are read by a spline.

    Args:
      eeg: f64[trial, channel, sample].
      sampling: times of the samples, and of the result.

    Returns:
      f64[trial, channel, time]; the same array if its times are those wanted.
    """
    first_s, last_s = sampling.wanted_s
    off_s = first_s - sampling.start_s
    if abs(off_s) * sampling.sfreq_hz > _SAME_SAMPLES:
        times_s = sampling.start_s + np.arange(eeg.shape[2]) / sampling.sfreq_hz
        eeg = scipy.interpolate.CubicSpline(times_s, eeg, axis=2)(times_s + off_s)
    if sampling.sfreq_hz == sampling.wanted_hz:
        return eeg
    info = mne.create_info(eeg.shape[1], sampling.sfreq_hz, "eeg")
    epochs = mne.EpochsArray(eeg, info, verbose="ERROR")
    epochs.resample(sampling.wanted_hz, verbose="ERROR")
    # How many come out depends on the rate by one.
    n_times = int((last_s - first_s) * sampling.wanted_hz + 0.5 + _SAME_SAMPLES)
    return epochs.get_data(copy=False)[..., :n_times]
