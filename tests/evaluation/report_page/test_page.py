"""The report as a file: self-contained, complete, and safe with any names."""

import base64
import dataclasses
import html.parser
import io
import re

import numpy as np
import pytest
from PIL import Image

from helpers import invented_findings as invented
from img2eeg_jax.errors import InputError
from img2eeg_jax.evaluation.figures.figure import Figure
from img2eeg_jax.evaluation.findings import Findings
from img2eeg_jax.evaluation.metrics import METRICS
from img2eeg_jax.evaluation.report_page import words, write_report


class Page(html.parser.HTMLParser):
    """Collects elements, and the text outside of scripts and styles."""

    def __init__(self, text):
        super().__init__()
        self.elements, self.words, self._within = [], [], []
        self.feed(text)
        self.text = re.sub(r"\s+", " ", "".join(self.words))

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        self._within.append(tag)
        if tag in ("br", "p"):
            self.words.append(" ")

    def handle_endtag(self, tag):
        while self._within and self._within.pop() != tag:
            pass

    def handle_data(self, data):
        if not {"script", "style"} & set(self._within):
            self.words.append(data)

    def all(self, tag):
        return [attrs for name, attrs in self.elements if name == tag]


@pytest.fixture
def report(tmp_path):
    """Returns a function that writes a report and reads it."""

    def write(subjects=None, protocol=invented.PROTOCOL, **others):
        path = tmp_path / "report.html"
        subjects = subjects or {1: invented.subject()}
        write_report(path, subjects=subjects, protocol=protocol, **others)
        return Page(path.read_text("utf-8"))

    return write


