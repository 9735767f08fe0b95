"""Downloads from a server that misbehaves."""

import hashlib
import itertools

import httpx2
import numpy as np
import pytest

from helpers import web
from img2eeg_jax.data.sources import http
from img2eeg_jax.errors import InputError

BODY = np.random.default_rng(0).bytes(300_000)
SHA256 = hashlib.sha256(BODY).hexdigest()


@pytest.fixture
def pauses(monkeypatch):
    """Seconds of each pause between attempts; none is waited for."""
    pauses = []
    monkeypatch.setattr("time.sleep", pauses.append)
    return pauses


@pytest.fixture
def server(pauses):
    with web.serving() as server:
        server.files["/w.pt"] = BODY
        yield server


@pytest.fixture
def fetch(server, tmp_path):
    def call(sha256=""):
        path = http.fetch(f"{server.url}/w.pt", sha256, tmp_path / "cache")
        with open(path, "rb") as file:
            return file.read()

    return call


def test_whole(server, fetch, tmp_path):
    assert fetch(SHA256) == BODY
    n_requests = len(server.requests)
    # The second time from the copy.
    assert fetch(SHA256[:8].upper()) == BODY
    assert len(server.requests) == n_requests
    assert len(list((tmp_path / "cache").glob("*-w.pt"))) == 1
    assert not list((tmp_path / "cache").glob("*.part"))


def test_cut_off_and_resumed_at_once(server, fetch):
    server.cut_after = [100_000, 50_000]
    assert fetch(SHA256) == BODY
    assert server.ranges_asked() == [None, "bytes=100000-", "bytes=150000-"]


@pytest.mark.parametrize("sizes", [[64_000] * 4, [1_000] * 299])
def test_a_server_that_cuts_every_answer(server, fetch, sizes):
    server.cut_after = [*sizes]
    assert fetch(SHA256) == BODY
    starts = itertools.accumulate(sizes)
    assert server.ranges_asked() == [None, *(f"bytes={start}-" for start in starts)]


@pytest.mark.parametrize("failures", [[], [405]])
def test_cut_off_after_the_last_byte(server, fetch, monkeypatch, failures):
    """As where the end of a chunked answer is lost; there is no more to ask for."""
    write = http._Arriving._write

    def write_and_break(arriving, response):
        write(arriving, response)
        raise httpx2.RemoteProtocolError("cut")

    monkeypatch.setattr(http._Arriving, "_write", write_and_break)
    # Then the size is known from the answer only.
    server.failures = failures
    assert fetch() == BODY
    assert server.ranges_asked() == [None]


def test_progress_earns_new_patience(server, fetch, pauses):
    server.cut_after = [80_000, *[0] * 7] * 3
    assert fetch(SHA256) == BODY
    assert pauses == [1, 1, 2, 4, 8, 16, 32, 60] * 3


def test_to_get_as_far_as_before_is_no_progress(server, fetch):
    server.ranges, server.cut_after = False, [100_000] * 100
    with pytest.raises(InputError, match="nothing new in 8 attempts"):
        fetch(SHA256)
    assert len(server.ranges_asked()) == 9


def test_cut_off_and_resumed_by_the_next_command(server, fetch):
    server.cut_after = [100_000, *[0] * 10]
    with pytest.raises(InputError, match="expected a file to download"):
        fetch()
    server.cut_after = []
    server.requests.clear()
    assert fetch() == BODY
    assert server.ranges_asked() == ["bytes=100000-"]


def test_nothing_is_resumed_of_a_file_that_changed(server, fetch):
    server.cut_after = [100_000, *[0] * 10]
    with pytest.raises(InputError):
        fetch()
    server.cut_after = []
    server.requests.clear()
    server.files["/w.pt"] = BODY[::-1]
    assert fetch() == BODY[::-1]
    assert server.ranges_asked() == [None]


def test_a_file_that_changes_between_two_connections(server, fetch, monkeypatch):
    def change(_):
        server.files["/w.pt"] = BODY[::-1]

    monkeypatch.setattr("time.sleep", change)
    server.cut_after = [100_000]
    assert fetch() == BODY[::-1]


@pytest.mark.parametrize(
    ("sha256", "expected"), [("", [None]), (SHA256, ["bytes=100000-"])]
)
def test_without_etag_only_a_checksum_allows_resuming(server, fetch, sha256, expected):
    server.etags = False
    server.cut_after = [100_000, *[0] * 10]
    with pytest.raises(InputError):
        fetch(sha256)
    server.cut_after = []
    server.requests.clear()
    assert fetch(sha256) == BODY
    assert server.ranges_asked() == expected


