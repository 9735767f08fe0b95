"""Where published weights come from: a file, a folder, a URL, the Hugging Face hub."""

import dataclasses
import pathlib
import re
import urllib.parse
from collections.abc import Iterable

from img2eeg_jax.data.sources import http, hub
from img2eeg_jax.errors import unexpected
from img2eeg_jax.interop.torch_files import READ_SUFFIXES

# Weights that have a name of their own: URL and the beginning of their SHA-256, which
# the publisher put into the file's name.
BY_NAME = {
    "cornet_s": (
        "https://s3.amazonaws.com/cornet-models/cornet_s-1d3f7974.pth",
        "1d3f7974",
    ),
}

# The published file names, best first.
_PUBLISHED = (
    re.compile(r"(encoder|best_model_params)\.\w+"),
    re.compile(r"epoch(?P<epoch>\d+)_model_params\.\w+"),
    re.compile(r"realnet\.\w+"),
    re.compile(r"cornet_s\b.*"),
)
# Addresses of published encoders of EEG.
_PUBLISHERS = re.compile(r"(hf://|https://huggingface\.co/)kmazrolina/ReAlNet(/|$)")
_SUBJECT = re.compile(r"sub-0*([1-9]\d*)")


@dataclasses.dataclass(frozen=True)
class Source:
    """A file of weights at hand, and where it came from.

    Attributes:
      path: the local file.
      name: what the user asked for, completed to the file.
      sha256: of the file.
      revision: commit of a hub's repository, or "".
      subject: the number in `sub-XX`, or None.
    """

    path: pathlib.Path
    name: str
    sha256: str
    revision: str = ""
    subject: int | str | None = None

    @property
    def is_published(self) -> bool:
        """Whether it comes from where the weights of a paper are published."""
        return _PUBLISHERS.match(self.name) is not None

    def to_dict(self) -> dict:
        """Returns what a checkpoint's description records."""
        entries = {"name": self.name, "sha256": self.sha256}
        return entries | ({"revision": self.revision} if self.revision else {})


def find(
    given: str,
    *,
    subject: int | str | None = None,
    sha256: str = "",
    revision: str = "",
) -> Source:
    """Finds, and downloads if need be, one file of weights.

    Args:
      given: a file; a folder or `hf://OWNER/NAME[/PATH]`, in which the published names
        are looked for; `https://`, `http://` or `file://`; or a name in `BY_NAME`.
      subject: whose file to take out of several.
      sha256: of the file; "" if not known.
      revision: branch, tag or commit of a hub's repository; "" for its main branch.

    Raises:
      InputError: there is no such file, or several, or it is not what it should be.
    """
    if given.startswith(hub.PREFIX):
        return _from_hub(given, subject, sha256, revision)
    if revision:
        raise unexpected(given, f"{hub.PREFIX}... beside `revision`", "another address")
    if given in BY_NAME:
        url, known = BY_NAME[given]
        sha256 = sha256 or known
        return _at_hand(http.fetch(url, sha256), url, subject, sha256)
    if re.match(r"(https?|file)://", given):
        path = http.fetch(given, sha256)
        return _at_hand(path, _without_secrets(given), subject, sha256)
    if "://" in given:
        raise unexpected(
            given,
            f"a file, a folder, https://, file:// or {hub.PREFIX}...",
            "another kind of address",
        )
    here = pathlib.Path(given)
    if here.is_dir():
        files = sorted(file.as_posix() for file in here.rglob("*.*"))
        here = pathlib.Path(choose(files, subject, given))
    elif not here.is_file():
        names = ", ".join(BY_NAME)
        raise unexpected(
            given, f"a file, a folder, an address or a name ({names})", "nothing there"
        )
    return _at_hand(here, str(here), subject, sha256)


def choose(files: Iterable[str], subject: int | str | None, place: str) -> str:
    """Chooses the file of weights that is meant, by the published names.

    Args:
      files: paths, with `/`.
      subject: number or label in `sub-XX`; None where there is one only.
      place: where the files are, for the message.

    Returns:
      The path of the best kind: an encoder (of the last epoch, if it is saved by
      epoch), then a backbone.

    Raises:
      InputError: there is none, or several that are as good.
    """
    files = list(files)
    ranked = [(rank, file) for file in files if (rank := _rank(file)) is not None]
    mine = [
        (rank, file)
        for rank, file in ranked
        if subject is None
        or subject_of(file) == subject
        or f"sub-{subject}" in pathlib.PurePosixPath(file).parts
    ]
    if not mine:
        whose = "" if subject is None else f" of subject {subject}"
        listed = [file for _, file in ranked] or [
            file
            for file in files
            if pathlib.PurePosixPath(file).suffix in READ_SUFFIXES
        ]
        found = f"{', '.join(listed)}; name it" if listed else "none"
        raise unexpected(
            place,
            f"weights{whose} named encoder, best_model_params, epochN_model_params, "
            f"realnet or cornet_s ({', '.join(READ_SUFFIXES)})",
            found,
        )
    best = min(rank for rank, _ in mine)
    several = [file for rank, file in mine if rank == best]
    if len({subject_of(file) for _, file in mine} - {None}) > 1:
        several = [file for _, file in mine]
    if len(several) > 1:
        choice = "name it" if subject else "name it, or give `subject`"
        raise unexpected(
            place, "one file of weights", f"{', '.join(several)}; {choice}"
        )
    return several[0]


def subject_of(path: str) -> int | None:
    """Returns the subject that a path names as `sub-XX`."""
    found = _SUBJECT.findall(path)
    return int(found[-1]) if found else None


def _rank(file: str) -> tuple[int, int] | None:
    """Returns how far from the best kind a file is; None if it is none at all."""
    name = pathlib.PurePosixPath(file)
    if name.suffix not in READ_SUFFIXES:
        return None
    for rank, pattern in enumerate(_PUBLISHED):
        if match := pattern.fullmatch(name.name):
            return rank, -int(match.groupdict().get("epoch", 0))
    return None


def _at_hand(
    path: str | pathlib.Path,
    name: str,
    subject: int | str | None,
    sha256: str,
    revision: str = "",
) -> Source:
    found = http.check_sha256(path, sha256, name)
    named = subject_of(name)
    if subject and named and subject != named:
        raise unexpected(name, f"weights of subject {subject}", f"those of {named}")
    subject = named if subject is None else subject
    return Source(pathlib.Path(path), name, found, revision, subject)


def _from_hub(
    given: str, subject: int | str | None, sha256: str, revision: str
) -> Source:
    address = hub.Address.parse(given, revision)
    with hub.expecting_from_hub(given, "weights"):
        if pathlib.PurePosixPath(address.path).suffix in READ_SUFFIXES:
            # Not listed, so that a cached file can be had without a network.
            file = address.path
        else:
            file = choose(address.files(), subject, given)
        path, commit = hub.download(address.repo, file, address.revision)
    name = str(hub.Address(address.repo, file))
    return _at_hand(path, name, subject, sha256, commit)


def _without_secrets(url: str) -> str:
    """Drops what a description should not record: a password, a signed query."""
    parts = urllib.parse.urlsplit(url)
    host = parts.netloc.rpartition("@")[2]
    return parts._replace(netloc=host, query="", fragment="").geturl()
