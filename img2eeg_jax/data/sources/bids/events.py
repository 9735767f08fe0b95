"""The events of a recording in BIDS: which image came on when, and what is bad."""

import collections
import dataclasses
import fnmatch
import pathlib
from collections.abc import Mapping, Sequence

import numpy as np

from img2eeg_jax.data import layout
from img2eeg_jax.data.sources import marks
from img2eeg_jax.data.sources.bids.files import (
    NO_VALUE,
    Table,
    as_number,
    read_table,
    same_form,
)
from img2eeg_jax.errors import unexpected

_FOLDERS = frozenset(f"{partition}_images" for partition in layout.PARTITIONS)
# Where BIDS and MNE-BIDS write what an event is.
_KINDS = ("trial_type", "value")

# A name that an image may have in a table of events → (partition, row) of all images
# of that name.
Images = Mapping[str, Sequence[tuple[str, int]]]


@dataclasses.dataclass(frozen=True)
class Events:
    """The image onsets of a recording, in the order of its events.

    Attributes:
      onsets_s: f64[trial], seconds from the start of the recording.
      partitions: str[trial], ``"training"`` or ``"test"``.
      conditions: i64[trial], row of the image in its partition, from 0.
      marks: those that leave trials out.
      n_ignored: events of images that are to be ignored.
    """

    onsets_s: np.ndarray
    partitions: np.ndarray
    conditions: np.ndarray
    marks: Sequence[marks.Mark]
    n_ignored: int = 0

    def are_those_of(self, other: "Events") -> bool:
        """Tells whether the same images came on at the same times, to 10 ms."""
        return (
            len(self.onsets_s) == len(other.onsets_s) > 0
            and np.array_equal(self.partitions, other.partitions)
            and np.array_equal(self.conditions, other.conditions)
            and np.allclose(self.onsets_s, other.onsets_s, rtol=0, atol=0.01)
        )


def images_by_name(image_set: layout.ImageSet) -> Images:
    """Returns the images by all names that events may give them."""
    images = collections.defaultdict(list)
    for partition in layout.PARTITIONS:
        for row, path in enumerate(image_set.files(partition)):
            # FILE, CONCEPT/FILE and training_images/CONCEPT/FILE.
            for n_parts in (1, 2, 3):
                name = same_form("/".join(path.parts[-n_parts:]))
                images[name].append((partition, row))
    return dict(images)


def read_events(
    path: pathlib.Path,
    image_column: str,
    images: Images,
    ignore_images: Sequence[str] = (),
) -> Events:
    """Reads and checks a table of events.

    Args:
      path: ``*_events.tsv``.
      image_column: see `find_sessions`.
      images: from `images_by_name`.
      ignore_images: see `find_sessions`.

    Raises:
      InputError: it lacks a column, names what is no image of the data set, has an
        onset that is no time, or two images at once.
    """
    table = read_table(path)
    for column in ("onset", image_column):
        if column not in table.header:
            more = "" if column == "onset" else "; `image_column` takes another"
            raise unexpected(
                path, f"a column {column}", f"{', '.join(table.header) or 'none'}{more}"
            )
    trials, n_ignored = [], 0
    lines: dict[float, int] = {}
    for line, row in table.rows:
        name = row[image_column]
        if name in NO_VALUE:
            continue
        if any(fnmatch.fnmatchcase(name, pattern) for pattern in ignore_images):
            n_ignored += 1
            continue
        found = _find_images(name, images)
        if len(found) != 1:
            raise unexpected(
                path,
                f"in line {line} the name of one image of the data set, or n/a",
                f"{name}, the name of {len(found) or 'none'}; "
                f"`ignore_images={name}` leaves it out",
            )
        onset_s = as_number(row["onset"], "an onset", path, line)
        other = lines.setdefault(onset_s, line)
        if other != line:
            raise unexpected(
                path,
                "one image at a time",
                f"two at {onset_s:g} s in lines {other} and {line}",
            )
        trials.append((onset_s, *found[0]))
    onsets_s, partitions, conditions = zip(*trials, strict=True) if trials else [()] * 3
    return Events(
        np.array(onsets_s, np.float64),
        np.array(partitions, np.str_),
        np.array(conditions, np.int64),
        _marks(table, image_column),
        n_ignored,
    )


def _find_images(name: str, images: Images) -> Sequence[tuple[str, int]]:
    """Returns (partition, row) of the images that a name of any length may mean."""
    parts = same_form(name).replace("\\", "/").split("/")
    # Folders that are named must be those of the image: others may hold its namesake.
    n_parts = 3 if len(parts) > 2 and parts[-3] in _FOLDERS else 2
    return images.get("/".join(parts[-n_parts:]), ())


def _marks(table: Table, image_column: str) -> list[marks.Mark]:
    """Returns the marks that leave trials out; a row with an image is never one."""
    found = []
    for line, row in table.rows:
        kinds = [row[column] for column in _KINDS if column in row]
        kind = next(filter(marks.leaves_out, kinds), None)
        if kind is None or row[image_column] not in NO_VALUE:
            continue
        onset_s = as_number(row["onset"], "an onset", table.path, line)
        text = row.get("duration", "")
        duration_s = 0.0
        if text not in NO_VALUE:
            duration_s = as_number(text, "a duration", table.path, line)
        if duration_s < 0:
            raise unexpected(
                table.path, f"in line {line} a duration from 0", f"{duration_s:g}"
            )
        found.append((onset_s, duration_s, kind))
    return found
