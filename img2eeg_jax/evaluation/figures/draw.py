"""Each part's figures, drawn from what was found alone."""

import pathlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from img2eeg_jax.axes import Axes, Z
from img2eeg_jax.evaluation.figures.decoding import plot_decoding
from img2eeg_jax.evaluation.figures.encoding_maps import (
    has_scalp,
    plot_channel_by_time,
    plot_scalp_over_time,
)
from img2eeg_jax.evaluation.figures.evoked import plot_evoked
from img2eeg_jax.evaluation.figures.figure import Figure
from img2eeg_jax.evaluation.figures.identification import plot_identification
from img2eeg_jax.evaluation.figures.losses import plot_history
from img2eeg_jax.evaluation.figures.r_by_channel import plot_r_by_channel
from img2eeg_jax.evaluation.figures.r_by_feature import plot_r_by_feature
from img2eeg_jax.evaluation.figures.r_over_time import plot_r_over_time
from img2eeg_jax.evaluation.figures.rsa import (
    plot_file_rdms,
    plot_rdms,
    plot_rsa_files,
    plot_rsa_map,
    plot_rsa_over_time,
)
from img2eeg_jax.evaluation.findings import Findings
from img2eeg_jax.prediction.prediction import Prediction


@dataclass(frozen=True)
class Plot:
    """A figure that can be drawn of a part.

    Attributes:
      name: of the files, without ending.
      title: in a few words.
      alt_text: what it shows, for those who cannot see it.
      draw: writes it to a path, from what was found.
      applies: tells whether there is something to draw.
    """

    name: str
    title: str
    alt_text: str
    draw: Callable[[pathlib.Path, Findings], None]
    applies: Callable[[Findings], bool] = lambda _: True


def _evoked(path: pathlib.Path, findings: Findings) -> None:
    arrays = findings.arrays
    axes = Axes(tuple(arrays["ch_names"].tolist()), arrays["times_s"], Z)
    plot_evoked(
        path,
        Prediction(arrays["predicted"], axes, tuple(arrays["shown"].tolist())),
        arrays["measured"],
        arrays["pictures"],
        n_repetitions=findings.scores["n_repetitions"],
        ceiling=arrays["channel_r"],
    )


def _losses(path: pathlib.Path, findings: Findings) -> None:
    columns = {name: of for name, of in findings.arrays.items() if name != "best_step"}
    rows = zip(*(of.tolist() for of in columns.values()), strict=True)
    history = [dict(zip(columns, row, strict=True)) for row in rows]
    plot_history(path, history, int(findings.arrays["best_step"]))


def _is_of_one(findings: Findings) -> bool:
    """Tells whether it is what was found of one subject, not of a group."""
    return bool(findings.arrays)


def _has_window(findings: Findings) -> bool:
    """Tells whether there are channels and times, and not features alone."""
    return findings.scores.get("window_s", ()) is not None


def _has_responses(findings: Findings) -> bool:
    return _is_of_one(findings) and len(findings.arrays["times_s"]) > 0


def _is_over_time(findings: Findings) -> bool:
    return _is_of_one(findings) and _has_window(findings)


