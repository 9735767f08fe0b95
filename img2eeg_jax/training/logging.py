"""What a run tells: `config.json`, `metrics.csv`, TensorBoard and a progress bar."""

import contextlib
import csv
import io
import json
import pathlib
import time
from typing import Any

from tensorboard.summary import Writer
from tqdm import tqdm

from img2eeg_jax.errors import InputError
from img2eeg_jax.files import write_text

CONFIG_FILE = "config.json"
METRICS_FILE = "metrics.csv"

# Keys that may differ when a run is resumed.
FREE_KEYS = (
    "num_epochs",
    "data_dir",
    "shards_dir",
    "max_seconds",
    "checkpoint_minutes",
    "profile_steps",
    "peak_tflops",
    "remat",
)


def check_config(workdir: pathlib.Path, config: dict[str, Any]) -> None:
    """Refuses a work directory that belongs to another config.

    Args:
      workdir: work directory, which need not exist.
      config: the config as plain data.

    Raises:
      InputError: naming the keys that differ and may not.
    """
    path, old = workdir / CONFIG_FILE, read_config(workdir)
    if old is None:
        return
    new = json.loads(json.dumps(config))
    differing = [
        f"{key} (there {old.get(key)!r}, now {new.get(key)!r})"
        for key in sorted(old.keys() | new.keys())
        if old.get(key) != new.get(key) and key not in FREE_KEYS
    ]
    if differing:
        raise InputError(
            f"{path}: expected the config of this run, found another in "
            f"{', '.join(differing)}; choose another --workdir"
        )


def read_config(workdir: pathlib.Path) -> dict[str, Any] | None:
    """Reads `config.json`; None where there is none.

    Raises:
      InputError: it is damaged.
    """
    path = workdir / CONFIG_FILE
    if not path.exists():
        return None
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise InputError(f"{path}: expected JSON, found {error}") from error
    if not isinstance(config, dict):
        raise InputError(f"{path}: expected a config, found {config!r}")
    return config


def write_config(workdir: pathlib.Path, config: dict[str, Any]) -> None:
    """Writes `config.json`."""
    write_text(workdir / CONFIG_FILE, json.dumps(config, indent=2) + "\n")


def write_metrics(workdir: pathlib.Path, history: list[dict[str, float]]) -> None:
    """Writes `metrics.csv`, one row an epoch; only what is reproducible."""
    if not history:
        (workdir / METRICS_FILE).unlink(missing_ok=True)
        return
    text = io.StringIO()
    writer = csv.DictWriter(text, history[0].keys(), lineterminator="\n")
    writer.writeheader()
    writer.writerows(history)
    write_text(workdir / METRICS_FILE, text.getvalue())


def read_metrics(workdir: pathlib.Path) -> list[dict[str, float]]:
    """Reads `metrics.csv`; [] where there is none.

    Raises:
      InputError: it is damaged.
    """
    path = workdir / METRICS_FILE
    if not path.exists():
        return []
    with open(path, encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    try:
        return [{key: float(row[key]) for key in rows[0]} for row in rows]
    except (TypeError, ValueError) as error:
        raise InputError(f"{path}: expected numbers, found {error}") from error


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
