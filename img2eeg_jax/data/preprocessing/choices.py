"""What can be chosen in preprocessing."""

import dataclasses
import json
from typing import Any


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

    def repetitions(self, partition: str) -> int | None:
        """Returns the number kept per session, or None for all."""
        if partition == "training":
            return self.training_repetitions
        return self.test_repetitions

    def to_dict(self) -> dict[str, Any]:
        """Returns the choices as JSON keeps them."""
        return json.loads(json.dumps(dataclasses.asdict(self)))
