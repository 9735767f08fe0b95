"""What a fit leaves of one subject, and the lines that tell of it."""

import dataclasses
import pathlib

from img2eeg_jax.axes import spoken_window
from img2eeg_jax.data import layout
from img2eeg_jax.errors import counted
from img2eeg_jax.linear.regression import Fitted
from img2eeg_jax.linear.time_map import TimeMap

# Of the mean scores that are printed.
_WINDOW_S = (0.1, 0.3)


@dataclasses.dataclass(frozen=True, eq=False)
class Result:
    """What was fitted of one subject.

    Attributes:
      subject: whose EEG.
      folder: of its checkpoint.
      time_map: r on the test images, of all layers together and of each.
      fitted: the regression.
    """

    subject: layout.Label
    folder: pathlib.Path
    time_map: TimeMap | None
    fitted: Fitted


def result_table(result: Result) -> str:
    """Returns the mean scores of a subject's encoders as lines of text."""
    lines = [f"subject {result.subject}, in {result.folder}"]
    if result.time_map is None:
        return lines[0]
    axes, window_s = result.time_map.axes, None
    mean_of = str(axes)
    if axes.has_times:
        covered = axes.times_s[0] <= _WINDOW_S[0] and axes.times_s[-1] >= _WINDOW_S[1]
        window_s = _WINDOW_S if covered else tuple(axes.times_s[[0, -1]])
        mean_of = f"{counted(axes.shape[0], 'channel')} and {spoken_window(window_s)}"
    lines.append(
        f"  r over {result.time_map.n_images} test images with the mean of all "
        f"repetitions, mean of {mean_of} (eval.py gives ceilings and p):"
    )
    lines += [
        f"    {name:<24}{r:6.3f}" for name, r in result.time_map.means(window_s).items()
    ]
    return "\n".join(lines)
