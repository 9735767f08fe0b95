"""What a run shows while it trains: lines, a bar, its rate, TensorBoard, a trace."""

import contextlib
import pathlib
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np
from tqdm import tqdm

from img2eeg_jax.errors import counted, needing
from img2eeg_jax.training.selection import Selection

# Seconds between lines within an epoch where there is no terminal.
_LINE_EVERY_S = 600

# Steps of a session before the ones that a trace holds: they compile.
_STEPS_BEFORE_TRACE = 5


class TensorBoard(contextlib.AbstractContextManager):
    """Writes each epoch's numbers as TensorBoard scalars."""

    def __init__(self, workdir: pathlib.Path):
        """Opens `workdir`/tensorboard."""
        with needing("TensorBoard", "train"):
            from tensorboard.summary import Writer
        self._writer = Writer(str(workdir / "tensorboard"))

    def __exit__(self, *_: Any) -> None:
        self._writer.close()

    def write(self, step: int, scalars: dict[str, float]) -> None:
        """Writes `scalars` at `step`."""
        for name, value in scalars.items():
            self._writer.add_scalar(name, value, step)
        self._writer.flush()


class Meter:
    """Measures how fast a session trains, leaving out its first step, which compiles.

    Attributes:
      n_steps: steps so far.
    """

    def __init__(self, flops_per_image: float, peak_tflops: float = 0.0):
        """Takes the work of an image, and what the devices could do, or 0."""
        self.n_steps = 0
        self._flops_per_image = flops_per_image
        self._peak_tflops = peak_tflops
        self._n_images = 0
        self._started_s = self._last_s = time.monotonic()

    def update(self, n_images: int) -> None:
        """Counts a step that has been started, after the one before has ended."""
        self.n_steps += 1
        self._last_s = time.monotonic()
        if self.n_steps == 1:
            self._started_s = self._last_s
        else:
            self._n_images += n_images

    def summary(self) -> str:
        """Returns a line: steps, time, images/s, FLOP/s."""
        seconds = self._last_s - self._started_s
        line = f"this session: {counted(self.n_steps, 'step')}"
        if not self._n_images or not seconds:
            return line
        rate = self._n_images / seconds
        tflops = rate * self._flops_per_image / 1e12
        line += f", {seconds:.1f} s after the first, validation included"
        line += f", {rate:.4g} images/s, {tflops:.3g} TFLOP/s"
        if self._peak_tflops:
            line += f" ({tflops / self._peak_tflops:.1%} of the peak)"
        return line


class EpochProgress(contextlib.AbstractContextManager):
    """Shows how far an epoch is: a bar on a terminal, else a line every ten minutes.

    The bar has images done, images/s, time left and the loss.
    """

    def __init__(
        self,
        name: str,
        n_images: int,
        done: int,
        say: Callable[[str], None],
        *,
        label: str = "",
        has_bar: bool = True,
    ):
        """Shows the bar.

        Args:
          name: of the epoch.
          n_images: in an epoch.
          done: images that an earlier session did of this epoch.
          say: prints a line.
          label: which run it is, or "".
          has_bar: False for lines also on a terminal.
        """
        self._name, self._n_images, self._done = name, n_images, done
        self._say, self._said_s = say, time.monotonic()
        self._loss = ""
        self._bar = tqdm(
            total=n_images,
            initial=done,
            desc=f"{name} {label}".strip(),
            unit="image",
            dynamic_ncols=True,
            mininterval=0.5,
            # None: unless standard error is no terminal.
            disable=None if has_bar else True,
            bar_format=(
                "{l_bar}{bar}| {n_fmt}/{total_fmt} [{elapsed}<{remaining}, "
                "{rate_noinv_fmt}{postfix}]"
            ),
        )

    def __exit__(self, *_: Any) -> None:
        self._bar.close()

    def update(self, n_images: int) -> None:
        """Counts images that were done."""
        self._done += n_images
        self._bar.update(n_images)
        now_s = time.monotonic()
        if self._bar.disable and now_s - self._said_s >= _LINE_EVERY_S:
            self._said_s = now_s
            self._say(f"{self._name}: {self._done}/{self._n_images} images{self._loss}")

    def show_loss(self, loss: float | None) -> None:
        """Shows a loss from the next turn on; nothing if None."""
        if loss is not None:
            self._loss = f", loss {loss:.4g}"
            self._bar.set_postfix(loss=f"{loss:.4g}", refresh=False)


