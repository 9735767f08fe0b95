"""Channels and times: what the last two axes of EEG mean, and how parts are chosen.

Responses of other kinds, voxels or ratings, are features alone. In arrays they have one
time, so that what is done at each channel and time is done to them, too.
"""

import dataclasses
import unicodedata
from collections.abc import Sequence

import numpy as np

from img2eeg_jax.errors import counted, listed, unexpected

# Units of EEG. What is whitened (MVNN) has none; of published weights none is known.
VOLTS, WHITENED, UNKNOWN = "V", "whitened", "unknown"

# More units, of predictions. Z-scores are in standard deviations over training images.
MICROVOLTS, Z = "µV", "z"

# Times that differ by less are the same: rounding, or float32 in a file.
_SAME_S = 1e-6
# Times of a window that are further from image onset were meant as milliseconds.
_FURTHEST_S = 10.0


@dataclasses.dataclass(frozen=True, eq=False)
class Axes:
    """The names of channels, the times of samples, and the unit of the values.

    Attributes:
      ch_names: the name of each channel; or of each feature.
      times_s: f64[time], seconds from image onset, ascending; of features NaN, once.
      unit: "V", "whitened" or "unknown"; of predictions "µV", "whitened" or "z"; of
        features whatever they are in.
    """

    ch_names: tuple[str, ...]
    times_s: np.ndarray
    unit: str = UNKNOWN

    def __post_init__(self) -> None:
        object.__setattr__(self, "ch_names", tuple(self.ch_names))
        times_s = np.array(self.times_s, np.float64)
        times_s.setflags(write=False)
        object.__setattr__(self, "times_s", times_s)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Axes):
            return NotImplemented
        is_same = (self.ch_names, self.unit) == (other.ch_names, other.unit)
        return is_same and self.has_times_of(other)

    def has_times_of(self, other: "Axes") -> bool:
        """Tells whether times are the same but for rounding."""
        times_s, others_s = self.times_s, other.times_s
        is_long = len(times_s) == len(others_s)
        return is_long and np.allclose(
            times_s, others_s, rtol=0, atol=_SAME_S, equal_nan=True
        )

    def has_channels_of(self, other: "Axes") -> bool:
        """Tells whether the channels are the same, in whatever order.

        FPZ is Fpz, and Unicode's forms of a letter are one.
        """
        mine, others = (sorted(map(_plain, axes.ch_names)) for axes in (self, other))
        return mine == others

    @classmethod
    def of_features(cls, names: Sequence[str], unit: str = UNKNOWN) -> "Axes":
        """Returns the axes of responses that have no times, f[..., feature, 1]."""
        return cls(tuple(names), np.array([np.nan]), unit)

    @property
    def has_times(self) -> bool:
        """Whether these are channels and times, and not features alone."""
        return not np.isnan(self.times_s).any()

    @property
    def shape(self) -> tuple[int, int]:
        """(number of channels, number of times); of features (their number, 1)."""
        return len(self.ch_names), len(self.times_s)

    def __str__(self) -> str:
        """Returns how many there are, in words."""
        n_channels, n_times = self.shape
        if not self.has_times:
            return counted(n_channels, "feature")
        return f"{counted(n_channels, 'channel')} × {counted(n_times, 'time')}"

    def select(
        self,
        channels: Sequence[str] | None = None,
        window_s: tuple[float, float] | None = None,
    ) -> "Axes":
        """Returns the axes of what `take` takes; arguments and errors are the same."""
        rows, window = self.channel_rows(channels), self.window(window_s)
        names = tuple(self.ch_names[row] for row in rows)
        return Axes(names, self.times_s[window], self.unit)

    def take(
        self,
        values: np.ndarray,
        channels: Sequence[str] | None = None,
        window_s: tuple[float, float] | None = None,
    ) -> np.ndarray:
        """Takes channels and a window of EEG.

        Args:
          values: f[..., channel, time].
          channels: names of the channels, in the order wanted; None takes all.
          window_s: first and last time in seconds, see `window`; None takes all.

        Returns:
          f[..., channel', time'], a view of `values` where the channels stay.

        Raises:
          InputError: there is no such channel, or no sample in the window.
        """
        rows, window = self.channel_rows(channels), self.window(window_s)
        # An index copies even where it takes everything.
        if rows != list(range(len(self.ch_names))):
            values = values[..., rows, :]
        return values[..., window]

    def channel_rows(self, channels: Sequence[str] | None) -> list[int]:
        """Returns the row of each channel that is named; all of them for None.

        Raises:
          InputError: a name is unknown or comes twice, or there is none.
        """
        if channels is None:
            return list(range(len(self.ch_names)))
        # Looked up at once: there may be as many features as there are voxels.
        known = {name: row for row, name in enumerate(self.ch_names)}
        rows_of = {
            name: known[name] if name in known else find_channel(name, self.ch_names)
            for name in channels
        }
        unknown = [name for name, row in rows_of.items() if row is None]
        rows = [row for row in rows_of.values() if row is not None]
        if unknown or not channels or len(set(rows)) != len(channels):
            raise unexpected(
                "channels",
                f"different names out of {listed(self.ch_names)}",
                listed(unknown or channels) or "none",
            )
        return rows

    def places_of_times(self, other: "Axes") -> np.ndarray:
        """Returns which of another's times each time is, i64[time].

        They are the same if they are closer than a tenth of what lies between the
        other's times: those of a recording seldom fall on round times.

        Raises:
          InputError: the other has not got a time.
        """
        distances_s = np.abs(self.times_s[:, np.newaxis] - other.times_s)
        places = distances_s.argmin(axis=1)
        steps_s = np.diff(other.times_s) if len(other.times_s) > 1 else np.ones(1)
        missing = self.times_s[distances_s.min(axis=1) > steps_s.min() / 10]
        if len(missing):
            first_s, last_s = other.times_s[[0, -1]]
            raise unexpected(
                "times",
                f"{len(self.times_s)}, {self.times_s[0]:g} to {self.times_s[-1]:g} s",
                f"{len(other.times_s)}, {first_s:g} to {last_s:g} s, without "
                f"{missing[0]:g} s",
            )
        return places

    def window(self, window_s: tuple[float, float] | None) -> slice:
        """Returns the samples from a first to a last time, both included.

        Each end may be off by half a sample, because recordings' samples seldom fall on
        round times. Where the data cover a part of the window, that part is taken.

        Args:
          window_s: (first, last) in seconds from image onset; None for all.

        Raises:
          InputError: it runs backwards, holds no sample, or has a time further than
            10 s from image onset; or these are features.
        """
        times_s = self.times_s
        if window_s is None:
            return slice(0, len(times_s))
        if not self.has_times:
            expected = "none, for responses without times"
            raise unexpected("window", expected, "{:g} to {:g} s".format(*window_s))
        first_s, last_s = window_s
        if max(abs(first_s), abs(last_s)) > _FURTHEST_S:
            expected = f"seconds from image onset, at most {_FURTHEST_S:g}"
            raise unexpected("window", expected, f"{first_s} to {last_s}")
        tolerance_s = self._tolerance_s
        start = int(np.searchsorted(times_s, first_s - tolerance_s, "left"))
        stop = int(np.searchsorted(times_s, last_s + tolerance_s, "right"))
        if first_s > last_s or start >= stop:
            raise unexpected(
                "window",
                f"a window in {times_s[0]:.3f} to {times_s[-1]:.3f} s that holds a "
                "sample",
                f"{first_s} to {last_s} s",
            )
        return slice(start, stop)

    @property
    def _tolerance_s(self) -> float:
        """How far the ends of a window may be off: half a sample."""
        times_s = self.times_s
        half_s = np.median(np.diff(times_s)) / 2 if len(times_s) > 1 else 0.0
        # A little less, so that rounding does not decide about ties.
        return half_s * (1 - 1e-6)

    def cut(self, window_s: tuple[float, float]) -> str | None:
        """Returns which part of a window the data cover, in words; None for all of it.

        Raises:
          InputError: see `window`.
        """
        (first_s, last_s), taken_s = window_s, self.times_s[self.window(window_s)]
        tolerance_s = self._tolerance_s
        starts = self.times_s[0] - tolerance_s <= first_s
        if starts and last_s <= self.times_s[-1] + tolerance_s:
            return None
        covered = f"{taken_s[0]:.3f} to {taken_s[-1]:.3f} s"
        return f"the data cover {covered} of the window {first_s:g} to {last_s:g} s"

    def span_s(self, window: slice | np.ndarray) -> list[float] | None:
        """Returns the first and the last time of a window; None without times."""
        return self.times_s[window][[0, -1]].tolist() if self.has_times else None

    def to_dict(self) -> dict:
        """Returns the axes in plain lists, which JSON keeps exactly."""
        return {
            "ch_names": list(self.ch_names),
            "times_s": self.times_s.tolist() if self.has_times else None,
            "unit": self.unit,
        }

    @classmethod
    def from_dict(cls, entries: dict) -> "Axes":
        """Rebuilds axes from `to_dict`."""
        if entries["times_s"] is None:
            return cls.of_features(entries["ch_names"], entries["unit"])
        return cls(**entries)


def spoken_window(window_s: Sequence[float] | None) -> str:
    """Returns a window in words, such as "100-300 ms"; "" without times."""
    if window_s is None:
        return ""
    return "{:.0f}-{:.0f} ms".format(*(1e3 * end_s for end_s in window_s))


def find_channel(name: str, ch_names: Sequence[str]) -> int | None:
    """Returns the row of a channel, or of the only one whose name means the same.

    None if there is no such channel.
    """
    if name in ch_names:
        return ch_names.index(name)
    plain = [_plain(other) for other in ch_names]
    return plain.index(_plain(name)) if plain.count(_plain(name)) == 1 else None


def _plain(ch_name: str) -> str:
    """Returns what a channel's name has in common with others that mean the same."""
    return unicodedata.normalize("NFC", ch_name).strip().casefold()
