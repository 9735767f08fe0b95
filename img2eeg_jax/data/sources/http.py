"""Downloads that go on where they broke off, and are checked before they count.

A file is fetched into `NAME.part` and renamed when it is whole, so that a file under
its own name is never half. What the server said of it lies in `NAME.json`, with the
SHA-256 of the whole: it is checked each time the file is used again.
"""

import dataclasses
import json
import os
import pathlib
import time
import urllib.parse
import urllib.request
from typing import BinaryIO

import httpx2
from huggingface_hub.utils import WeakFileLock, get_session, http_backoff, tqdm

from img2eeg_jax.errors import InputError, expecting, first_line, unexpected
from img2eeg_jax.files import cache_dir, write_text
from img2eeg_jax.provenance import sha256_of, sha256_of_text

# Seconds without an answer, or without a byte.
_TIMEOUT_S = 30
# Connections in a row that bring nothing new, and the longest pause between them: two
# minutes in all.
_MAX_FUTILE, _MAX_PAUSE_S = 8, 60
# Without this header a server may compress, and count other bytes than the file's.
_HEADERS = {"Accept-Encoding": "identity"}


@dataclasses.dataclass(frozen=True)
class _Remote:
    """What a server says of a file: empty or None where it does not.

    Attributes:
      url: where it was asked for.
      version: the ETag, or else the time of the last change.
      size: in bytes.
    """

    url: str
    version: str = ""
    size: int | None = None


def check_sha256(path: str | os.PathLike, expected: str, name: str = "") -> str:
    """Compares a file with a SHA-256 or the beginning of one.

    Args:
      path: the file.
      expected: hexadecimal digits; "" agrees with everything.
      name: what the message calls the file; its path if empty.

    Returns:
      The file's SHA-256.

    Raises:
      InputError: they differ.
    """
    found = sha256_of(path)
    if not found.startswith(expected.lower()):
        raise unexpected(name or path, f"SHA-256 {expected}", found)
    return found


def fetch(url: str, sha256: str = "", folder: pathlib.Path | None = None) -> str:
    """Returns the path of a local copy of a file.

    Args:
      url: `https://`, `http://` or `file://`; the last is used where it lies.
      sha256: of the whole file, or its first digits; "" if not known.
      folder: where copies lie; `cache_dir()` if None.

    Returns:
      The path, as a string.

    Raises:
      InputError: the file cannot be had or is not what was expected. What was fetched
        of it is kept, and the next call goes on from there.
    """
    with expecting(url, "an address", ValueError):
        parts = urllib.parse.urlsplit(url)
    if parts.scheme == "file":
        path = pathlib.Path(urllib.request.url2pathname(parts.path))
        if not path.is_file():
            raise unexpected(url, "a file", "none")
        check_sha256(path, sha256, url)
        return str(path)
    path = (folder or cache_dir()) / _local_name(parts)
    path.parent.mkdir(parents=True, exist_ok=True)
    # Two processes must not write to one file.
    with WeakFileLock(f"{path}.lock"):
        if not _is_whole(path, sha256):
            kinds = (httpx2.HTTPError, httpx2.InvalidURL, OSError)
            with expecting(url, "a file to download", *kinds):
                _download(url, path, sha256)
    return str(path)


def discard(path: pathlib.Path) -> None:
    """Removes a copy that `fetch` made, so that the next call fetches it again."""
    path.unlink()
    _record_path(path).unlink()


def _local_name(parts: urllib.parse.SplitResult) -> str:
    """Returns a file name that no other URL has."""
    name = urllib.parse.unquote(parts.path).rsplit("/", 1)[-1] or "download"
    digest = sha256_of_text(urllib.parse.urlunsplit(parts))
    return f"{digest[:12]}-{name}"


def _is_whole(path: pathlib.Path, sha256: str) -> bool:
    """Tells whether a copy is there; one that has changed since does not count."""
    record = _read_record(path)
    if not path.is_file() or "sha256" not in record:
        return False
    found = sha256_of(path)
    return found == record["sha256"] and found.startswith(sha256.lower())


def _download(url: str, path: pathlib.Path, sha256: str) -> None:
    remote = _ask(url)
    part = path.with_name(f"{path.name}.part")
    done = _size_to_keep(part, remote, sha256)
    is_whole = done and (done == remote.size or _has_sha256(part, sha256))
    record = dataclasses.asdict(remote)
    write_text(_record_path(part), json.dumps(record))
    with open(part, "r+b" if done else "wb") as file:
        file.seek(done)
        if not is_whole:
            _receive(_Arriving(url, file, remote.size))
        file.flush()
        os.fsync(file.fileno())
    try:
        record["sha256"] = check_sha256(part, sha256, url)
    except InputError:
        # A file that failed the check would fail again.
        part.unlink()
        raise
    os.replace(part, path)
    _record_path(part).unlink()
    write_text(_record_path(path), json.dumps(record))


def _has_sha256(path: pathlib.Path, sha256: str) -> bool:
    return sha256 != "" and sha256_of(path).startswith(sha256.lower())


