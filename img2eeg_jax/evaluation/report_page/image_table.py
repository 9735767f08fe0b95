"""The best and the worst predicted images, with thumbnails."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from img2eeg_jax.evaluation.findings import Findings, Table
from img2eeg_jax.evaluation.metrics import METRICS
from img2eeg_jax.evaluation.report_page import columns
from img2eeg_jax.evaluation.report_page.pictures import thumbnail_uri
from img2eeg_jax.evaluation.report_page.words import number

# How many of the best, and of the worst.
_N = 10


@dataclasses.dataclass(frozen=True)
class ImageRow:
    """An image: its place from the best, thumbnail ("" if unknown), name, numbers."""

    place: int
    uri: str
    concept: str
    file: str
    cells: Sequence[tuple[str, float]]


@dataclasses.dataclass(frozen=True)
class ImageTable:
    """The best and the worst images by the first of some numbers."""

    head: Sequence[str]
    rows: Sequence[ImageRow]
    n_images: int
    n_subjects: int


def image_table(
    subjects: Mapping[Any, Mapping[str, Findings]], images: Mapping[str, NDArray]
) -> ImageTable | None:
    """Gathers numbers of each image from all parts, mean over subjects.

    Args:
      subjects: see `write_report`; tables with one row for each `image`.
      images: see `write_report`.

    Returns:
      None where no table has numbers of images.
    """
    names, values = _values(subjects)
    if not values:
        return None
    main = next(iter(values))
    # The highest is the best, but of a rank.
    sign = 1 if "rank" in main else -1
    order = np.argsort(sign * values[main], kind="stable")
    order = order[np.isfinite(values[main][order])]
    kept = [*range(len(order))]
    if len(order) > 2 * _N:
        kept = [*kept[:_N], *kept[-_N:]]
    rows = []
    for place in kept:
        row = order[place]
        concept, _, file = names[row].rpartition("/")
        rows.append(
            ImageRow(
                place=place + 1,
                uri=thumbnail_uri(images[names[row]]) if names[row] in images else "",
                concept=concept.lstrip("0123456789").lstrip("_").replace("_", " "),
                file=file,
                cells=[(_written(float(v[row])), v[row]) for v in values.values()],
            )
        )
    head = [METRICS[n].short_label if n in METRICS else _spoken(n) for n in values]
    return ImageTable(head, rows, len(order), len(subjects))


def _values(
    subjects: Mapping[Any, Mapping[str, Findings]],
) -> tuple[list[str], dict[str, NDArray[np.float64]]]:
    """Returns the images, and the mean over subjects of each number of theirs."""
    names: list[str] = []
    by_subject: dict[str, list[NDArray]] = {}
    for parts in subjects.values():
        # The part that is of images comes first: the order of the table is its own.
        for part, findings in sorted(parts.items(), key=lambda of: of[0] != "images"):
            for table in findings.tables.values():
                if part == "leaks" or not _is_of_images(table):
                    continue
                names = names or np.asarray(table["image"]).tolist()
                if np.asarray(table["image"]).tolist() == names:
                    for column in _numbers(table):
                        by_subject.setdefault(column, []).append(table[column])
    means = {
        column: np.asarray(np.mean(values, axis=0, dtype=np.float64))
        for column, values in by_subject.items()
    }
    return names, means


def _is_of_images(table: Table) -> bool:
    """Tells whether a table has one row for each image."""
    if "image" not in table:
        return False
    return len(set(np.asarray(table["image"]).tolist())) == len(table["image"])


def _numbers(table: Table) -> list[str]:
    return [
        name
        for name, column in table.items()
        if name not in columns.KEYS and np.asarray(column).dtype.kind in "fiu"
    ]


def _written(value: float) -> str:
    """Returns a number; ranks as whole ones."""
    return number(int(value) if value.is_integer() else value)


def _spoken(name: str) -> str:
    return name.replace("_", " ")
