"""When a run is to stop or to save: signals, time, what other processes say."""

import contextlib
import dataclasses
import signal
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

from img2eeg_jax.devices.parallel import DataParallel

# Processes agree on stopping and saving only so often: to agree they wait.
_AGREE_EVERY = 10


@dataclasses.dataclass(frozen=True)
class Limits:
    """What may be different in another session of the same run.

    Attributes:
      num_epochs: of the whole run.
      deadline_s: `time.monotonic()` at which it saves and stops; None for no limit.
      checkpoint_minutes: between saves within an epoch; 0 for none.
      profile_steps: steps that are traced into WORKDIR/profile; 0 for none.
      peak_tflops: of the devices together, for the summary; 0 if unknown.
    """

    num_epochs: int
    deadline_s: float | None = None
    checkpoint_minutes: float = 0.0
    profile_steps: int = 0
    peak_tflops: float = 0.0


class Requests:
    """When to stop and when to save within an epoch: the same in all processes."""

    def __init__(
        self, parallel: DataParallel, limits: Limits, stop_requested: Callable[[], bool]
    ):
        """Counts the minutes between saves from now on.

        Args:
          parallel: the processes that have to agree.
          limits: of the session.
          stop_requested: tells whether a signal has come.
        """
        self._parallel = parallel
        self._limits = limits
        self._stop_requested = stop_requested
        self._saved_s = time.monotonic()

    def note_save(self) -> None:
        """Counts the minutes until the next save from now on."""
        self._saved_s = time.monotonic()

    def ask(self, step_in_epoch: int, is_end: bool) -> tuple[bool, bool]:
        """Returns whether to stop and whether to save.

        Args:
          step_in_epoch: steps of the epoch that are done.
          is_end: whether they are all; an epoch's end saves anyway.
        """
        is_turn = step_in_epoch % _AGREE_EVERY == 0 or is_end
        if self._parallel.process_count > 1 and not is_turn:
            return False, False
        now, limits = time.monotonic(), self._limits
        is_late = limits.deadline_s is not None and limits.deadline_s <= now
        is_due = 0 < 60 * limits.checkpoint_minutes <= now - self._saved_s
        must_stop, must_save = self._parallel.any_process(
            [self._stop_requested() or is_late, is_due and not is_end]
        )
        return must_stop, must_save


@contextlib.contextmanager
def stop_signals() -> Iterator[threading.Event]:
    """Turns the first SIGINT or SIGTERM into a request; a second one acts at once."""
    stop = threading.Event()
    previous: dict[int, Any] = {}

    def request(number: int, _: object) -> None:
        stop.set()
        signal.signal(number, previous[number])

    for one in (signal.SIGINT, signal.SIGTERM):
        previous[one] = signal.signal(one, request)
    try:
        yield stop
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
