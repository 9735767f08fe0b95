"""The page's answers, to a browser and to who means harm."""

import io

import mne
import numpy as np
import pytest
from PIL import Image
from starlette.testclient import TestClient

from helpers.page import SVG, bomb, png
from img2eeg_jax.app.library import find
from img2eeg_jax.app.limits import Limits
from img2eeg_jax.app.server import make_app
from img2eeg_jax.app.uploads import last_part
from img2eeg_jax.prediction.encoder import Encoder

HOST = "http://127.0.0.1"
LIMITS = Limits(n_bytes=200_000, n_pictures=3, n_pixels=1_000_000)


@pytest.fixture(scope="module")
def encoder(network, quick_compilation):
    return Encoder.from_pretrained(network)


@pytest.fixture(scope="module")
def client(network, quick_compilation):
    with TestClient(make_app(find([network]), LIMITS), base_url=HOST) as client:
        yield client


def post(client, network, pictures, path="/predict", headers=None, **fields):
    files = [("picture", picture) for picture in pictures]
    data = {"encoder": network, **fields}
    return client.post(path, data=data, files=files, headers=headers)


def test_answer_is_what_the_encoder_predicts(client, network, encoder, tmp_path):
    path = tmp_path / "a.png"
    path.write_bytes(png(1))
    answer = post(client, network, [("a.png", png(1)), ("b.png", png(2))]).json()
    expected = encoder(path)
    first, second = answer["images"]
    np.testing.assert_allclose(first["values"], expected.data[0], atol=1e-4)
    assert (first["name"], second["name"]) == ("a.png", "b.png")
    assert answer["unit"] == "µV"
    assert answer["ch_names"] == ["O1", "Oz", "O2"]
    assert answer["times_ms"] == [0, 10, 20, 30, 40]
    assert [area["name"] for area in answer["areas"]] == ["V1", "V2", "V4", "IT"]
    it = encoder.features(path, "IT")
    assert answer["areas"][3]["means"][0] == pytest.approx(it.mean(), rel=1e-3)


def test_the_lines_of_code_predict_the_same(client, network, tmp_path, monkeypatch):
    (tmp_path / "a.png").write_bytes(png(1))
    (tmp_path / "b.png").write_bytes(png(2))
    answer = post(client, network, [("a.png", png(1)), ("b.png", png(2))]).json()
    monkeypatch.chdir(tmp_path)
    names = {}
    exec(answer["code"], names)
    values = [image["values"] for image in answer["images"]]
    np.testing.assert_allclose(values, names["eeg"].data, atol=1e-4)
    difference = np.subtract(*values)
    np.testing.assert_allclose(difference, names["difference"].data[0], atol=2e-4)
    assert (tmp_path / "predicted-ave.fif").exists()


def test_downloads(client, network, encoder, tmp_path):
    pictures = [("a.png", png(1)), ("b.png", png(2))]
    more = {"path": "/download", "difference": "1"}
    answer = post(client, network, pictures, format="fif", **more)
    assert 'filename="predicted-ave.fif"' in answer.headers["content-disposition"]
    (tmp_path / "x-ave.fif").write_bytes(answer.content)
    (evoked,) = mne.read_evokeds(tmp_path / "x-ave.fif", verbose="error")
    one, other = (encoder(Image.open(io.BytesIO(content))) for _, content in pictures)
    np.testing.assert_allclose(
        evoked.data * 1e6, one.data[0] - other.data[0], atol=1e-4
    )
    table = post(client, network, pictures, "/download", format="csv").text
    assert table.count("\n") == 1 + 2 * 3 * 5
    drawn = post(client, network, pictures, "/download", format="png").content
    assert Image.open(io.BytesIO(drawn)).format == "PNG"


@pytest.mark.parametrize(
    ("pictures", "status", "found"),
    [
        ([("bomb.png", bomb())], 400, "bomb.png: expected"),
        ([("wide.png", bomb(2000, 600))], 400, "2000 × 600 pixels"),
        ([("x.svg", SVG)], 400, "x.svg: expected a picture"),
        ([("cut.png", png()[:200])], 400, "cut.png: expected"),
        ([("empty.png", b"")], 400, "empty.png: expected"),
        ([("a.png", bytes(300_000))], 413, "pictures: expected at most 0 MB"),
        ([(f"{i}.png", png()) for i in range(4)], 413, "at most 3"),
        ([(f"{i}.png", b"x") for i in range(500)], 413, "at most 3"),
    ],
)
def test_hostile_uploads_get_one_line(client, network, pictures, status, found):
    answer = post(client, network, pictures)
    assert answer.status_code == status
    message = answer.json()["error"]
    assert found in message
    assert "\n" not in message
    # The next one is answered.
    assert post(client, network, [("a.png", png())]).status_code == 200


