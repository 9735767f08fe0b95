"""Training without networks: steps in NumPy that a test can follow by hand.

The "network" is one number w that each step turns into w / 2 + (sum of the rows that it
saw), so that what it becomes tells which rows came, and in which order.
"""

import dataclasses

import jax
import numpy as np

from img2eeg_jax import objectives
from img2eeg_jax.axes import Axes
from img2eeg_jax.checkpoints.description import Description
from img2eeg_jax.data.examples import Split
from img2eeg_jax.data.pairing import Pairing
from img2eeg_jax.data.zscore import ZScore
from img2eeg_jax.devices.parallel import DataParallel
from img2eeg_jax.signal_layout import SignalLayout
from img2eeg_jax.training.loop import Trainer
from img2eeg_jax.training.requests import Limits
from img2eeg_jax.training.selection import Selection
from img2eeg_jax.training.state import TrainState
from img2eeg_jax.training.step import LOSSES, Recipe
from img2eeg_jax.training.workdir import Workdir

N_TRAINING, BATCH_SIZE, SEED = 7, 2, 5
STEPS_PER_EPOCH = 4


def split(n):
    """Returns a split whose rows say nothing but their numbers."""
    return Split(
        images=np.zeros((n, 1, 1, 3), np.uint8),
        response=np.zeros((n, 1, 1), np.float32),
        index=np.arange(n, dtype=np.int32),
    )


def describe(**changes):
    """Returns the description of a network of one channel and one time."""
    signal = SignalLayout.for_eeg(
        "channels_x_times", Axes(("Oz",), [0.1], "V"), np.array([0.1])
    )
    one = np.ones((1, 1), np.float32)
    description = Description(
        kind="realnet",
        model={"signal_shape": (1, 1)},
        image_size=1,
        signal=signal,
        zscore=ZScore(0 * one, one),
        config={"seed": SEED},
        pairings={"training": (Pairing.of(["image"], {1: ["EEG"]}),)},
    )
    return dataclasses.replace(description, **changes)


def start():
    """Returns the state before the first step."""
    return TrainState(
        step=np.zeros((), np.int32),
        params={"w": np.zeros((1,), np.float32)},
        batch_stats={"n": np.zeros((1,), np.float32)},
        opt_state={"unused": np.zeros((1,), np.float32)},
    )


def rows_of(batch):
    """Returns the rows of a batch that are no padding."""
    index, mask = (np.asarray(batch[name]).ravel() for name in ("index", "mask"))
    return index[mask > 0]


def losses_of(step, rows):
    """Returns each loss's (sum, count) in float32, as a step returns them.

    Args:
      step: steps taken before.
      rows: that the step saw.
    """
    count = np.float32(len(rows))
    values = np.float32(rows + 1) / np.float32(3 + step)
    return {
        name: (np.float32(k) * values.sum(dtype=np.float32), count)
        for k, name in enumerate(LOSSES, 1)
    }


class Steps:
    """Fake steps.

    Attributes:
      seen: rows of each training step so far.
      validation: the loss of each epoch's validation, by steps taken.
      poisoned: steps, from 1, whose loss is NaN.
      skipped: steps, from 1, that are skipped.
    """

    def __init__(self, validation=None, poisoned=(), skipped=()):
        self.seen = []
        self.validation = validation or {}
        self.poisoned = poisoned
        self.skipped = skipped

    def train_step(self, state, teacher_variables, batch):
        rows, done = rows_of(batch), int(np.max(state.step))
        self.seen.append(rows.tolist())
        metrics = losses_of(done, rows)
        metrics["skipped"] = np.float32(0), np.float32(1)
        if done + 1 in self.poisoned:
            metrics["total"] = np.float32(np.nan), metrics["total"][1]
        if done + 1 in self.skipped:
            metrics = {name: (np.float32(0), np.float32(0)) for name in metrics}
            metrics["skipped"] = np.float32(1), np.float32(1)
        w = np.asarray(state.params["w"]) / 2 + np.float32(rows.sum())
        n = np.asarray(state.batch_stats["n"]) + 1
        after = state.replace(
            step=np.asarray(state.step) + np.int32(1),
            params={"w": w},
            batch_stats={"n": n},
        )
        return after, metrics

    def loss_step(self, variables, teacher_variables, batch):
        rows = rows_of(batch)
        done = int(np.max(variables["batch_stats"]["n"]))
        loss = np.float32(self.validation.get(done, 1.0) * len(rows))
        count = np.float32(len(rows))
        # A signal that is the EEG, upside down; and padding, for there may be no rows.
        x, mask = (
            np.float32([*rows, 0])[:, np.newaxis],
            np.float32([1] * len(rows) + [0]),
        )
        moments = objectives.moments(x, -x, mask)
        return {
            "task": (loss, count),
            "mse": (np.float32(0), count),
            "pairs": (np.zeros(1), np.zeros((1, 1)), np.zeros((1, 1))),
            "moments": moments,
        }


def trainer(folder, steps, **changes):
    """Returns a trainer of one network over fake steps."""
    entries = {
        "parallel": DataParallel(jax.devices()[:1]),
        "train_step": steps.train_step,
        "loss_step": steps.loss_step,
        "recipe": Recipe(generation_weight=0.0),
        "state": start(),
        "teacher_variables": {},
        "train_split": split(N_TRAINING),
        "selection_split": split(3),
        "selection": Selection("validation"),
        "ceiling": [0.5],
        "batch_size": BATCH_SIZE,
        "even_batches": False,
        "seed": SEED,
        "workdirs": [Workdir(folder, describe())],
        "limits": Limits(2),
        "flops_per_image": 1.0,
        "shows_bar": False,
    }
    return Trainer(**(entries | changes))


def in_step(alone, parallel):
    """Makes one step of several networks out of the steps of each."""

    def steps(trees, teacher_variables, batch):
        trees = parallel.take_apart(trees)
        parts = [
            step(tree, teacher_variables, batch)
            for step, tree in zip(alone, trees, strict=True)
        ]
        return jax.tree.map(lambda *leaves: np.stack(leaves), *parts)

    return steps


def trainer_of_two(folder, first, second, **changes):
    """Returns a trainer of two networks in step, both in the same state.

    Args:
      folder: which theirs are in.
      first: `Steps` of the first network.
      second: of the second.
      **changes: of the trainer.
    """
    both = first, second
    parallel = DataParallel(jax.devices()[:1], n_subjects=2)
    entries = {
        "parallel": parallel,
        "train_step": in_step([of.train_step for of in both], parallel),
        "loss_step": in_step([of.loss_step for of in both], parallel),
        "state": parallel.put_together([start(), start()]),
        "ceiling": [0.5, 0.25],
        "workdirs": [
            Workdir(folder / name, describe(), name) for name in ("sub-01", "sub-02")
        ],
    }
    return trainer(folder, first, **(entries | changes))
