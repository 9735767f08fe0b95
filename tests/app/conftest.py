"""A small network that the page shows."""

import pytest

from helpers.page import save_network


@pytest.fixture(scope="package")
def network(tmp_path_factory):
    """The folder of a network, as the page names it."""
    folder = tmp_path_factory.mktemp("network") / "tiny"
    save_network(folder)
    return str(folder)
