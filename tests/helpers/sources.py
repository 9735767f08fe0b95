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


def check_exceptions(found, expected):
    """Checks that what breaks a rule is what is known to, no more and no less.

    A list of exceptions may only shrink: what is mended is to be taken off.
    """
    found, expected = set(found), set(expected)
    assert sorted(found - expected) == [], "breaks the rule"
    assert sorted(expected - found) == [], "mended: take it off the list"
