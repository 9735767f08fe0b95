"""AlexNet and real EEG of THINGS-EEG2's test pictures; numbers of docs/results.md."""

import numpy as np
import pytest

from helpers import alexnet
from img2eeg_jax.data.shards import builder
from img2eeg_jax.evaluation.correlation import correlate_over_images
from img2eeg_jax.linear.cache import FeatureCache

N_PERMUTATIONS = 1000


def smoother(x):
    """10-fold ridge as a matrix f64[image, image]: held-out predictions are H @ y.

    Features are standardised on the training folds; the penalty is their Gram matrix's
    mean diagonal, and is not tuned.
    """
    n = len(x)
    hat = np.zeros((n, n))
    for held_out in np.array_split(np.random.default_rng(0).permutation(n), 10):
        rows = np.setdiff1d(np.arange(n), held_out)
        mean, sd = x[rows].mean(0), x[rows].std(0)
        z = ((x - mean) / np.where(sd > 0, sd, 1)).astype(np.float64)
        gram = z @ z[rows].T
        penalty = np.trace(gram[rows]) / len(rows) * np.eye(len(rows))
        centring = np.eye(len(rows)) - 1 / len(rows)
        solved = np.linalg.solve(gram[rows] + penalty, centring)
        hat[np.ix_(held_out, rows)] = gram[held_out] @ solved + 1 / len(rows)
    return hat


@pytest.mark.slow
@pytest.mark.parametrize(
    ("layer", "window_s", "expected"),
    [("conv1", (0.05, 0.15), 0.120), ("conv1", (-0.2, -0.01), 0.025)],
)
def test_alexnet_predicts_early_eeg(request, tmp_path, layer, window_s, expected):
    option = request.config.getoption
    if not (option("--things-test-dir") and option("--alexnet-dir")):
        pytest.skip("needs --things-test-dir and --alexnet-dir")
    backbone = alexnet.backbone(option("--alexnet-dir"))
    shards = builder.open_or_build(
        option("--things-test-dir"), tmp_path, subjects=(1,), image_size=224
    )
    parts = ("training", "test")
    cache = FeatureCache(tmp_path / "features")
    x = np.concatenate(
        [
            cache.read(
                backbone, shards.images[p], shards.pixels_sha256[p], (layer,), "flat"
            )[layer]
            for p in parts
        ]
    )
    eeg = shards.eeg(1)
    y = np.concatenate([eeg.means(p, window_s=window_s)[0][:, 0] for p in parts])
    hat, rng = smoother(x), np.random.default_rng(1)

    def r(responses):
        return correlate_over_images(hat @ responses, responses).mean()

    chance = [r(y[rng.permutation(len(y))]) for _ in range(N_PERMUTATIONS)]
    p = (1 + np.sum(np.array(chance) >= r(y))) / (1 + N_PERMUTATIONS)
    assert r(y) == pytest.approx(expected, abs=0.01)
    assert p <= 0.01 if expected > 0.05 else p > 0.05
