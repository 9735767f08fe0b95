"""What figures are drawn of, and how what they drew is read."""

import numpy as np
from PIL import Image

from img2eeg_jax.axes import Axes
from img2eeg_jax.evaluation.encoding import encoding_scores
from img2eeg_jax.evaluation.permutations import permutation_test
from img2eeg_jax.evaluation.summary import Evidence, summarise
from img2eeg_jax.prediction.prediction import Prediction

POSTERIOR = {"P": "7531z2468", "PO": "73z48", "O": "1z2"}
SCALP = POSTERIOR | {
    "Fp": "1z2",
    "AF": "73z48",
    "F": "7531z2468",
    "FT": "78",
    "FC": "531z246",
    "T": "78",
    "C": "531z246",
    "TP": "78",
    "CP": "531z246",
}
P17 = [row + side for row, sides in POSTERIOR.items() for side in sides]
N63 = [row + side for row, sides in SCALP.items() for side in sides] + ["TP9", "TP10"]
MUSE = ["TP9", "AF7", "AF8", "TP10"]
TIMES_S = np.arange(-20, 40) / 100


def recording(ch_names, times_s, n_repetitions=4):
    """Returns prediction, EEG and noise-free response of 10 images."""
    rng = np.random.default_rng(5)
    signal = rng.standard_normal((10, len(ch_names), len(times_s)))
    noise = rng.standard_normal((10, n_repetitions, *signal.shape[1:]))
    return signal + rng.standard_normal(signal.shape), signal[:, None] + noise, signal


def summary(ch_names, times_s=TIMES_S, n_repetitions=4, *, best_known=True):
    prediction, eeg, signal = recording(ch_names, times_s, n_repetitions)
    options = {"n_splits": 3, "seed": 0}
    scores = encoding_scores(
        prediction, eeg, noise_free=signal if best_known else None, **options
    )
    test = permutation_test(prediction, eeg, n_permutations=5, **options)
    return summarise(Evidence(scores, test), Axes(ch_names, times_s))


def evoked(ch_names, times_s):
    """Returns prediction, measured EEG and images of plot_evoked."""
    prediction, eeg, _ = recording(ch_names, times_s)
    rng = np.random.default_rng(6)
    images = rng.integers(0, 256, (10, 8, 8, 3), dtype=np.uint8)
    names = [f"test_images/{i:05d}_cat/cat_{i}$s.jpg" for i in range(10)]
    predicted = Prediction(prediction, Axes(ch_names, times_s, "z"), names)
    return predicted, eeg.mean(axis=1), images


def lines(axes):
    """Returns {legend label: y values}."""
    return {line.get_label(): line.get_ydata() for line in axes.get_lines()}


def check_png(path):
    """A picture of useful size with ink on it, alone in its folder."""
    assert [p.name for p in path.parent.iterdir()] == [path.name]
    with Image.open(path) as picture:
        assert picture.format == "PNG"
        assert min(picture.size) > 300
        assert len(np.unique(np.asarray(picture.convert("L")))) > 20