def test_an_upload_without_a_length_is_counted(client, network):
    def endless():
        yield b'--b\r\nContent-Disposition: form-data; name="p"; filename="a"\r\n\r\n'
        yield from 100 * [bytes(50_000)]

    kind = {"content-type": "multipart/form-data; boundary=b"}
    answer = client.post("/predict", content=endless(), headers=kind)
    assert answer.status_code == 413


@pytest.mark.parametrize(
    ("sent", "shown"),
    [
        ("../../etc/passwd.png", "passwd.png"),
        ("C:\\windows\\a.png", "a.png"),
        ("<img src=x onerror=alert(1)>.png", "img src=x onerror=alert(1).png"),
        ("a\x00\x1b[31mb.png", "a[31mb.png"),
        ("=cmd.png", "cmd.png"),
        ("..", "picture"),
        ("x" * 500 + ".png", "x" * 56 + ".png"),
    ],
)
def test_names_are_only_names(sent, shown):
    assert last_part(sent) == shown


def test_pictures_of_one_name_are_told_apart(client, network):
    answer = post(client, network, [("a.png", png(1)), ("a.png", png(2))]).json()
    assert [image["name"] for image in answer["images"]] == ["a.png", "a_2.png"]


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 200),
        ({"host": "localhost:80"}, 200),
        ({"host": "[::1]:80"}, 200),
        ({"host": "evil.example"}, 403),
        ({"host": "127.0.0.1.evil.example"}, 403),
        ({"host": "192.168.0.7"}, 403),
        ({"origin": HOST}, 200),
        ({"origin": "http://evil.example"}, 403),
        ({"origin": "http://127.0.0.1:9999"}, 403),
        ({"origin": "null"}, 403),
    ],
)
def test_only_this_page_may_ask(client, network, headers, status):
    answer = post(client, network, [("a.png", png())], headers=headers)
    assert answer.status_code == status


def test_an_open_page_answers_to_addresses_but_not_to_names(network):
    app = make_app(find([network]), LIMITS, host="0.0.0.0")
    for host, status in [("192.168.0.7:8765", 200), ("evil.example", 403)]:
        client = TestClient(app, base_url=f"http://{host}")
        assert client.get("/").status_code == status


FORM = "multipart/form-data; boundary=b"
PART = b"--b\r\n%b\r\n\r\nx\r\n--b--\r\n"


@pytest.mark.parametrize(
    ("body", "headers", "found"),
    [
        (b"", {"content-length": "many"}, "a number as its length"),
        (b"", {"content-length": "9" * 5000}, "a number as its length"),
        (b"no form", {}, "a form, found: Invalid multipart"),
        (PART % b"\x00\xff: x", {}, "a form, found: Invalid multipart"),
        (PART % b"X: y", {}, "a form, found: The Content-Disposition"),
        (20 * (PART % b'Content-Disposition: form-data; name="p"'), {}, "at least one"),
        (b"{}", {"content-type": "application/json"}, "a form, found: Missing"),
        (b"", {}, "pictures: expected at least one"),
    ],
)
def test_malformed_requests_get_one_line(client, body, headers, found):
    headers = {"content-type": FORM, **headers}
    answer = client.post("/predict", content=body, headers=headers)
    assert answer.status_code == 400
    assert found in answer.json()["error"]
    assert "\n" not in answer.json()["error"]


def test_a_fault_of_the_page_is_one_line_with_all_headers(network, monkeypatch):
    monkeypatch.setattr("img2eeg_jax.app.answers.answer", lambda *_: 1 / 0)
    app = make_app(find([network]), LIMITS)
    client = TestClient(app, base_url=HOST, raise_server_exceptions=False)
    with client:
        answer = post(client, network, [("a.png", png())])
    assert answer.status_code == 500
    assert answer.json() == {
        "error": "the page: expected an answer, found ZeroDivisionError"
    }
    assert "default-src 'none'" in answer.headers["content-security-policy"]
    assert answer.headers["cache-control"] == "no-store"


def test_headers(client):
    answer = client.get("/")
    policy = answer.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "script-src 'self';" in policy
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert "set-cookie" not in answer.headers
    assert "<script>" not in answer.text
    assert "https://" not in answer.text


def test_nothing_is_kept(client, network, tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    pictures = [("a.png", png(1))]
    assert post(client, network, pictures).status_code == 200
    for form in ("fif", "csv", "png", "npz"):
        answer = post(client, network, pictures, "/download", format=form)
        assert answer.status_code == 200
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("fields", "found"),
    [
        ({"network": "/etc/passwd"}, "encoder: expected one of"),
        ({"subject": "7"}, "subject: expected one of none to choose"),
        ({"path": "/download", "format": "exe"}, "format: expected one of fif"),
    ],
)
def test_wrong_choices(client, network, fields, found):
    fields = {"network": network, **fields}
    answer = post(client, pictures=[("a.png", png())], **fields)
    assert answer.status_code == 400
    assert found in answer.json()["error"]
