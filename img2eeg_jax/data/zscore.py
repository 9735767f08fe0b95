"""z-scores: EEG without unit, per channel and time, and the way back."""

import dataclasses
from collections.abc import Sequence

import numpy as np

from img2eeg_jax.axes import Axes
from img2eeg_jax.errors import counted, unexpected


@dataclasses.dataclass(frozen=True, eq=False)
class ZScore:
    """Statistics that turn EEG into unitless z-scores, per channel and time.

    Attributes:
      mean: f32[channel, time], in the units of the EEG; or f32[subject, channel, time].
      std: of the same shape, population standard deviation, in the same units.
    """

    mean: np.ndarray
    std: np.ndarray

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, ZScore):
            return NotImplemented
        is_same = np.array_equal(self.mean, other.mean)
        return is_same and np.array_equal(self.std, other.std)

    @classmethod
    def identity(cls, axes: Axes) -> "ZScore":
        """Returns the statistics that change nothing: mean 0, standard deviation 1."""
        return cls(np.zeros(axes.shape, np.float32), np.ones(axes.shape, np.float32))

    @classmethod
    def from_dict(cls, entries: dict[str, list]) -> "ZScore":
        """Rebuilds the statistics from `to_dict`."""
        return cls(
            **{name: np.asarray(value, np.float32) for name, value in entries.items()}
        )

    def of_subject(self, position: int) -> "ZScore":
        """Takes one of several subjects."""
        return ZScore(self.mean[position], self.std[position])

    def to_dict(self) -> dict[str, list]:
        """Returns the statistics as plain lists, which JSON keeps exactly."""
        return {"mean": self.mean.tolist(), "std": self.std.tolist()}

    def apply(self, eeg: np.ndarray, out: np.ndarray | None = None) -> np.ndarray:
        """Computes z-scores.

        Args:
          eeg: f[..., channel, time], in the units of the EEG.
          out: f32 of the same shape, to be overwritten, which takes no other memory if
            `eeg` is f32; None makes a new array.

        Returns:
          The z-scores, f32, of the shape of `eeg`.
        """
        scores = np.subtract(eeg, self.mean, out=out)
        scores = np.divide(scores, self.std, out=out)
        return scores.astype(np.float32, copy=False)


def fit_zscore(mean_eeg: np.ndarray, axes: Axes | None = None) -> ZScore:
    """Computes z-score statistics over images, in float64 (ddof 0).

    Args:
      mean_eeg: f[image, channel, time].
      axes: names and times for the error message; by default they are numbered.

    Returns:
      The statistics per channel and time.

    Raises:
      InputError: the EEG of a channel and time, or a feature, is the same for all
        images.
    """
    mean = mean_eeg.mean(axis=0, dtype=np.float64)
    std = mean_eeg.std(axis=0, dtype=np.float64)
    # Compared exactly: the mean of equal values may be off by a rounding error.
    is_flat = mean_eeg.max(axis=0) == mean_eeg.min(axis=0)
    if is_flat.any():
        channel, time = np.argwhere(is_flat)[0]
        where, when = f"number {channel}", f"sample {time}"
        if axes is not None:
            where, when = axes.ch_names[channel], f"{axes.times_s[time]:.3f} s"
        what, place = "EEG that varies", f"channel {where}, {when}"
        if axes is not None and not axes.has_times:
            what, place = "responses that vary", f"feature {where}"
        raise unexpected(
            "z-score",
            f"{what} over the {counted(len(mean_eeg), 'image')}",
            f"a standard deviation of 0 at {place}",
        )
    return ZScore(mean.astype(np.float32), std.astype(np.float32))


def pooled_zscore(training: ZScore, test: ZScore) -> ZScore:
    """Averages the statistics of two partitions, as the published recipe does.

    The mean of two standard deviations is not the one of the pooled data; and the
    test images take part. It is here to reproduce published training.

    Args:
      training: statistics of the training partition.
      test: statistics of the test partition.

    Returns:
      The average of the means, and of the standard deviations.
    """
    return ZScore((training.mean + test.mean) / 2, (training.std + test.std) / 2)


def stack_zscores(statistics: Sequence[ZScore]) -> ZScore:
    """Returns the statistics of several subjects, [subject, channel, time]."""
    return ZScore(
        mean=np.stack([one.mean for one in statistics]),
        std=np.stack([one.std for one in statistics]),
    )