def print_line(line: str) -> None:
    """Prints a line, above the bar if there is one."""
    tqdm.write(line)
    sys.stdout.flush()


def epoch_line(
    row: dict[str, float], name: str, ceiling: Sequence[float] | None
) -> str:
    """Returns what is printed of an epoch.

    Args:
      row: of metrics.csv.
      name: of the images that select the best epoch.
      ceiling: the largest r that a prediction of their EEG can have, of each subject
        of the network; None if it is not known.
    """
    line = f"epoch {row['epoch'] + 1}: train loss {row['train_total']:.4g}"
    if f"{name}_total" in row:
        line += f", {name} loss {row[f'{name}_total']:.4g}"
        line += f", {name} r {row[f'{name}_r']:.3f}"
        if ceiling is not None:
            # A network that subjects share has the mean of their ceilings.
            line += f" (ceiling {np.mean(ceiling):.3f})"
    if row.get("train_skipped"):
        line += f", {counted(int(row['train_skipped']), 'step')} skipped"
    return line


def batch_line(batch_size: int, n_images: int) -> str:
    """Returns what to say of a batch that a whole epoch does not fill; else ""."""
    if batch_size <= n_images:
        return ""
    return (
        f"a batch of {batch_size} is more than the {n_images} training images: an "
        "epoch is one step, which costs as much as a full one"
    )


def over_line(n_done: int, num_epochs: int) -> str:
    """Returns what is printed of a run that is over when a session starts."""
    early = ", stopped early" if n_done < num_epochs else ""
    are = "is" if n_done == 1 else "are"
    done = f"{counted(n_done, 'epoch')} of {num_epochs} {are} done"
    return f"nothing to do: {done}{early}"


def best_line(selection: Selection, history: list[dict[str, float]]) -> str:
    """Returns what is printed of a run's best epoch; "" if there is none."""
    best = selection.best_row(history)
    if best is None:
        return ""
    early = ", stopped early" if selection.is_over(history) else ""
    return (
        f"best epoch {best['epoch'] + 1} of {len(history)}{early}: "
        f"{selection.name} loss {best[selection.column]:.4g}, "
        f"r {best[f'{selection.name}_r']:.3f}"
    )


class Trace:
    """Records some steps of a session with JAX's profiler."""

    def __init__(self, folder: pathlib.Path, n_steps: int, say: Callable[[str], None]):
        """Records nothing yet.

        Args:
          folder: where the trace goes.
          n_steps: steps to record; 0 for none.
          say: prints the line that tells of the trace.
        """
        self._folder = folder
        self._n_steps = n_steps
        self._say = say
        self._n_started = 0
        self._is_recording = False

    def before_step(self, state: Any) -> None:
        """Starts or ends the recording if it is time to.

        Args:
          state: what the step before returned, which the end waits for.
        """
        n_before, self._n_started = self._n_started, self._n_started + 1
        if not self._n_steps:
            return
        if n_before == _STEPS_BEFORE_TRACE:
            jax.profiler.start_trace(str(self._folder))
            self._is_recording = True
        if n_before == _STEPS_BEFORE_TRACE + self._n_steps:
            jax.block_until_ready(state)
            self._stop(n_before)

    def stop(self) -> None:
        """Ends the recording where the session ends in its midst."""
        self._stop(self._n_started)

    def _stop(self, n_started: int) -> None:
        if self._is_recording:
            jax.profiler.stop_trace()
            self._is_recording = False
            n_steps = n_started - _STEPS_BEFORE_TRACE
            self._say(f"traced {counted(n_steps, 'step')} in {self._folder}")
