"""How far linear encoders can be trusted: what fits without them predict of images."""

from collections.abc import Sequence

import numpy as np

from img2eeg_jax.checkpoints.load import Checkpoint
from img2eeg_jax.data.examples import shuffle_rows, split_by_concept
from img2eeg_jax.data.layout import Label
from img2eeg_jax.data.shards.store import Shards
from img2eeg_jax.linear.selection import HeldOut
from img2eeg_jax.prediction import familiarity
from img2eeg_jax.prediction.familiarity import Familiarity
from img2eeg_jax.prediction.trust import Trust, digest, file_of
from img2eeg_jax.prediction.trust_fit import read_trials, run_over

# Images that are needed to say anything.
_LEAST_IMAGES = 3
# The share of concepts that are no training concepts when familiarity is learned.
_HELD_OUT = 0.2


def write_trust(
    checkpoints: Sequence[Checkpoint],
    held_out: Sequence[HeldOut | None],
    subjects: Sequence[Label],
    shards: Shards,
    seed: int,
    shuffle_eeg_seed: int | None = None,
) -> None:
    """Writes `trust.npz` beside linear encoders of the same features.

    The penalties were chosen on these images, too. Without images that were held out
    with their concepts, or with fewer than three, nothing is written.

    Args:
      checkpoints: of each subject.
      held_out: of each, what is predicted of training images, z-scores.
      subjects: of each, who.
      shards: the data that they were fitted on.
      seed: of the images whose features are taken.
      shuffle_eeg_seed: see `data.examples.load_encoding_data`.
    """
    pairs = [
        (checkpoint, one, subject)
        for checkpoint, one, subject in zip(
            checkpoints, held_out, subjects, strict=True
        )
        if one is not None and len(one.index) >= _LEAST_IMAGES
    ]
    if not pairs:
        return
    known = _familiarity(pairs[0][0], shards, seed)
    for checkpoint, one, subject in pairs:
        rows = one.index
        if shuffle_eeg_seed is not None:
            every = np.arange(len(shards.images["training"]))
            rows = shuffle_rows(every, shuffle_eeg_seed)[rows]
        Trust.fit(
            axes=checkpoint.description.encoder_signal.axes,
            predicted=one.predicted,
            trials=read_trials(checkpoint.description, shards, subject, rows),
            network=digest(checkpoint.variables),
            familiarity=known,
        ).save(file_of(checkpoint.path))


def _familiarity(
    checkpoint: Checkpoint, shards: Shards, seed: int
) -> Familiarity | None:
    """Learns what is familiar to an encoder; None if it holds no CORnet-S."""
    if not checkpoint.description.model.get("width"):
        return None
    concepts, rng = shards.concepts["training"], np.random.default_rng(seed)
    n_held_out = max(1, round(_HELD_OUT * len({*concepts})))
    training, others = (
        np.sort(rng.permutation(rows)[: familiarity.N_IMAGES])
        for rows in split_by_concept(concepts, n_held_out, seed)
    )
    images = shards.images["training"]
    _, known = run_over(
        checkpoint, images.take(others), len(others), images.take(training)
    )
    return known
