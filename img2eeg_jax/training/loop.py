"""The epochs of a run: step, validate, save, stop, go on."""

import contextlib
import dataclasses
import itertools
import time
from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np

from img2eeg_jax import objectives
from img2eeg_jax.data import batches as pipeline
from img2eeg_jax.data.examples import Split
from img2eeg_jax.devices.parallel import DataParallel
from img2eeg_jax.errors import StoppedBySignal, unexpected
from img2eeg_jax.training import progress as run_progress
from img2eeg_jax.training.run import Progress, Run, Selection, check_finite
from img2eeg_jax.training.state import TrainState
from img2eeg_jax.training.step import LOSSES

# Processes agree on stopping and saving only so often: to agree they wait.
_AGREE_EVERY = 10

# Steps of a session before the ones that `profile_steps` asks for: they compile.
_STEPS_BEFORE_PROFILE = 5


@dataclasses.dataclass(frozen=True)
class Limits:
    """What may be different in another session of the same run.

    Attributes:
      num_epochs: of the whole run.
      deadline_s: `time.monotonic()` at which it saves and stops; None for no limit.
      checkpoint_minutes: between saves within an epoch; 0 for none.
      profile_steps: steps that are traced into WORKDIR/profile; 0 for none.
      peak_tflops: of the devices together, for the summary; 0 if unknown.
    """

    num_epochs: int
    deadline_s: float | None = None
    checkpoint_minutes: float = 0.0
    profile_steps: int = 0
    peak_tflops: float = 0.0


