"""Starts the page, and says where it is."""

import logging
import socket
from collections.abc import Callable, Sequence

import numpy as np
import uvicorn

from img2eeg_jax.app import answers
from img2eeg_jax.app.guard import LOOPBACK, is_loopback
from img2eeg_jax.app.library import Library, find
from img2eeg_jax.app.limits import Limits
from img2eeg_jax.app.server import make_app
from img2eeg_jax.errors import expecting
from img2eeg_jax.prediction import familiarity


def serve(
    checkpoints: Sequence[str] = (),
    host: str = LOOPBACK,
    port: int = 8765,
    limits: Limits | None = None,
    log: Callable[[str], None] = print,
) -> None:
    """Serves the page until it is interrupted.

    Args:
      checkpoints: what `Encoder.from_pretrained` takes; () for all that are found below
        runs/ and weights/.
      host: the address that it listens at; but for 127.0.0.1, others than this computer
        reach it.
      port: 0 for any that is free.
      limits: of a request.
      log: takes lines for the user.

    Raises:
      InputError: there is no encoder, the first cannot be loaded, or the address is
        not to be had.
    """
    # The page itself warns of unfamiliar pictures and malformed requests; nothing of
    # them goes to a log.
    for name in (familiarity.__name__, "python_multipart"):
        logging.getLogger(name).setLevel(logging.ERROR)
    library = find(checkpoints)
    log(f"loading {library.names[0]}")
    _warm(library)
    config = uvicorn.Config(
        make_app(library, limits, host),
        log_level="error",
        access_log=False,
        server_header=False,
        ws="none",
        timeout_graceful_shutdown=5,
    )
    with expecting(f"{host}:{port}", "an address that is free", OSError):
        sock = _listen(host, port)
    shown = f"[{host}]" if ":" in host else host
    log(f"http://{shown}:{sock.getsockname()[1]} (stop with Ctrl-C)")
    if not is_loopback(host):
        log(
            f"`host={host}` opens the page to every computer that reaches this one: "
            "there is no password, and what is sent is not encrypted"
        )
    uvicorn.Server(config).run(sockets=[sock])


def _warm(library: Library) -> None:
    """Answers once, so that the first visitor waits for no import nor compilation."""
    path = library.names[0]
    encoder = library.load(path)
    size = encoder.image_size
    grey = np.full((size, size, 3), 127, np.uint8)
    answers.answer(encoder, ["grey"], [grey], path)


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    sock = socket.socket(family)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind((host, port))
        # Who comes from now on waits until the server is up.
        sock.listen()
    except OSError:
        sock.close()
        raise
    return sock
