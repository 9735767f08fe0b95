"""Losses added up over steps: of training, and of validation."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import jax
import numpy as np

from img2eeg_jax import objectives
from img2eeg_jax.devices.parallel import DataParallel
from img2eeg_jax.errors import unexpected
from img2eeg_jax.training.step import LOSSES, Metrics, Recipe, validation_losses
from img2eeg_jax.training.workdir import Progress, Workdir, check_finite, not_finite

# Steps whose losses are fetched from the devices together.
FETCH_EVERY = 8


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
        if len(self._waiting) <= FETCH_EVERY:
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
                is_bad = of_networks[i]["skipped"][0] > 0
                if is_bad and not count:
                    continue
                check_finite(step, f"{workdir.label} loss".strip(), total)
                if is_bad:
                    what = f"{workdir.label} gradient and batch statistics".strip()
                    raise not_finite(step, f"a finite {what}", "others")
                loss = float(total) / max(float(count), 1)
        return loss


def validate(
    parallel: DataParallel,
    loss_step: Callable[[Any, Any, Any], dict[str, Any]],
    recipe: Recipe,
    variables: Any,
    teacher_variables: Any,
    batches: Iterable[Any],
) -> list[dict[str, float]]:
    """Goes once over the images that select the best epoch.

    Args:
      parallel: the devices, and how many networks there are.
      loss_step: what `DataParallel.loss_step` returns.
      recipe: how the loss is put together.
      variables: of the networks.
      teacher_variables: of the teacher.
      batches: on the devices.

    Returns:
      Of each network, loss name → mean over images; and as `r` the mean correlation
      over images.
    """
    n_networks = parallel.n_subjects or 1
    sums: list[dict[str, Any]] = [{} for _ in range(n_networks)]
    moments: list[Any] = [None] * n_networks
    for batch in batches:
        metrics = jax.device_get(loss_step(variables, teacher_variables, batch))
        for i, of_network in enumerate(parallel.take_apart(metrics)):
            moments[i] = objectives.add_moments(moments[i], of_network.pop("moments"))
            of_network = jax.tree.map(np.float64, of_network)
            before = sums[i] or jax.tree.map(np.zeros_like, of_network)
            sums[i] = jax.tree.map(np.add, before, of_network)
    losses = [validation_losses(recipe, of_network) for of_network in sums]
    for of_network, (totals, _) in zip(losses, moments, strict=True):
        r = objectives.correlation(totals)
        of_network["r"] = float(np.nan_to_num(r).mean())
    return losses


def epoch_row(
    progress: Progress,
    step: int,
    name: str,
    validation: Mapping[str, float] | None,
    counts_skipped: bool,
) -> dict[str, float]:
    """Returns an epoch's row of metrics.csv.

    Args:
      progress: with the sums of the epoch's steps.
      step: steps since the start of the run.
      name: of the images that select the best epoch.
      validation: of the network, see `validate`; None without such images.
      counts_skipped: whether the row says how many steps were skipped.

    Raises:
      InputError: a mean is not finite, or all steps were skipped.
    """
    row: dict[str, float] = {"epoch": progress.epoch, "step": step}
    row |= _means(progress.sums, step)
    if counts_skipped:
        row["train_skipped"], _ = progress.sums["skipped"]
    if validation is not None:
        row |= {f"{name}_{loss}": validation[loss] for loss in LOSSES}
        check_finite(step, f"{name} loss", row[f"{name}_total"])
        row[f"{name}_r"] = validation["r"]
    return row


def _add_sums(
    sums: dict[str, list[float]], metrics: Metrics, names: Sequence[str]
) -> None:
    for name in names:
        total, count = sums.get(name, (0.0, 0.0))
        sums[name] = [total + float(metrics[name][0]), count + float(metrics[name][1])]


def _means(sums: Mapping[str, Any], step: int) -> dict[str, float]:
    if not sums[LOSSES[0]][1]:
        raise unexpected(f"step {step}", "a finite loss", "none in a whole epoch")
    return {f"train_{name}": sums[name][0] / sums[name][1] for name in LOSSES}
