"""What the numbers of a predicted signal mean: channels, times, and which count."""

import dataclasses
import math

import numpy as np

from img2eeg_jax.axes import Axes
from img2eeg_jax.errors import unexpected

CHANNELS_BY_TIMES = "channels_x_times"
CHANNEL_MEAN = "channel_mean"
FEATURES = "features"

# Name of the one virtual channel of a channel mean.
MEAN_CHANNEL = "mean"


@dataclasses.dataclass(frozen=True)
class SignalLayout:
    """How a network's flat signal maps to channels and times.

    Attributes:
      kind: "channels_x_times"; "channel_mean", one virtual channel whose signal covers
        the whole epoch though only a window of it is trained; or "features", no EEG.
      shape: shape of the signal before flattening.
      eeg: channels and times of the EEG that it predicts, or the mean over whose
        channels; features by their names, or None of features whose names nobody knows.
      window: (start, stop), entries of the signal that count; None for all.
    """

    kind: str
    shape: tuple[int, ...]
    eeg: Axes | None = None
    window: tuple[int, int] | None = None

    @classmethod
    def for_eeg(cls, kind: str, eeg: Axes, epoch_times_s: np.ndarray) -> "SignalLayout":
        """Builds the layout of a network trained on EEG, or on other responses.

        Args:
          kind: "channels_x_times", "channel_mean" or "features".
          eeg: channels of the EEG, and times of the trained window, a contiguous part
            of `epoch_times_s`; or features.
          epoch_times_s: f64[time], all the times of an epoch, seconds.

        Raises:
          InputError: an unknown kind.
        """
        if kind == FEATURES:
            return cls(kind, (len(eeg.ch_names),), eeg)
        if kind == CHANNELS_BY_TIMES:
            return cls(kind, eeg.shape, eeg)
        if kind == CHANNEL_MEAN:
            start = int(np.argmin(np.abs(np.asarray(epoch_times_s) - eeg.times_s[0])))
            window = (start, start + len(eeg.times_s))
            return cls(kind, (len(epoch_times_s),), eeg, window)
        expected = f"{CHANNELS_BY_TIMES!r}, {CHANNEL_MEAN!r} or {FEATURES!r}"
        raise unexpected("signal", expected, repr(kind))

    @classmethod
    def from_dict(cls, entries: dict) -> "SignalLayout":
        """Rebuilds a layout from `to_dict`."""
        window, eeg = entries["window"], entries["eeg"]
        return cls(
            kind=entries["kind"],
            shape=tuple(entries["shape"]),
            eeg=None if eeg is None else Axes.from_dict(eeg),
            window=None if window is None else tuple(window),
        )

    def to_dict(self) -> dict:
        """Returns the layout in plain lists and numbers, for JSON."""
        return {
            "kind": self.kind,
            "shape": list(self.shape),
            "eeg": None if self.eeg is None else self.eeg.to_dict(),
            "window": None if self.window is None else list(self.window),
        }

    @property
    def axes(self) -> Axes:
        """Channels and times of what `to_eeg` gives, or features.

        Features whose names nobody knows are called by their numbers, from 0.
        """
        if self.eeg is None:
            return Axes.of_features([str(number) for number in range(self.size)])
        if self.kind != CHANNEL_MEAN:
            return self.eeg
        return dataclasses.replace(self.eeg, ch_names=(MEAN_CHANNEL,))

    @property
    def size(self) -> int:
        """Length of the flat signal."""
        return math.prod(self.shape)

    @property
    def is_eeg(self) -> bool:
        """Whether the signal has channels and times at all."""
        return self.kind != FEATURES

    def to_eeg(self, signal: np.ndarray) -> np.ndarray:
        """Maps flat signals [image, size] to [image, channel, time], z-scored EEG.

        Features are [image, feature, 1].
        """
        if self.window is not None:
            signal = signal[:, slice(*self.window)]
        return signal.reshape(-1, *self.axes.shape)

    def places_in(self, other: "SignalLayout | None") -> np.ndarray:
        """Finds the numbers of this signal in another, by channels and times.

        Args:
          other: the layout to look into; None of a network without a signal.

        Returns:
          i64[size], the place of each number in the other flat signal. Numbers of a
          channel mean outside the window, which nothing trains, lie anywhere.

        Raises:
          InputError: it is of another kind, or lacks channels or times.
        """
        if other is None or other.kind != self.kind:
            found = "none" if other is None else other.kind
            raise unexpected("signal", f"one of {self.kind}", found)
        if self.eeg is None or other.eeg is None:
            if other.shape != self.shape:
                raise unexpected("signal", f"shape {self.shape}", other.shape)
            return np.arange(self.size)
        if not self.is_eeg:
            return np.array(other.eeg.channel_rows(self.eeg.ch_names))
        times = self.eeg.places_of_times(other.eeg)
        if self.window is not None and other.window is not None:
            if not self.eeg.has_channels_of(other.eeg):
                expected = f"the mean of {', '.join(self.eeg.ch_names)}"
                raise unexpected(
                    "channels", expected, f"that of {', '.join(other.eeg.ch_names)}"
                )
            shift = other.window[0] + times[0] - self.window[0]
            return np.clip(np.arange(self.size) + shift, 0, other.size - 1)
        rows = np.array(other.eeg.channel_rows(self.eeg.ch_names))
        return (rows[:, np.newaxis] * other.shape[1] + times).ravel()

    def measured(self, eeg: np.ndarray) -> np.ndarray:
        """Maps z-scored EEG [..., channel, time] to what the signal predicts of it."""
        return eeg.mean(-2, keepdims=True) if self.kind == CHANNEL_MEAN else eeg
