"""A server of its own under load, and under attack: it answers, in bounded memory."""

import concurrent.futures
import contextlib
import http.client
import json
import pathlib
import re
import urllib.parse

import pytest

from helpers.compilation import quick_xla_flags
from helpers.page import SVG, bomb, png, served

MB = 1_000_000
# Beyond what it takes for one picture: four requests of 30 MB, and what JAX keeps.
MOST_MORE = 400 * MB


@pytest.fixture(scope="module")
def server(network, compilation_cache_dir):
    """Address and process of a server that has answered once."""
    flags = {"XLA_FLAGS": quick_xla_flags()}
    with served(network, **flags) as (address, process):
        assert post(address, network, [("a.png", png())])[0] == 200
        yield address, process


def body_of(network, pictures):
    field = b'--b\r\nContent-Disposition: form-data; name="encoder"\r\n\r\n%b\r\n'
    yield field % network.encode()
    for name, content in pictures:
        head = f'--b\r\nContent-Disposition: form-data; name="p"; filename="{name}"'
        yield head.encode() + b"\r\n\r\n"
        yield from content if isinstance(content, list) else [content]
        yield b"\r\n"
    yield b"--b--\r\n"


def post(address, network, pictures, length=None):
    """Sends pictures; returns status and answer, also if it came before the end."""
    where = urllib.parse.urlsplit(address)
    connection = http.client.HTTPConnection(where.hostname, where.port, timeout=300)
    headers = {"Content-Type": "multipart/form-data; boundary=b"}
    if length is not None:
        headers["Content-Length"] = str(length)
    try:
        body = body_of(network, pictures)
        connection.request("POST", "/predict", body, headers)
    except (BrokenPipeError, ConnectionResetError):
        pass  # It was refused while it was sent, and the answer is there to be read.
    with contextlib.closing(connection), connection.getresponse() as response:
        return response.status, json.loads(response.read())


def peak_bytes(process):
    """Returns the most memory that a process has ever had."""
    status = pathlib.Path(f"/proc/{process.pid}/status").read_text()
    return 1024 * int(re.search(r"VmHWM:\s+(\d+)", status)[1])


def attacks():
    many = [(f"{i}.png", png(size=(8, 8))) for i in range(10_000)]
    large = [("large.png", 200 * [bytes(MB)])]
    return [
        ([("bomb.png", bomb())], None, 400, "bomb.png: expected a picture"),
        ([("x.svg", SVG)], None, 400, "x.svg: expected a picture"),
        ([("../../etc/x.svg", SVG)], None, 400, "x.svg: expected a picture"),
        (large, 200 * MB, 413, "pictures: expected at most 30 MB together"),
        (large, None, 413, "pictures: expected at most 30 MB together"),
        (many, None, 413, "pictures: expected at most 12, found more"),
    ]


@pytest.mark.slow
@pytest.mark.parametrize("attack", range(len(attacks())))
def test_attacks_get_a_message(server, network, attack):
    address, process = server
    pictures, length, status, message = attacks()[attack]
    before = peak_bytes(process)
    told = post(address, network, pictures, length)
    assert told[0] == status
    assert told[1]["error"].startswith(message)
    assert peak_bytes(process) - before < MOST_MORE
    assert post(address, network, [("a.png", png())])[0] == 200


@pytest.mark.slow
def test_fifty_at_a_time(server, network):
    """Each gets its own pictures' answer, the same as one after the other."""
    address, process = server
    before = peak_bytes(process)

    def ask(i):
        noise = [(f"{i}.png", png(i, (40 + i, 30)))]
        return post(address, network, noise)

    with concurrent.futures.ThreadPoolExecutor(50) as pool:
        told = list(pool.map(ask, range(100)))
    assert [status for status, _ in told] == 100 * [200]
    for i, (_, answer) in enumerate(told):
        assert [image["name"] for image in answer["images"]] == [f"{i}.png"]
    for i in (0, 57, 99):
        assert ask(i)[1] == told[i][1]
    assert peak_bytes(process) - before < MOST_MORE
