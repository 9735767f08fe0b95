"""Trained networks and real EEG: the numbers of docs/reference/results.md.

    pytest tests/linear/test_real_data.py -s \
        --things-test-dir=DIR --n170-dir=DIR --alexnet-dir=DIR

prints its tables; of EfficientNet, where pip packages bring it.
"""

import functools

import numpy as np
import pytest

from helpers import alexnet, efficientnet
from img2eeg_jax.data import layout
from img2eeg_jax.data.shards import builder
from img2eeg_jax.evaluation.correlation import correlate_over_images
from img2eeg_jax.linear import ridge
from img2eeg_jax.linear.cache import FeatureCache

pytestmark = pytest.mark.slow

N_PERMUTATIONS = 1000
LAYERS = tuple(f"conv{i}" for i in range(1, 6))
# Before onset nothing can be predicted.
WINDOWS_S = {"before": (-0.2, -0.01), "early": (0.05, 0.15), "late": (0.15, 0.35)}
EXPECTED = {
    "before": (0.025, 0.033, 0.046, 0.017, 0.006),
    "early": (0.120, 0.137, 0.033, 0.053, 0.055),
    "late": (-0.015, 0.018, 0.031, 0.042, 0.016),
}

EXPECTED_EFFICIENTNET = (0.075, 0.068, 0.065, 0.003, -0.073)


def option(request, name):
    found = request.config.getoption(name)
    if not found:
        pytest.skip(f"needs {name}")
    return found


@pytest.fixture(scope="module")
def backbone(request):
    return alexnet.backbone(option(request, "--alexnet-dir"))


def read(data_dir, backbone, folder, layers):
    """Returns the shards, and partition → layer → f32[image, feature]."""
    shards = builder.open_or_build(
        data_dir, folder, subjects=(1,), image_size=backbone.image_size
    )
    cache = FeatureCache(folder / "features")
    return shards, {
        part: cache.read(
            backbone, shards.images[part], shards.pixels_sha256[part], layers, "flat"
        )
        for part in layout.PARTITIONS
    }


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


@pytest.fixture(scope="module")
def things(request, backbone, tmp_path_factory):
    """Layer → (r, p) of each window, over the 200 pictures."""
    data_dir = option(request, "--things-test-dir")
    return table(data_dir, backbone, tmp_path_factory.mktemp("things"), LAYERS)


def table(data_dir, backbone, folder, layers):
    """Prints and returns layer → (r, p) of each window, over the 200 pictures."""
    shards, features = read(data_dir, backbone, folder, layers)
    responses = {
        window: np.concatenate(
            [
                shards.eeg(1).means(part, window_s=window_s)[0][:, 0]
                for part in layout.PARTITIONS
            ]
        )
        for window, window_s in WINDOWS_S.items()
    }
    found = {}
    for layer in layers:
        parts = [features[part][layer] for part in layout.PARTITIONS]
        hat = smoother(np.concatenate(parts))
        found[layer] = {name: scored(hat, y) for name, y in responses.items()}
        row = [f"{r:.3f} (p = {p:.3f})" for r, p in found[layer].values()]
        print(f"| {layer} | {' | '.join(row)} |")
    return found


def scored(hat, responses):
    """Returns r, and its p by permutations of the pictures, each through all folds."""
    rng = np.random.default_rng(1)

    def r(of):
        return correlate_over_images(hat @ of, of).mean()

    permuted = (rng.permutation(len(responses)) for _ in range(N_PERMUTATIONS))
    chance = np.array([r(responses[order]) for order in permuted])
    found = r(responses)
    return found, (1 + np.sum(chance >= found)) / (1 + N_PERMUTATIONS)


@pytest.mark.parametrize("window", WINDOWS_S)
def test_alexnet_and_things_eeg2(things, window):
    r = [things[layer][window][0] for layer in LAYERS]
    np.testing.assert_allclose(r, EXPECTED[window], atol=0.01)
    # Of 15 tests, those that survive a correction for their number.
    significant = [layer for layer in LAYERS if things[layer][window][1] <= 0.05 / 15]
    assert significant == (["conv1", "conv2"] if window == "early" else [])


# ImageNet's numbers of concepts that both sets have.
CLASSES = {
    "aircraft_carrier": 403,
    "banana": 954,
    "bassoon": 432,
    "cheetah": 293,
    "dalmatian": 251,
    "flamingo": 130,
    "goose": 99,
    "gorilla": 366,
    "jeep": 609,
    "ostrich": 9,
    "pug": 254,
    "strawberry": 949,
}


def test_efficientnet_and_things_eeg2(request, tmp_path):
    """A trained PyTorch network: what it sees is what is shown, and is in the EEG."""
    backbone = efficientnet.backbone()
    data_dir = option(request, "--things-test-dir")
    found = table(data_dir, backbone, tmp_path, efficientnet.LAYERS)
    shards, features = read(data_dir, backbone, tmp_path, ("_fc",))
    seen = {
        concept.split("_", 1)[1]: np.argmax(logits)
        for part in layout.PARTITIONS
        for concept, logits in zip(
            shards.concepts[part], features[part]["_fc"], strict=True
        )
    }
    right = [name for name, number in CLASSES.items() if seen[name] == number]
    assert len(right) >= 10, f"only {right}"
    early = [found[layer]["early"] for layer in efficientnet.LAYERS]
    np.testing.assert_allclose([r for r, _ in early], EXPECTED_EFFICIENTNET, atol=0.01)


def test_alexnet_and_category_means_of_faces_and_houses(
    request, backbone, tmp_path_factory
):
    """20 pictures of 19 things: there is no bound, but the table is of docs."""
    folder = tmp_path_factory.mktemp("n170")
    data_dir = option(request, "--n170-dir")
    shards, features = read(data_dir, backbone, folder, LAYERS)
    eeg, window_s = shards.eeg(1), (0.1, 0.3)
    y, new = (eeg.means(part, window_s=window_s)[0] for part in layout.PARTITIONS)
    is_face = {
        part: np.array(["face" in concept for concept in shards.concepts[part]])
        for part in layout.PARTITIONS
    }
    kinds = is_face["training"]
    assert 0 < kinds.sum() < len(kinds)
    means = {kind: y[kinds == kind].mean(0) for kind in (False, True)}
    predicted = {"category mean": np.stack([means[k] for k in is_face["test"]])}
    fit = functools.partial(
        ridge.fit, responses=y, groups=np.array(shards.concepts["training"])
    )
    for layer in LAYERS:
        found = fit({layer: features["training"][layer]})
        predicted[layer] = found.predict({layer: features["test"][layer]})
    found = fit(features["training"])
    predicted["all layers"] = found.predict(features["test"])
    names = eeg.axes.ch_names
    print(f"| | {' | '.join(names)} | mean |")
    for name, of in predicted.items():
        r = correlate_over_images(of, new).mean(-1)
        assert np.isfinite(r).all()
        print(f"| {name} | {' | '.join(f'{one:.2f}' for one in r)} | {r.mean():.2f} |")
        if name == "category mean":
            # As docs/reference/results.md has them.
            at = dict(zip(names, r, strict=True))
            assert at["TP10"] == pytest.approx(0.42, abs=0.01)
