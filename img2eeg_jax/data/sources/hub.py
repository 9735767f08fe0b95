"""Files of repositories on the Hugging Face hub: found, downloaded, checked."""

import contextlib
import dataclasses
import pathlib
import re
import textwrap
from collections.abc import Iterator

import httpx2
import huggingface_hub
from huggingface_hub.errors import HFValidationError, RemoteEntryNotFoundError

from img2eeg_jax.errors import InputError, unexpected, without_errno
from img2eeg_jax.provenance import sha256_of

PREFIX = "hf://"

# The error that `download` raises where the repository lacks the file.
MissingFileError = RemoteEntryNotFoundError

_ADDRESS = re.compile(
    rf"{PREFIX}(?P<repo>[^/@]+/[^/@]+)(?:@(?P<revision>[^/]+))?(?:/(?P<path>.+?))?/?"
)


@dataclasses.dataclass(frozen=True)
class Address:
    """A place on the hub.

    Attributes:
      repo: OWNER/NAME.
      path: of a file or folder in it; "" for the whole.
      revision: branch, tag or commit; "" for the main branch.
    """

    repo: str
    path: str = ""
    revision: str = ""

    @classmethod
    def parse(cls, text: str, revision: str = "") -> "Address":
        """Reads ``hf://OWNER/NAME[@REVISION][/PATH]``.

        Args:
          text: the address.
          revision: the same as that in the address, or "".

        Raises:
          InputError: it has another form, or names another revision.
        """
        match = _ADDRESS.fullmatch(text)
        if not match:
            raise unexpected(
                text, f"{PREFIX}OWNER/NAME or {PREFIX}OWNER/NAME/PATH", "neither"
            )
        repo, inside, path = match["repo"], match["revision"] or "", match["path"] or ""
        if revision and inside and revision != inside:
            raise unexpected(text, f"`revision` {inside}, or none", revision)
        return cls(repo, path, revision or inside)

    def __str__(self) -> str:
        """Returns the address without its revision, as descriptions record it."""
        return "/".join(filter(None, (f"{PREFIX}{self.repo}", self.path)))

    def files(self) -> list[str]:
        """Lists the files of the repository that lie below the path."""
        files = huggingface_hub.list_repo_files(
            self.repo, revision=self.revision or None
        )
        prefix = f"{self.path}/" if self.path else ""
        return [file for file in files if file.startswith(prefix)]


def download(repo: str, file: str, revision: str = "") -> tuple[pathlib.Path, str]:
    """Fetches a file into the hub's cache, and checks it there.

    The hub names large files by their SHA-256, but its library looks at sizes only.

    Args:
      repo: OWNER/NAME.
      file: its path in it.
      revision: branch, tag or commit; "" for the main branch.

    Returns:
      (the file in the cache, the commit it is of).

    Raises:
      MissingFileError: there is no such file.
      InputError: it is not what the hub says.
    """
    for attempt in range(2):
        path = pathlib.Path(
            huggingface_hub.hf_hub_download(
                repo, file, revision=revision or None, force_download=attempt > 0
            )
        )
        blob = path.resolve()
        is_named_by_sha256 = re.fullmatch(r"[0-9a-f]{64}", blob.name)
        if not is_named_by_sha256 or sha256_of(blob) == blob.name:
            # .../snapshots/COMMIT/FILE
            depth = len(pathlib.PurePosixPath(file).parts)
            return path, path.parents[depth - 1].name
    found = sha256_of(blob)
    blob.unlink()
    raise unexpected(f"{PREFIX}{repo}/{file}", f"SHA-256 {blob.name}", found)


@contextlib.contextmanager
def expecting_from_hub(where: str, expected: str) -> Iterator[None]:
    """Turns what the hub's library raises into an InputError.

    Args:
      where: the address.
      expected: what the hub should give.
    """
    try:
        yield
    except InputError:
        raise
    except (HFValidationError, httpx2.HTTPError, OSError, RuntimeError) as error:
        # The hub's messages have several lines, of which the first says least.
        reason = (
            textwrap.shorten(without_errno(str(error)), 200) or type(error).__name__
        )
        raise InputError(
            f"{where}: expected {expected} that the hub gives, found: {reason}"
        ) from error
