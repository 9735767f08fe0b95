"""The package's source, parsed, for tests that read it."""

import ast
import pathlib

ROOT = pathlib.Path(__file__).parents[2]
PACKAGE = ROOT / "img2eeg_jax"


def module_name(path):
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


# Module → (path within the package, syntax tree).
SOURCES = {
    module_name(path): (
        path.relative_to(PACKAGE).as_posix(),
        ast.parse(path.read_text()),
    )
    for path in sorted(PACKAGE.rglob("*.py"))
}
