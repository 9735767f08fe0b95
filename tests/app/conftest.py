"""A small network that the page shows, and a browser to look at it."""

import pytest

from helpers.browser import chromium
from helpers.page import save_network


@pytest.fixture(scope="package")
def network(tmp_path_factory):
    """The folder of a network, as the page names it."""
    folder = tmp_path_factory.mktemp("network") / "tiny"
    save_network(folder)
    return str(folder)


@pytest.fixture(scope="package")
def browser():
    with chromium() as browser:
        yield browser