# Part → its figures.
PLOTS: Mapping[str, Sequence[Plot]] = {
    "encoding": (
        Plot(
            "r_over_time",
            "Encoding accuracy over time",
            "Lines over time after image onset: Pearson r over test images between "
            "predicted and measured EEG, mean of the channels, below the band of the "
            "noise ceilings and above the 95th percentile of images at random.",
            lambda path, findings: plot_r_over_time(path, findings.scores),
            applies=_has_window,
        ),
        Plot(
            "r_by_channel",
            "Encoding accuracy by channel",
            "Bars: Pearson r of each channel in the window, with its lower noise "
            "ceiling as a line; a map of the scalp shows the same where the channels "
            "have known places.",
            lambda path, findings: plot_r_by_channel(path, findings.scores),
            applies=_has_window,
        ),
        Plot(
            "r_channel_by_time",
            "Encoding accuracy of each channel at each time",
            "Colours: Pearson r, a row a channel and a column a time; dots where "
            "its p is above 0.05.",
            plot_channel_by_time,
            applies=_has_window,
        ),
        Plot(
            "r_scalp_over_time",
            "Encoding accuracy on the scalp",
            "Maps of the scalp seen from above, nose up: Pearson r at times evenly "
            "spaced over the predicted window, in one scale of colours.",
            plot_scalp_over_time,
            applies=lambda findings: _has_window(findings) and has_scalp(findings),
        ),
        Plot(
            "r_by_feature",
            "Encoding accuracy by feature",
            "Points, one a feature: Pearson r over test images between predicted and "
            "measured responses, over the feature's lower noise ceiling; small points "
            "are the 95th percentile of images at random.",
            plot_r_by_feature,
            applies=lambda findings: not _has_window(findings),
        ),
    ),
    "decoding": (
        Plot(
            "decoding",
            "Pairwise decoding over time",
            "Lines over time after image onset: the share of pairs of test images that "
            "classifiers of measured EEG tell apart by predicted EEG, with an interval "
            "over images, and by the other half and all of the measured repetitions; "
            "chance is 0.5. Squares mark times above chance.",
            plot_decoding,
            applies=_has_window,
        ),
    ),
    "identification": (
        Plot(
            "identification",
            "Zero-shot identification",
            "Two panels of lines: the share of test images that rank first, and among "
            "the first five, falls with the number of images in the set and rises with "
            "the number of repetitions averaged; dotted lines are chance.",
            plot_identification,
        ),
    ),
    "images": (
        Plot(
            "evoked",
            "Predicted and measured responses",
            "Columns of test images, evenly spaced over the test set: each picture, "
            "above the measured and the predicted response of one channel and of the "
            "mean of all.",
            _evoked,
            applies=_has_responses,
        ),
    ),
    "rsa": (
        Plot(
            "rsa_over_time",
            "Representational similarity over time",
            "Lines over time, one a layer and one of the predicted EEG: Spearman's r "
            "between its dissimilarities of the test images and those of the measured "
            "EEG, with intervals of 95 %; marks at the foot where p is below .05.",
            plot_rsa_over_time,
            applies=_is_over_time,
        ),
        Plot(
            "rsa_map",
            "Representational similarity: time by layer",
            "Colours: the same values, a row a layer and a column a time.",
            plot_rsa_map,
            applies=_is_over_time,
        ),
        Plot(
            "rdms",
            "Dissimilarities of the test images",
            "Square pictures, a row and a column an image: ranks of dissimilarities of "
            "each layer, and of the measured EEG at the time of the best fit.",
            plot_rdms,
            applies=_is_of_one,
        ),
    ),
    "rsa_files": (
        Plot(
            "rsa_files",
            "Representational similarity with measurements from files",
            "Points, one a layer: Spearman's r with the dissimilarities of each file, "
            "with intervals of 95 % and ceilings; filled where p is below .05.",
            plot_rsa_files,
            applies=_is_of_one,
        ),
        Plot(
            "rsa_files_rdms",
            "Dissimilarities from files",
            "Square pictures, a row and a column an image: ranks of dissimilarities of "
            "each file, before those of the layer that is most alike.",
            plot_file_rdms,
            applies=_is_of_one,
        ),
    ),
    "training": (
        Plot(
            "loss_curves",
            "Training",
            "Lines over epochs: each loss on training and on validation images, with "
            "the epoch whose weights were kept.",
            _losses,
            applies=_is_of_one,
        ),
    ),
}

# Names of the files, without ending, of all that may be drawn.
NAMES = tuple(plot.name for plots in PLOTS.values() for plot in plots)


def draw(findings: Findings, folder: pathlib.Path) -> list[Figure]:
    """Draws the figures of a part, each as PNG and SVG.

    Args:
      findings: of the part.
      folder: that there is.

    Returns:
      The PNGs, with the words that go with them.

    Raises:
      InputError: they cannot be written.
    """
    drawn = []
    for plot in PLOTS.get(findings.part, ()):
        if not plot.applies(findings):
            continue
        path = folder / f"{plot.name}.png"
        for kind in (".svg", ".png"):
            plot.draw(path.with_suffix(kind), findings)
        drawn.append(Figure(path, plot.title, plot.alt_text, findings.part))
    return drawn
