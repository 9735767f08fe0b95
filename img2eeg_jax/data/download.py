"""Downloads that go on where they broke off, and are checked before they count.

A file is fetched into `NAME.part` and renamed when it is whole, so that a file under
its own name is never half. What the server said of it lies in `NAME.json`, with the
SHA-256 of the whole: it is checked each time the file is used again.
"""

import dataclasses
import hashlib
import json
import os
import pathlib
import urllib.parse
import urllib.request

import httpx2
from huggingface_hub.file_download import http_get
from huggingface_hub.utils import WeakFileLock, http_backoff

from img2eeg_jax.errors import InputError, first_line
from img2eeg_jax.files import write_text

# Seconds without an answer, or without a byte.
_TIMEOUT_S = 30


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


def cache_dir() -> pathlib.Path:
    """Returns the folder of downloads: IMG2EEG_CACHE, or the user's cache folder."""
    if folder := os.environ.get("IMG2EEG_CACHE"):
        return pathlib.Path(folder)
    parent = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return pathlib.Path(parent).expanduser() / "img2eeg_jax"


def sha256_of(path: str | os.PathLike) -> str:
    """Returns the SHA-256 of a file, 64 hexadecimal digits."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


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
        raise InputError(f"{name or path}: expected SHA-256 {expected}, found {found}")
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
    try:
        parts = urllib.parse.urlsplit(url)
    except ValueError as error:
        raise InputError(f"{url}: expected an address, found: {error}") from error
    if parts.scheme == "file":
        path = pathlib.Path(urllib.request.url2pathname(parts.path))
        if not path.is_file():
            raise InputError(f"{url}: expected a file, found none")
        check_sha256(path, sha256, url)
        return str(path)
    path = (folder or cache_dir()) / _local_name(parts)
    path.parent.mkdir(parents=True, exist_ok=True)
    # Two processes must not write to one file.
    with WeakFileLock(f"{path}.lock"):
        if not _is_whole(path, sha256):
            try:
                _download(url, path, sha256)
            except (httpx2.HTTPError, httpx2.InvalidURL, OSError) as error:
                raise InputError(
                    f"{url}: expected a file to download, found: {first_line(error)}"
                ) from error
    return str(path)


def discard(path: pathlib.Path) -> None:
    """Removes a copy that `fetch` made, so that the next call fetches it again."""
    path.unlink()
    _record_path(path).unlink()


def _local_name(parts: urllib.parse.SplitResult) -> str:
    """Returns a file name that no other URL has."""
    name = urllib.parse.unquote(parts.path).rsplit("/", 1)[-1] or "download"
    digest = hashlib.sha256(urllib.parse.urlunsplit(parts).encode()).hexdigest()
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
            headers = {"Accept-Encoding": "identity"}
            http_get(
                url,
                file,
                resume_size=done,
                headers=headers,
                expected_size=remote.size,
            )
        file.flush()
        os.fsync(file.fileno())
    try:
        record["sha256"] = check_sha256(part, sha256, url)
    except InputError:
        # To go on from these bytes would fail again.
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
        headers={"Accept-Encoding": "identity"},
        follow_redirects=True,
        timeout=_TIMEOUT_S,
        max_retries=3,
    )
    if response.status_code != 200:
        return _Remote(url)
    headers = response.headers
    version = headers.get("ETag") or headers.get("Last-Modified", "")
    size = headers.get("Content-Length", "")
    # Some servers say 0 to all who ask without fetching.
    return _Remote(url, version, int(size) or None if size.isdecimal() else None)


def _record_path(path: pathlib.Path) -> pathlib.Path:
    return path.with_name(path.name + ".json")


def _read_record(path: pathlib.Path) -> dict:
    try:
        return json.loads(_record_path(path).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
