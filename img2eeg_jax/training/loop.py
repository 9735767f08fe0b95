"""The epochs of a run: step, validate, save, stop, go on."""

import contextlib
import dataclasses
import gc
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from img2eeg_jax.data import batches as pipeline
from img2eeg_jax.data.examples import Split
from img2eeg_jax.devices.parallel import DataParallel
from img2eeg_jax.errors import StoppedBySignal
from img2eeg_jax.training import progress as run_progress
from img2eeg_jax.training import sums
from img2eeg_jax.training.requests import Limits, Requests
from img2eeg_jax.training.selection import Selection
from img2eeg_jax.training.state import TrainState
from img2eeg_jax.training.step import Metrics, Recipe
from img2eeg_jax.training.subjects import resume_in_step
from img2eeg_jax.training.workdir import Progress, Workdir


@dataclasses.dataclass
class Trainer:
    """Trains one network, or several in step with each other.

    Attributes:
      parallel: the devices, and how many networks there are.
      train_step: what `DataParallel.train_step` returns.
      loss_step: what `DataParallel.loss_step` returns.
      recipe: how the loss is put together.
      state: state before the first step, on the host; then where the training is.
      teacher_variables: of the teacher, on the devices; {} if there is none.
      train_split: training images and responses.
      selection_split: what selects the best epoch, or None.
      selection: how it does.
      ceiling: the largest r that a prediction of it can have, of each network, or None.
      batch_size: images a step at most, over all devices and processes.
      even_batches: whether an epoch's batches have equally many images, but for one.
      seed: of the data order.
      workdirs: each network's folder.
      limits: of this session.
      flops_per_image: of a training step of one network.
      shows_bar: whether each epoch has a bar on a terminal.
      step: steps taken since the start of the run.
    """

    parallel: DataParallel
    train_step: Callable[[TrainState, Any, Any], tuple[TrainState, Metrics]]
    loss_step: Callable[[Any, Any, Any], dict[str, Any]]
    recipe: Recipe
    state: TrainState
    teacher_variables: Any
    train_split: Split
    selection_split: Split | None
    selection: Selection
    ceiling: Sequence[float] | None
    batch_size: int
    even_batches: bool
    seed: int
    workdirs: Sequence[Workdir]
    limits: Limits
    flops_per_image: float
    shows_bar: bool = True
    step: int = 0

    def train(self, stop_requested: Callable[[], bool]) -> None:
        """Trains to the end, from the last checkpoint if there is one.

        Args:
          stop_requested: asked between steps; True saves and stops.

        Raises:
          InputError: a loss became non-finite, or the data are not those that the run
            started with.
          StoppedBySignal: a stop was asked for or time is up; the state is saved.
        """
        requests = Requests(self.parallel, self.limits, stop_requested)
        try:
            with contextlib.ExitStack() as folders:
                for workdir in self._written:
                    folders.enter_context(workdir)
                self._train(requests)
        except StoppedBySignal:
            self.parallel.wait_for_all("stopped")
            raise
        self.parallel.wait_for_all("done")

    @property
    def _written(self) -> Sequence[Workdir]:
        """The folders that this process writes: all of them, or none."""
        return self.workdirs if self.parallel.process_index == 0 else ()

    def _active(self) -> dict[int, Workdir]:
        """Returns the networks that early stopping has not ended, or all if it has."""
        networks = dict(enumerate(self.workdirs))
        is_over = self.selection.is_over
        active = {i: w for i, w in networks.items() if not is_over(w.progress.history)}
        return active or networks

    def _progress(self) -> Progress:
        """Returns where the active networks' runs stand: they stand together."""
        return next(iter(self._active().values())).progress

    def _is_over(self) -> bool:
        histories = [workdir.progress.history for workdir in self.workdirs]
        is_early = all(map(self.selection.is_over, histories))
        return is_early or self._progress().epoch >= self.limits.num_epochs

    def _train(self, requests: Requests) -> None:
        num_epochs = self.limits.num_epochs
        self.state = resume_in_step(
            self.parallel, self.workdirs, self.state, self.selection, num_epochs
        )
        self.step = int(np.max(self.state.step))
        for workdir in self._written:
            workdir.write_config()
        if self._is_over():
            self._print(run_progress.over_line(self._progress().epoch, num_epochs))
            return
        for workdir in self._written:
            workdir.start()
        if self.step:
            epoch = self._progress().epoch + 1
            self._print(f"going on from step {self.step}, epoch {epoch}")
        n_images = len(self.train_split.index)
        self._print(run_progress.batch_line(self.batch_size, n_images))
        self.state = self.parallel.replicate(self.state)
        meter = run_progress.Meter(
            self.flops_per_image * len(self.workdirs), self.limits.peak_tflops
        )
        trace = run_progress.Trace(
            self.workdirs[0].folder / "profile",
            self.limits.profile_steps if self._written else 0,
            say=self._print,
        )
        try:
            # Objects that are in memory now, and those that compiling leaves there,
            # stay to the end of the run: the garbage collector need not see them.
            gc.freeze()
            self._train_epoch(requests, meter, trace)
            gc.freeze()
            while not self._is_over():
                self._train_epoch(requests, meter, trace)
        finally:
            gc.unfreeze()
            trace.stop()
            self._print(meter.summary())
        for i, workdir in enumerate(self.workdirs):
            best = run_progress.best_line(self.selection, workdir.progress.history)
            self._print(best, network=i)

    def _train_epoch(
        self, requests: Requests, meter: run_progress.Meter, trace: run_progress.Trace
    ) -> None:
        """Takes the steps that are left of an epoch, and saves."""
        active = self._active()
        must_stop = self._take_steps(active, requests, meter, trace)
        n_steps = pipeline.num_batches(self.train_split, self.batch_size)
        if self._progress().step_in_epoch == n_steps:
            self._finish_epoch(active)
            requests.note_save()
        if must_stop and not self._is_over():
            self._save(self._active())
            # StoppedBySignal promises that the state is on disk.
            for workdir in self._written:
                workdir.wait()
            raise StoppedBySignal(f"stopped at step {self.step}")

    def _take_steps(
        self,
        active: dict[int, Workdir],
        requests: Requests,
        meter: run_progress.Meter,
        trace: run_progress.Trace,
    ) -> bool:
        """Takes steps to the end of the epoch or a stop; returns whether to stop."""
        losses = sums.StepLosses(self.parallel, active)
        progress, must_stop = self._progress(), False
        n_images = len(self.train_split.index)
        sizes = pipeline.batch_sizes(n_images, self.batch_size, self.even_batches)
        done = int(sizes[: progress.step_in_epoch].sum())
        batches = self._batches(
            self.train_split,
            epoch=progress.epoch,
            first_step=progress.step_in_epoch,
        )
        with run_progress.EpochProgress(
            f"epoch {progress.epoch + 1}/{self.limits.num_epochs}",
            n_images,
            done,
            self._print,
            label=self._label(),
            has_bar=bool(self._written) and self.shows_bar,
        ) as shown:
            for batch, n_new in zip(
                batches, sizes[progress.step_in_epoch :].tolist(), strict=True
            ):
                trace.before_step(self.state)
                self.state, metrics = self.train_step(
                    self.state, self.teacher_variables, batch
                )
                self.step += 1
                shown.show_loss(losses.add(self.step, metrics))
                for workdir in active.values():
                    workdir.progress.step_in_epoch += 1
                done += n_new
                shown.update(n_new)
                meter.update(n_new)
                must_stop, must_save = requests.ask(
                    progress.step_in_epoch, is_end=done == n_images
                )
                if must_save:
                    shown.show_loss(losses.fetch())
                    requests.note_save()
                    self._save(active)
                if must_stop:
                    break
            shown.show_loss(losses.fetch())
        return must_stop

    def _batches(self, split: Split, **order: int) -> Iterator[dict[str, Any]]:
        order |= {"batch_size": self.batch_size, "even": self.even_batches}
        return _load(self.parallel, split, seed=self.seed, **order)

    def _finish_epoch(self, active: dict[int, Workdir]) -> None:
        validation: Sequence[dict[str, float] | None] = [None] * len(self.workdirs)
        if self.selection_split is not None:
            validation = sums.validate(
                self.parallel,
                self.loss_step,
                self.recipe,
                self.state.variables,
                self.teacher_variables,
                self._batches(self.selection_split),
            )
        for i, workdir in active.items():
            row = sums.epoch_row(
                workdir.progress,
                self.step,
                self.selection.name,
                validation[i],
                counts_skipped=self.recipe.skip_nonfinite,
            )
            workdir.finish_epoch(row)
            ceiling = self.ceiling
            if ceiling is not None and len(self.workdirs) > 1:
                ceiling = [ceiling[i]]
            line = run_progress.epoch_line(row, self.selection.name, ceiling)
            self._print(line, network=i)
        self._save(active, is_epoch=True)

    def _save(self, active: dict[int, Workdir], is_epoch: bool = False) -> None:
        if not self._written:
            return
        states = self.parallel.take_apart(self.state)
        for i, workdir in active.items():
            loss = None
            if is_epoch:
                loss = self.selection.loss(workdir.progress.history[-1])
            workdir.save(states[i], loss)

    def _label(self, network: int | None = None) -> str:
        """Returns the label of a network's run; of all, if there is only one."""
        is_clear = network is not None or len(self.workdirs) == 1
        return self.workdirs[network or 0].label if is_clear else ""

    def _print(self, line: str, network: int | None = None) -> None:
        """Prints a line of all networks, or of one; nothing if it is empty."""
        if self._written and line:
            run_progress.print_line(f"{self._label(network)} {line}".strip())


def _load(
    parallel: DataParallel, split: Split, **order: Any
) -> Iterator[dict[str, Any]]:
    """Yields a split's batches, on the devices.

    Always shuffled: of images sorted by concept, as those for validation are, a teacher
    that uses the statistics of the batch would see one concept at a time.
    """
    return parallel.load(
        pipeline.batches(
            split,
            process_index=parallel.process_index,
            process_count=parallel.process_count,
            **order,
        )
    )
