"""Files that a reader sees whole or not at all."""

import contextlib
import os
import pathlib
from collections.abc import Iterator


def write_text(path: pathlib.Path, text: str) -> None:
    """Writes a file through a temporary one beside it, so that it is never half."""
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


@contextlib.contextmanager
def replacing(path: pathlib.Path) -> Iterator[pathlib.Path]:
    """Yields a temporary path that takes the place of `path` if all goes well."""
    temporary = path.with_name(f".{path.name}.tmp")
    try:
        yield temporary
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
