"""What --help says of a config: each key, with its comment and its value."""

import ast
import importlib.util
import io
import pathlib
import textwrap
import tokenize
from collections.abc import Iterator

from ml_collections import ConfigDict


def describe(name: str, config: ConfigDict, path: pathlib.Path) -> str:
    """Returns lines on each key of a config.

    Args:
      name: what the user calls the config.
      config: its values.
      path: its file, which has the comments, or imports what has them.
    """
    lines = [f"{name}, whose keys are set as --config.KEY=VALUE:"]
    for key, comment, value in keys(config, path):
        lines += textwrap.wrap(
            f"--config.{key}: {comment}",
            80,
            initial_indent="  ",
            subsequent_indent="    ",
            break_on_hyphens=False,
        )
        lines.append(f"    (value: {value!r})")
    return "\n".join(lines)


def keys(config: ConfigDict, path: pathlib.Path) -> Iterator[tuple[str, str, object]]:
    """Yields each key of a config with its comment and its value.

    Args:
      config: its values.
      path: its file, which has the comments, or imports what has them.
    """
    comments = _comments(path)
    for key, value in _entries(config):
        yield key, " ".join(comments.get(key, "").split()), value


def _entries(config: ConfigDict, prefix: str = "") -> Iterator[tuple[str, object]]:
    """Yields keys with their values, those of dicts within as ``synthetic.seed``."""
    for key, value in config.items():
        if isinstance(value, ConfigDict):
            yield from _entries(value, f"{prefix}{key}.")
        else:
            yield prefix + key, value


def _comments(path: pathlib.Path, seen: tuple[pathlib.Path, ...] = ()) -> dict:
    """Returns key → comment, of a config's file and of those that it imports.

    A comment stands behind the key, or in the lines before it.
    """
    text = path.read_text(encoding="utf-8")
    tree, found = ast.parse(text), {}
    for module in _imported(tree):
        if module not in (path, *seen):
            found |= _comments(module, (path, *seen))
    own_lines, behind = {}, {}
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type == tokenize.COMMENT:
            has_line = not token.line[: token.start[1]].strip()
            words = token.string.lstrip("#").strip()
            (own_lines if has_line else behind)[token.start[0]] = words
    for key, first, last in _assigned(tree):
        row = first
        while row - 1 in own_lines:
            row -= 1
        before = [own_lines[number] for number in range(row, first)]
        after = [
            behind[number] for number in range(first, last + 1) if number in behind
        ]
        if comment := " ".join(after or before):
            found[key] = comment
    return found


def _imported(tree: ast.AST) -> Iterator[pathlib.Path]:
    """Yields the files of the modules that a config's file imports for its keys."""
    names = []
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names += [node.module, *(f"{node.module}.{a.name}" for a in node.names)]
        elif isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
    for name in names:
        try:
            origin = importlib.util.find_spec(name).origin
        except (ImportError, AttributeError, ValueError):
            # It is no module, but something in one.
            continue
        path = pathlib.Path(origin or "")
        if path.suffix == ".py" and "def get_config" in path.read_text("utf-8"):
            yield path


def _assigned(node: ast.AST, prefix: str = "") -> Iterator[tuple[str, int, int]]:
    """Yields each key that is set, with its first and last line."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.Assign):
            key = _key(child.targets[0])
            if key:
                yield key, child.lineno, child.end_lineno
            yield from _assigned(child, f"{key}." if key else "")
        elif isinstance(child, ast.Dict):
            for name, value in zip(child.keys, child.values, strict=True):
                if isinstance(name, ast.Constant):
                    yield f"{prefix}{name.value}", name.lineno, value.end_lineno
                    yield from _assigned(ast.Expr(value), f"{prefix}{name.value}.")
        elif isinstance(child, ast.keyword):
            yield f"{prefix}{child.arg}", child.lineno, child.end_lineno
            yield from _assigned(child, f"{prefix}{child.arg}.")
        elif isinstance(child, ast.Call) and isinstance(child.func, ast.Attribute):
            key = _key(child.func.value) if child.func.attr == "update" else None
            yield from _assigned(child, f"{key}." if key else prefix)
        else:
            yield from _assigned(child, prefix)


def _key(target: ast.AST) -> str | None:
    """Returns ``synthetic.seed`` of ``config.synthetic.seed`` or of items; or None."""
    if isinstance(target, ast.Attribute):
        parent, name = target.value, target.attr
    elif isinstance(target, ast.Subscript) and isinstance(target.slice, ast.Constant):
        parent, name = target.value, str(target.slice.value)
    else:
        return None
    above = _key(parent)
    return f"{above}.{name}" if above else name