def test_a_server_without_ranges(server, fetch):
    server.ranges = False
    server.cut_after = [100_000]
    assert fetch(SHA256) == BODY


def test_wrong_checksum(server, fetch, tmp_path):
    with pytest.raises(
        InputError, match=f"expected SHA-256 {'0' * 64}, found {SHA256}"
    ):
        fetch("0" * 64)
    kept = [path.name for path in (tmp_path / "cache").iterdir()]
    assert not any(name.endswith((".pt", ".part")) for name in kept)
    assert fetch(SHA256) == BODY


def test_a_mistyped_checksum_spoils_no_copy(server, fetch):
    fetch()
    with pytest.raises(InputError, match="expected SHA-256 12345678"):
        fetch("12345678")
    server.files.clear()
    assert fetch(SHA256) == BODY


def test_killed_before_the_whole_part_was_renamed(server, fetch, tmp_path):
    """By a server that answers GET only, and so never tells the size."""
    server.failures = [405]
    server.cut_after = [100_000, *[0] * 10]
    with pytest.raises(InputError):
        fetch(SHA256)
    (part,) = (tmp_path / "cache").glob("*.part")
    part.write_bytes(BODY)
    server.failures, server.cut_after = [405], []
    assert fetch(SHA256) == BODY
    assert server.ranges_asked()[-1] != "bytes=300000-"


def test_a_copy_that_rotted_is_fetched_again(fetch, tmp_path):
    fetch()
    (path,) = (tmp_path / "cache").glob("*.pt")
    path.write_bytes(BODY[:-1] + b"!")
    assert fetch() == BODY


def test_a_busy_server_is_asked_again(server, fetch):
    server.failures = [503, 500]
    assert fetch(SHA256) == BODY


@pytest.mark.parametrize("code", [408, 429, 500, 502, 503, 504])
def test_a_server_too_busy_for_get_is_asked_again(server, fetch, pauses, code):
    """At first, and when a broken connection is taken up again."""
    server.get_failures = [*[code] * 7, None, *[code] * 7]
    server.cut_after = [100_000]
    assert fetch(SHA256) == BODY
    assert server.ranges_asked() == [None] * 8 + ["bytes=100000-"] * 8
    assert pauses == [1, 2, 4, 8, 16, 32, 60, 1, 1, 2, 4, 8, 16, 32, 60]


def test_a_server_that_is_always_busy(server, fetch, pauses):
    server.get_failures = [503] * 100
    with pytest.raises(
        InputError, match=r"/w\.pt: expected .* 8 attempts: .*503"
    ) as told:
        fetch()
    assert "\n" not in str(told.value)
    assert pauses == [1, 2, 4, 8, 16, 32, 60]


def test_a_busy_server_says_when_to_come_again(server, fetch, pauses):
    server.get_failures, server.failure_headers = [503, 503], {"Retry-After": "7"}
    assert fetch() == BODY
    assert pauses == [7, 7]


@pytest.mark.parametrize("lie", [100, 60 * 10**9])
def test_a_file_shorter_than_its_server_says(server, fetch, lie):
    server.lies["/w.pt"] = lie
    with pytest.raises(InputError, match=r"/w\.pt: expected a file .*416"):
        fetch()
    server.lies.clear()
    assert fetch() == BODY


def test_not_found(server, tmp_path):
    with pytest.raises(InputError, match=r"/no\.pt: expected a file .*404"):
        http.fetch(f"{server.url}/no.pt", "", tmp_path)
    assert not list(tmp_path.glob("*.pt"))


def test_nobody_answers(tmp_path, monkeypatch):
    monkeypatch.setattr("time.sleep", lambda _: None)
    with pytest.raises(InputError, match="expected a file to download"):
        http.fetch("http://127.0.0.1:9/w.pt", "", tmp_path)


def test_a_file_address_is_used_where_it_lies(tmp_path):
    path = tmp_path / "a b.pt"
    path.write_bytes(BODY)
    assert http.fetch(path.as_uri(), SHA256) == str(path)
    with pytest.raises(InputError, match="expected SHA-256 00000000, found"):
        http.fetch(path.as_uri(), "00000000")
    with pytest.raises(InputError, match="expected a file, found none"):
        http.fetch((tmp_path / "no.pt").as_uri())


def test_cache_dir(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "x"))
    assert http.cache_dir() == tmp_path / "x" / "img2eeg_jax"
    monkeypatch.setenv("IMG2EEG_CACHE", str(tmp_path / "y"))
    assert http.cache_dir() == tmp_path / "y"
