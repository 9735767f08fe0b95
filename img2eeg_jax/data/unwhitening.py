"""The way back from whitened EEG to the unit of the recordings."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from img2eeg_jax.errors import unexpected


@dataclasses.dataclass(frozen=True, eq=False)
class Unwhitening:
    """A matrix that maps whitened EEG to volts.

    Each session was whitened by its own matrix, x ↦ W·x over channels. This is the mean
    over sessions of W⁻¹: what a whitened response is in volts if it is the same in all
    sessions, averaged over them.

    Attributes:
      ch_names: the channels that were whitened together.
      matrix: f64[channel, channel], volts of a whitened unit.
    """

    ch_names: tuple[str, ...]
    matrix: np.ndarray

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Unwhitening):
            return NotImplemented
        is_same = np.array_equal(self.matrix, other.matrix)
        return is_same and self.ch_names == other.ch_names

    @classmethod
    def from_record(cls, record: Mapping[str, Any] | None) -> "Unwhitening | None":
        """Reads the record of a preprocessing (see `preprocessing.record`).

        Returns:
          The way back; None if EEG was not whitened, or was by matrices that nobody
          recorded, as in records of format 1.
        """
        if record is None or not record.get("whitening"):
            return None
        inverses = [
            np.linalg.inv(np.array(one["matrix"])) for one in record["whitening"]
        ]
        return cls(tuple(record["ch_names"]), np.mean(inverses, axis=0))

    def to_volts(self, whitened: np.ndarray, ch_names: Sequence[str]) -> np.ndarray:
        """Maps f[..., channel, time] to f64 of the same shape, in volts.

        Raises:
          InputError: `ch_names` are not the channels that were whitened together.
        """
        if set(ch_names) != set(self.ch_names):
            raise unexpected(
                "channels",
                f"all {len(self.ch_names)} that were whitened together, for each "
                "whitened one is a sum of them; choose channels afterwards",
                ", ".join(ch_names),
            )
        rows = [self.ch_names.index(name) for name in ch_names]
        return self.matrix[np.ix_(rows, rows)] @ np.asarray(whitened, np.float64)
