"""Files that a reader sees whole or not at all."""

import os
import pathlib


def write_text(path: pathlib.Path, text: str) -> None:
    """Writes a file through a temporary one beside it, so that it is never half."""
    temporary = path.with_name(f".{path.name}.tmp")
    temporary.write_text(text, encoding="utf-8")
    os.replace(temporary, path)
