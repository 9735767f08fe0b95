"""What a thing was made from, and whether it is stale: whether that has changed since.

Preprocessed EEG and shards record the files and the choices that they were made from,
and are made again, or refused, when `changed_file` or `difference` names a reason.
"""

import dataclasses
import hashlib
import json
import os
import pathlib
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np


@dataclasses.dataclass(frozen=True)
class SourceFile:
    """A file as it was when something was made from it.

    Attributes:
      name: tells it from the other files; its path within a data set, for example.
      n_bytes: its size.
      mtime_ns: when it was last changed.
      sha256: of its content; "" if it was not read for that.
    """

    name: str
    n_bytes: int
    mtime_ns: int | None = None
    sha256: str = ""

    @classmethod
    def of(
        cls, path: pathlib.Path, name: str = "", with_sha256: bool = False
    ) -> "SourceFile":
        """Describes a file as it is now.

        Args:
          path: the file.
          name: see above; "" for the file's own.
          with_sha256: whether to read it, so that a copy is told from a change.

        Raises:
          OSError: it cannot be read.
        """
        status = path.stat()
        digest = sha256_of(path) if with_sha256 else ""
        return cls(name or path.name, status.st_size, status.st_mtime_ns, digest)

    def is_still(self, path: pathlib.Path) -> bool:
        """Tells whether a file is the one described; reads it if it was touched.

        Raises:
          OSError: it cannot be read.
        """
        status = path.stat()
        if status.st_size != self.n_bytes:
            return False
        if self.mtime_ns in (None, status.st_mtime_ns):
            return True
        return self.sha256 != "" and sha256_of(path) == self.sha256

    def to_list(self) -> list:
        """Returns [name, bytes, mtime in ns] and the SHA-256 if known, for JSON."""
        known = [self.sha256] if self.sha256 else []
        return [self.name, self.n_bytes, self.mtime_ns, *known]


def changed_file(
    recorded: Iterable[list], files: Mapping[str, pathlib.Path]
) -> str | None:
    """Returns the name of a file that is new, gone or another, or None.

    Args:
      recorded: of each file `SourceFile.to_list`, in any order.
      files: the files there are now, by the same names.

    Raises:
      OSError: a file cannot be read.
    """
    described = {entry.name: entry for entry in (SourceFile(*row) for row in recorded)}
    for name, path in files.items():
        if name not in described or not described[name].is_still(path):
            return name
    return next((name for name in described if name not in files), None)


def difference(recorded: Mapping[str, Any], expected: Mapping[str, Any]) -> str | None:
    """Returns how recorded choices differ from those expected, in words, or None.

    Args:
      recorded: name → value, as JSON gives it back.
      expected: name → value; what else was recorded is not compared.
    """
    different = [
        f"{name} {recorded.get(name)} instead of {value}"
        for name, value in expected.items()
        if recorded.get(name) != value
    ]
    return ", ".join(different) or None


def digest_of(value: Any) -> str:
    """Returns the SHA-256 of a thing that JSON can hold, 64 hexadecimal digits."""
    return sha256_of_text(json.dumps(value, sort_keys=True))


def sha256_of_text(text: str) -> str:
    """Returns the SHA-256 of a text in UTF-8, 64 hexadecimal digits."""
    return sha256_of_bytes(text.encode())


def sha256_of_bytes(data: bytes | np.ndarray) -> str:
    """Returns the SHA-256 of bytes or a contiguous array, 64 hexadecimal digits."""
    return hashlib.sha256(data).hexdigest()


def sha256_of(path: str | os.PathLike) -> str:
    """Returns the SHA-256 of a file, 64 hexadecimal digits.

    Raises:
      OSError: it cannot be read.
    """
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def md5_of(path: str | os.PathLike) -> str:
    """Returns the MD5 of a file, 32 hexadecimal digits, as some hosts tell it.

    Raises:
      OSError: it cannot be read.
    """
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "md5").hexdigest()
