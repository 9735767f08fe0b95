"""The epochs of a run: step, validate, save, stop, go on."""

import contextlib
import dataclasses
import gc
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import jax
import numpy as np

from img2eeg_jax import objectives
from img2eeg_jax.data import batches as pipeline
from img2eeg_jax.data.examples import Split
from img2eeg_jax.devices.parallel import DataParallel
from img2eeg_jax.errors import StoppedBySignal, unexpected
from img2eeg_jax.training import progress as run_progress
from img2eeg_jax.training.requests import Limits, Requests
from img2eeg_jax.training.selection import Selection
from img2eeg_jax.training.state import TrainState
from img2eeg_jax.training.step import LOSSES, Metrics
from img2eeg_jax.training.subjects import restore_in_step
from img2eeg_jax.training.workdir import Progress, Workdir, check_finite

# Steps whose losses are fetched from the devices together.
_FETCH_EVERY = 8


class StepLosses:
    """Adds the losses of an epoch's steps to the progress of each network's run.

    The host is at most one step ahead of the devices, so that a stop is not kept
    waiting; it waits for none while they have a step to do, and fetches the losses of
    several steps at a time.
    """

    def __init__(self, parallel: DataParallel, workdirs: Mapping[int, Workdir]):
        """Takes the folders of the networks that count, by position."""
        self._parallel = parallel
        self._workdirs = workdirs
        self._waiting: list[tuple[int, Metrics]] = []

    def add(self, step: int, metrics: Metrics) -> float | None:
        """Takes the losses of a step that has been started.

        Returns:
          The last loss that has been fetched now, or None.

        Raises:
          InputError: a loss is not finite, naming the step.
        """
        if self._waiting:
            _, before = self._waiting[-1]
            jax.block_until_ready(before["total"])
        self._waiting.append((step, metrics))
        if len(self._waiting) <= _FETCH_EVERY:
            return None
        ready, self._waiting = self._waiting[:-1], self._waiting[-1:]
        return self._record(ready)

    def fetch(self) -> float | None:
        """Waits for all that `add` has taken; returns and raises as `add`."""
        ready, self._waiting = self._waiting, []
        return self._record(ready)

    def _record(self, steps: Sequence[tuple[int, Metrics]]) -> float | None:
        loss = None
        fetched = jax.device_get([metrics for _, metrics in steps])
        for (step, _), metrics in zip(steps, fetched, strict=True):
            of_networks = self._parallel.take_apart(metrics)
            for i, workdir in self._workdirs.items():
                names = (*LOSSES, "skipped")
                _add_sums(workdir.progress.sums, of_networks[i], names)
                total, count = of_networks[i]["total"]
                if of_networks[i]["skipped"][0] == 0:
                    check_finite(step, f"{workdir.label} loss".strip(), total)
                    loss = float(total) / max(float(count), 1)
        return loss


