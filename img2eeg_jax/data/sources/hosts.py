"""Where THINGS-EEG2 lies: mirrors, then OSF's and Figshare's listings."""

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import httpx2
from huggingface_hub.utils import http_backoff

from img2eeg_jax.errors import first_line

_TIMEOUT_S = 30
# Pages of a listing; a host that sends in circles must come to an end.
_MAX_PAGES = 100


@dataclasses.dataclass(frozen=True)
class Hosts:
    """Where the data set lies.

    Attributes:
      images: name of each file of the image set → its address.
      preprocessed: listing of the subjects' archives, of OSF's API.
      preprocessed_all: archive of those archives.
      raw: listing of the subjects' archives, of Figshare's API.
    """

    images: dict[str, str] = dataclasses.field(
        default_factory=lambda: {
            "training_images.zip": "https://osf.io/download/3v527/",
            "test_images.zip": "https://osf.io/download/znu7b/",
            "image_metadata.npy": "https://osf.io/download/qkgtf/",
        }
    )
    preprocessed: str = "https://api.osf.io/v2/nodes/anp5v/files/osfstorage/"
    preprocessed_all: str = (
        "https://files.de-1.osf.io/v1/resources/anp5v/providers/osfstorage/?zip="
    )
    # Without a page size it lists ten files.
    raw: str = "https://api.figshare.com/v2/articles/18470912/files?page_size=1000"


@dataclasses.dataclass(frozen=True)
class Source:
    """One place to get a file from; checksums are "" where the host tells none.

    Attributes:
      url: its address.
      sha256: of the file.
      md5: of the file.
      size: in bytes, None if unknown.
      member: the entry of the archive at that address that is the file; "" if the
        archive itself is.
    """

    url: str
    sha256: str = ""
    md5: str = ""
    size: int | None = None
    member: str = ""


def sources(
    name: str,
    mirrors: Sequence[str],
    hosts: Hosts,
    failures: list[str],
    log: Callable[[str], None],
) -> Iterator[Source]:
    """Yields where a file may be had; listings are asked for when it is their turn.

    Args:
      name: of the file, as `things_eeg2.plan` gives it.
      mirrors: addresses to try first.
      hosts: where the data set lies.
      failures: a line is added for each listing that cannot be had or lacks the file.
      log: called with lines on listings that cannot be had.
    """
    for mirror in mirrors:
        yield Source(f"{mirror.rstrip('/')}/{name}")
    kind, _, base = name.partition("/")
    if kind == "image_set":
        yield Source(hosts.images[base])
        return
    url = hosts.raw if kind == "raw_data" else hosts.preprocessed
    read = _read_figshare if kind == "raw_data" else _read_osf
    try:
        listed = read(url)
    except (httpx2.HTTPError, OSError, KeyError, TypeError, ValueError) as error:
        failures.append(f"{url}: expected a list of files, found: {first_line(error)}")
        log(f"{name}: {failures[-1]}")
        listed = {}
    if base in listed:
        yield listed[base]
    elif listed:
        failures.append(f"{url}: expected {base}, found {', '.join(sorted(listed))}")
    if kind == "preprocessed_data":
        yield Source(hosts.preprocessed_all, member=base)


def _read_figshare(url: str) -> dict[str, Source]:
    """Returns file name → source of a Figshare article."""
    return {
        file["name"]: Source(
            file["download_url"], md5=file.get("computed_md5") or "", size=file["size"]
        )
        for file in _get_json(url)
    }


def _read_osf(url: str) -> dict[str, Source]:
    """Returns file name → source of a folder at OSF and those in it."""
    listed, pages = {}, [url]
    for _ in range(_MAX_PAGES):
        if not pages:
            break
        page = _get_json(pages.pop())
        for entry in page["data"]:
            attributes = entry["attributes"]
            if attributes["kind"] == "folder":
                pages.append(
                    entry["relationships"]["files"]["links"]["related"]["href"]
                )
                continue
            hashes = (attributes.get("extra") or {}).get("hashes") or {}
            listed[attributes["name"]] = Source(
                entry["links"]["download"],
                sha256=hashes.get("sha256") or "",
                md5=hashes.get("md5") or "",
                size=attributes.get("size"),
            )
        if following := (page.get("links") or {}).get("next"):
            pages.append(following)
    return listed


def _get_json(url: str) -> Any:
    response = http_backoff(
        "GET", url, follow_redirects=True, timeout=_TIMEOUT_S, max_retries=3
    )
    response.raise_for_status()
    return response.json()