def _size_to_keep(part: pathlib.Path, remote: _Remote, sha256: str) -> int:
    """Returns how many bytes of an earlier attempt fit to those still to come."""
    is_same = _read_record(part) == dataclasses.asdict(remote)
    if not part.exists() or not is_same or not (remote.version or sha256):
        return 0
    size = part.stat().st_size
    return size if remote.size is None or size <= remote.size else 0


def _ask(url: str) -> _Remote:
    """Asks for a file's size and version; some servers answer GET only."""
    response = http_backoff(
        "HEAD",
        url,
        headers=_HEADERS,
        follow_redirects=True,
        timeout=_TIMEOUT_S,
        max_retries=3,
    )
    return _describe(url, response) if response.status_code == 200 else _Remote(url)


def _describe(url: str, response: httpx2.Response) -> _Remote:
    """Returns what an answer says of the whole file, of which it may be a part."""
    headers = response.headers
    version = headers.get("ETag") or headers.get("Last-Modified") or ""
    size = headers.get("Content-Range") or headers.get("Content-Length") or ""
    size = size.rpartition("/")[-1]
    if headers.get("Content-Encoding", "identity") != "identity":
        size = ""
    # Some servers answer HEAD with a size of 0.
    return _Remote(url, version, int(size) or None if size.isdecimal() else None)


@dataclasses.dataclass
class _Arriving:
    """A file that is being received.

    Attributes:
      url: where it is asked for.
      file: what is there of it, at its end.
      size: of the whole in bytes, None if not known.
      version: of what this object received, "" if the server does not say.
    """

    url: str
    file: BinaryIO
    size: int | None
    version: str = ""

    def go_on(self) -> None:
        """Receives what one connection brings; raises if that is not the rest."""
        start = self.file.tell()
        if start and start == self.size:
            # The last connection broke off after the last byte.
            return
        headers = _HEADERS | ({"Range": f"bytes={start}-"} if start else {})
        with get_session().stream(
            "GET", self.url, headers=headers, timeout=_TIMEOUT_S
        ) as response:
            response.raise_for_status()
            found = _describe(self.url, response)
            if response.status_code != 206:
                self._start_over()
            elif self.version and found.version not in ("", self.version):
                self._start_over()
                raise httpx2.RemoteProtocolError("the file changed on the server")
            self.version = self.version or found.version
            self.size = self.size or found.size
            self._write(response)
        expected = self.size or self.file.tell()
        complaint = f"expected {expected} bytes, found {self.file.tell()}"
        if self.file.tell() < expected:
            raise httpx2.RemoteProtocolError(complaint)
        if self.file.tell() > expected:
            raise OSError(complaint)

    def _start_over(self) -> None:
        self.file.seek(0)
        self.file.truncate()
        self.version = ""

    def _write(self, response: httpx2.Response) -> None:
        """Writes pieces as they come: larger ones are lost where a cut leaves them."""
        name = urllib.parse.urlsplit(self.url).path[-40:]
        with tqdm(
            desc=name,
            total=self.size,
            initial=self.file.tell(),
            unit="B",
            unit_scale=True,
            disable=None,
        ) as bar:
            for piece in response.iter_bytes():
                self.file.write(piece)
                bar.update(len(piece))


def _receive(arriving: _Arriving) -> None:
    """Receives the rest of a file, over as many connections as it takes.

    Raises:
      InputError: `_MAX_FUTILE` connections in a row brought nothing new.
      httpx2.HTTPError: the server refuses.
      OSError: the server sends too much, or the disk takes no more.
    """
    file = arriving.file
    # A server may send all from the start each time: progress is to get farther.
    farthest, n_futile = file.tell(), 0
    while True:
        try:
            return arriving.go_on()
        except (httpx2.TransportError, httpx2.HTTPStatusError) as error:
            response = getattr(error, "response", None)
            if response is not None and not _may_pass(response.status_code):
                if response.status_code == 416:
                    # The server's file is shorter than what was fetched of it.
                    file.truncate(0)
                raise
            n_futile = 0 if file.tell() > farthest else n_futile + 1
            farthest = max(farthest, file.tell())
            if n_futile == _MAX_FUTILE:
                raise unexpected(
                    arriving.url,
                    "a file to download",
                    f"nothing new in {n_futile} attempts: {first_line(error)}",
                ) from error
            time.sleep(_pause_s(n_futile, response))


def _may_pass(status: int) -> bool:
    return status in (408, 429) or status >= 500


def _pause_s(n_futile: int, response: httpx2.Response | None) -> int:
    """Returns 1, 2, 4, ... or the time in seconds that a busy server asks for."""
    asked = "" if response is None else response.headers.get("Retry-After", "")
    pause_s = int(asked) if asked.isdecimal() else 0
    return min(max(pause_s, 2 ** max(n_futile - 1, 0)), _MAX_PAUSE_S)


def _record_path(path: pathlib.Path) -> pathlib.Path:
    return path.with_name(path.name + ".json")


def _read_record(path: pathlib.Path) -> dict:
    try:
        return json.loads(_record_path(path).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