def pixel(uri):
    """Returns the middle pixel of a picture in the page."""
    content = base64.b64decode(uri.removeprefix("data:image/jpeg;base64,"))
    image = np.asarray(Image.open(io.BytesIO(content)))
    return image[image.shape[0] // 2, image.shape[1] // 2]


def test_nothing_is_loaded_from_elsewhere(report):
    page = report(images=invented.thumbnails())
    for tag, attrs in page.elements:
        for name in ("src", "href", "data", "poster", "srcset"):
            assert attrs.get(name, "#").startswith(("data:", "#")), (tag, attrs)


def test_every_id_is_there_once_and_every_link_has_its_target(report):
    page = report(images=invented.thumbnails())
    ids = [attrs["id"] for _, attrs in page.elements if "id" in attrs]
    assert len(ids) == len(set(ids))
    links = [attrs["href"] for attrs in page.all("a")]
    assert {link.removeprefix("#") for link in links} <= set(ids)


def test_every_picture_has_words(report, tmp_path):
    Image.new("RGB", (8, 8)).save(tmp_path / "f.png")
    figure = Figure(tmp_path / "f.png", "Title of it", "What it shows.", "encoding")
    page = report(images=invented.thumbnails(), figures=[figure])
    assert all(attrs["alt"] for attrs in page.all("img"))
    (shown,) = (a for a in page.all("img") if a["alt"] == "What it shows.")
    content = base64.b64decode(shown["src"].removeprefix("data:image/png;base64,"))
    assert content == figure.path.read_bytes()
    assert "Title of it" in page.text
    plots = [a for a in page.all("div") if "plot" in a.get("class", "")]
    assert plots
    assert all("highest" in attrs["aria-label"].lower() for attrs in plots)


def test_scores_stand_beside_their_interval_and_chance(report):
    page = report()
    scores = invented.encoding().scores
    low, high = scores["encoding_r_ci_low"], scores["encoding_r_ci_high"]
    said = f"{scores['encoding_r']:.3f} 95 % CI {low:.3f} to {high:.3f} chance: 0 "
    assert said in page.text
    assert "P of encoding r" not in page.text
    assert "p of encoding r 0.001" in page.text
    assert "best possible r (noise-free) undefined" in page.text


def test_several_subjects_are_averaged(report):
    subjects = {name: invented.subject(i) for i, name in enumerate("abc")}
    page = report(subjects)
    r = [parts["encoding"].scores["encoding_r"] for parts in subjects.values()]
    error = np.std(r, ddof=1) / 3**0.5
    said = f"{np.mean(r):.3f} ± {error:.3f} SE, mean of 3 subjects"
    assert said in page.text
    assert "EEG of 3 subjects (a, b, c)" in page.text
    assert all(f"{one:.3f}" in page.text for one in r)


def test_networks_are_not_averaged(report):
    comparison = Findings("comparison", notes=("They do not differ.",))
    subjects = {"old": invented.subject(0), "new": invented.subject(1)}
    page = report(subjects, comparisons={"old against new": comparison})
    r = [parts["encoding"].scores["encoding_r"] for parts in subjects.values()]
    assert f"{r[0]:.3f} · {r[1]:.3f} old · new" in page.text
    assert " SE" not in page.text
    assert "old against new" in page.text
    assert "They do not differ." in page.text


def test_the_audit_shows_the_worst_first_with_whose_and_why(report):
    clean = invented.leaks()
    checks = {
        name: {**check, "state": "green", "reason": "fine", "images": []}
        for name, check in clean.scores["checks"].items()
    }
    clean = dataclasses.replace(clean, scores={**clean.scores, "checks": checks})
    subjects = {1: {"leaks": clean}, 2: {"leaks": invented.leaks()}}
    page = report(subjects, images=invented.thumbnails())
    states = [a["class"] for a in page.all("li") if a.get("class")]
    assert states == ["red", "unknown", "green"]
    assert "Subject 1: fine Subject 2: 1 test image of 30" in page.text
    assert "1 red, 1 unknown, 1 green" in page.text
    pair = [a for a in page.all("img") if a["alt"] in invented.IMAGES[2:4]]
    assert [a["alt"] for a in pair] == list(invented.IMAGES[2:4])
    for attrs in pair:
        expected = invented.thumbnails()[attrs["alt"]][0, 0]
        np.testing.assert_allclose(pixel(attrs["src"]), expected, atol=12)


def test_the_best_and_the_worst_images_are_shown(report):
    page = report(images=invented.thumbnails())
    table = invented.images().tables["images"]
    defined = [
        (r, name.split("/")[1])
        for r, name in zip(table["pattern_r"], table["image"], strict=True)
        if not np.isnan(r)
    ]
    ranked = [name for _, name in sorted(defined, reverse=True)]
    shown = re.findall(r"thing_\d+_01b\.jpg", page.text.split("The ends of 29")[1])
    assert shown == [*ranked[:10], *ranked[-10:]]


def test_the_protocol_is_written_out(report):
    page = report()
    assert "data sha256 " + "0123456789abcdef" * 4 in page.text
    assert "training unknown" in page.text
    assert "seeds 0, 1" in page.text
    assert "is whitened yes" in page.text
    assert "version = {9.8.7}" in page.text


def test_names_are_text(report):
    evil = "</script><script>alert(1)</script><img src=x onerror=alert(1)>"
    r = np.array([0.1, 0.2])
    table = {"time_s": r, "layer": np.array([evil, "V1"]), "encoding_r": r}
    channels = {"time_s": r, "channel": np.array([evil, "Oz"]), "encoding_r": r}
    images = {"image": np.array([evil, "b/b.png"]), "pattern_r": r}
    found = Findings("encoding", {}, {"a": table, "b": channels}, {}, (evil,))
    parts = {"encoding": found, "images": Findings("images", {}, {"images": images})}
    plain = report({"x": {"encoding": found}}, protocol={})
    page = report({evil: parts}, protocol={evil: evil}, title=evil)
    assert len(page.all("script")) == len(plain.all("script"))
    assert not [a for a in page.all("img") if a.get("src") == "x"]
    assert page.text.count("alert(1)") > 6


def test_the_same_findings_give_the_same_file(tmp_path):
    for name in "ab":
        write_report(
            tmp_path / name,
            subjects={1: invented.subject()},
            protocol=invented.PROTOCOL,
            images=invented.thumbnails(),
        )
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_nothing_found_is_still_a_page(report):
    page = report({1: {"encoding": Findings("encoding", notes=("Nothing.",))}})
    assert "Nothing." in page.text


@pytest.mark.parametrize("name", ["missing.png", "figure.gif"])
def test_a_figure_that_cannot_be_shown_leaves_the_old_report(tmp_path, name):
    path = tmp_path / "report.html"
    path.write_text("old")
    figure = Figure(tmp_path / name, "", "", "encoding")
    with pytest.raises(InputError, match=re.escape(name)):
        write_report(
            path, subjects={1: invented.subject()}, protocol={}, figures=[figure]
        )
    assert path.read_text() == "old"


def test_words_of_scores():
    assert words.number(-0.0001) == "0.000"
    assert words.number(-0.5) == "−0.500"
    assert "`" in METRICS["rsa_peak"].formula
    assert words.formula("rsa_peak") == METRICS["rsa_peak"].formula.replace(
        "`rsa_spearman`", METRICS["rsa_spearman"].label
    )
