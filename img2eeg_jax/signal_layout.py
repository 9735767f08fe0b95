"""What the numbers of a predicted signal mean: channels, times, and which count."""

import dataclasses
import math

import numpy as np

CHANNELS_BY_TIMES = "channels_x_times"
CHANNEL_MEAN = "channel_mean"
FEATURES = "features"

# Name of the one virtual channel of a channel mean.
MEAN_CHANNEL = "mean"

# The official preprocessing of THINGS-EEG2: posterior channels in recording order, the
# times of an epoch, and of these the window that the published networks predict.
# fmt: off
OFFICIAL_CH_NAMES = (
    "Pz", "P3", "P7", "O1", "Oz", "O2", "P4", "P8", "P1",
    "P5", "PO7", "PO3", "POz", "PO4", "PO8", "P6", "P2",
)
# fmt: on
OFFICIAL_TIMES_S = np.arange(-20, 80) / 100
_PUBLISHED_WINDOW = slice(20, 40)


@dataclasses.dataclass(frozen=True)
class SignalLayout:
    """How a network's flat signal maps to channels and times.

    Attributes:
      kind: "channels_x_times"; "channel_mean", one virtual channel whose signal covers
        the whole epoch though only a window of it is trained; or "features", no EEG.
      shape: shape of the signal before flattening.
      ch_names: names of the channels; ("mean",) for the virtual one.
      times_s: times of the entries that count, seconds from image onset.
      window: (start, stop), entries of the signal that count; None for all.
    """

    kind: str
    shape: tuple[int, ...]
    ch_names: tuple[str, ...] = ()
    times_s: tuple[float, ...] = ()
    window: tuple[int, int] | None = None

    @classmethod
    def for_eeg(cls, kind, ch_names, times_s, epoch_times_s) -> "SignalLayout":
        """Builds the layout of a network trained on EEG.

        Args:
          kind: "channels_x_times" or "channel_mean".
          ch_names: channels of the EEG.
          times_s: times of the trained window, a contiguous part of `epoch_times_s`.
          epoch_times_s: all the times of an epoch.

        Raises:
          ValueError: an unknown kind.
        """
        times_s = tuple(float(time) for time in times_s)
        if kind == CHANNELS_BY_TIMES:
            return cls(kind, (len(ch_names), len(times_s)), tuple(ch_names), times_s)
        if kind == CHANNEL_MEAN:
            start = int(np.argmin(np.abs(np.asarray(epoch_times_s) - times_s[0])))
            window = (start, start + len(times_s))
            return cls(kind, (len(epoch_times_s),), (MEAN_CHANNEL,), times_s, window)
        raise ValueError(
            f"signal: expected {CHANNELS_BY_TIMES!r} or {CHANNEL_MEAN!r}, found "
            f"{kind!r}"
        )

    @classmethod
    def published(cls, size: int) -> "SignalLayout":
        """Returns the layout of a published network, told by the size of its signal.

        340 are the official 17 channels × 20 times, 100 the times of an epoch, of the
        mean channel; any other size is of features.
        """
        window_s = OFFICIAL_TIMES_S[_PUBLISHED_WINDOW]
        for kind in (CHANNELS_BY_TIMES, CHANNEL_MEAN):
            layout = cls.for_eeg(kind, OFFICIAL_CH_NAMES, window_s, OFFICIAL_TIMES_S)
            if layout.size == size:
                return layout
        return cls(FEATURES, (size,))

    @classmethod
    def from_dict(cls, entries: dict) -> "SignalLayout":
        """Rebuilds a layout from `to_dict`."""
        tuples = {
            name: tuple(value) if isinstance(value, list) else value
            for name, value in entries.items()
        }
        return cls(**tuples)

    def to_dict(self) -> dict:
        """Returns the layout in plain lists and numbers, for JSON."""
        return {
            name: list(value) if isinstance(value, tuple) else value
            for name, value in dataclasses.asdict(self).items()
        }

    @property
    def size(self) -> int:
        """Length of the flat signal."""
        return math.prod(self.shape)

    @property
    def is_eeg(self) -> bool:
        """Whether the signal has channels and times at all."""
        return self.kind != FEATURES

    def to_eeg(self, signal: np.ndarray) -> np.ndarray:
        """Maps flat signals [image, size] to [image, channel, time], z-scored EEG."""
        if self.window is not None:
            signal = signal[:, slice(*self.window)]
        return signal.reshape(-1, len(self.ch_names), len(self.times_s))

    def measured(self, eeg: np.ndarray) -> np.ndarray:
        """Maps z-scored EEG [..., channel, time] to what the signal predicts of it."""
        return eeg.mean(-2, keepdims=True) if self.kind == CHANNEL_MEAN else eeg
