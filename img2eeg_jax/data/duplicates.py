"""Images that are in several splits: what was trained on is no test."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from img2eeg_jax.data.layout import PARTITIONS

if TYPE_CHECKING:
    from img2eeg_jax.data.shards.store import Shards

_LISTED = 5


def warning(shards: "Shards", held_out: Sequence[int] | np.ndarray = ()) -> str | None:
    """Returns a line about images that are trained on and tested, or validated, on.

    Images are the same if their pixels are, whatever their files are called.

    Args:
      shards: the images.
      held_out: rows of the training images that are for validation.

    Returns:
      Which they are; None if there are none.
    """
    held_out = [*map(int, held_out)]
    rows = {name: range(len(shards.images[name])) for name in PARTITIONS}
    trained = _by_pixels(shards, "training", set(rows["training"]) - set(held_out))
    lines = [
        _line(shards, trained, what, partition, of)
        for what, partition, of in (
            ("validation", "training", held_out),
            ("test", "test", rows["test"]),
        )
    ]
    return "; ".join(filter(None, lines)) or None


def _by_pixels(
    shards: "Shards", partition: str, rows: Sequence[int] | set[int]
) -> dict[str, str]:
    """Returns the name of an image for each digest of pixels."""
    digests, names = shards.pixels_sha256[partition], shards.image_list[partition]
    return {digests[row]: names[row] for row in sorted(rows, reverse=True)}


def _line(
    shards: "Shards",
    trained: Mapping[str, str],
    what: str,
    partition: str,
    rows: Sequence[int],
) -> str | None:
    digests, names = shards.pixels_sha256[partition], shards.image_list[partition]
    pairs = [
        f"{names[row]} is {trained[digests[row]]}"
        for row in rows
        if digests[row] in trained
    ]
    if not pairs:
        return None
    more = f" and {len(pairs) - _LISTED} more" if len(pairs) > _LISTED else ""
    return (
        f"warning: {len(pairs)} of {len(rows)} {what} images are training images, too: "
        f"{', '.join(pairs[:_LISTED])}{more}"
    )
