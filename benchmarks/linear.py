"""Times linear encoders beside scikit-learn and himalaya: one JSON line for each.

    python -m benchmarks.linear
    python -m benchmarks.linear --name=ridge --features=1000 --images=16540

Random features with a spectrum like a network's, responses with a little signal.

- `ridge`: penalties of each target by exact leave-one-out, beside scikit-learn's
  `RidgeCV(alpha_per_target=True)`; and by five folds, beside himalaya's `RidgeCV` with
  NumPy and PyTorch (left out where not installed). In turns, in this process.
  `of_floor` is our time over that of as many operations in matrix products of the same
  sizes; an eigendecomposition counts as 10 p³.
- `subjects`: responses of ten subjects to the same images: they share what is of
  features alone; beside ten fits.
- `banded`: a draw of the penalties of four layers, beside himalaya's kernel solver,
  which takes products of all pairs of images: have fewer of them.
- `memory`: 1,000 components of 16,540 × --wide features in a memory map on disk, in a
  process of its own: seconds, and the most memory that it took.
- `memory_banded`: a draw of four layers of as many features together, 100 components of
  each, likewise.

Have the machine to yourself. THINGS-EEG2's size: 16,540 images, 1,700 targets.
"""

import functools
import importlib.util
import json
import os
import pathlib
import resource
import statistics
import subprocess
import sys
import tempfile
import time

import jax
import numpy as np
from absl import app, flags

from img2eeg_jax.linear import banded, ridge
from img2eeg_jax.linear.products import cross_product, gram, product

NAMES = ("ridge", "subjects", "banded", "memory", "memory_banded")
OTHERS = ["scikit_learn", "himalaya"]
N_FOLDS, N_LAYERS = 5, 4

_NAMES = flags.DEFINE_multi_enum("name", NAMES, NAMES, "What to time.")
_IMAGES = flags.DEFINE_integer("images", 16_540, "Images.", 100)
_FEATURES = flags.DEFINE_multi_integer("features", [1000, 4000], "Features.")
_TARGETS = flags.DEFINE_integer("targets", 1700, "Channels × times.", 1)
_SUBJECTS = flags.DEFINE_integer("subjects", 10, "Of `subjects`.", 1)
_WIDE = flags.DEFINE_integer("wide", 100_000, "Features of `memory`.", 1)
_RUNS = flags.DEFINE_integer("runs", 3, "Timed turns.", 1)
_BESIDE = flags.DEFINE_list("beside", OTHERS, "Other libraries, of these two.")

ALPHAS = np.logspace(0, 6, 10)

# Pages of the file, which the system takes back when it needs them, do not count.
MEMORY = """
import sys, threading, time
import numpy as np
from img2eeg_jax.linear import banded, ridge

def anonymous_gb():
    lines = open("/proc/self/status").read().splitlines()
    return next(int(line.split()[1]) / 1e6 for line in lines if "RssAnon" in line)

def watch():
    while True:
        peaks.append(anonymous_gb())
        time.sleep(0.02)

peaks = []
features = np.load(sys.argv[1], mmap_mode="r")
shape = len(features), int(sys.argv[2])
responses = np.random.default_rng(0).standard_normal(shape, np.float32)
threading.Thread(target=watch, daemon=True).start()
start = time.perf_counter()
alphas, groups = np.logspace(0, 6, 10), np.arange(len(features)) // 10
if sys.argv[3] == "banded":
    layers = np.split(features, 4, axis=1)
    layers = {str(n): layer for n, layer in enumerate(layers)}
    banded.fit(layers, responses, alphas, 100, groups, balances=1)
else:
    ridge.fit(features, responses, alphas, 1000)
print(time.perf_counter() - start)
print(max(peaks))
"""


def main(argv):
    """Prints the lines of what is asked for."""
    del argv
    for name in _NAMES.value:
        for line in globals()[f"time_{name}"]():
            facts = {"device": jax.devices()[0].device_kind, "cores": os.cpu_count()}
            print(json.dumps({"name": name} | line | facts), flush=True)


def time_ridge():
    """Yields the seconds of each library, and of the floor."""
    for n_features in _FEATURES.value:
        features, responses = problem(_IMAGES.value, n_features, _TARGETS.value)
        folds = folds_of(_IMAGES.value)
        fit = functools.partial(ridge.fit, features, responses, ALPHAS)
        steps = {
            "ours_left_out": fit,
            "ours_folds": functools.partial(fit, folds=folds),
        }
        rivals = others(features, responses, folds)
        seconds = in_turns(steps, rivals)
        floors = {
            "ours_left_out": floor(left_out_shapes(*features.shape)),
            "ours_folds": floor(fold_shapes(*features.shape)),
        }
        for name, of in seconds.items():
            line = {"solver": name, "features": n_features, "seconds": round(of, 2)}
            if name in floors:
                line["of_floor"] = round(of / floors[name], 2)
                line["gflop"] = round(flop(name, *features.shape) / 1e9)
            else:
                ours = "ours_left_out" if "scikit" in name else "ours_folds"
                line["of_ours"] = round(of / seconds[ours], 1)
            yield line | {"peak_gb": peak_gb()}


