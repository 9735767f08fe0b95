"""Encoders that the page finds."""

import pytest

from helpers.page import save_network
from img2eeg_jax.app.library import find
from img2eeg_jax.errors import InputError


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs")
    save_network(folder / "one")
    save_network(folder / "group" / "sub-03")
    (folder / "empty").mkdir()
    return folder


def test_finds_networks_below_folders(runs):
    found = find([], [str(runs), "nowhere"]).names
    assert found == (str(runs / "group"), str(runs / "one"))


def test_named_ones_are_not_searched_for(runs):
    assert find(["hf://OWNER/NAME"], [str(runs)]).names == ("hf://OWNER/NAME",)


def test_none(tmp_path):
    with pytest.raises(InputError, match=r"expected a trained network .* found none"):
        find([], [str(tmp_path)])


def test_a_network_is_loaded_once(network):
    library = find([network])
    assert library.load(network) is library.load(network)
    assert not library.subjects(network)
