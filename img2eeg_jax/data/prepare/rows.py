"""Which row of the EEG, and which trigger, is of which image."""

import os
import re
from collections.abc import Sequence

from img2eeg_jax.data import layout
from img2eeg_jax.errors import InputError

# Rows that are shown of each partition, before the last.
_N_SHOWN = 3


def describe_rows(data_dir: str | os.PathLike) -> str:
    """Returns the first and last images of each partition behind their triggers.

    And what the folders hold beside images, where these are not listed yet; "" where
    there are no images yet.
    """
    try:
        image_set = layout.find_image_set(data_dir)
    except InputError:
        return ""
    names = layout.image_list(image_set)
    lines = [f"{name} images by trigger: {_first_rows(names[name])}" for name in names]
    if any(_natural_order(partition) != partition for partition in names.values()):
        lines.append("rows are sorted as text, so that 10.png comes before 2.png")
    if not layout.metadata_path(data_dir).exists():
        lines += left_out_lines(data_dir)
    return "\n".join(lines)


def left_out_lines(data_dir: str | os.PathLike) -> list[str]:
    """Returns a line for each partition whose folder holds more than its images."""
    told = {
        name: layout.describe_left_out(data_dir, name) for name in layout.PARTITIONS
    }
    return [f"{name} images: {what}" for name, what in told.items() if what]


def _first_rows(names: Sequence[str]) -> str:
    shown = [f"{row} {name}" for row, name in enumerate(names, 1)]
    if len(shown) > _N_SHOWN + 1:
        shown[_N_SHOWN:-1] = ["…"]
    return ", ".join(shown)


def _natural_order(names: Sequence[str]) -> list[str]:
    """Sorts names as people do: 2.png before 10.png."""

    def key(name: str) -> list[tuple[int, str]]:
        # Texts and numbers alternate, so that like meets like.
        parts = re.split(r"(\d+)", name)
        return [
            (int(part), "") if odd % 2 else (0, part) for odd, part in enumerate(parts)
        ]

    return sorted(names, key=key)
