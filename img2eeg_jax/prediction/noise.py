"""The noise of single trials: how large it is, and how it goes together."""

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np

from img2eeg_jax.axes import Axes


@dataclasses.dataclass(frozen=True, eq=False)
class TrialNoise:
    """What single trials differ by from the response to their image, in z-scores.

    Its covariance is separable but for its size: that of channels c, d at times s, t
    is sd[c, s] · sd[d, t] · between_channels[c, d] · between_times[s, t].

    Attributes:
      sd: f32[channel, time], its standard deviation in a single trial.
      between_channels: f32[channel, channel], correlations at the same time.
      between_times: f32[time, time], correlations in the same channel.
    """

    sd: np.ndarray
    between_channels: np.ndarray
    between_times: np.ndarray

    @classmethod
    def fit(cls, trials: np.ndarray) -> "TrialNoise | None":
        """Estimates the noise from repetitions.

        Args:
          trials: f32[image, repetition, channel, time], z-scored EEG.

        Returns:
          The noise; None where there is one repetition.
        """
        n_images, n_repetitions, *shape = trials.shape
        if n_repetitions < 2:
            return None
        squares = np.zeros(shape)
        for of_image in trials:
            squares += np.square(_deviations(of_image)).sum(0)
        sd = np.sqrt(squares / (n_images * (n_repetitions - 1)))
        unit = np.where(sd > 0, sd, 1)
        channels, times = (np.zeros((n, n)) for n in shape)
        for of_image in trials:
            scaled = _deviations(of_image) / unit
            channels += np.einsum("rct,rdt->cd", scaled, scaled, optimize=True)
            times += np.einsum("rcs,rct->st", scaled, scaled, optimize=True)
        return cls(sd.astype(np.float32), _correlation(channels), _correlation(times))

    def covariance(self) -> np.ndarray:
        """Returns f64[channel, time, channel, time], of z-scores in a single trial."""
        together = np.einsum(
            "cd,st->csdt",
            self.between_channels.astype(np.float64),
            self.between_times.astype(np.float64),
        )
        return self.sd[:, :, np.newaxis, np.newaxis] * together * self.sd

    def select(
        self,
        axes: Axes,
        channels: Sequence[str] | None,
        window_s: tuple[float, float] | None,
    ) -> "TrialNoise":
        """Returns the noise of some channels and times; see `Axes.take`."""
        rows, window = axes.channel_rows(channels), axes.window(window_s)
        return TrialNoise(
            self.sd[rows, window],
            self.between_channels[np.ix_(rows, rows)],
            self.between_times[window, window],
        )

    def draw(self, n_trials: int, rng: np.random.Generator) -> np.ndarray:
        """Draws Gaussian noise, f32[trial, channel, time], in z-scores."""
        white = rng.standard_normal((n_trials, *self.sd.shape), np.float32)
        left, right = _root(self.between_channels), _root(self.between_times)
        return self.sd * (left @ white @ right)

    def arrays(self) -> dict[str, np.ndarray]:
        """Returns what a file keeps of it."""
        return {f"noise_{name}": value for name, value in vars(self).items()}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, np.ndarray]) -> "TrialNoise | None":
        """Rebuilds it from `arrays`, among others; None if they are not there."""
        names = [field.name for field in dataclasses.fields(cls)]
        if not {f"noise_{name}" for name in names} <= arrays.keys():
            return None
        return cls(**{name: arrays[f"noise_{name}"] for name in names})


def _deviations(of_image: np.ndarray) -> np.ndarray:
    """Returns f64[repetition, channel, time], trials less their mean."""
    of_image = of_image.astype(np.float64)
    return of_image - of_image.mean(0)


def _correlation(products: np.ndarray) -> np.ndarray:
    """Scales sums of products to a diagonal of 1; what never varies has no partner."""
    length = np.sqrt(np.diag(products))
    length = np.where(length > 0, length, 1)
    correlation = products / length / length[:, np.newaxis]
    np.fill_diagonal(correlation, 1)
    return correlation.astype(np.float32)


def _root(correlation: np.ndarray) -> np.ndarray:
    """Returns the symmetric root; of an average reference one value of it is 0."""
    values, vectors = np.linalg.eigh(correlation.astype(np.float64))
    root = (vectors * np.sqrt(np.maximum(values, 0))) @ vectors.T
    return root.astype(np.float32)
