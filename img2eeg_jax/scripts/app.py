"""Show the EEG of your pictures in a page on this computer."""

import contextlib
from collections.abc import Iterator

from absl import flags

from img2eeg_jax.errors import unexpected
from img2eeg_jax.scripts import common

_CHECKPOINT = common.define_paths(
    "checkpoint",
    "Work directory, a converter's, fit_linear's or save_pretrained's folder, or "
    "hf://OWNER/NAME; or a folder with one of these for each subject; may be given "
    "several times. By default all that are below runs/ and weights/.",
)
_HOST = flags.DEFINE_string(
    "host",
    "127.0.0.1",
    "Address to listen at. Any other than 127.0.0.1 opens the page, which has no "
    "password, to every computer that reaches this one.",
)
_PORT = flags.DEFINE_integer(
    "port", 8765, "Port to listen at; 0 for any that is free.", 0, 65535
)


def main() -> None:
    """Calls `serve.serve` with the flags."""
    # Imported here so that --help and wrong flags answer at once.
    with common.importing(), _extra():
        from img2eeg_jax.app import serve

    serve.serve(
        _CHECKPOINT.value or (), host=_HOST.value, port=_PORT.value, log=common.say
    )


@contextlib.contextmanager
def _extra() -> Iterator[None]:
    """Says how to install what only the page needs."""
    try:
        yield
    except ModuleNotFoundError as error:
        raise unexpected(
            "libraries",
            "what pip install 'img2eeg_jax[app]' brings",
            f"no {error.name}",
        ) from None


def run() -> None:
    """Entry point."""
    common.run(main)
