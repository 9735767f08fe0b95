"""The manual is built without a warning, has every public name, is searched offline."""

import pathlib
import subprocess
import sys

import pytest
from sphinx.util.inventory import InventoryFile

from helpers.browser import PHONE, SCREEN, serious_faults
from helpers.sources import ROOT, SOURCES, public_names

pytestmark = pytest.mark.slow

# What is asked for → the page that one expects among the first.
SEARCHES = {
    "microvolt": "how_to/prediction.html",
    "own images": "how_to/prediction.html",
    "resume": "how_to/train.html",
}

# One of each kind: text, code, tables, a diagram, signatures, the index, what is found.
PAGES = (
    "index.html",
    "how_to/prediction.html",
    "reference/configs.html",
    "reference/architecture.html",
    "reference/api/models.html",
    "genindex.html",
    "search.html?q=microvolt",
)


@pytest.fixture(scope="module")
def manual(tmp_path_factory):
    """The folder of the built manual."""
    folder = tmp_path_factory.mktemp("manual")
    command = [sys.executable, "-m", "sphinx", "-W", "--keep-going", "-q"]
    result = subprocess.run(
        [*command, "-d", str(folder / "doctrees"), "docs", str(folder / "html")],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    assert result.stderr == ""
    return folder / "html"


def test_every_public_name_is_in_the_reference(manual):
    inventory = InventoryFile.loads((manual / "objects.inv").read_bytes(), uri="")
    found = {name for kind in inventory.data.values() for name in kind}
    expected = {
        f"{module}.{name}"
        for module, (_, tree) in SOURCES.items()
        if not module.startswith("img2eeg_jax.scripts")
        for name in public_names(tree)
    } - {"img2eeg_jax"}
    assert expected - found == set()


@pytest.mark.parametrize("words", SEARCHES)
def test_search_works_without_a_network(browser, manual, words):
    page = browser.new_page()
    requested = []
    page.on("request", lambda request: requested.append(request.url))
    address = (manual / "search.html").as_uri()
    page.goto(f"{address}?q={words.replace(' ', '+')}")
    page.wait_for_selector("#search-results li a", timeout=30_000)
    page.wait_for_function(
        "document.querySelector('.search-summary, #search-results p')"
        "?.textContent.match(/found|finished|matching/i)"
    )
    links = page.eval_on_selector_all(
        "#search-results li a", "all => all.map(each => each.href)"
    )
    page.close()
    names = [link.split("/html/")[1].split("#")[0].split("?")[0] for link in links]
    assert SEARCHES[words] in names[:3], names[:10]
    assert all(url.startswith(("file:", "data:")) for url in requested)


def test_pages_ask_nothing_of_elsewhere(manual):
    """No script, style, font or picture of another host."""
    for path in pathlib.Path(manual).rglob("*.html"):
        text = path.read_text(encoding="utf-8")
        for mark in ('src="http', 'rel="stylesheet" href="http', "//fonts."):
            assert mark not in text, path


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("name", PAGES)
def test_pages_are_for_everybody(browser, manual, name, scheme):
    """Nothing is wider than a phone or a screen; axe-core finds no serious fault."""
    page = browser.new_page(color_scheme=scheme)
    page.goto(f"{manual.as_uri()}/{name}")
    if "?" in name:
        page.wait_for_selector("#search-results li a")
    for viewport in (PHONE, SCREEN):
        page.set_viewport_size(viewport)
        # Drawn, and what scrolls is known, two frames later.
        for _ in range(2):
            page.evaluate("new Promise(requestAnimationFrame)")
        # Of the whole, and of the text, which Furo lets scroll on a phone.
        widths = page.eval_on_selector_all(
            "html, .content", "all => all.map(e => [e.scrollWidth, e.clientWidth])"
        )
        assert len(widths) == 2
        assert all(of_all <= seen for of_all, seen in widths), widths
        assert serious_faults(page) == []
    page.close()
