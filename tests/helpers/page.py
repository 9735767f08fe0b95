"""The page over a small network: within this process, and as a server of its own."""

import contextlib
import io
import os
import pathlib
import re
import socket
import struct
import subprocess
import sys
import threading
import zlib

import numpy as np
import uvicorn
from PIL import Image

from helpers.encoders import encoder_of
from helpers.tiny_network import REALNET_ARGUMENTS
from img2eeg_jax.models.realnet import ReAlNet

SVG = b'<svg xmlns="http://www.w3.org/2000/svg"><script>alert(1)</script></svg>'
EXAMPLES = pathlib.Path(__file__).parents[2] / "img2eeg_jax" / "app" / "examples"


def save_network(folder):
    """Writes a small network as `save_pretrained` does; returns the encoder."""
    encoder = encoder_of(folder, ReAlNet(**REALNET_ARGUMENTS), REALNET_ARGUMENTS)
    encoder.save_pretrained(folder)
    return encoder


def png(seed=0, size=(40, 30)):
    """Returns the bytes of a picture of noise."""
    pixels = np.random.default_rng(seed).integers(0, 256, (*size, 3), np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


def bomb(width=60_000, height=60_000):
    """Returns a PNG of few bytes that says that it has a great many pixels."""

    def chunk(kind, data):
        check = struct.pack(">I", zlib.crc32(kind + data))
        return struct.pack(">I", len(data)) + kind + data + check

    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    data = chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(bytes(10_000)))
    return b"\x89PNG\r\n\x1a\n" + data + chunk(b"IEND", b"")


@contextlib.contextmanager
def running(app):
    """Serves an application from a thread of this process; yields its address."""
    server = uvicorn.Server(uvicorn.Config(app, log_level="error", ws="none"))
    with socket.create_server(("127.0.0.1", 0)) as sock:
        thread = threading.Thread(target=server.run, args=([sock],))
        thread.start()
        try:
            yield f"http://127.0.0.1:{sock.getsockname()[1]}"
        finally:
            server.should_exit = True
            thread.join()


@contextlib.contextmanager
def served(folder, **environment):
    """Starts ``app.py``; yields (address, process)."""
    process = subprocess.Popen(
        [sys.executable, "app.py", f"--checkpoint={folder}", "--port=0"],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=os.environ | environment,
        cwd=EXAMPLES.parents[2],
    )
    try:
        said = ""
        for line in process.stdout:
            said += line
            found = re.search(r"http://127\.0\.0\.1:\d+", line)
            if found:
                break
        else:
            raise AssertionError(said)
        yield found[0], process
    finally:
        process.terminate()
        process.communicate(timeout=30)
