"""The package's source: sizes of its parts, and flags that only scripts may name."""

import ast
import re

import pytest

from helpers.sources import PACKAGE, SOURCES

# Most lines of a file and of a class, and of a function's body without its docstring.
FILE_LINES, CLASS_LINES, FUNCTION_LINES = 450, 250, 60

# XLA's own are no flags of ours.
FLAG = re.compile(r"(?<![\w-])--(?!xla_)[a-z]")


def parts(tree, kind):
    return (node for node in ast.walk(tree) if isinstance(node, kind))


def body_lines(function):
    """Counts the lines of a function from the first statement after its docstring."""
    body = function.body[1:] if ast.get_docstring(function) else function.body
    return function.end_lineno - body[0].lineno + 1 if body else 0


def names_flags(tree):
    """Tells whether any string does: messages, parts of f-strings, docstrings."""
    return any(
        isinstance(node.value, str) and FLAG.search(node.value)
        for node in parts(tree, ast.Constant)
    )


def test_files():
    large = [
        path
        for path, _ in SOURCES.values()
        if len((PACKAGE / path).read_text().splitlines()) > FILE_LINES
    ]
    assert large == []


def test_classes():
    large = [
        f"{path}:{node.name}"
        for path, tree in SOURCES.values()
        for node in parts(tree, ast.ClassDef)
        if node.end_lineno - node.lineno + 1 > CLASS_LINES
    ]
    assert large == []


def test_functions():
    large = [
        f"{path}:{node.name}"
        for path, tree in SOURCES.values()
        for node in parts(tree, ast.FunctionDef | ast.AsyncFunctionDef)
        if body_lines(node) > FUNCTION_LINES
    ]
    assert large == []


def test_only_scripts_name_flags():
    naming = [
        path
        for path, tree in SOURCES.values()
        if not path.startswith("scripts/") and names_flags(tree)
    ]
    assert naming == []


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('raise ValueError("--batch_size")', True),
        ('f"{x}: give --subject"', True),
        ('"""Takes --width."""', True),
        ('"--xla_dump_to=x"', False),
        ('"a--b, --- and `width`"', False),
        ("# --width", False),
    ],
)
def test_flags_are_found(text, expected):
    assert names_flags(ast.parse(text)) is expected


def test_docstrings_do_not_count():
    function = ast.parse('def f():\n    """A.\n\n    B.\n    """\n    a\n    b').body[0]
    assert body_lines(function) == 2
