"""Times an evaluation: one JSON line for each.

    python -m benchmarks.evaluation --name=correlations

- `correlations`: `encoding_scores`, r and noise ceilings over 100 halvings, of one
  full-size subject (200 images, 80 repetitions, 17 channels, 100 times), and the loop
  over halvings, channels and times that calls SciPy's `pearsonr`, of which a sample is
  timed and the rest counted.
- `encoding`: all that the part finds of such a subject: also the permutations, the
  bootstrap, the ceiling's test and the latencies.
- `report`: encoding and RSA of ten such subjects, predictions given, what holds over
  them, and the folder of results with `report.html`; one run.
- `rdms`: four RDMs of 200 images, of the size of CORnet-S's areas, beside double loops
  over pairs (sampled).
- `crossnobis`: 100 cross-validated RDMs of such a subject, and rsatoolbox's (one time
  sampled), where it is installed.

Have the machine to yourself. Times are medians of --runs.
"""

import json
import os
import statistics
import tempfile
import time
import types

import numpy as np
from absl import app, flags
from scipy import stats

from benchmarks import rsa_steps
from img2eeg_jax.axes import Axes
from img2eeg_jax.evaluation.encoding import encoding_scores
from img2eeg_jax.evaluation.evaluation import Evaluation
from img2eeg_jax.evaluation.findings import Findings
from img2eeg_jax.evaluation.parts import encoding as encoding_part
from img2eeg_jax.evaluation.parts import rsa as rsa_part
from img2eeg_jax.evaluation.run import group_parts

NAMES = ("correlations", "encoding", "report", "rdms", "crossnobis")
N_IMAGES, N_REPETITIONS, N_CHANNELS, N_TIMES = 200, 80, 17, 100
CH_NAMES = ["Pz", "P3", "P7", "O1", "Oz", "O2", "P4", "P8", "P1", "P5", "PO7", "PO3"]
CH_NAMES += ["POz", "PO4", "PO8", "P6", "P2"]
N_SUBJECTS = 10
N_SPLITS = 100
# Calls of SciPy that are timed, of all that the loop would make.
N_SAMPLED = 500

_RUNS = flags.DEFINE_integer("runs", 5, "Timed runs of each.", lower_bound=1)
_NAMES = flags.DEFINE_multi_enum("name", NAMES, NAMES, "What to time.")


def main(argv):
    """Prints the lines of what is asked for."""
    del argv
    for name in _NAMES.value:
        for line in globals()[name]():
            print(json.dumps({"name": name} | line | {"cores": os.cpu_count()}))


def correlations():
    """Yields the seconds of r and ceilings, and how many times faster than a loop."""
    prediction, eeg = full_size_subject()
    ours = median_seconds(
        lambda: encoding_scores(prediction, eeg, n_splits=N_SPLITS, seed=0)
    )
    rng = np.random.default_rng(1)
    columns = eeg.reshape(N_IMAGES, N_REPETITIONS, -1)

    def sampled():
        for _ in range(N_SAMPLED):
            column = columns[:, :, rng.integers(columns.shape[2])]
            half = column[:, rng.permutation(N_REPETITIONS)[: N_REPETITIONS // 2]]
            stats.pearsonr(prediction[:, 0, 0], half.mean(axis=1))

    # The prediction, the other half and the whole, each with each half.
    n_calls = 3 * N_SPLITS * columns.shape[2]
    loop = median_seconds(sampled) * n_calls / N_SAMPLED
    yield {
        "seconds": round(ours, 3),
        "scipy_loop_seconds": round(loop, 1),
        "times_faster": round(loop / ours),
    }


def encoding():
    """Yields the seconds of the whole part."""
    material = material_of(0)
    yield {"seconds": round(median_seconds(lambda: encoding_part.find(material)), 2)}


def report():
    """Yields the seconds of ten subjects' results, and of each step."""
    start = time.perf_counter()
    subjects: dict[int | str, dict[str, Findings]] = {}
    seconds = dict.fromkeys(("encoding", "rsa", "group", "files"), 0.0)

    def timed(name, step):
        begun = time.perf_counter()
        result = step()
        seconds[name] += time.perf_counter() - begun
        return result

    for subject in range(1, N_SUBJECTS + 1):
        material = material_of(subject)
        subjects[subject] = {
            "encoding": timed("encoding", lambda m=material: encoding_part.find(m)),
            "rsa": timed("rsa", lambda m=material: rsa_part.find(m)),
        }
    together = timed("group", lambda: group_parts(subjects))
    protocols: dict[int | str, dict[str, dict]] = {
        subject: {"scored": {"subject": subject}} for subject in subjects
    }
    found = Evaluation("ten subjects", subjects, protocols, together)
    with tempfile.TemporaryDirectory() as folder:
        timed("files", lambda: found.save(folder))
    total = {"seconds": time.perf_counter() - start}
    yield {name: round(took, 1) for name, took in (total | seconds).items()}


def rdms():
    """Yields the seconds of RDMs of CORnet-S's areas."""
    yield from rsa_steps.rdms()


def crossnobis():
    """Yields the seconds of cross-validated RDMs."""
    yield from rsa_steps.crossnobis()


def material_of(seed):
    """Returns what parts read of a full-size subject, without a network."""
    prediction, eeg = full_size_subject(seed)
    axes = Axes(tuple(CH_NAMES), np.arange(-20, 80) / 100, "z")
    rng = np.random.default_rng(seed)
    return types.SimpleNamespace(
        measured=types.SimpleNamespace(
            eeg=eeg, noise_free=None, names=tuple(map(str, range(N_IMAGES)))
        ),
        layers={
            layer: rng.standard_normal((N_IMAGES, 1000), np.float32)
            for layer in ("V1", "V2", "V4", "IT")
        },
        prediction=types.SimpleNamespace(
            data=prediction, grid=prediction, axes=axes, is_eeg=True
        ),
        whole=(eeg, axes),
        window_s=(0.1, 0.3),
        seed=0,
        log=lambda line: None,
    )


def full_size_subject(seed=0):
    """Returns a prediction f32[image, channel, time] and EEG with repetitions."""
    rng = np.random.default_rng(seed)
    shape = (N_IMAGES, N_REPETITIONS, N_CHANNELS, N_TIMES)
    eeg = rng.standard_normal(shape, np.float32)
    return rng.standard_normal((shape[0], *shape[2:]), np.float32), eeg


def median_seconds(step):
    """Returns how long a step takes, the median of the runs after a first."""
    step()
    seconds = []
    for _ in range(_RUNS.value):
        start = time.perf_counter()
        step()
        seconds.append(time.perf_counter() - start)
    return statistics.median(seconds)


if __name__ == "__main__":
    app.run(main)
