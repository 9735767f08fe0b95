"""RSA's lines of `benchmarks.evaluation`, beside loops and rsatoolbox."""

import importlib.util
import itertools
import statistics
import time
import warnings

import numpy as np
import scipy.spatial
import scipy.stats

from img2eeg_jax.evaluation import rsa

# Images, repetitions, channels and times of THINGS-EEG2's test partition.
N_IMAGES, N_REPETITIONS, N_CHANNELS, N_TIMES = 200, 80, 17, 100
# Activations of CORnet-S at 224 pixels.
AREAS = {"V1": 64 * 56**2, "V2": 128 * 28**2, "V4": 256 * 14**2, "IT": 512 * 7**2}
# Of a double loop over pairs, so many are timed in each area.
_SAMPLED = 30
_TURNS = 5


def rdms():
    """Yields seconds of four RDMs, and of double loops over pairs (sampled), in turns.

    `loop_seconds` are those of `scipy.stats.pearsonr`, `compiled_loop_seconds` those of
    `scipy.spatial.distance.correlation`.
    """
    rng = np.random.default_rng(0)
    areas = [rng.random((N_IMAGES, size), np.float32) for size in AREAS.values()]
    pairs = list(itertools.combinations(range(N_IMAGES), 2))
    sampled = [pairs[i] for i in rng.permutation(len(pairs))[:_SAMPLED]]

    def loop(distance):
        for area in areas:
            for i, j in sampled:
                distance(area[i], area[j])

    steps = {
        "seconds": lambda: [rsa.rdm(area) for area in areas],
        "loop_seconds": lambda: loop(scipy.stats.pearsonr),
        "compiled_loop_seconds": lambda: loop(scipy.spatial.distance.correlation),
    }
    turns = [
        {name: seconds(step) for name, step in steps.items()} for _ in range(_TURNS)
    ]
    line = {name: statistics.median(turn[name] for turn in turns) for name in steps}
    for name in ("loop_seconds", "compiled_loop_seconds"):
        line[name] *= len(pairs) / _SAMPLED
    ratio = round(line["loop_seconds"] / line["seconds"])
    line = {name: round(value, 2) for name, value in line.items()}
    yield line | {"ratio": ratio, "pairs_sampled": _SAMPLED}


def crossnobis():
    """Yields seconds of 100 cross-validated RDMs, and of rsatoolbox's (one sampled)."""
    shape = (N_IMAGES, N_REPETITIONS, N_CHANNELS, N_TIMES)
    eeg = np.random.default_rng(0).standard_normal(shape, np.float32)
    covariance = rsa.residual_covariance(eeg)
    line = {
        "seconds": round(seconds(lambda: rsa.crossnobis(eeg, covariance)), 2),
        "covariance_seconds": round(seconds(lambda: rsa.residual_covariance(eeg)), 2),
    }
    if importlib.util.find_spec("rsatoolbox"):
        of_one = toolbox_seconds(eeg[..., 0].astype(np.float64), covariance)
        line["rsatoolbox_seconds"] = round(of_one * N_TIMES, 1)
    yield line


def toolbox_seconds(trials, covariance):
    """Returns how long rsatoolbox takes for one time."""
    from rsatoolbox.data import Dataset
    from rsatoolbox.rdm import calc_rdm

    images, repetitions = np.divmod(np.arange(N_IMAGES * N_REPETITIONS), N_REPETITIONS)
    data = Dataset(
        trials.reshape(-1, N_CHANNELS),
        obs_descriptors={"image": images, "repetition": repetitions},
    )
    precision = np.linalg.inv(covariance)
    with warnings.catch_warnings():
        # It casts nan to integers.
        warnings.simplefilter("ignore")
        return seconds(
            lambda: calc_rdm(
                data,
                "crossnobis",
                "image",
                noise=precision,
                cv_descriptor="repetition",
            )
        )


def seconds(step):
    """Returns how long a step takes."""
    start = time.perf_counter()
    step()
    return time.perf_counter() - start
