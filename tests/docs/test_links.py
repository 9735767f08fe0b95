"""Links from page to page lead somewhere."""

import re

import pytest

from helpers.pages import MADE, pages, without_code
from helpers.sources import ROOT

PAGES = pages()


def anchors(text):
    """Returns the anchors of a page's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.+)$", without_code(text), re.M)
    return {
        re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")
        for heading in headings
    }


def broken(page, text):
    """Returns the links of a page that lead nowhere."""
    found = []
    for link in re.findall(r"\]\(([^)\s]+)\)", without_code(text)):
        if re.match(r"\w+:", link):
            continue
        name, _, anchor = link.partition("#")
        path = ((ROOT / page).parent / name).resolve() if name else ROOT / page
        # A made page has no text yet.
        is_made = path.is_relative_to(ROOT) and (
            path.relative_to(ROOT).as_posix().startswith(MADE)
        )
        if is_made and not anchor:
            continue
        if not path.exists() or (anchor and anchor not in anchors(path.read_text())):
            found.append(link)
    return found


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_somewhere(page):
    assert broken(page, PAGES[page]) == []


def test_a_broken_link_is_found():
    text = "[a](no_page.md) [b](#no-such-heading) [c](train.md#resume-a-run)"
    found = broken("docs/how_to/scaling.md", text)
    assert found == ["no_page.md", "#no-such-heading"]
