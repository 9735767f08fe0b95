"""The epochs of a run: step, validate, save, stop, go on."""

import contextlib
import dataclasses
import pathlib
import signal
from collections.abc import Callable, Iterator
from typing import Any

import jax
import numpy as np

from img2eeg_jax.data import pipeline
from img2eeg_jax.data.dataset import Split
from img2eeg_jax.errors import InputError, StoppedBySignal
from img2eeg_jax.training import logging as run_logging
from img2eeg_jax.training.checkpoint import CheckpointStore
from img2eeg_jax.training.parallel import DataParallel
from img2eeg_jax.training.state import TrainState
from img2eeg_jax.training.step import LOSSES


@dataclasses.dataclass
class Progress:
    """Where a run stands: all that resuming needs beyond the state.

    Attributes:
      epoch: the epoch under way, from 0.
      step_in_epoch: batches of it that are done.
      sums: loss name → [sum, count] over those batches.
      history: one row of metrics.csv for each finished epoch.
    """

    epoch: int = 0
    step_in_epoch: int = 0
    sums: dict[str, list[float]] = dataclasses.field(default_factory=dict)
    history: list[dict[str, float]] = dataclasses.field(default_factory=list)


@dataclasses.dataclass
class Trainer:
    """Trains one network.

    Attributes:
      parallel: the devices.
      train_step: what `make_train_step` returns.
      loss_step: what `make_loss_step` returns.
      state: state before the first step.
      teacher_variables: of the teacher; {} if there is none.
      train_split: training images and EEG.
      selection_split: what selects the best epoch, or None.
      selection_name: prefix of its columns in metrics.csv.
      batch_size: images a step, over all devices.
      seed: of the data order.
      first_selectable_epoch: epochs before it cannot be the best.
      description: see `training.checkpoint`.
    """

    parallel: DataParallel
    train_step: Callable
    loss_step: Callable
    state: TrainState
    teacher_variables: Any
    train_split: Split
    selection_split: Split | None
    selection_name: str
    batch_size: int
    seed: int
    first_selectable_epoch: int
    description: dict[str, Any]

    def __post_init__(self):
        self.step = 0
        self.progress = Progress()
        self.train_step = self.parallel.train_step(self.train_step)
        self.loss_step = self.parallel.loss_step(self.loss_step)
        self.teacher_variables = self.parallel.replicate(self.teacher_variables)

    def train(self, workdir: pathlib.Path, num_epochs: int) -> None:
        """Trains until `num_epochs` are done, from the last checkpoint if there is one.

        Args:
          workdir: folder of the run.
          num_epochs: of the whole run.

        Raises:
          InputError: a loss became non-finite, or the data are not those that the run
            started with.
          StoppedBySignal: SIGINT or SIGTERM came; the state is saved.
        """
        with CheckpointStore(workdir) as store, _stop_requests() as stop_requested:
            self._resume(store, workdir)
            run_logging.write_config(workdir, self.description["config"])
            n_done = self.progress.epoch
            if n_done >= num_epochs:
                print(f"nothing to do: {n_done} epochs of {num_epochs} are done")
                return
            if self.step:
                print(f"going on from step {self.step}, epoch {n_done + 1}", flush=True)
            self.state = self.parallel.replicate(self.state)
            with run_logging.TensorBoard(workdir) as board:
                self._train_epochs(num_epochs, store, workdir, board, stop_requested)

    def _resume(self, store, workdir):
        """Takes over the last checkpoint, if there is one and it fits the data."""
        restored = store.restore(self.state)
        if restored is None:
            return
        self.state, description, progress = restored
        for key in ("zscore", "signal"):
            if description[key] != self.description[key]:
                raise InputError(
                    f"{workdir}: expected the data that the run started with, found "
                    f"data with another {key}"
                )
        self.progress = Progress(**progress)
        self.step = int(self.state.step)
        run_logging.write_metrics(workdir, self.progress.history)

    def _train_epochs(self, num_epochs, store, workdir, board, stop_requested):
        while self.progress.epoch < num_epochs:
            self._train_epoch(num_epochs, stop_requested)
            if self._epoch_is_done():
                self._finish_epoch(store, workdir, board)
            if stop_requested() and self.progress.epoch < num_epochs:
                self._save(store)
                raise StoppedBySignal(f"stopped at step {self.step}")

    def _epoch_is_done(self):
        return self.progress.step_in_epoch == pipeline.num_batches(
            self.train_split, self.batch_size
        )

    def _train_epoch(self, num_epochs, stop_requested):
        """Takes the steps that are left of an epoch, or some if a signal comes."""
        progress = self.progress
        batches = pipeline.batches(
            self.train_split,
            batch_size=self.batch_size,
            seed=self.seed,
            epoch=progress.epoch,
            first_step=progress.step_in_epoch,
        )
        n_images = len(self.train_split.images)
        done = min(progress.step_in_epoch * self.batch_size, n_images)
        pending = None
        with run_logging.progress_bar(
            progress.epoch, num_epochs, n_images, done
        ) as bar:
            for batch in batches:
                self.state, metrics = self.train_step(
                    self.state, self.teacher_variables, self.parallel.split(batch)
                )
                # The losses of the step before: waiting for this one would stall.
                self._record(pending, bar)
                self.step += 1
                progress.step_in_epoch += 1
                pending = self.step, metrics, int(batch["mask"].sum())
                if stop_requested():
                    break
            self._record(pending, bar)

    def _record(self, pending, bar):
        if pending is None:
            return
        step, metrics, n_images = pending
        _add_sums(self.progress.sums, metrics)
        bar.update(n_images)
        total = float(metrics["total"][0]) / n_images
        bar.set_postfix(loss=f"{total:.4g}", refresh=False)
        _check_finite(step, "loss", total)

    def _finish_epoch(self, store, workdir, board):
        progress = self.progress
        row = {"epoch": progress.epoch, "step": self.step}
        row |= _means(progress.sums, "train")
        selection_loss = None
        if self.selection_split is not None:
            means = _means(self._selection_sums(), self.selection_name)
            row |= means
            name = f"{self.selection_name}_total"
            _check_finite(self.step, f"{self.selection_name} loss", means[name])
            if progress.epoch >= self.first_selectable_epoch:
                selection_loss = means[name]
        self.progress = Progress(
            epoch=progress.epoch + 1, history=[*progress.history, row]
        )
        self._save(store, selection_loss)
        run_logging.write_metrics(workdir, self.progress.history)
        board.write(row["step"], row)

    def _selection_sums(self):
        sums = {}
        variables = self.state.variables
        for batch in pipeline.batches(self.selection_split, batch_size=self.batch_size):
            batch = self.parallel.split(batch)
            _add_sums(sums, self.loss_step(variables, self.teacher_variables, batch))
        return sums

    def _save(self, store, selection_loss=None):
        # The last update may have spoilt what the last loss did not show.
        for leaf in jax.tree.leaves(self.state.variables):
            _check_finite(self.step, "network", leaf)
        progress = dataclasses.asdict(self.progress)
        store.save(self.state, self.description, progress, selection_loss)


def _check_finite(step: int, what: str, value) -> None:
    value = np.asarray(value)
    if not np.isfinite(value).all():
        found = value[~np.isfinite(value)].flat[0]
        raise InputError(
            f"step {step}: expected a finite {what}, found {found}; the checkpoints "
            "before it are kept"
        )


def _add_sums(sums: dict[str, list[float]], metrics) -> None:
    metrics = jax.device_get(metrics)
    for name in LOSSES:
        total, count = sums.get(name, (0.0, 0.0))
        sums[name] = [total + float(metrics[name][0]), count + float(metrics[name][1])]


def _means(sums: dict[str, list[float]], prefix: str) -> dict[str, float]:
    return {f"{prefix}_{name}": total / n for name, (total, n) in sums.items()}


@contextlib.contextmanager
def _stop_requests() -> Iterator[Callable[[], bool]]:
    """Turns the first SIGINT or SIGTERM into a request; a second one acts at once."""
    received = []
    previous = {}

    def request(number, _):
        received.append(number)
        signal.signal(number, previous[number])

    for number in (signal.SIGINT, signal.SIGTERM):
        previous[number] = signal.signal(number, request)
    try:
        yield lambda: bool(received)
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
