"""A figure that was drawn, and the words that go with it."""

import dataclasses
import pathlib


@dataclasses.dataclass(frozen=True)
class Figure:
    """A file with a picture, and what it shows.

    Attributes:
      path: of the PNG or SVG.
      title: in a few words.
      alt_text: what a reader who cannot see it should know: axes, and what stands out.
      part: the part of the evaluation that it belongs to; "" for the whole.
    """

    path: pathlib.Path
    title: str
    alt_text: str
    part: str = ""
