"""Where weights come from: files, folders, and a hub on this machine."""

import hashlib
import os
import pathlib
import subprocess
import sys

import numpy as np
import pytest

from helpers import web
from img2eeg_jax.errors import InputError
from img2eeg_jax.interop import sources

BODY = np.random.default_rng(1).bytes(25_000_000)
SHA256 = hashlib.sha256(BODY).hexdigest()
REPO = "kmazrolina/ReAlNet"
FILES = {
    "README.md": b"# weights",
    "weights/ReAlnet_EEG/sub-01/best_model_params.pt": b"one",
    "weights/ReAlnet_EEG/sub-03/epoch9_model_params.pt": b"nine",
    "weights/ReAlnet_EEG/sub-03/best_model_params.pt": BODY,
    "weights/ReAlnet_EEG/sub-10/epoch9_model_params.pt": b"nine",
    "weights/ReAlnet_EEG/sub-10/epoch12_model_params.pt": b"twelve",
    "weights/ReAlnet_EEG/sub-10/realnet.pt": b"backbone",
}


@pytest.mark.parametrize(
    ("files", "subject", "chosen"),
    [
        (["a/encoder.pt", "a/realnet.pt", "x.txt"], None, "a/encoder.pt"),
        (["encoder.safetensors"], None, "encoder.safetensors"),
        (["encoder.ckpt", "model.pt"], None, "encoder.ckpt"),
        (["s/sub-03/encoder.pt", "s/sub-30/encoder.pt"], 3, "s/sub-03/encoder.pt"),
        (list(FILES), 10, "weights/ReAlnet_EEG/sub-10/epoch12_model_params.pt"),
        (list(FILES), 3, "weights/ReAlnet_EEG/sub-03/best_model_params.pt"),
        (["cornet_s-1d3f7974.pth", "LICENSE"], None, "cornet_s-1d3f7974.pth"),
        (["realnet.pt", "epoch0_model_params.pt"], None, "epoch0_model_params.pt"),
        (["sub-03/encoder.pt", "sub-AB12/encoder.pt"], "AB12", "sub-AB12/encoder.pt"),
    ],
)
def test_choose(files, subject, chosen):
    assert sources.choose(files, subject, "there") == chosen


@pytest.mark.parametrize(
    ("files", "subject", "words"),
    [
        ([], None, "there: expected weights named .* found none"),
        (["model.txt", "encoder.txt"], None, "found none"),
        (["a/model.pt", "b.ckpt", "c.txt"], None, "found a/model.pt, b.ckpt; name it"),
        (list(FILES), 2, "of subject 2 named .*found weights/.*sub-01/best"),
        (list(FILES), None, "one file of weights, found .*sub-01.*sub-03.*`subject`"),
        (["encoder.pt", "best_model_params.pt"], None, "found encoder.pt, best_"),
        # The best of several subjects is not asked for either.
        (["sub-01/encoder.pt", "sub-02/realnet.pt"], None, "give `subject`"),
        (["a/sub-1/encoder.pt", "b/sub-1/encoder.pt"], 1, "name it$"),
    ],
)
def test_choose_refuses(files, subject, words):
    with pytest.raises(InputError, match=words):
        sources.choose(files, subject, "there")


def test_folder_and_file(tmp_path):
    for name in ("sub-02/encoder.pt", "sub-04/encoder.pt"):
        (tmp_path / name).parent.mkdir()
        (tmp_path / name).write_bytes(BODY[:9])
    found = sources.find(str(tmp_path), subject=4)
    assert found.path == tmp_path / "sub-04/encoder.pt"
    assert found.sha256 == hashlib.sha256(BODY[:9]).hexdigest()
    assert found.subject == 4
    assert sources.find(str(tmp_path / "sub-02/encoder.pt")).subject == 2
    assert sources.find(str(tmp_path / "sub-02"), subject=2).subject == 2
    with pytest.raises(InputError, match="expected weights of subject 5, found those"):
        sources.find(str(tmp_path / "sub-02/encoder.pt"), subject=5)
    with pytest.raises(InputError, match="expected SHA-256 1234"):
        sources.find(str(tmp_path / "sub-02/encoder.pt"), sha256="1234")


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ("no.pt", r"no\.pt: expected a file, .*cornet_s.* found nothing there"),
        ("s3://bucket/x.pt", "another kind of address"),
        ("hf://only-owner", "expected hf://OWNER/NAME"),
        ("https://[x/y.pt", "expected an address, found: Invalid IPv6 URL"),
    ],
)
def test_find_refuses(tmp_path, monkeypatch, given, words):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match=words):
        sources.find(given)


def test_a_revision_is_of_the_hub():
    with pytest.raises(InputError, match=r"hf://\.\.\. beside `revision`"):
        sources.find("cornet_s", revision="main")


def test_cornet_s_by_name(tmp_path, monkeypatch):
    """The publisher's URL, and the checksum that its file name tells."""
    asked = []

    def fetch(url, sha256):
        asked.append((url, sha256))
        (tmp_path / "x.pth").write_bytes(b"x")
        return str(tmp_path / "x.pth")

    monkeypatch.setattr(sources.http, "fetch", fetch)
    with pytest.raises(InputError, match="expected SHA-256 1d3f7974"):
        sources.find("cornet_s")
    url = "https://s3.amazonaws.com/cornet-models/cornet_s-1d3f7974.pth"
    assert asked == [(url, "1d3f7974")]