def is_beside(name, module):
    """Returns whether a library is asked for, and installed."""
    return name in _BESIDE.value and bool(importlib.util.find_spec(module))


def others(features, responses, folds):
    """Returns the same regressions of other libraries."""
    steps = {}
    if is_beside("scikit_learn", "sklearn"):
        from sklearn.linear_model import RidgeCV

        own = RidgeCV(ALPHAS, alpha_per_target=True)
        steps["scikit_learn"] = lambda: own.fit(features, responses)
    if is_beside("himalaya", "himalaya"):
        steps |= himalayas(features, responses, folds)
    return steps


def himalayas(features, responses, folds):
    """Returns himalaya's regression with each of its back ends for CPUs."""
    import himalaya.backend
    from himalaya.ridge import RidgeCV
    from sklearn.model_selection import PredefinedSplit

    fold_of = np.empty(len(features), int)
    for number, fold in enumerate(folds):
        fold_of[fold] = number

    def step(backend):
        def run():
            himalaya.backend.set_backend(backend)
            own = RidgeCV(ALPHAS, fit_intercept=True, cv=PredefinedSplit(fold_of))
            own.fit(features, responses)

        return run

    backends = ["numpy"] + ["torch"] * bool(importlib.util.find_spec("torch"))
    return {f"himalaya_{backend}": step(backend) for backend in backends}


def time_subjects():
    """Yields the seconds of a subject whose features others have used, and of one."""
    n_features = min(_FEATURES.value)
    features, responses = problem(_IMAGES.value, n_features, _TARGETS.value)

    def alone():
        ridge.fit(features, responses, ALPHAS)

    prepared = ridge.prepare(features)
    steps = {
        "prepare": lambda: ridge.prepare(features),
        "one_more": lambda: ridge.fit(prepared, responses, ALPHAS),
        "alone": alone,
    }
    seconds = in_turns(steps)
    n = _SUBJECTS.value
    together = seconds["prepare"] + n * seconds["one_more"]
    yield {
        **{f"{name}_s": round(of, 2) for name, of in seconds.items()},
        "subjects": n,
        "features": n_features,
        "together_s": round(together, 1),
        "of_as_many_fits": round(together / (n * seconds["alone"]), 2),
    }


def time_banded():
    """Yields the seconds of a draw of balances."""
    n_images, width = _IMAGES.value, min(_FEATURES.value)
    features, responses = problem(n_images, N_LAYERS * width, _TARGETS.value)
    parts = np.split(features, N_LAYERS, axis=1)
    layers = {f"layer_{n}": part for n, part in enumerate(parts)}
    folds = folds_of(n_images)
    balances = np.random.default_rng(0).dirichlet(np.ones(N_LAYERS), 2)

    def run(n):
        banded.fit(layers, responses, ALPHAS, folds=folds, balances=balances[:n])

    steps, rivals = {"first": lambda: run(1), "two": lambda: run(2)}, {}
    if is_beside("himalaya", "himalaya"):
        rivals["himalaya"] = lambda: kernel_draw(layers, responses, folds, balances[:1])
    seconds = in_turns(steps, rivals)
    line = {"images": n_images, "layers": N_LAYERS, "width": width}
    line |= {f"{name}_s": round(of, 2) for name, of in seconds.items()}
    line["a_draw_s"] = round(seconds["two"] - seconds["first"], 2)
    yield line | {"peak_gb": peak_gb()}


def kernel_draw(layers, responses, folds, balances):
    """Solves one draw by himalaya's random search over kernels."""
    import himalaya.backend
    from himalaya.kernel_ridge import solve_multiple_kernel_ridge_random_search
    from sklearn.model_selection import PredefinedSplit

    himalaya.backend.set_backend("numpy")
    fold_of = np.empty(len(responses), int)
    for number, fold in enumerate(folds):
        fold_of[fold] = number
    solve_multiple_kernel_ridge_random_search(
        np.stack([part @ part.T for part in layers.values()]),
        responses,
        n_iter=balances,
        alphas=ALPHAS,
        cv=PredefinedSplit(fold_of),
        fit_intercept=True,
        return_weights="dual",
        progress_bar=False,
    )


