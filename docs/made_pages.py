"""Makes the pages that repeat what the code says: commands, configs and the API.

Sphinx calls `setup`; the pages are written into docs/_made and docs/reference/api,
which git ignores, before the others are read.
"""

import ast
import configparser
import importlib.util
import os
import pathlib
import re
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator

import img2eeg_jax
from img2eeg_jax.scripts import config_flag, config_help

DOCS = pathlib.Path(__file__).parent
ROOT = DOCS.parent
PACKAGE = ROOT / "img2eeg_jax"

# What the pages of the API are about, the most asked for first; others follow by name.
_FIRST = ("prediction", "evaluation", "linear", "training", "data")
# Flags are in the reference of commands, and two scripts cannot be imported at once.
_NOT_IN_API = ("scripts",)

# What the manual's contents list, in this order; patterns list what is left by name.
_CONTENTS = {
    "Tutorial": ("tutorial/first_hour", "tutorial/*"),
    "How to": (
        "how_to/install",
        "how_to/train",
        "how_to/prediction",
        "how_to/*",
    ),
    "Concepts": ("concepts/*",),
    "Coming from": ("coming_from/*",),
    "Reference": (
        "reference/commands",
        "reference/configs",
        "reference/metrics",
        "reference/api/index",
        "reference/*",
        "limits",
        "faq",
    ),
}

# What means something in reStructuredText, and nothing in our docstrings.
_SIGNS = re.compile(r"([*|]|(?<=\w)_(?!\w))")


def setup(app: object) -> dict[str, bool]:
    """Is called by Sphinx."""
    app.connect("builder-inited", lambda _: write(DOCS))
    # Before Napoleon, which adds marks of its own.
    app.connect("autodoc-process-docstring", _keep_stars_and_bars, priority=400)
    return {"parallel_read_safe": True}


def _keep_stars_and_bars(*arguments: object) -> None:
    """Escapes what means something in reStructuredText and nothing in our docstrings.

    In ``r * x``, ``|r|`` and ``r²_`` these signs are themselves; within backticks, too.
    """
    lines = arguments[-1]
    for number, line in enumerate(lines):
        parts = re.split("(`+[^`]*`+)", line)
        parts[::2] = [_SIGNS.sub(r"\\\1", each) for each in parts[::2]]
        lines[number] = "".join(parts)


def write(docs: pathlib.Path) -> None:
    """Writes all pages below a folder of documents; those that are current stay."""
    pages = {f"reference/api/{name}.md": text for name, text in api().items()}
    pages |= {"_made/commands.md": commands(), "_made/configs.md": configs()}
    _write(docs, pages)
    # It lists what is there by now.
    _write(docs, {"_made/contents.md": contents(docs)})


def _write(docs: pathlib.Path, pages: dict[str, str]) -> None:
    for name, text in pages.items():
        path = docs / name
        if not path.exists() or path.read_text("utf-8") != text:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, "utf-8")


def contents(docs: pathlib.Path) -> str:
    """Returns the tables of contents of the pages that are there."""
    tables = []
    for caption, patterns in _CONTENTS.items():
        found = [
            path.relative_to(docs).with_suffix("").as_posix()
            for pattern in patterns
            for path in sorted(docs.glob(f"{pattern}.md"))
        ]
        entries = "\n".join(dict.fromkeys(found))
        options = f":caption: {caption}\n:hidden:\n:maxdepth: 1"
        if found:
            tables.append(f"```{{toctree}}\n{options}\n\n{entries}\n```\n")
    return "\n".join(tables)


def scripts() -> dict[str, str]:
    """Returns the name of each command → ``module:function``, of setup.cfg."""
    settings = configparser.ConfigParser()
    settings.read(ROOT / "setup.cfg", "utf-8")
    lines = settings["options.entry_points"]["console_scripts"].split("\n")
    return dict(line.split(" = ") for line in lines if line)


def help_of(entry_point: str) -> ElementTree.Element:
    """Returns what a command says of its flags, as absl's --helpxml has it."""
    module, function = entry_point.split(":")
    program = f"from {module} import {function}; {function}()"
    answer = subprocess.run(
        [sys.executable, "-c", program, "--helpxml"],
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        check=False,
    )
    # train.py lists its config below.
    text, end, _ = answer.stdout.decode().partition("</AllFlags>")
    return ElementTree.fromstring(text + end)


def commands() -> str:
    """Returns the reference of commands: each flag, what it means and its default."""
    return "\n".join(
        line for name, entry in scripts().items() for line in _command(name, entry)
    )


def _command(name: str, entry_point: str) -> Iterator[str]:
    told = help_of(entry_point)
    yield f"## {name}\n"
    yield f"`python {_script(entry_point)}` in a clone. {_summary(entry_point)}\n"
    yield "| flag | meaning | default |\n|---|---|---|"
    for flag in sorted(told.iter("flag"), key=lambda each: each.findtext("name", "")):
        if flag.findtext("key") == "yes":
            meaning = _cell(flag.findtext("meaning", ""))
            default = _cell(flag.findtext("default", ""))
            value = f"`{default}`" if default else ""
            yield f"| `--{flag.findtext('name')}` | {meaning} | {value} |"
    yield ""