def test_no_secrets_are_recorded(monkeypatch, tmp_path):
    (tmp_path / "x.pt").write_bytes(b"x")
    monkeypatch.setattr(sources.http, "fetch", lambda *_: tmp_path / "x.pt")
    found = sources.find("https://me:word@host/sub-02/x.pt?signature=1")
    assert found.name == "https://host/sub-02/x.pt"
    assert found.subject == 2


@pytest.fixture
def hub():
    with web.serving() as server:
        server.repos[REPO] = FILES
        yield server


@pytest.fixture
def find(hub, tmp_path):
    """Finds in a process of its own: the hub's address is read when it starts."""

    def call(given, **environment):
        program = (
            "import sys\n"
            "from huggingface_hub.utils import logging\n"
            "from img2eeg_jax.interop import sources\n"
            "logging.set_verbosity_error()\n"
            "kind, subject, sha256, revision = sys.argv[1:]\n"
            "subject = int(subject) if subject else None\n"
            "try:\n"
            "    s = sources.find(\n"
            "        kind, subject=subject, sha256=sha256, revision=revision)\n"
            "    print(s.path, s.name, s.sha256, s.revision, s.subject, sep='\\n')\n"
            "except ValueError as error:\n"
            "    print('REFUSED', ' '.join(str(error).split()))\n"
        )
        given = {"kind": "", "subject": "", "sha256": "", "revision": ""} | given
        result = subprocess.run(
            [sys.executable, "-W", "error", "-c", program, *map(str, given.values())],
            env=os.environ
            | {
                "PYTHONPATH": os.pathsep.join(sys.path),
                "HF_ENDPOINT": hub.url,
                "HF_HOME": str(tmp_path / "hf"),
                "HF_HUB_DISABLE_PROGRESS_BARS": "1",
            }
            | environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert result.returncode == 0, result.stderr
        assert result.stderr == ""
        return result.stdout.splitlines()

    return call


def test_hub_by_subject_then_from_the_cache(hub, find):
    given = {"kind": f"hf://{REPO}", "subject": 3, "sha256": SHA256}
    path, name, sha256, revision, subject = find(given)
    with open(path, "rb") as file:
        assert file.read() == BODY
    file = "weights/ReAlnet_EEG/sub-03/best_model_params.pt"
    assert name == f"hf://{REPO}/{file}"
    assert (sha256, revision, subject) == (SHA256, web.COMMIT, "3")
    hub.requests.clear()
    assert find(given)[0] == path
    # The list of files, and no file.
    assert not [
        p for method, p, _ in hub.requests if method == "GET" and "resolve" in p
    ]
    # Without a network the path has to be told.
    offline = {"kind": name}
    assert find(offline, HF_HUB_OFFLINE="1")[0] == path
    (refused,) = find(given, HF_HUB_OFFLINE="1")
    assert "offline" in refused


def test_hub_folder_and_revision(hub, find):
    given = {"kind": f"hf://{REPO}/weights/ReAlnet_EEG/sub-10", "revision": "v1"}
    assert find(given)[1].endswith("sub-10/epoch12_model_params.pt")
    assert any("/resolve/v1/" in path for _, path, _ in hub.requests)


def test_hub_cut_off_and_resumed(hub, find):
    # The answer with the list of files, then the one with the file.
    hub.cut_after = [10**9, 15_000_000]
    path, *_ = find({"kind": f"hf://{REPO}", "subject": 3})
    with open(path, "rb") as file:
        assert file.read() == BODY
    assert hub.ranges_asked()[-1] == f"bytes={10 * 2**20}-"


def test_hub_with_other_bytes(hub, find, tmp_path):
    hub.tamper = True
    (refused,) = find({"kind": f"hf://{REPO}", "subject": 3})
    assert refused.startswith("REFUSED")
    assert f"expected SHA-256 {SHA256}, found" in refused
    hub.tamper = False
    assert find({"kind": f"hf://{REPO}", "subject": 3})[2] == SHA256


def test_hub_refusals(hub, find):
    (several,) = find({"kind": f"hf://{REPO}"})
    assert "`subject`" in several
    (no_file,) = find({"kind": f"hf://{REPO}/no/encoder.pt"})
    assert "404" in no_file
    (no_repo,) = find({"kind": "hf://nobody/nothing"})
    assert "nobody/nothing" in no_repo
    assert "404" in no_repo
    (wrong,) = find({"kind": f"hf://{REPO}", "subject": 1, "sha256": SHA256})
    assert f"expected SHA-256 {SHA256}, found" in wrong


@pytest.mark.slow
def test_no_hub(find):
    """The hub's library tries for a while."""
    (refused,) = find({"kind": f"hf://{REPO}/x.pt"}, HF_ENDPOINT="http://127.0.0.1:9")
    assert refused.startswith(f"REFUSED hf://{REPO}/x.pt: expected weights that")


@pytest.mark.parametrize(
    ("name", "is_published"),
    [
        ("hf://kmazrolina/ReAlNet/weights/sub-01/best_model_params.pt", True),
        ("hf://kmazrolina/ReAlNet", True),
        ("https://huggingface.co/kmazrolina/ReAlNet/resolve/main/x.pt", True),
        ("hf://kmazrolina/ReAlNet-of-mine/encoder.pt", False),
        ("hf://me/ReAlNet/encoder.pt", False),
        ("/home/me/kmazrolina/ReAlNet/encoder.pt", False),
        ("https://example.org/hf://kmazrolina/ReAlNet/encoder.pt", False),
    ],
)
def test_published_weights_are_told_by_their_address(name, is_published):
    source = sources.Source(pathlib.Path("encoder.pt"), name, "0" * 64)
    assert source.is_published == is_published
