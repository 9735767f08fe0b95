"""The folder of a network's run: what is saved of it, and where it stands."""

import contextlib
import dataclasses
import pathlib
from typing import Any

import jax
import numpy as np

from img2eeg_jax.checkpoints import run_folder
from img2eeg_jax.checkpoints.description import Description
from img2eeg_jax.checkpoints.store import CheckpointStore
from img2eeg_jax.errors import InputError, unexpected
from img2eeg_jax.training.progress import TensorBoard
from img2eeg_jax.training.state import TrainState


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


class Workdir(contextlib.AbstractContextManager):
    """A network's folder: checkpoints, metrics.csv, config.json and TensorBoard.

    It is a context manager: what reads or writes checkpoints works within it only, and
    leaving it waits for the save under way.

    Attributes:
      folder: the folder.
      label: what tells the run from others in what is printed, or "".
      description: of its network.
      progress: where the run stands.
    """

    # Set when it is entered, and by `start`.
    _store: CheckpointStore
    _board: TensorBoard

    def __init__(self, folder: pathlib.Path, description: Description, label: str = ""):
        """Does nothing to the folder yet."""
        self.folder = folder
        self.label = label
        self.description = description
        self.progress = Progress()
        self._resources = contextlib.ExitStack()

    def __enter__(self) -> "Workdir":
        self.folder.mkdir(parents=True, exist_ok=True)
        self._store = self._resources.enter_context(CheckpointStore(self.folder))
        return self

    def __exit__(self, *error: Any) -> bool | None:
        return self._resources.__exit__(*error)

    def write_config(self) -> None:
        """Writes config.json, which tells also where the data are now."""
        run_folder.write_config(self.folder, self.description.config)

    def start(self) -> None:
        """Writes what is known before the first step."""
        run_folder.write_metrics(self.folder, self.progress.history)
        self._board = self._resources.enter_context(TensorBoard(self.folder))

    def restore(self, like: TrainState, step: int | None = None) -> TrainState | None:
        """Takes over a checkpoint, by default the last, if there is one.

        Raises:
          InputError: it is damaged, of other shapes, or of other data.
        """
        restored = self._store.restore(like, step)
        if restored is None:
            return None
        state, description, progress = restored
        if description.pairings is None:
            print(
                "the checkpoint does not record which image goes with which EEG: that "
                "the data are those of the start cannot be checked",
                flush=True,
            )
        if other := description.data_difference(self.description):
            data = "the data that the run started with"
            raise unexpected(self.folder, data, other)
        self._store.discard_after(int(state.step))
        self.progress = Progress(**progress)
        return state

    def go_back(self, like: TrainState, step: int) -> TrainState:
        """Takes over an earlier checkpoint, or the start, `like`, if `step` is 0.

        Raises:
          InputError: it is no longer there, or cannot be used.
        """
        if not step:
            self._store.discard_after(0)
            self.progress = Progress()
            return like
        restored = self.restore(like, step) if step in self._store.steps() else None
        if restored is None:
            expected = f"a checkpoint of step {step}, the last that all runs have"
            raise unexpected(self.folder, expected, self._store.steps())
        return restored

    def step_before(self, step: int) -> int:
        """Returns the step of the checkpoint before one; 0 if that is the first."""
        return max((kept for kept in self._store.steps() if kept < step), default=0)

    def wait(self) -> None:
        """Blocks until the save under way is on disk.

        Raises:
          InputError: it could not be written.
        """
        self._store.wait()

    def finish_epoch(self, row: dict[str, float]) -> None:
        """Adds an epoch's row to the progress."""
        history = [*self.progress.history, row]
        self.progress = Progress(epoch=self.progress.epoch + 1, history=history)

    def save(self, state: TrainState, selection_loss: float | None = None) -> None:
        """Starts saving a state, and tells of epochs that are new.

        Raises:
          InputError: it holds something that is not finite, or the disk is full.
        """
        state = jax.device_get(state)
        for what, tree in (
            ("network", state.variables),
            ("state of the optimizer", state.opt_state),
        ):
            for leaf in jax.tree.leaves(tree):
                check_finite(int(state.step), what, leaf)
        progress = dataclasses.asdict(self.progress)
        self._store.save(state, self.description, progress, selection_loss)
        run_folder.write_metrics(self.folder, self.progress.history)
        if self.progress.history and not self.progress.step_in_epoch:
            row = self.progress.history[-1]
            self._board.write(int(row["step"]), row)


def check_finite(step: int, what: str, value: Any) -> None:
    """Refuses values that are not finite.

    Raises:
      InputError: naming the step and the first such value.
    """
    value = np.asarray(value)
    if not np.isfinite(value).all():
        first = value[~np.isfinite(value)].flat[0]
        raise not_finite(step, f"a finite {what}", first)


def not_finite(step: int, expected: str, found: Any) -> InputError:
    """Returns what to raise where a step makes something that is not finite."""
    found = f"{found}; the checkpoints before it are kept"
    return unexpected(f"step {step}", expected, found)
