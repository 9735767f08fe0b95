"""What can be chosen in preprocessing."""

import dataclasses
import json
import os
from typing import Any

from img2eeg_jax.errors import unexpected


@dataclasses.dataclass(frozen=True, kw_only=True)
class Choices:
    """What can be chosen; the defaults are the official preprocessing.

    Attributes:
      channels: ``"official"`` (names that start with O or P), ``"all"``, or names.
      epoch_s: first and last time of an epoch, seconds from image onset.
      baseline_s: first and last time of the baseline; None as an end means the end of
        the epoch, None instead of the pair no baseline correction.
      sfreq_hz: sampling rate of the result.
      bandpass_hz: low and high edge of a filter of the whole recording, None for none.
      reject_uv: largest peak-to-peak amplitude of a channel in an epoch that is kept.
      mvnn: ``"time"``, ``"epochs"`` or ``"off"``, see `whitening`.
      mvnn_partitions: ``"both"``, or ``"training"`` to keep test data out of the
        covariance.
      sessions: numbers or labels of the sessions to use; None for all.
      training_repetitions: kept of each training image in each session where it occurs;
        None for all, as many as every image has over all sessions.
      test_repetitions: the same for test images.
      seed: of the choice and the order of repetitions.
      raw_unit: unit of the numbers in the recordings, ``"V"``, ``"mV"``, ``"uV"`` or
        ``"nV"``; None for what they say, where it can be that of EEG.
    """

    channels: str | tuple[str, ...] = "official"
    epoch_s: tuple[float, float] = (-0.2, 0.8)
    baseline_s: tuple[float | None, float | None] | None = (None, 0.0)
    sfreq_hz: float = 100.0
    bandpass_hz: tuple[float, float] | None = None
    reject_uv: float | None = None
    mvnn: str = "time"
    mvnn_partitions: str = "both"
    sessions: tuple[int | str, ...] | None = None
    training_repetitions: int | None = 2
    test_repetitions: int | None = 20
    seed: int = 20200220
    raw_unit: str | None = None

    def repetitions(self, partition: str) -> int | None:
        """Returns the number kept per session, or None for all."""
        if partition == "training":
            return self.training_repetitions
        return self.test_repetitions

    def to_dict(self) -> dict[str, Any]:
        """Returns the choices as JSON keeps them."""
        return json.loads(json.dumps(dataclasses.asdict(self)))

    def check_for(self, sfreq_hz: float, path: str | os.PathLike) -> None:
        """Checks that a recording can be preprocessed so.

        Args:
          sfreq_hz: the recording's sampling rate.
          path: its file, for messages.

        Raises:
          InputError: it cannot, or the choices contradict each other.
        """
        first_s, last_s = self.epoch_s
        if not first_s < last_s:
            raise unexpected("`epoch_s`", "a first time before the last", self.epoch_s)
        if self.baseline_s is not None:
            start_s, end_s = (
                default if end is None else end
                for end, default in zip(self.baseline_s, self.epoch_s, strict=True)
            )
            # Ends may be off by a sample of the recording.
            margin_s = 1 / sfreq_hz
            if not first_s - margin_s <= start_s <= end_s <= last_s + margin_s:
                expected = f"times within the epoch, {first_s:g} to {last_s:g} s"
                raise unexpected("`baseline_s`", expected, f"{start_s:g} to {end_s:g}")
        if sfreq_hz < self.sfreq_hz:
            expected = f"a sampling rate of at least {self.sfreq_hz:g} Hz"
            raise unexpected(path, expected, f"{sfreq_hz:g} Hz; `sfreq_hz` lowers it")
        if self.bandpass_hz is not None and self.bandpass_hz[1] >= sfreq_hz / 2:
            expected = f"`bandpass_hz` below half the sampling rate of {sfreq_hz:g} Hz"
            raise unexpected(path, expected, f"{self.bandpass_hz[1]:g} Hz")