@dataclasses.dataclass
class Trainer:
    """Trains one network, or several in step with each other.

    Attributes:
      parallel: the devices, and how many networks there are.
      train_step: what `DataParallel.train_step` returns.
      loss_step: what `DataParallel.loss_step` returns.
      state: state before the first step, on the host; then where the training is.
      teacher_variables: of the teacher, on the devices; {} if there is none.
      train_split: training images and responses.
      selection_split: what selects the best epoch, or None.
      selection: how it does.
      ceiling: the largest r that a prediction of it can have, of each network, or None.
      batch_size: images a step, over all devices and processes.
      seed: of the data order.
      workdirs: each network's folder.
      limits: of this session.
      flops_per_image: of a training step of one network.
      counts_skipped: whether steps may be skipped, and metrics.csv says how many were.
      shows_bar: whether to show each epoch's progress.
      step: steps taken since the start of the run.
    """

    parallel: DataParallel
    train_step: Callable[[TrainState, Any, Any], tuple[TrainState, Metrics]]
    loss_step: Callable[[Any, Any, Any], Metrics]
    state: TrainState
    teacher_variables: Any
    train_split: Split
    selection_split: Split | None
    selection: Selection
    ceiling: Sequence[float] | None
    batch_size: int
    seed: int
    workdirs: Sequence[Workdir]
    limits: Limits
    flops_per_image: float
    counts_skipped: bool = False
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
        active = {i: w for i, w in networks.items() if not self._stopped_early(w)}
        return active or networks

    def _stopped_early(self, workdir: Workdir) -> bool:
        return self.selection.is_over(workdir.progress.history)

    def _progress(self) -> Progress:
        """Returns where the active networks' runs stand: they stand together."""
        return next(iter(self._active().values())).progress

    def _is_over(self) -> bool:
        is_early = all(map(self._stopped_early, self.workdirs))
        return is_early or self._progress().epoch >= self.limits.num_epochs

    def _train(self, requests: Requests) -> None:
        self._resume()
        for workdir in self._written:
            workdir.write_config()
        if self._is_over():
            n_done = self._progress().epoch
            early = ", stopped early" if n_done < self.limits.num_epochs else ""
            self._print(
                f"nothing to do: {n_done} epochs of {self.limits.num_epochs} are "
                f"done{early}"
            )
            return
        for workdir in self._written:
            workdir.start()
        if self.step:
            self._print(
                f"going on from step {self.step}, epoch {self._progress().epoch + 1}"
            )
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
            while not self._is_over():
                self._train_epoch(requests, meter, trace)
        finally:
            gc.unfreeze()
            trace.stop()
            self._print(meter.summary())
        for i, workdir in enumerate(self.workdirs):
            history = workdir.progress.history
            line = run_progress.best_line(self.selection, history)
            self._print(line, network=i)

    def _resume(self) -> None:
        """Takes over the last checkpoints that all runs have, on all processes."""
        if self._written:
            states = restore_in_step(
                self.workdirs,
                self.parallel.take_apart(self.state),
                self.selection,
                self.limits.num_epochs,
            )
            self.state = self.parallel.put_together(states)
        entries = [dataclasses.asdict(workdir.progress) for workdir in self.workdirs]
        self.state = self.parallel.from_first_process(self.state)
        entries = self.parallel.object_from_first_process(entries)
        for workdir, of_run in zip(self.workdirs, entries, strict=True):
            workdir.progress = Progress(**of_run)
        self.step = int(np.max(self.state.step))

    def _train_epoch(
        self, requests: Requests, meter: run_progress.Meter, trace: run_progress.Trace
    ) -> None:
        """Takes the steps that are left of an epoch, and saves."""
        # What is there now stays: collections need not go through it again and again.
        gc.collect()
        gc.freeze()
        active = self._active()
        must_stop = self._take_steps(active, requests, meter, trace)
        n_steps = pipeline.num_batches(self.train_split, self.batch_size)
        if self._progress().step_in_epoch == n_steps:
            self._finish_epoch(active)
            requests.note_save()
        if must_stop and not self._is_over():
            self._save(self._active())
            # Only what is on disk may be promised.
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
        losses = StepLosses(self.parallel, active)
        progress, must_stop = self._progress(), False
        n_images = len(self.train_split.index)
        done = min(progress.step_in_epoch * self.batch_size, n_images)
        batches = self._batches(
            self.train_split,
            seed=self.seed,
            epoch=progress.epoch,
            first_step=progress.step_in_epoch,
        )
        with run_progress.progress_bar(
            progress.epoch,
            self.limits.num_epochs,
            n_images,
            done=done,
            label=self._common_label(),
            is_shown=bool(self._written) and self.shows_bar,
        ) as bar:
            for batch in batches:
                trace.before_step(self.state)
                self.state, metrics = self.train_step(
                    self.state, self.teacher_variables, batch
                )
                self.step += 1
                run_progress.show_loss(bar, losses.add(self.step, metrics))
                for workdir in active.values():
                    workdir.progress.step_in_epoch += 1
                n_new = min(self.batch_size, n_images - done)
                done += n_new
                bar.update(n_new)
                meter.update(n_new)
                must_stop, must_save = requests.ask(
                    progress.step_in_epoch, is_end=done == n_images
                )
                if must_save:
                    run_progress.show_loss(bar, losses.fetch())
                    requests.note_save()
                    self._save(active)
                if must_stop:
                    break
            run_progress.show_loss(bar, losses.fetch())
        return must_stop

    def _batches(self, split: Split, **order: int) -> Iterator[dict[str, Any]]:
        """Yields a split's batches, on the devices."""
        return self.parallel.load(
            pipeline.batches(
                split,
                batch_size=self.batch_size,
                process_index=self.parallel.process_index,
                process_count=self.parallel.process_count,
                **order,
            )
        )

    def _finish_epoch(self, active: dict[int, Workdir]) -> None:
        validation = self._validate()
        for i, workdir in active.items():
            row = self._row(workdir.progress, validation[i] if validation else None)
            workdir.finish_epoch(row)
            ceiling = self.ceiling
            if ceiling is not None and len(self.workdirs) > 1:
                ceiling = [ceiling[i]]
            line = run_progress.epoch_line(row, self.selection.name, ceiling)
            self._print(line, network=i)
        self._save(active, is_epoch=True)

    def _row(
        self, progress: Progress, validation: dict[str, Any] | None
    ) -> dict[str, float]:
        """Returns an epoch's row of metrics.csv."""
        row = {"epoch": progress.epoch, "step": self.step}
        row |= _means(progress.sums, "train", self.step)
        if self.counts_skipped:
            row["train_skipped"], _ = progress.sums["skipped"]
        if validation is not None:
            name = self.selection.name
            row |= _means(validation, name, self.step)
            check_finite(self.step, f"{name} loss", row[self.selection.column])
            row[f"{name}_r"] = validation["r"]
        return row

    def _validate(self) -> list[dict[str, Any]]:
        """Returns of each network its losses [sum, count] and r; [] without images."""
        if self.selection_split is None:
            return []
        sums = [{} for _ in self.workdirs]
        moments = [[0.0, 0.0] for _ in self.workdirs]
        variables = self.state.variables
        for batch in self._batches(self.selection_split):
            metrics = self.loss_step(variables, self.teacher_variables, batch)
            of_networks = self.parallel.take_apart(jax.device_get(metrics))
            for i, of_network in enumerate(of_networks):
                _add_sums(sums[i], of_network, LOSSES)
                for j, values in enumerate(of_network["moments"]):
                    moments[i][j] = moments[i][j] + np.float64(values)
        for of_network, (totals, count) in zip(sums, moments, strict=True):
            r = objectives.correlation(totals, count)
            of_network["r"] = float(np.nan_to_num(r).mean())
        return sums

    def _save(self, active: dict[int, Workdir], is_epoch: bool = False) -> None:
        if not self._written:
            return
        states = self.parallel.take_apart(self.state)
        for i, workdir in active.items():
            row = workdir.progress.history[-1] if is_epoch else None
            workdir.save(states[i], self.selection.loss(row) if is_epoch else None)

    def _common_label(self) -> str:
        """Returns the label of all that is printed: that of the run, if it is one."""
        return self.workdirs[0].label if len(self.workdirs) == 1 else ""

    def _print(self, line: str, network: int | None = None) -> None:
        """Prints a line of all networks, or of one; nothing if it is empty."""
        if self._written and line:
            label = self._common_label()
            if network is not None:
                label = self.workdirs[network].label
            print(f"{label} {line}".strip(), flush=True)


def _add_sums(
    sums: dict[str, list[float]], metrics: Metrics, names: Sequence[str]
) -> None:
    for name in names:
        total, count = sums.get(name, (0.0, 0.0))
        sums[name] = [total + float(metrics[name][0]), count + float(metrics[name][1])]


def _means(sums: dict[str, list[float]], prefix: str, step: int) -> dict[str, float]:
    if not sums[LOSSES[0]][1]:
        raise unexpected(f"step {step}", "a finite loss", "none in a whole epoch")
    return {f"{prefix}_{name}": sums[name][0] / sums[name][1] for name in LOSSES}
