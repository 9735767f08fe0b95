"""Networks on a hub on this machine."""

import dataclasses

import pytest

from helpers import web
from helpers.checkpoints import (
    CORNET,
    CORNET_DESCRIPTION,
    assert_bit_identical,
    refusal,
)
from helpers.hub import files_of, local_hub
from helpers.tiny_network import draw_variables
from img2eeg_jax.checkpoints import hub, pretrained
from img2eeg_jax.checkpoints.load import load_checkpoint
from img2eeg_jax.models.cornet_s import CORnetS


@pytest.fixture(scope="module")
def variables():
    return draw_variables(CORnetS(**CORNET))


@pytest.fixture(scope="module")
def repos(tmp_path_factory, variables):
    folder = tmp_path_factory.mktemp("networks")

    def write(name, subject):
        description = dataclasses.replace(CORNET_DESCRIPTION, subject=subject)
        network = 7, description, variables, "best"
        pretrained.write(folder / name, network, "", {"config.json": "{}"})

    write("one", 3)
    for subject, name in ((1, "sub-01"), ("AB12", "sub-AB12")):
        write(f"several/{name}", subject)
    return {
        "me/one": files_of(folder / "one"),
        "me/several": files_of(folder / "several") | {"README.md": b"# all"},
        "me/torch": {"weights/encoder.pt": b"x"},
    }


@pytest.fixture
def server(repos, monkeypatch, tmp_path):
    with local_hub(monkeypatch, tmp_path / "cache") as running:
        running.repos.update(repos)
        yield running


def downloads(server):
    return {
        path.rpartition("/resolve/")[2]
        for method, path, _ in server.requests
        if method == "GET" and "/resolve/" in path
    }


def test_a_network_is_fetched_once(server, variables):
    loaded = load_checkpoint("hf://me/one")
    assert_bit_identical(loaded.variables, variables)
    assert (loaded.step, loaded.description.subject, loaded.config) == (7, 3, {})
    # All of one commit, and what is not named by the description stays there.
    assert downloads(server) == {
        "main/description.json",
        f"{web.COMMIT}/model.safetensors",
        f"{web.COMMIT}/config.json",
    }
    server.requests.clear()
    assert load_checkpoint("hf://me/one/").path == loaded.path
    assert downloads(server) == set()


def test_without_a_network(server, monkeypatch):
    fetched = hub.fetch("hf://me/one")
    with monkeypatch.context() as offline:
        offline.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
        assert hub.fetch("hf://me/one") == fetched
        message = refusal(lambda: hub.fetch("hf://me/several"))
    assert message.startswith("hf://me/several: expected a network that the hub gives")


@pytest.mark.parametrize(
    ("address", "revision"), [("hf://me/one@v1", None), ("hf://me/one", "v1")]
)
def test_revisions(server, address, revision):
    hub.fetch(address, revision)
    assert "v1/description.json" in downloads(server)


def test_several_subjects(server):
    folder = hub.fetch("hf://me/several", subjects=["AB12"])
    assert [path.name for path in folder.iterdir()] == ["sub-AB12"]
    assert load_checkpoint(folder / "sub-AB12").description.subject == "AB12"
    assert sorted(path.name for path in hub.fetch("hf://me/several").iterdir()) == [
        *("sub-01", "sub-AB12")
    ]
    assert load_checkpoint("hf://me/several/sub-01").description.subject == 1


def test_other_bytes_than_the_hub_says(server):
    server.tamper = True
    assert "expected SHA-256" in refusal(lambda: hub.fetch("hf://me/one"))


@pytest.mark.parametrize(
    ("address", "revision", "words"),
    [
        ("hf://me", None, "expected hf://OWNER/NAME or hf://OWNER/NAME/PATH"),
        ("hf://me/one@v1", "v2", "expected `revision` v1, or none, found v2"),
        ("hf://me/torch", None, "found weights/encoder.pt"),
        ("hf://me/nothing", None, "me/nothing"),
        ("hf://me/one/sub-01", None, "found none"),
    ],
)
def test_refusals(server, address, revision, words):
    message = refusal(lambda: hub.fetch(address, revision))
    assert message.startswith(address)
    assert words in message


def test_an_unknown_subject(server):
    message = refusal(lambda: hub.fetch("hf://me/several", subjects=[2]))
    assert message == "hf://me/several: expected subjects out of 1, AB12, found 2"
