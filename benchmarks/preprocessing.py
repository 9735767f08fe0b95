"""Times the preprocessing of one full-size session: one JSON line per measurement.

    python -m benchmarks.preprocessing

`mvnn_time` and `mvnn_epochs` are the noise covariance of both partitions and whitening
by it, on random EEG. The covariance is compared with a loop over scikit-learn's
estimator, as the published preprocessing has it: run in turns with ours, on the first
conditions of each partition, its seconds scaled up to all of them. `epoching` cuts and
resamples the training recording, in turns with what the published preprocessing calls,
on its first trials, scaled up. Each runs in a process of its own.
"""

import functools
import json
import math
import multiprocessing
import pathlib
import resource
import statistics
import sys
import time

import mne
import numpy as np
from absl import app, flags
from sklearn.discriminant_analysis import _cov

from img2eeg_jax.data import preprocessing
from img2eeg_jax.data.preprocessing import whitening
from img2eeg_jax.data.sources import recordings

_CONDITIONS = flags.DEFINE_list("conditions", ["8270", "200"], "Training and test.")
_REPETITIONS = flags.DEFINE_list("repetitions", ["2", "20"], "Training and test.")
_CHANNELS = flags.DEFINE_integer("channels", 17, "Channels.")
_TIMES = flags.DEFINE_integer("times", 100, "Times of an epoch.")
_SAMPLE = flags.DEFINE_integer("sample", 50, "Conditions of each for scikit-learn.")
_TRIALS = flags.DEFINE_integer("trials", 900, "Trials for the published epoching.")
_RUNS = flags.DEFINE_integer("runs", 3, "Runs of each, in turns.", lower_bound=1)
_NAMES = flags.DEFINE_multi_enum(
    "name",
    ["mvnn_time", "mvnn_epochs", "epoching"],
    ["mvnn_time", "mvnn_epochs", "epoching"],
    "What to time; may be given several times.",
)

# Of THINGS-EEG2: sampling rate, and time from one image to the next.
SFREQ_HZ = 1000
SOA_S = 0.2


def main(argv):
    """Prints one JSON line per name."""
    del argv
    counts = [
        tuple(map(int, count))
        for count in zip(_CONDITIONS.value, _REPETITIONS.value, strict=True)
    ]
    shapes = [(*count, _CHANNELS.value, _TIMES.value) for count in counts]
    context = multiprocessing.get_context("spawn")
    for name in _NAMES.value:
        if name == "epoching":
            call = functools.partial(
                time_epoching,
                math.prod(counts[0]),
                _CHANNELS.value,
                _TRIALS.value,
                _RUNS.value,
            )
        else:
            variant = name.removeprefix("mvnn_")
            call = functools.partial(
                time_mvnn, variant, shapes, _SAMPLE.value, _RUNS.value
            )
        # A new process, so that the peak of memory is this measurement's.
        with context.Pool(1) as pool:
            line = pool.apply(call)
        print(json.dumps({"name": name} | line), flush=True)


def time_mvnn(variant, shapes, n_sample, n_runs):
    """Whitens random EEG of the shapes; returns what the line says."""
    rng = np.random.default_rng(0)
    partitions = [1e-5 * rng.standard_normal(shape) for shape in shapes]
    samples = [epochs[:n_sample] for epochs in partitions]
    seconds, loop_seconds, peaks = [], [], []
    for _ in range(n_runs):
        start = time.perf_counter()
        covariances = [
            whitening.noise_covariance([epochs], variant) for epochs in partitions
        ]
        seconds.append(time.perf_counter() - start)
        peaks.append(peak_gb())
        total = 0.0
        references = []
        for sample, epochs in zip(samples, partitions, strict=True):
            start = time.perf_counter()
            references.append([loop_covariance(one, variant) for one in sample])
            total += (time.perf_counter() - start) * len(epochs) / len(sample)
        loop_seconds.append(total)
    difference = max(
        largest_difference(sample, reference, variant)
        for sample, reference in zip(samples, references, strict=True)
    )
    start = time.perf_counter()
    whitener = whitening.whitener(np.mean(covariances, 0))
    for epochs in partitions:
        whitening.whiten(epochs, whitener)
    whitening_seconds = time.perf_counter() - start
    covariance_seconds = statistics.median(seconds)
    return {
        "seconds": round(covariance_seconds + whitening_seconds, 2),
        "covariance_seconds": [round(value, 2) for value in seconds],
        "peak_gb": round(max(*peaks, peak_gb()), 2),
        "loop_seconds": [round(value, 1) for value in loop_seconds],
        "speed_up": round(statistics.median(loop_seconds) / covariance_seconds, 1),
        "largest_relative_difference": float(f"{difference:.1e}"),
        "shapes": shapes,
    }


