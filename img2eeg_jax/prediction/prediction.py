"""What a network predicts of images, as it travels to scores and files."""

import os
import pathlib
from dataclasses import dataclass

import numpy as np

from img2eeg_jax.axes import UNKNOWN, Axes
from img2eeg_jax.data.zscore import ZScore
from img2eeg_jax.errors import unexpected
from img2eeg_jax.files import replacing

# Units of predictions. Z-scores are in standard deviations over the training images.
Z, MICROVOLTS = "z", "µV"


@dataclass(frozen=True, eq=False)
class Prediction:
    """The predicted responses to images.

    Attributes:
      data: f32[image, channel, time]; of features f32[image, feature].
      axes: channels and times of EEG, and the unit of `data`; None of features.
      images: one name, or path, an image.
      subject: whose responses they are; None if that is not known.
      zscore: the statistics that turn z-scores into the unit of the EEG that the
        network was trained on, z · std + mean; None if not known.
    """

    data: np.ndarray
    axes: Axes | None
    images: tuple[str, ...]
    subject: int | str | None = None
    zscore: ZScore | None = None

    def __post_init__(self):
        object.__setattr__(self, "images", tuple(self.images))
        of_image = self.data.shape[1:] if self.axes is None else self.axes.shape
        expected = (len(self.images), *of_image)
        if self.data.shape != expected:
            raise unexpected(
                "prediction", f"shape {expected} of images and axes", self.data.shape
            )

    @property
    def unit(self) -> str:
        """Of `data`: "µV", "whitened" or "z"; "unknown" of features."""
        return UNKNOWN if self.axes is None else self.axes.unit

    def __len__(self) -> int:
        """Returns the number of images."""
        return len(self.images)

    def arrays(self) -> dict[str, np.ndarray]:
        """Returns the arrays of `write_npz`, the names of images aside."""
        if self.axes is None:
            return {"signal": self.data}
        arrays = {
            "eeg": self.data,
            "ch_names": np.array(self.axes.ch_names),
            "times_s": np.array(self.axes.times_s),
        }
        if self.zscore is not None:
            arrays |= {"zscore_mean": self.zscore.mean, "zscore_std": self.zscore.std}
        return arrays

    def write_npz(self, path: str | os.PathLike) -> None:
        """Writes or replaces an `.npz` file.

        It holds `images`, the names; and `eeg` f32[image, channel, time] with
        `ch_names`, `times_s` (seconds from image onset) and, where they are known,
        `zscore_mean` and `zscore_std` [channel, time]. What is not EEG gives `signal`
        f32[image, feature] instead.
        """
        with replacing(pathlib.Path(path)) as temporary, open(temporary, "wb") as file:
            np.savez(file, images=np.array(self.images), **self.arrays())
