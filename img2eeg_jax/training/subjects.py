"""Several subjects: one by one, side by side, in step, or with one network for all."""

import dataclasses
import itertools
import pathlib
import threading
from collections.abc import Callable, Sequence
from concurrent import futures

import jax
import numpy as np

from img2eeg_jax.devices.parallel import DataParallel
from img2eeg_jax.errors import InputError, StoppedBySignal, unexpected
from img2eeg_jax.training.selection import Selection
from img2eeg_jax.training.state import TrainState
from img2eeg_jax.training.workdir import Progress, Workdir

ONE_BY_ONE = "one_by_one"
SIDE_BY_SIDE = "side_by_side"
VMAPPED = "vmapped"
SHARED_BACKBONE = "shared_backbone"
AUTO = "auto"
MODES = (AUTO, ONE_BY_ONE, SIDE_BY_SIDE, VMAPPED, SHARED_BACKBONE)

Folders = Sequence[pathlib.Path]

# (folders of networks that are trained together, devices, whether they are the first of
# those that are trained at the same time) → None; builds and trains them.
Train = Callable[[Folders, DataParallel, bool], None]


def mode(chosen: str, n_subjects: int) -> str:
    """Returns how subjects are trained.

    Args:
      chosen: "auto", or what is returned unless there is one subject only.
      n_subjects: how many there are.

    Returns:
      "one_by_one", "side_by_side", "vmapped" or "shared_backbone".
    """
    if chosen == SHARED_BACKBONE:
        return chosen
    if n_subjects == 1:
        return ONE_BY_ONE
    if chosen != AUTO:
        return chosen
    return SIDE_BY_SIDE if jax.device_count() > 1 else ONE_BY_ONE


def train_all(how: str, folders: Folders, train: Train) -> None:
    """Trains the networks of several subjects, or of one.

    Args:
      how: what `mode` returns.
      folders: the folder of each network.
      train: trains what goes into some of them.

    Raises:
      InputError: what one of them ended with, the first that was no signal.
      StoppedBySignal: they were asked to stop.
    """
    if how == SIDE_BY_SIDE:
        _train_side_by_side(folders, train)
    elif how == ONE_BY_ONE:
        _train_one_by_one(folders, train)
    else:
        n_subjects = len(folders) if how == VMAPPED else None
        train(folders, DataParallel(n_subjects=n_subjects), True)


def _train_one_by_one(folders: Folders, train: Train) -> None:
    """Trains each network on all devices; one that fails does not keep others back."""
    parallel, errors = DataParallel(), []
    for folder in folders:
        try:
            train([folder], parallel, True)
        except InputError as error:
            # Other processes, which may not have failed, would wait for this one.
            if parallel.process_count > 1:
                raise
            errors.append(error)
    _raise_first(errors)


def _train_side_by_side(folders: Folders, train: Train) -> None:
    """Trains each network on devices of its own, as many at a time as there are.

    Of several processes each trains its share. One network that fails does not keep
    others back.
    """
    folders = folders[jax.process_index() :: jax.process_count()]
    devices = jax.local_devices()
    n_groups = max(1, min(len(folders), len(devices)))
    groups = [tuple(group) for group in np.array_split(np.array(devices), n_groups)]
    lock = threading.Lock()

    def train_one(folder: pathlib.Path) -> None:
        with lock:
            group = groups.pop()
        try:
            train([folder], DataParallel(group), folder == folders[0])
        finally:
            with lock:
                groups.append(group)

    with futures.ThreadPoolExecutor(n_groups, "subject") as pool:
        ended = [pool.submit(train_one, folder) for folder in folders]
    errors = [future.exception() for future in ended]
    _raise_first([error for error in errors if error is not None])


def _raise_first(errors: Sequence[BaseException]) -> None:
    """Raises what went wrong rather than that others were stopped.

    Of those the first that has saved: the same command goes on.
    """

    def rank(error: BaseException) -> int:
        if not isinstance(error, StoppedBySignal):
            return 0
        return 1 if error.has_saved else 2

    for error in sorted(errors, key=rank):
        raise error


def resume_in_step(
    parallel: DataParallel,
    workdirs: Sequence[Workdir],
    start: TrainState,
    selection: Selection,
    num_epochs: int,
) -> TrainState:
    """Takes over the last checkpoints that all runs have, on all processes.

    Args:
      parallel: the processes, of which the first reads, and the number of networks.
      workdirs: the networks' folders, whose progress is set.
      start: state before the first step, on the host.
      selection: tells which runs stopped early.
      num_epochs: of the whole run.

    Returns:
      The state to go on from, on the host.

    Raises:
      InputError: checkpoints cannot be used, or runs stand at different steps.
    """
    state = start
    if parallel.process_index == 0:
        starts = parallel.take_apart(start)
        states = _restore(workdirs, starts, selection, num_epochs)
        state = parallel.put_together(states)
    entries = [dataclasses.asdict(workdir.progress) for workdir in workdirs]
    state = parallel.from_first_process(state)
    entries = parallel.object_from_first_process(entries)
    for workdir, of_run in zip(workdirs, entries, strict=True):
        workdir.progress = Progress(**of_run)
    return state


def _restore(
    workdirs: Sequence[Workdir],
    starts: Sequence[TrainState],
    selection: Selection,
    num_epochs: int,
) -> list[TrainState]:
    """Takes over the last checkpoints of networks that are trained in step.

    A run that is ahead of the others, because the session before was killed between
    two networks' saves, goes back to the step that all have; standing at different
    steps for another reason is refused. Runs that stopped early stay behind.

    Returns:
      The states, all at one step.
    """
    states = [
        workdir.restore(start) or start
        for workdir, start in zip(workdirs, starts, strict=True)
    ]
    steps = [int(state.step) for state in states]
    active = [not selection.is_over(workdir.progress.history) for workdir in workdirs]
    common = min(itertools.compress(steps, active), default=max(steps))
    ahead = [i for i, step in enumerate(steps) if active[i] and step > common]
    for i in ahead:
        is_done = workdirs[i].progress.epoch >= num_epochs
        # Nobody takes back a finished run to its start.
        was_saved_first = workdirs[i].step_before(steps[i]) == common
        if not was_saved_first or (is_done and common == 0):
            found = ", ".join(
                f"{workdir.label} at {step}"
                for workdir, step in zip(workdirs, steps, strict=True)
            )
            raise unexpected(
                "`subjects_mode`",
                "runs that stand at the same step to train them in step",
                f"{found}; 'one_by_one' goes on with each from where it is",
            )
    for i in ahead:
        states[i] = workdirs[i].go_back(starts[i], common)
    step = np.asarray(common, np.int32)
    return [state.replace(step=step) for state in states]