@dataclasses.dataclass
class Trainer:
    """Trains one network, or several in step with each other.

    Attributes:
      parallel: the devices.
      train_step: what `make_train_step` returns.
      loss_step: what `make_loss_step` returns.
      state: state before the first step, on the host; of several networks stacked.
      teacher_variables: of the teacher; {} if there is none.
      train_split: training images and EEG.
      selection_split: what selects the best epoch, or None.
      selection: how it does.
      ceiling: the largest r that a prediction of it can have, of each network, or None.
      batch_size: images a step, over all devices and processes.
      seed: of the data order.
      runs: each network's work directory.
      limits: of this session.
      flops_per_image: of a training step of one network.
      counts_skipped: whether steps may be skipped, and metrics.csv says how many were.
      shows_bar: whether to show each epoch's progress.
    """

    parallel: DataParallel
    train_step: Callable
    loss_step: Callable
    state: TrainState
    teacher_variables: Any
    train_split: Split
    selection_split: Split | None
    selection: Selection
    ceiling: Sequence[float] | None
    batch_size: int
    seed: int
    runs: Sequence[Run]
    limits: Limits
    flops_per_image: float
    counts_skipped: bool = False
    shows_bar: bool = True

    def __post_init__(self):
        self.step = 0
        self._is_traced = False
        self.train_step = self.parallel.train_step(self.train_step)
        self.loss_step = self.parallel.loss_step(self.loss_step)
        self.teacher_variables = self.parallel.replicate(self.teacher_variables)
        self._writes = self.parallel.process_index == 0
        self._steps_per_epoch = pipeline.num_batches(self.train_split, self.batch_size)

    @property
    def _progress(self) -> Progress:
        """Returns where the runs that are not over stand; they stand together."""
        return self._active[0].progress

    @property
    def _active(self) -> list[Run]:
        """Returns the runs that early stopping has not ended, or all if it has."""
        active = [
            run for run in self.runs if not self.selection.is_over(run.progress.history)
        ]
        return active or list(self.runs)

    def train(self, stop_requested: Callable[[], bool]) -> None:
        """Trains to the end, from the last checkpoint if there is one.

        Args:
          stop_requested: asked between steps; True saves and stops.

        Raises:
          InputError: a loss became non-finite, or the data are not those that the run
            started with.
          StoppedBySignal: a stop was asked for or time is up; the state is saved.
        """
        self._saved_s = time.monotonic()
        self._stop_requested = stop_requested
        try:
            self._train()
        except StoppedBySignal:
            self.parallel.wait_for_all("stopped")
            raise
        self.parallel.wait_for_all("done")

    def _train(self):
        with contextlib.ExitStack() as folders:
            if self._writes:
                for run in self.runs:
                    folders.enter_context(run)
            self._resume()
            if self._writes:
                for run in self.runs:
                    run.write_config()
            if self._is_over():
                n_done = self._progress.epoch
                early = ", stopped early" if n_done < self.limits.num_epochs else ""
                self._print(
                    f"nothing to do: {n_done} epochs of {self.limits.num_epochs} are "
                    f"done{early}"
                )
                return
            if self._writes:
                for run in self.runs:
                    run.start()
            if self.step:
                self._print(
                    f"going on from step {self.step}, epoch {self._progress.epoch + 1}"
                )
            self.state = self.parallel.replicate(self.state)
            self._meter = run_progress.Meter(
                self.flops_per_image * len(self.runs), self.limits.peak_tflops
            )
            try:
                self._train_epochs()
            finally:
                self._stop_trace()
                self._print(self._meter.summary())
            self._print_best()

    def _resume(self):
        """Takes over the last checkpoints that all runs have, on all processes."""
        if self._writes:
            self.state = self._restore()
        progress = [dataclasses.asdict(run.progress) for run in self.runs]
        self.state = self.parallel.from_first_process(self.state)
        for run, entries in zip(
            self.runs, self.parallel.object_from_first_process(progress), strict=True
        ):
            run.progress = Progress(**entries)
        self.step = self._first_step = int(np.max(self.state.step))

    def _restore(self):
        if self.parallel.n_subjects is None:
            (run,) = self.runs
            return run.restore(self.state) or self.state
        states = unstack(self.state, len(self.runs))
        restored = [
            run.restore(state) for run, state in zip(self.runs, states, strict=True)
        ]
        restored = [new or old for new, old in zip(restored, states, strict=True)]
        # Runs that stopped early stay behind; the others are at one step.
        active = [not self.selection.is_over(run.progress.history) for run in self.runs]
        steps = [int(state.step) for state in restored]
        common = min(itertools.compress(steps, active), default=max(steps))
        ahead = [i for i, step in enumerate(steps) if active[i] and step > common]
        if not all(self._was_saved_first(i, steps[i], common) for i in ahead):
            found = [
                f"{run.label} at {step}"
                for run, step in zip(self.runs, steps, strict=True)
            ]
            raise unexpected(
                "--config.subjects_mode",
                "runs that stand at the same step to train them in step",
                f"{', '.join(found)}; 'one_by_one' goes on with each from where it is",
            )
        for i in ahead:
            restored[i] = self.runs[i].go_back(states[i], common)
        return stack(restored).replace(step=np.full(len(states), common, np.int32))

    def _was_saved_first(self, i, step, common):
        """Tells whether a run is ahead for being killed between two networks' saves."""
        run = self.runs[i]
        is_done = run.progress.epoch >= self.limits.num_epochs
        return run.step_before(step) == common and (common > 0 or not is_done)

    def _is_over(self):
        is_early = all(
            self.selection.is_over(run.progress.history) for run in self.runs
        )
        return is_early or self._progress.epoch >= self.limits.num_epochs

    def _train_epochs(self):
        while not self._is_over():
            must_stop = self._train_epoch()
            if self._progress.step_in_epoch == self._steps_per_epoch:
                self._finish_epoch()
            if must_stop and not self._is_over():
                self._save(self._active)
                # Only what is on disk may be promised.
                for run in self.runs if self._writes else ():
                    run.wait()
                raise StoppedBySignal(f"stopped at step {self.step}")

    def _train_epoch(self):
        """Takes the steps that are left of an epoch; returns whether to stop."""
        progress, n_images = self._progress, len(self.train_split.index)
        batches = pipeline.batches(
            self.train_split,
            batch_size=self.batch_size,
            seed=self.seed,
            epoch=progress.epoch,
            first_step=progress.step_in_epoch,
            process_index=self.parallel.process_index,
            process_count=self.parallel.process_count,
        )
        pending, must_stop = None, False
        with run_progress.progress_bar(
            progress.epoch,
            self.limits.num_epochs,
            n_images,
            done=min(progress.step_in_epoch * self.batch_size, n_images),
            label=self.runs[0].label if len(self.runs) == 1 else "",
            is_shown=self._writes and self.shows_bar,
        ) as bar:
            for batch, _ in self.parallel.load(batches):
                self._profile()
                self.state, metrics = self.train_step(
                    self.state, self.teacher_variables, batch
                )
                # The losses of the step before: waiting for this one would stall.
                self._record(pending, bar)
                self.step += 1
                for run in self._active:
                    run.progress.step_in_epoch += 1
                pending = self.step, metrics
                must_stop, must_save = self._requests()
                if must_save:
                    self._record(pending, bar)
                    pending = None
                    self._save(self._active)
                if must_stop:
                    break
            self._record(pending, bar)
        return must_stop

    def _requests(self):
        """Returns whether to stop and whether to save, the same in all processes."""
        is_turn = self._progress.step_in_epoch % _AGREE_EVERY == 0
        is_end = self._progress.step_in_epoch == self._steps_per_epoch
        if self.parallel.process_count > 1 and not (is_turn or is_end):
            return False, False
        now = time.monotonic()
        deadline_s = self.limits.deadline_s
        is_late = deadline_s is not None and deadline_s <= now
        interval_s = 60 * self.limits.checkpoint_minutes
        is_due = 0 < interval_s <= now - self._saved_s
        return self.parallel.any_process(
            [self._stop_requested() or is_late, is_due and not is_end]
        )

    def _record(self, pending, bar):
        if pending is None:
            return
        step, metrics = pending
        metrics = jax.device_get(metrics)
        n_images = int(np.max(metrics["mse"][1]))
        active = self._active
        for i, run in enumerate(self.runs):
            if run in active:
                of_run = self._of_run(metrics, i)
                _add_sums(run.progress.sums, of_run, (*LOSSES, "skipped"))
                total, count = of_run["total"]
                if of_run["skipped"][0] == 0:
                    check_finite(step, f"{run.label} loss".strip(), total)
                    bar.set_postfix(loss=f"{total / max(count, 1):.4g}", refresh=False)
        bar.update(n_images)
        self._meter.update(n_images)

    def _finish_epoch(self):
        sums = self._selection_sums()
        active = self._active
        for i, run in enumerate(self.runs):
            if run not in active:
                continue
            row = {"epoch": run.progress.epoch, "step": self.step}
            row |= _means(run.progress.sums, "train", self.step)
            skipped, _ = run.progress.sums["skipped"]
            if self.counts_skipped:
                row["train_skipped"] = skipped
            if sums:
                name = self.selection.name
                row |= _means(sums[i], name, self.step)
                loss = row[self.selection.column]
                check_finite(self.step, f"{name} loss", loss)
                row[f"{name}_r"] = sums[i]["r"]
            run.finish_epoch(row)
            self._print(self._epoch_line(i, row))
        self._save(active, is_epoch=True)

    def _epoch_line(self, i, row):
        line = f"{self._label(i)}epoch {row['epoch'] + 1}"
        line += f": train loss {row['train_total']:.4g}"
        name = self.selection.name
        if self.selection.column in row:
            line += f", {name} loss {row[self.selection.column]:.4g}"
            line += f", {name} r {row[f'{name}_r']:.3f}"
            if self.ceiling is not None:
                # One network of several subjects has their mean.
                of_run = self.ceiling[i] if len(self.runs) > 1 else self.ceiling
                line += f" (ceiling {np.mean(of_run):.3f})"
        if row.get("train_skipped"):
            line += f", {row['train_skipped']:.0f} steps skipped"
        return line

    def _selection_sums(self):
        """Returns loss name → [sum, count] of each run, and r, or [] without images."""
        if self.selection_split is None:
            return []
        sums = [{} for _ in self.runs]
        moments = [[0.0, 0.0] for _ in self.runs]
        variables = self.state.variables
        batches = pipeline.batches(
            self.selection_split,
            batch_size=self.batch_size,
            process_index=self.parallel.process_index,
            process_count=self.parallel.process_count,
        )
        for batch, _ in self.parallel.load(batches):
            metrics = self.loss_step(variables, self.teacher_variables, batch)
            metrics = jax.device_get(metrics)
            for i in range(len(self.runs)):
                of_run = self._of_run(metrics, i)
                _add_sums(sums[i], of_run, LOSSES)
                for j, values in enumerate(of_run["moments"]):
                    moments[i][j] = moments[i][j] + np.float64(values)
        for of_run, (totals, count) in zip(sums, moments, strict=True):
            r = objectives.correlation(totals, count)
            of_run["r"] = float(np.nan_to_num(r).mean())
        return sums

    def _of_run(self, metrics, i):
        """Returns one run's metrics out of all."""
        if self.parallel.n_subjects is None:
            return metrics
        return jax.tree.map(lambda values: values[i], metrics)

    def _save(self, runs, is_epoch=False):
        self._saved_s = time.monotonic()
        if not self._writes:
            return
        states = [self.state]
        if self.parallel.n_subjects is not None:
            states = unstack(jax.device_get(self.state), len(self.runs))
        for run, state in zip(self.runs, states, strict=True):
            if run in runs:
                row = run.progress.history[-1] if is_epoch else None
                run.save(state, self.selection.loss(row) if is_epoch else None)

    def _profile(self):
        """Starts and stops the trace when its steps have come."""
        n_steps, done = self.limits.profile_steps, self.step - self._first_step
        if not (n_steps and self._writes):
            return
        if done == _STEPS_BEFORE_PROFILE:
            jax.profiler.start_trace(str(self.runs[0].workdir / "profile"))
            self._is_traced = True
        if done == _STEPS_BEFORE_PROFILE + n_steps:
            jax.block_until_ready(self.state)
            self._stop_trace()

    def _stop_trace(self):
        if self._is_traced:
            jax.profiler.stop_trace()
            self._is_traced = False
            n_steps = self.step - self._first_step - _STEPS_BEFORE_PROFILE
            self._print(f"traced {n_steps} steps in {self.runs[0].workdir / 'profile'}")

    def _print_best(self):
        for i, run in enumerate(self.runs):
            best = self.selection.best_row(run.progress.history)
            early = self.selection.is_over(run.progress.history)
            if best is not None:
                self._print(
                    f"{self._label(i)}best epoch {best['epoch'] + 1} of "
                    f"{run.progress.epoch}{', stopped early' if early else ''}: "
                    f"{self.selection.name} loss {best[self.selection.column]:.4g}, "
                    f"r {best[f'{self.selection.name}_r']:.3f}"
                )

    def _label(self, i):
        """Returns what begins a line of one of several runs; `_print` begins others."""
        return f"{self.runs[i].label} " if len(self.runs) > 1 else ""

    def _print(self, line):
        if self._writes:
            label = self.runs[0].label if len(self.runs) == 1 else ""
            print(f"{label} {line}".strip(), flush=True)


def stack(trees: Sequence[Any]) -> Any:
    """Stacks trees of host arrays along a new first axis."""
    return jax.tree.map(lambda *leaves: np.stack(leaves), *trees)


def unstack(tree: Any, n: int) -> list[Any]:
    """Takes apart what `stack` has put together."""
    return [jax.tree.map(lambda leaf, i=i: leaf[i], tree) for i in range(n)]


def _add_sums(sums: dict[str, list[float]], metrics, names) -> None:
    for name in names:
        total, count = sums.get(name, (0.0, 0.0))
        sums[name] = [total + float(metrics[name][0]), count + float(metrics[name][1])]


def _means(sums: dict[str, list[float]], prefix: str, step: int) -> dict[str, float]:
    if not sums[LOSSES[0]][1]:
        raise unexpected(f"step {step}", "a finite loss", "none in a whole epoch")
    return {f"{prefix}_{name}": sums[name][0] / sums[name][1] for name in LOSSES}
