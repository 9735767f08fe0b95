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


def public_names(tree):
    """Returns the public functions and classes of a module."""
    kinds = (ast.FunctionDef, ast.ClassDef)
    names = [node.name for node in tree.body if isinstance(node, kinds)]
    return [name for name in names if not name.startswith("_")]
