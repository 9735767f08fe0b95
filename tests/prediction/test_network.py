"""Batches of a network at work, and what it prepares for them."""

import numpy as np

from img2eeg_jax.prediction.network import FEW, Network


def step(variables, batch):
    """Returns each image's first value, times a factor that may be prepared."""
    first = batch["image"][:, 0, 0, 0].astype("float32")
    return first * variables.get("doubled", variables["factor"])


def test_variables_are_prepared_once_and_for_many_images_only():
    asked = []

    def prepare(variables, batch_size):
        asked.append(batch_size)
        return {"doubled": 2 * variables["factor"]}

    images = np.full((20, 4, 4, 3), 3, np.uint8)
    run = Network({"factor": np.float32(5)}, "float32", prepare=prepare).compiled(step)
    (alone,) = run(images[:1])
    assert alone.tolist() == [15]
    assert asked == []
    for n in (20, FEW, 20):
        np.testing.assert_array_equal(np.concatenate([*run(images[:n])]), [30] * n)
    # On CPU; elsewhere nothing is prepared.
    assert asked == [16]
