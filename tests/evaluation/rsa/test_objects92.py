"""AlexNet against EEG, monkey and human IT dissimilarities of 92 real pictures.

    pytest tests/evaluation/rsa/test_objects92.py -s \
        --objects92-dir=DIR --alexnet-dir=DIR

prints the table of docs/reference/results.md. The expected numbers were computed
elsewhere, with SciPy; the pictures are of Kriegeskorte et al. 2008 (Neuron 60:1126),
as are the dissimilarities of IT; the EEG is of Kaneshiro et al. 2015 (PLoS ONE
10:e0135697).
"""

import csv

import numpy as np
import pytest
from PIL import Image

from helpers import alexnet
from img2eeg_jax.evaluation import rsa
from img2eeg_jax.evaluation.parts.rsa_files import compare_layers
from img2eeg_jax.evaluation.rsa.rdm_files import RDMs, read_rdms
from img2eeg_jax.evaluation.rsa_scores import Sampling

SIZE = 224
# Of conv1 to conv5.
EXPECTED = {
    "EEG": (0.28, 0.34, 0.34, 0.39, 0.35),
    "monkey IT": (0.23, 0.33, 0.33, 0.39, 0.34),
    "human IT": (0.17, 0.21, 0.22, 0.29, 0.23),
}


def pixels(path):
    image = Image.open(path).convert("RGB")
    return np.asarray(image.resize((SIZE, SIZE), Image.Resampling.BICUBIC))


@pytest.fixture(scope="module")
def measured(objects92_dir):
    """Name → RDMs, and the rows of `object_NN.png` that they are of."""
    with open(objects92_dir / "eeg72_to_92.csv", newline="") as file:
        seen = np.array([int(row["cichy_index"]) - 1 for row in csv.DictReader(file)])
    eeg = read_rdms(objects92_dir / "eeg_72.mat")
    monkey = read_rdms(objects92_dir / "monkey_it_92.npy")
    human = read_rdms(objects92_dir / "human_it_92.npy")
    return {
        "EEG": (eeg, seen),
        "monkey IT": (monkey, np.arange(92)),
        "human IT": (human, np.arange(92)),
    }


@pytest.fixture(scope="module")
def found(objects92_dir, alexnet_dir, measured):
    paths = [objects92_dir / "images" / f"object_{i:02d}.png" for i in range(1, 93)]
    images = np.stack([pixels(path) for path in paths])
    weights = alexnet.load(alexnet_dir / "alexnet_flax.npz")
    features = alexnet.layers(weights, images)
    named = [(RDMs(name, rdms.values), rows) for name, (rdms, rows) in measured.items()]
    return compare_layers(features, named, Sampling(1000, 1000))


def print_table(table):
    """Prints the rows of docs/reference/results.md."""
    names = ("spearman", "spearman_ci_low", "spearman_ci_high", "p", "tau_a")
    columns = (table["rdm"], table["layer"], *(table[f"rsa_{n}"] for n in names))
    for rdm, layer, r, low, high, p, tau in zip(*columns, strict=True):
        interval = f"{low:.2f} to {high:.2f}"
        print(f"| {rdm} | {layer} | {r:.3f} | {interval} | {p:.3f} | {tau:.3f} |")


def test_alexnet(found):
    table = found.tables["rsa_files"]
    print_table(table)
    for name, expected in EXPECTED.items():
        is_it = table["rdm"] == name
        assert [*table["layer"][is_it]] == [f"conv{i}" for i in range(1, 6)]
        r = table["rsa_spearman"][is_it]
        np.testing.assert_allclose(r, expected, atol=0.01)
        assert (table["rsa_spearman_ci_low"][is_it] < r).all()
        assert (r < table["rsa_spearman_ci_high"][is_it]).all()
        # The smallest that 1,000 permutations can give.
        np.testing.assert_allclose(table["rsa_p"][is_it], 1 / 1001)


@pytest.mark.parametrize(
    ("name", "expected"), [("monkey IT", 0.37), ("human IT", 0.27)]
)
def test_measured_with_each_other(measured, name, expected):
    eeg, seen = measured["EEG"]
    other = rsa.square(measured[name][0].values[0])[np.ix_(seen, seen)]
    np.testing.assert_allclose(rsa.compare(eeg.values[0], other), expected, atol=0.01)


def test_chance(measured, found):
    """97.5 % of permutations of the labels are below 0.065, of the EEG and conv1."""
    model = found.arrays["layer_rdms/EEG/conv1"]
    permuted = rsa.permute_images(
        model, measured["EEG"][0].values, n_permutations=2000, seed=0
    )
    limit = np.quantile(permuted.values[1:, 0, 0], 0.975)
    np.testing.assert_allclose(limit, 0.065, atol=0.01)
