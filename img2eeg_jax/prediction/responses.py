"""The values of a prediction: an array with axes, a unit, and whose it is."""

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np

from img2eeg_jax.axes import Axes
from img2eeg_jax.data.unwhitening import Unwhitening
from img2eeg_jax.data.zscore import ZScore
from img2eeg_jax.errors import unexpected

# Fields that have a value for each image.
_BY_IMAGE = ("familiarity",)


@dataclasses.dataclass(frozen=True, eq=False)
class Responses:
    """Predicted responses to images, that is `Prediction` without its methods.

    Attributes:
      data: f32[image, channel, time] in `unit`; of features f32[image, feature].
      axes: channels and times of EEG, or features; and the unit of `data`.
      images: one name, or path, an image.
      subject: whose responses they are, a number, or "mean"; None if not known.
      zscore: the statistics that turn z-scores into the unit of the EEG that the
        network was trained on, z · std + mean; None if not known.
      unwhitening: the way from whitened EEG back to volts; None if there is none.
      simulated: whether the network was trained on simulated EEG.
      trust: how far to trust it, see `trust.Trust`; None if that is not known.
      no_trust: why it is not, in words.
      familiarity: f32[image], how far an image is from those of training: above 1 it is
        further than 99 % of new images like those; None if not known.
    """

    data: np.ndarray
    axes: Axes
    images: tuple[str, ...]
    subject: int | str | None = None
    zscore: ZScore | None = None
    unwhitening: Unwhitening | None = None
    simulated: bool = False
    trust: Any = None
    no_trust: str = "nobody measured it"
    familiarity: np.ndarray | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "images", tuple(self.images))
        of_image = self.axes.shape if self.is_eeg else self.axes.shape[:1]
        expected = (len(self.images), *of_image)
        if self.data.shape != expected:
            raise unexpected(
                "prediction", f"shape {expected} of images and axes", self.data.shape
            )

    @property
    def is_eeg(self) -> bool:
        """Whether there are channels and times, and not features alone."""
        return self.axes.has_times

    @property
    def grid(self) -> np.ndarray:
        """The data as f32[image, channel, time]; of features [image, feature, 1]."""
        return self.data.reshape(len(self.images), *self.axes.shape)

    @property
    def unit(self) -> str:
        """Of `data`: "µV", "whitened" or "z"; of features their own, or "unknown"."""
        return self.axes.unit

    @property
    def ch_names(self) -> tuple[str, ...]:
        """Names of the channels, or of the features."""
        return self.axes.ch_names

    @property
    def times_s(self) -> np.ndarray:
        """f64[time], seconds from image onset; empty of features."""
        return self.axes.times_s if self.is_eeg else np.empty(0)

    def __len__(self) -> int:
        """Returns the number of images."""
        return len(self.images)

    def __repr__(self) -> str:
        """Tells what it is, in a line."""
        shape = " × ".join(map(str, self.data.shape))
        what = f"{'EEG' if self.is_eeg else 'features'} in {self.unit!r}"
        whose = "" if self.subject is None else f" of subject {self.subject}"
        simulated = ", trained on simulated EEG" if self.simulated else ""
        return f"<Prediction: {shape}, {what}{whose}{simulated}>"

    def by_image(self) -> Mapping[str, np.ndarray | None]:
        """Returns the attributes, besides data and names, that have a row an image."""
        return {name: getattr(self, name) for name in _BY_IMAGE}


def told_simulated(responses: Responses) -> str:
    """Returns the words for responses of simulated brains; "" for others."""
    return "trained on simulated EEG" if responses.simulated else ""
