"""How much one visitor of the page may ask for at once."""

import dataclasses

from img2eeg_jax.errors import InputError, unexpected


class Refused(InputError):
    """A request that the page does not answer.

    Attributes:
      status: of HTTP.
    """

    def __init__(self, message: str, status: int = 400):
        super().__init__(message)
        self.status = status


@dataclasses.dataclass(frozen=True)
class Limits:
    """Of one request; memory is bounded by `n_readers` times `n_bytes`.

    Attributes:
      n_bytes: of all pictures together.
      n_pictures: in one request.
      n_pixels: of one picture.
      n_readers: requests whose pictures are in memory at a time; others wait.
      read_s: seconds in which a request must have arrived.
    """

    n_bytes: int = 30_000_000
    n_pictures: int = 12
    n_pixels: int = 50_000_000
    n_readers: int = 4
    read_s: float = 60.0

    def refuse_bytes(self) -> Refused:
        """Returns what says that a request is too large."""
        expected = f"at most {self.n_bytes // 1_000_000} MB together"
        return _refused(expected, "more", 413)

    def refuse_count(self) -> Refused:
        """Returns what says that there are too many pictures."""
        return _refused(f"at most {self.n_pictures}", "more", 413)

    def refuse_slow(self) -> Refused:
        """Returns what says that a request did not arrive."""
        return _refused(f"all within {self.read_s:g} s", "a slower upload", 408)


def _refused(expected: str, found: str, status: int) -> Refused:
    return Refused(str(unexpected("pictures", expected, found)), status)
