"""EEG of known make, and scores of it by naive loops."""

import numpy as np
from scipy import stats

from img2eeg_jax.evaluation.halvings import half_split_means


def simulate(rng, n_images=12, n_repetitions=6, n_channels=2, n_times=3):
    """Returns prediction, noise-free response and EEG of moderate signal to noise."""
    signal = rng.standard_normal((n_images, n_channels, n_times))
    noise = rng.standard_normal((n_images, n_repetitions, n_channels, n_times))
    prediction = signal + rng.standard_normal(signal.shape)
    return prediction, signal, signal[:, None] + 1.5 * noise


def halvings(n_repetitions, n_splits, seed):
    """Reads off the public function which repetitions are in `half` and in `other`.

    Repetition k holds 2**k, so that a sum of repetitions spells its members in binary.
    """
    eeg = np.full(
        (3, n_repetitions, 1, 1), 2.0 ** np.arange(n_repetitions)[:, None, None]
    )
    ((_, half, other),) = half_split_means(eeg, n_splits, seed)
    sizes = n_repetitions // 2, n_repetitions - n_repetitions // 2
    spelled = [
        [
            [k for k in range(n_repetitions) if round(mean * size) >> k & 1]
            for mean in means[0, :, 0]
        ]
        for means, size in zip((half, other), sizes, strict=True)
    ]
    return list(zip(*spelled, strict=True))


def mean_pearson(pairs):
    """Mean over pairs of SciPy's r, column by column: f[image, channel, time] each."""
    by_pair = [
        [
            [stats.pearsonr(a[:, c, t], b[:, c, t])[0] for t in range(a.shape[2])]
            for c in range(a.shape[1])
        ]
        for a, b in pairs
    ]
    return np.mean(by_pair, axis=0)
