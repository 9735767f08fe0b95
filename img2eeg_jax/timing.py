"""What takes long is told when it begins, and how long it took."""

import contextlib
import functools
import time
from collections.abc import Callable, Iterator
from typing import Any


@contextlib.contextmanager
def timed(what: str, say: Callable[[str], None]) -> Iterator[None]:
    """Says "WHAT ...", and "WHAT took … s" if all goes well."""
    started_s = time.monotonic()
    say(f"{what} ...")
    yield
    say(f"{what} took {time.monotonic() - started_s:.1f} s")


def timed_once(
    what: str, function: Callable[..., Any], say: Callable[[str], None]
) -> Callable[..., Any]:
    """Returns a function whose first call is `timed`, because it compiles."""
    calls = iter([timed(what, say)])

    @functools.wraps(function)
    def call(*args: Any) -> Any:
        with next(calls, contextlib.nullcontext()):
            return function(*args)

    return call