def time_memory():
    """Yields the time and the most memory of components of features on disk."""
    yield in_own_process("ridge")


def time_memory_banded():
    """Yields the same of a draw over four layers of them."""
    yield in_own_process("banded")


def in_own_process(kind):
    """Returns the time and the most memory of a regression of features on disk."""
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder) / "features.npy"
        write_features(path, _IMAGES.value, _WIDE.value)
        output = subprocess.run(
            [sys.executable, "-c", MEMORY, path, str(_TARGETS.value), kind],
            check=True,
            capture_output=True,
            text=True,
        ).stdout.split()
    spent, peak = (round(float(number), 2) for number in output)
    line = {"images": _IMAGES.value, "features": _WIDE.value, "seconds": spent}
    return line | {"peak_gb": peak}


def write_features(path, n_images, n_features):
    """Writes random features of some structure, block by block."""
    file = np.lib.format.open_memmap(
        path, mode="w+", dtype=np.float32, shape=(n_images, n_features)
    )
    rng = np.random.default_rng(0)
    mixing = rng.standard_normal((200, n_features), np.float32)
    for start in range(0, n_images, 500):
        part = file[start : start + 500]
        part[:] = rng.standard_normal((len(part), 200), np.float32) @ mixing
        part += 5 * rng.standard_normal(part.shape, np.float32)


def problem(n_images, n_features, n_targets):
    """Returns f32 features, standardised, and responses of which 5 % are signal."""
    rng = np.random.default_rng(0)
    n = n_features
    latent = rng.standard_normal((n_images, n), np.float32)
    latent *= np.float32(np.arange(1, n + 1) ** -0.5)
    features = product(latent, rng.standard_normal((n, n), np.float32))
    features = (features - features.mean(0)) / features.std(0)
    weights = rng.standard_normal((n, n_targets), np.float32)
    signal = product(latent, weights)
    responses = signal / signal.std(0) * 0.05**0.5
    responses += 0.95**0.5 * rng.standard_normal((n_images, n_targets), np.float32)
    return features, responses


def folds_of(n_images):
    """Returns rows of each fold, runs of images as those of concepts are."""
    return np.array_split(np.arange(n_images), N_FOLDS)


def left_out_shapes(n, p):
    """Returns (float64?, m, k, n, times) of each product that leave-one-out needs."""
    t, a = _TARGETS.value, len(ALPHAS)
    return [(True, p, n, p, 1), (False, p, n, t, 1), (False, n, p, p, 1),
            (False, n, p, t, a), (False, p, p, t, 2), (True, p, p, p, 5)]  # fmt: skip


def fold_shapes(n, p):
    """Returns the same of folds."""
    t, a = _TARGETS.value, len(ALPHAS)
    validation = min(p, n // N_FOLDS)
    return [(True, p, n, p, 1), (False, p, n, t, 1), (False, p, p, p, 2 * N_FOLDS),
            (False, validation, p, t, a * N_FOLDS), (False, p, p, t, 2 * N_FOLDS + 2),
            (True, p, p, p, 5 * (N_FOLDS + 1))]  # fmt: skip


def flop(name, n, p):
    """Returns the operations of ours; an eigendecomposition counts 10 p³."""
    shapes = left_out_shapes if "left_out" in name else fold_shapes
    return sum(2 * a * b * c * times for _, a, b, c, times in shapes(n, p))


def floor(shapes):
    """Returns the seconds of products of these sizes, the fastest of three each."""
    rng = np.random.default_rng(0)
    total = 0.0
    for is_double, m, k, n, times in shapes:
        a = rng.standard_normal((k, m), np.float32)
        b = a if is_double else rng.standard_normal((k, n), np.float32)

        def run(a=a, b=b, is_double=is_double):
            gram(a) if is_double else cross_product(a, b)

        run()
        total += times * min(seconds(run) for _ in range(3))
    return total


def in_turns(steps, rivals=None):
    """Returns name → the median of seconds.

    The first run of ours does not count: XLA compiles. The others do not.
    """
    for step in steps.values():
        step()
    steps = steps | (rivals or {})
    times = {name: [] for name in steps}
    for _ in range(_RUNS.value):
        for name, step in steps.items():
            times[name].append(seconds(step))
    return {name: statistics.median(of) for name, of in times.items()}


def seconds(step):
    """Returns how long a step takes."""
    start = time.perf_counter()
    step()
    return time.perf_counter() - start


def peak_gb():
    """Returns the most memory that this process has taken so far."""
    kb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return round(kb / (1e9 if sys.platform == "darwin" else 1e6), 2)


if __name__ == "__main__":
    app.run(main)
