"""The test images that are most like a picture, by predicted EEG."""

import subprocess
import sys
import textwrap

import numpy as np
import pytest
from starlette.testclient import TestClient

from helpers.page import png
from helpers.sources import ROOT
from img2eeg_jax.app import similar
from img2eeg_jax.app.library import find
from img2eeg_jax.app.server import make_app

NAMES = tuple(f"concept/{row}.jpg" for row in range(9))


@pytest.fixture
def rng():
    return np.random.default_rng(0)


@pytest.fixture
def known(rng):
    """Nine test images with responses of 2 channels and 5 times."""
    images = rng.integers(0, 256, (9, 8, 8, 3), np.uint8)
    return similar.TestImages(NAMES, images, rng.standard_normal((9, 2, 5)))


def test_r_is_over_channels_and_times(rng):
    responses, pictures = rng.standard_normal((9, 2, 5)), rng.standard_normal((2, 2, 5))
    images = np.zeros((9, 8, 8, 3), np.uint8)
    found = similar.TestImages(NAMES, images, responses).most_similar(pictures)
    for picture, shown in zip(pictures, found, strict=True):
        r = [np.corrcoef(picture.ravel(), one.ravel())[0, 1] for one in responses]
        expected = np.argsort(r)[::-1][: similar.N_SHOWN]
        assert [one["name"] for one in shown] == [NAMES[row] for row in expected]
        np.testing.assert_allclose(
            [one["r"] for one in shown], np.sort(r)[::-1][:6], atol=5e-4
        )


def test_a_constant_response_is_like_none(known):
    (shown,) = known.most_similar(np.ones((1, 2, 5)))
    assert [one["r"] for one in shown] == [0] * similar.N_SHOWN


def test_the_page_asks_for_each_picture(network, known, monkeypatch, quick_compilation):
    made = []

    def of(encoder):
        made.append(encoder)
        return similar.TestImages(NAMES, known._images, np.ones((9, 3, 5)))

    monkeypatch.setattr(similar.TestImages, "of", of)
    files = [("picture", ("a.png", png(1))), ("picture", ("b.png", png(2)))]
    with TestClient(make_app(find([network])), base_url="http://127.0.0.1") as client:
        for _ in range(2):
            answer = client.post("/similar", data={"encoder": network}, files=files)
            assert [len(of) for of in answer.json()["images"]] == [6, 6]
    assert len(made) == 1


def test_without_data_there_are_none(network, quick_compilation):
    files = [("picture", ("a.png", png(1)))]
    with TestClient(make_app(find([network])), base_url="http://127.0.0.1") as client:
        answer = client.post("/similar", data={"encoder": network}, files=files)
    assert answer.json() == {"images": None}


def test_the_page_runs_where_tensorflow_is_missing(network, quick_compilation):
    """In a process of its own: TensorFlow comes with the extra `train`."""
    program = f"""
        import sys

        sys.modules["tensorflow"] = None
        from img2eeg_jax.app.similar import TestImages
        from img2eeg_jax.app import server
        from img2eeg_jax.prediction.encoder import Encoder

        assert TestImages.of(Encoder.from_pretrained({network!r})) is None
    """
    subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program)],
        cwd=ROOT,
        check=True,
        timeout=120,
    )
