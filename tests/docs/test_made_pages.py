"""Pages that are made from the code have all of it."""

import ast
import importlib.util
import re

import img2eeg_jax
from helpers.sources import ROOT, SOURCES, public_names
from img2eeg_jax.scripts import config_flag

_SPEC = importlib.util.spec_from_file_location(
    "made_pages", ROOT / "docs/made_pages.py"
)
made_pages = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(made_pages)


def test_each_module_is_on_a_page_of_the_api_once():
    """So that autodoc finds each public name: the members of these modules."""
    text = "\n".join(made_pages.api().values())
    found = re.findall(r"^\.\. automodule:: (\S+)$", text, re.M)
    expected = {
        name
        for name in SOURCES
        if name != "img2eeg_jax" and not name.startswith("img2eeg_jax.scripts")
    }
    assert set(found) == expected
    assert len(found) == len(expected)


def test_each_public_name_has_a_docstring():
    """Autodoc leaves out what has none."""
    lacking = [
        f"{module}.{node.name}"
        for module, (_, tree) in SOURCES.items()
        for node in tree.body
        if getattr(node, "name", None) in public_names(tree)
        and not ast.get_docstring(node)
    ]
    assert lacking == []


def test_what_the_package_exports_is_at_the_front():
    front = made_pages.api()["index"]
    for name in img2eeg_jax.__all__:
        assert name.startswith("_") or f"img2eeg_jax.{name} <" in front


def test_each_command_has_its_flags():
    text = made_pages.commands()
    assert set(re.findall("^## (.+)$", text, re.M)) == set(made_pages.scripts())
    assert "## img2eeg-eval\n\n`python eval.py` in a clone. Score " in text
    assert "| `--skip_bad` | Leave out images that cannot be read;" in text
    assert "| `--workdir` | Folder of the run; made if need be. |" in text
    assert "--helpxml" not in text


def test_each_config_has_its_keys():
    text = made_pages.configs()
    titles = set(re.findall("^## (.+)$", text, re.M))
    assert titles == {"All keys", *config_flag.recipes()} - {"default"}
    default, demo = text.split("## demo\n")[0], text.split("## demo\n")[1]
    assert "| `window_s` |" in default
    assert "| `width` | `8` |" in demo.split("## ")[0]


def test_stars_and_bars_of_docstrings_stay():
    lines = ["f32[a, *shape] of |r|, `a*b`, x_ and name_of"]
    made_pages._keep_stars_and_bars(None, lines)
    assert lines == [r"f32[a, \*shape] of \|r\|, `a*b`, x\_ and name_of"]
