"""Which layer predicts when: r of each layer's own linear encoder, over time."""

import csv
import dataclasses
import io
import os
import pathlib
from collections.abc import Mapping

import numpy as np

from img2eeg_jax.axes import Axes
from img2eeg_jax.drawing import canvas
from img2eeg_jax.files import write_text

# Under this name in tables, see `evaluation.metrics`.
R = "encoding_r_all_repetitions"

# Colours of layers, early to late.
_COLOURS = (canvas.SKY_BLUE, canvas.GREEN, canvas.BLUE, canvas.VERMILION)
_STYLES = ("-", "--", ":", "-.")


@dataclasses.dataclass(frozen=True, eq=False)
class TimeMap:
    """r of several encoders at each channel and time.

    Attributes:
      r: name of the encoder, that of all layers first → f64[channel, time], Pearson r
        over the test images with the mean of all repetitions; nan where either is
        constant.
      axes: channels and times, or features.
      ceiling: f64[time], the r that a perfect prediction would have; None where it is
        not known.
      n_images: number of test images.
    """

    r: Mapping[str, np.ndarray]
    axes: Axes
    ceiling: np.ndarray | None
    n_images: int

    def means(self, window_s: tuple[float, float] | None) -> dict[str, float]:
        """Returns the mean r of each encoder over channels and a window."""
        return {
            name: float(self.axes.take(r, window_s=window_s).mean())
            for name, r in self.r.items()
        }

    def save(self, path: str | os.PathLike) -> None:
        """Writes a CSV: a row for each encoder, channel and time; or feature."""
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        has_times = self.axes.has_times
        places = ["channel", "time_s"] if has_times else ["feature"]
        writer.writerow(["layer", *places, R])
        for name, r in self.r.items():
            for channel, of_channel in zip(self.axes.ch_names, r, strict=True):
                for time_s, value in zip(self.axes.times_s, of_channel, strict=True):
                    place = [channel, f"{time_s:.6g}"] if has_times else [channel]
                    writer.writerow([name, *place, f"{value:.6f}"])
        write_text(pathlib.Path(path), text.getvalue())

    def plot(self, path: str | os.PathLike) -> None:
        """Draws the map, mean over channels, above its lines over time.

        Args:
          path: PNG to write or replace.
        """
        times_ms = 1e3 * self.axes.times_s
        names, means = [*self.r], np.array([r.mean(0) for r in self.r.values()])
        height = 3.4 + 0.28 * len(names)
        figure = canvas.new_figure(6.5, height)
        upper, lower = figure.subplots(
            2, 1, sharex=True, height_ratios=[0.28 * len(names) + 0.2, 2.4]
        )
        limit = max(0.05, float(np.nanmax(np.abs(means), initial=0)))
        half_ms = np.median(np.diff(times_ms)) / 2 if len(times_ms) > 1 else 5
        image = upper.imshow(
            means,
            aspect="auto",
            cmap="RdBu_r",
            vmin=-limit,
            vmax=limit,
            interpolation="nearest",
            extent=(
                times_ms[0] - half_ms,
                times_ms[-1] + half_ms,
                len(names) - 0.5,
                -0.5,
            ),
        )
        upper.set_yticks(range(len(names)), names)
        upper.axvline(0, color="black", lw=0.6, ls=":")
        upper.set_title(
            f"linear encoders of single layers, {self.n_images} test images"
        )
        figure.colorbar(image, ax=upper, label="r")
        canvas.mark_onset(lower)
        if self.ceiling is not None:
            canvas.line(
                lower,
                times_ms,
                self.ceiling,
                color=canvas.GREY,
                lw=1,
                label="perfect prediction",
            )
        # Of several, the first reads all layers.
        n_joint = int(len(names) > 1)
        for place, (name, r) in enumerate(zip(names, means, strict=True), -n_joint):
            color, style = "black", "-"
            if place >= 0:
                color = _COLOURS[place % len(_COLOURS)]
                style = _STYLES[place // len(_COLOURS) % len(_STYLES)]
            canvas.line(lower, times_ms, r, label=name, color=color, ls=style)
        lower.set_xlabel("time after image onset (ms)")
        lower.set_ylabel("Pearson r over images")
        canvas.tidy(lower)
        canvas.legend_below(figure)
        canvas.save(figure, path)
