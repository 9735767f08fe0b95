"""Losses of validation against a loop over all pairs, whatever the batches."""

import dataclasses

import jax
import numpy as np
import pytest
from scipy import stats

from helpers.fake_training import SEED, Steps, rows_of, split, trainer
from helpers.tiny_network import EEG_SHAPE, Toy, draw_variables
from img2eeg_jax.data import batches
from img2eeg_jax.data.examples import Split
from img2eeg_jax.devices.parallel import BATCH_AXIS, DataParallel
from img2eeg_jax.models.cornet_s import normalise_pixels
from img2eeg_jax.training import sums
from img2eeg_jax.training.step import Recipe, make_loss_step

pytestmark = pytest.mark.usefixtures("quick_compilation")

N_CONCEPTS, N_IMAGES, SIZE = 4, 24, 8
RECIPE = Recipe(generation_weight=2.0)
MODEL = Toy(signal_size=15, axis_name=BATCH_AXIS)


@pytest.fixture(scope="module")
def by_concept():
    """Images and EEG that are much alike within a concept, sorted by it."""
    rng = np.random.default_rng(0)
    concept = np.repeat(np.arange(N_CONCEPTS), N_IMAGES // N_CONCEPTS)
    colours = rng.integers(0, 200, (N_CONCEPTS, 1, 1, 3))
    noise = rng.integers(0, 56, (N_IMAGES, SIZE, SIZE, 3))
    means = rng.standard_normal((N_CONCEPTS, *EEG_SHAPE))
    eeg = means[concept] + 0.2 * rng.standard_normal((N_IMAGES, *EEG_SHAPE))
    return Split(
        images=(colours[concept] + noise).astype(np.uint8),
        response=eeg.astype(np.float32),
        index=np.arange(N_IMAGES, dtype=np.int32),
    )


@pytest.fixture(scope="module")
def validate():
    """Returns (split, batch size, seed of the order) → losses, on two devices."""
    parallel = DataParallel(jax.devices()[:2])
    step = make_loss_step(MODEL, RECIPE, axis_name=BATCH_AXIS)
    step = parallel.loss_step(step)
    variables = draw_variables(MODEL.clone(axis_name=None), image_size=SIZE)

    def run(split, batch_size, seed=None):
        loaded = parallel.load(batches.batches(split, batch_size=batch_size, seed=seed))
        (losses,) = sums.validate(parallel, step, RECIPE, variables, {}, loaded)
        return losses

    return run


@pytest.mark.parametrize("batch_size", [4, 10])
def test_neither_order_nor_batches_matter(by_concept, validate, batch_size):
    """Within a batch of a concept, others' EEG is nearly one's own."""
    model = MODEL.clone(axis_name=None)
    variables = draw_variables(model, image_size=SIZE)
    _, signal = model.apply(variables, normalise_pixels(by_concept.images))
    signal, target = np.float64(signal), by_concept.response.reshape(N_IMAGES, -1)
    r = np.array([[stats.pearsonr(s, t).statistic for t in target] for s in signal])
    is_other = ~np.eye(N_IMAGES, dtype=bool)
    contrast = 1 - r.diagonal().mean() + r[is_other].mean()
    mse = np.mean((signal - target) ** 2)
    expected = {"mse": mse, "contrast": contrast, "total": 2 * (mse + contrast)}
    # What a mean over batches of a concept would be.
    is_near = np.kron(np.eye(N_CONCEPTS), np.ones((6, 6))) * is_other > 0
    assert abs(r[is_near].mean() - r[is_other].mean()) > 0.03
    order = np.random.default_rng(1).permutation(N_IMAGES)
    permuted = dataclasses.replace(
        by_concept,
        images=by_concept.images[order],
        response=by_concept.response[order],
    )
    for rows, seed in ((by_concept, None), (by_concept, 3), (permuted, None)):
        found = validate(rows, batch_size, seed)
        assert {k: found[k] for k in expected} == pytest.approx(expected, 1e-5)


def test_batches_hold_more_than_a_concept(tmp_path):
    """Of a teacher that uses their statistics the order matters still."""
    seen = []

    class Watching(Steps):
        def loss_step(self, variables, teacher_variables, batch):
            seen.extend(rows_of(batch).tolist())
            return super().loss_step(variables, teacher_variables, batch)

    one = trainer(tmp_path, Watching(), selection_split=split(40))
    one.train(lambda: False)
    expected = np.random.default_rng([SEED, 0]).permutation(40).tolist()
    assert seen == 2 * expected
