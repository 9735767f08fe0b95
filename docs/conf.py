"""Sphinx's settings of the manual: `make docs` builds it into docs/_build/html."""

import pathlib
import sys

import img2eeg_jax

DOCS = pathlib.Path(__file__).parent
sys.path[:0] = [str(DOCS), str(DOCS.parent)]

project = "img2eeg_jax"
author = "The img2eeg_jax authors"
copyright = author
version = release = img2eeg_jax.__version__

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx_copybutton",
    # After autodoc, whose events it takes.
    "made_pages",
]
exclude_patterns = ["_build", "_made"]

# Pages are MyST Markdown; headings are link targets, as on GitHub.
myst_heading_anchors = 4
myst_enable_extensions = ["colon_fence", "dollarmath"]

# Docstrings: Google's sections; a word in single backticks is code.
default_role = "literal"
autodoc_default_options = {
    "members": True,
    "member-order": "bysource",
    "show-inheritance": True,
}
autodoc_typehints = "signature"
autodoc_typehints_format = "short"
autodoc_preserve_defaults = True
napoleon_numpy_docstring = False
napoleon_use_rtype = False
# Fields of dataclasses are listed once.
napoleon_use_ivar = True

# The page of nothing but our own files: no fonts, scripts or pictures of elsewhere.
html_theme = "furo"
html_title = "img2eeg_jax"
html_static_path = ["_static"]
html_css_files = ["manual.css"]
html_js_files = [("manual.js", {"defer": "defer"})]
html_search_scorer = str(DOCS / "search_scores.js")
html_copy_source = False
html_show_sourcelink = False
html_theme_options = {
    "light_css_variables": {
        "color-brand-primary": "#0b5f7a",
        "color-brand-content": "#0b5f7a",
    },
    "dark_css_variables": {
        "color-brand-primary": "#6fc3df",
        "color-brand-content": "#6fc3df",
    },
}
# Prompts and output are not copied.
copybutton_exclude = ".linenos, .gp, .go"


def setup(app: object) -> None:
    """Is called by Sphinx."""
    # After Furo, which makes the contents of the left.
    app.connect("html-page-context", _give_captions_their_level, priority=900)


def _give_captions_their_level(*arguments: object) -> None:
    """Says how high the captions of the contents are, which Sphinx makes headings."""
    context = arguments[3]
    context["furo_navigation_tree"] = context["furo_navigation_tree"].replace(
        'role="heading"', 'role="heading" aria-level="2"'
    )