def _script(entry_point: str) -> str:
    """Returns the name of the file that does in a clone what a command does."""
    call = "from {} import {}\n".format(*entry_point.split(":"))
    return next(p.name for p in ROOT.glob("*.py") if call in p.read_text("utf-8"))


def _summary(entry_point: str) -> str:
    """Returns the first line of a script's docstring."""
    path = ROOT / (entry_point.split(":")[0].replace(".", "/") + ".py")
    docstring = ast.get_docstring(ast.parse(path.read_text("utf-8"))) or ""
    return docstring.split("\n")[0]


def _cell(text: str) -> str:
    """Returns text for a cell of a table."""
    return " ".join(text.split()).replace("|", "\\|").replace("*", "\\*")


def configs() -> str:
    """Returns the reference of configs: all keys, then what each recipe changes."""
    recipes = config_flag.recipes()
    default = {key: rest for key, *rest in _keys(recipes["default"])}
    lines = ["## All keys\n", *_keys_table(default), ""]
    for name in sorted(set(recipes) - {"default"}):
        head = _docstring(recipes[name])
        changed = {
            key: rest
            for key, *rest in _keys(recipes[name])
            if key not in default or rest[1] != default[key][1]
        }
        title, _, rest = head.partition("\n")
        lines += [f"## {name}\n", f"{title}\n"]
        lines += [f"```text\n{rest.strip()}\n```\n"] if rest.strip() else []
        lines += [*_keys_table(changed), ""]
    return "\n".join(lines)


def _keys(path: pathlib.Path) -> Iterator[tuple[str, str, object]]:
    spec = importlib.util.spec_from_file_location(f"recipe_{path.stem}", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return config_help.keys(module.get_config(), path)


def _docstring(path: pathlib.Path) -> str:
    return ast.get_docstring(ast.parse(path.read_text("utf-8"))) or ""


def _keys_table(keys: dict[str, list]) -> Iterator[str]:
    yield "| key | value | meaning |\n|---|---|---|"
    for key, (comment, value) in keys.items():
        yield f"| `{key}` | `{_cell(repr(value))}` | {_cell(comment)} |"


def api() -> dict[str, str]:
    """Returns the name of each page of the API → its text."""
    packages: dict[str, list[str]] = {}
    for module in modules():
        first = module.split(".")[1]
        is_alone = (PACKAGE / f"{first}.py").exists()
        packages.setdefault("others" if is_alone else first, []).append(module)
    order = sorted(packages, key=lambda name: (*[name != n for n in _FIRST], name))
    pages = {name: _api_page(name, packages[name]) for name in order}
    return {"index": _api_index(order)} | pages


def modules() -> list[str]:
    """Returns the names of the public modules that the API's pages are made of."""
    found = []
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = path.relative_to(ROOT).with_suffix("").parts
        parts = parts[:-1] if parts[-1] == "__init__" else parts
        hidden = any(part.startswith("_") for part in parts)
        if len(parts) > 1 and not hidden and parts[1] not in _NOT_IN_API:
            found.append(".".join(parts))
    return found


def _api_index(packages: list[str]) -> str:
    names = [name for name in img2eeg_jax.__all__ if not name.startswith("_")]
    rows = [f"- {{py:obj}}`img2eeg_jax.{name} <{_home(name)}>`" for name in names]
    entries = "\n".join(packages)
    return (
        "# Python API\n\n"
        "What `import img2eeg_jax` gives at once:\n\n" + "\n".join(rows) + "\n\n"
        "All else is imported from its module. Names that start with _ are ours, and "
        "may change; flags are in the [commands](../commands.md).\n\n"
        f"```{{toctree}}\n:maxdepth: 2\n\n{entries}\n```\n"
    )


def _home(name: str) -> str:
    """Returns the full name of what the package re-exports."""
    value = getattr(img2eeg_jax, name)
    return f"{value.__module__}.{name}"


def _api_page(package: str, names: list[str]) -> str:
    title = "The modules beside them"
    if package != "others":
        title = f"img2eeg_jax.{package}"
    parts = [f"# {title}\n"]
    for name in names:
        parts.append(f"## {name.removeprefix('img2eeg_jax.')}\n")
        directives = [f".. automodule:: {name}", *_with_own_gradients(name)]
        body = "\n".join(directives)
        parts.append(f"```{{eval-rst}}\n{body}\n```\n")
    return "\n".join(parts)


def _with_own_gradients(module: str) -> Iterator[str]:
    """Yields directives of functions that autodoc takes for data, and leaves out."""
    path = PACKAGE.parent / f"{module.replace('.', '/')}.py"
    # A package's own module has none.
    text = path.read_text("utf-8") if path.exists() else ""
    for node in ast.parse(text).body:
        is_public = isinstance(node, ast.FunctionDef) and not node.name.startswith("_")
        if is_public and "custom_vjp" in "".join(map(ast.unparse, node.decorator_list)):
            yield f"\n.. autofunction:: {module}.{node.name}"
