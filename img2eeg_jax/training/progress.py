"""What a run shows while it trains: TensorBoard, a progress bar and its rate."""

import contextlib
import pathlib
import time

from tensorboard.summary import Writer
from tqdm import tqdm


class TensorBoard(contextlib.AbstractContextManager):
    """Writes each epoch's numbers as TensorBoard scalars."""

    def __init__(self, workdir: pathlib.Path):
        """Opens `workdir`/tensorboard."""
        self._writer = Writer(str(workdir / "tensorboard"))

    def __exit__(self, *_):
        self._writer.close()

    def write(self, step: int, scalars: dict[str, float]) -> None:
        """Writes `scalars` at `step`."""
        for name, value in scalars.items():
            self._writer.add_scalar(name, value, step)
        self._writer.flush()


class Meter:
    """Measures how fast a session trains, from its second step on: the first compiles.

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
        """Counts a step."""
        self.n_steps += 1
        self._last_s = time.monotonic()
        if self.n_steps == 1:
            self._started_s = self._last_s
        else:
            self._n_images += n_images

    def summary(self) -> str:
        """Returns a line: steps, time, images/s, FLOP/s."""
        seconds = self._last_s - self._started_s
        line = f"this session: {self.n_steps} steps"
        if not self._n_images or not seconds:
            return line
        rate = self._n_images / seconds
        tflops = rate * self._flops_per_image / 1e12
        line += f", {seconds:.1f} s after the first, validation included"
        line += f", {rate:.4g} images/s, {tflops:.3g} TFLOP/s"
        if self._peak_tflops:
            line += f" ({tflops / self._peak_tflops:.1%} of the peak)"
        return line


def progress_bar(
    epoch: int,
    num_epochs: int,
    n_images: int,
    done: int,
    label: str = "",
    is_shown: bool = True,
) -> tqdm:
    """Returns one epoch's bar: images done, images/s, time left, loss.

    Args:
      epoch: from 0.
      num_epochs: of the run.
      n_images: in an epoch.
      done: images that an earlier session did of this epoch.
      label: which run it is, or "".
      is_shown: False for a bar that shows nothing.
    """
    return tqdm(
        total=n_images,
        initial=done,
        desc=f"epoch {epoch + 1}/{num_epochs} {label}".strip(),
        unit="image",
        dynamic_ncols=True,
        mininterval=0.5,
        disable=not is_shown,
        bar_format=(
            "{l_bar}{bar}| {n_fmt}/{total_fmt} [{elapsed}<{remaining}, "
            "{rate_noinv_fmt}{postfix}]"
        ),
    )
