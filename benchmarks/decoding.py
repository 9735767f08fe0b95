"""Times pairwise decoding and identification: one JSON line for each.

    python -m benchmarks.decoding
    python -m benchmarks.decoding --name=identification --candidates=150000

- `decoding`: one halving of one full-size subject (200 images, 80 repetitions, 17
  channels, 100 times: 1,990,000 classifiers and three tests of each), extrapolated from
  --times of its times; and scikit-learn's `SVC` on a sample of the same pairs, one by
  one, in turns. `one_halving_cpu_s` is the time of all cores together.
- `identification`: 200 images among --candidates more, predictions given in blocks as
  a network gives them, 300 features, by 5 means each of 1, 2, 5, …, 80 repetitions.

Have the machine to yourself.
"""

import json
import os
import resource
import statistics
import time

import jax
import numpy as np
from absl import app, flags

from img2eeg_jax.evaluation import decoding as pairwise
from img2eeg_jax.evaluation import identification as zero_shot

NAMES = ("decoding", "identification")
N_IMAGES, N_REPETITIONS, N_CHANNELS, N_TIMES = 200, 80, 17, 100
N_PAIRS = N_IMAGES * (N_IMAGES - 1) // 2
# Pairs that scikit-learn is timed with in a turn.
N_SAMPLED = 300

_RUNS = flags.DEFINE_integer("runs", 3, "Timed turns.", lower_bound=1)
_TIMES = flags.DEFINE_integer("times", 4, "Times decoded in a turn.", lower_bound=1)
_CANDIDATES = flags.DEFINE_integer("candidates", 150_000, "Other images.", 1)
_NAMES = flags.DEFINE_multi_enum("name", NAMES, NAMES, "What to time.")


def main(argv):
    """Prints the lines of what is asked for."""
    del argv
    for name in _NAMES.value:
        facts = {"device": jax.devices()[0].device_kind, "cores": os.cpu_count()}
        print(json.dumps({"name": name} | globals()[name]() | facts), flush=True)


def decoding():
    """Returns the seconds of one halving, and of scikit-learn's classifiers."""
    rng = np.random.default_rng(0)
    signal = 0.5 * rng.standard_normal((N_IMAGES, N_CHANNELS, _TIMES.value))
    noise = rng.standard_normal((N_IMAGES, N_REPETITIONS, *signal.shape[1:]))
    eeg = (signal[:, np.newaxis] + 2 * noise).astype(np.float32)
    prediction = signal / 2
    sampled = rng.permutation(N_PAIRS)[:N_SAMPLED]
    ours, theirs, cpu_s = [], [], []
    for _ in range(_RUNS.value):
        start_s = time.process_time()
        scores, took = timed(
            lambda: pairwise.decoding_scores(prediction, eeg, seed=0, progress=False)
        )
        cpu_s.append((time.process_time() - start_s) / _TIMES.value * N_TIMES)
        ours.append(took / (N_PAIRS * _TIMES.value))
        of_pairs, took = timed(lambda: serial(prediction, eeg, sampled))
        theirs.append(took / N_SAMPLED)
    agreeing = of_pairs == scores.decoding_accuracy[sampled, 0]
    each, sklearn_each = statistics.median(ours), statistics.median(theirs)
    return {
        "one_halving_s": round(each * N_PAIRS * N_TIMES, 1),
        "one_halving_cpu_s": round(statistics.median(cpu_s), 1),
        "microseconds_per_classifier": round(1e6 * each, 1),
        "sklearn_microseconds": round(1e6 * sklearn_each, 1),
        "times_faster": round(sklearn_each / each, 1),
        "agreeing": float(agreeing.mean()),
    }


def serial(prediction, eeg, pairs):
    """Returns the accuracies of predictions at the first time, one pair by one."""
    from sklearn.svm import SVC

    order = pairwise.half_orders(N_REPETITIONS, 1, 0)[0]
    half, other = order[: N_REPETITIONS // 2], order[N_REPETITIONS // 2 :]
    first_time = eeg[..., 0].astype(np.float64)
    trials = pairwise.pseudo_trials(first_time, half)
    tests = (prediction[..., 0], first_time[:, other].mean(1), first_time.mean(1))
    labels = np.repeat([1, 0], trials.shape[1])
    images = np.stack(pairwise.pairs_of(N_IMAGES), 1)[pairs]
    accuracies = []
    for i, j in images:
        fitted = SVC(kernel="linear", C=1).fit(
            np.concatenate([trials[i], trials[j]]), labels
        )
        right = [(fitted.predict(test[[i, j]]) == [1, 0]).mean() for test in tests]
        accuracies.append(right[0])
    return np.array(accuracies)


def identification():
    """Returns the seconds and the memory of ranking among many images."""
    n_features = zero_shot.N_FEATURES
    rng = np.random.default_rng(0)
    signal = rng.standard_normal((N_IMAGES, n_features))
    noise = rng.standard_normal((N_IMAGES, N_REPETITIONS, n_features))
    steps = zero_shot.steps_to(N_REPETITIONS)
    prediction = signal + rng.standard_normal(signal.shape)

    def blocks():
        sizes = np.full(-(-_CANDIDATES.value // 64), 64)
        sizes[-1] -= sizes.sum() - _CANDIDATES.value
        for size in sizes:
            yield rng.standard_normal((size, n_features), np.float32)

    def run():
        eeg = signal[:, np.newaxis] + 5 * noise
        responses, right, _ = zero_shot.averages(eeg, steps, 5, seed=0)
        return zero_shot.rank(responses, prediction, right, blocks(), seed=0)

    ranking, took = timed(run)
    kilobytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return {
        "candidates": ranking.n_candidates,
        "responses": len(ranking.ties),
        "seconds": round(took, 1),
        "peak_gb": round(kilobytes / 1e6, 2),
    }


def timed(run):
    """Returns what a function returns, and its seconds."""
    start = time.perf_counter()
    result = run()
    return result, time.perf_counter() - start


if __name__ == "__main__":
    app.run(main)