def loop_covariance(epochs, variant):
    """Averages scikit-learn's covariances of one condition [rep., channel, time]."""
    if variant == "time":
        return np.mean([_cov(at, "auto") for at in epochs.transpose(2, 0, 1)], 0)
    return np.mean([_cov(epoch.T, "auto") for epoch in epochs], 0)


def largest_difference(sample, references, variant):
    """Returns the largest difference of a condition, relative to its largest entry."""
    ours = [whitening.noise_covariance([one[None]], variant) for one in sample]
    differences = np.abs(np.subtract(ours, references)).max((1, 2))
    return np.max(differences / np.abs(references).max((1, 2)))


def time_epoching(n_trials, n_channels, n_sample, n_runs):
    """Cuts and resamples a random recording; returns what the line says."""
    rng = np.random.default_rng(0)
    step = round(SOA_S * SFREQ_HZ)
    onsets = SFREQ_HZ + step * np.arange(n_trials)
    eeg_v = rng.standard_normal((n_channels, onsets[-1] + 2 * SFREQ_HZ))
    eeg_v *= 1e-5
    info = mne.create_info(n_channels, SFREQ_HZ, "eeg")
    raw = mne.io.RawArray(eeg_v, info, verbose="ERROR")
    recording = recordings.make_recording(
        pathlib.Path("random"), raw, onsets, np.ones_like(onsets)
    )
    choices = preprocessing.Choices()
    seconds, official_seconds, peaks = [], [], []
    for _ in range(n_runs):
        start = time.perf_counter()
        trials = preprocessing.epoch_recording(recording, choices, 1e9)
        seconds.append(time.perf_counter() - start)
        peaks.append(peak_gb())
        start = time.perf_counter()
        official = official_epochs(raw, onsets[:n_sample])
        elapsed = time.perf_counter() - start
        official_seconds.append(elapsed * n_trials / len(official))
    difference = np.abs(trials.eeg[: len(official)] - official).max()
    difference /= np.abs(official).max()
    return {
        "seconds": [round(value, 2) for value in seconds],
        "peak_gb": round(peaks[0], 2),
        "official_seconds": [round(value, 2) for value in official_seconds],
        "speed_up": round(
            statistics.median(official_seconds) / statistics.median(seconds), 1
        ),
        "largest_relative_difference": float(f"{difference:.1e}"),
        "recording_gb": round(eeg_v.nbytes / 1e9, 2),
        "shape": trials.eeg.shape,
    }


def official_epochs(raw, onsets):
    """Cuts and resamples as the published preprocessing does, f64[trial, ch, time]."""
    events = np.stack([onsets, np.zeros_like(onsets), np.ones_like(onsets)], 1)
    window = {"tmin": -0.2, "tmax": 0.8, "baseline": (None, 0)}
    epochs = mne.Epochs(raw, events, **window, preload=True, verbose="ERROR")
    return epochs.resample(100, verbose="ERROR").get_data(copy=False)


def peak_gb():
    """Returns the largest memory that this process has had."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return (peak if sys.platform == "darwin" else 1024 * peak) / 1e9


if __name__ == "__main__":
    app.run(main)
