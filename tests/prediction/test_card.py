"""What is passed on with a network: its card, its scores, how far to trust it."""

import dataclasses
import json
import re

import numpy as np
import pytest

from helpers.checkpoints import refusal
from helpers.sources import ROOT
from helpers.tiny_network import IMAGE_SIZE, Toy, draw_batch, draw_variables
from img2eeg_jax.axes import UNKNOWN, VOLTS, WHITENED, Axes
from img2eeg_jax.checkpoints import description as descriptions
from img2eeg_jax.checkpoints.description import Description
from img2eeg_jax.checkpoints.load import Checkpoint
from img2eeg_jax.data.zscore import ZScore
from img2eeg_jax.prediction.card import model_card
from img2eeg_jax.prediction.encoder import Encoder
from img2eeg_jax.signal_layout import CHANNELS_BY_TIMES, SignalLayout

pytestmark = pytest.mark.usefixtures("quick_compilation")

SCORES = {
    "encoding_r": 0.61234,
    "noise_ceiling_lower": 0.5,
    "permutation_p": None,
    "window_s": [0.1, 0.3],
    "n_splits": 100,
    "n_images": 200,
    "n_repetitions": 80,
    "subject": 3,
    "checkpoint_step": 9,
    "data_dir": "/home/me/things",
}


@pytest.fixture(autouse=True)
def _toy(monkeypatch):
    monkeypatch.setitem(descriptions.MODELS, "realnet", Toy)


def described(unit=VOLTS, **changes):
    axes = Axes(("O1", "Oz", "O2"), np.arange(5) / 100, unit)
    signal = SignalLayout.for_eeg(CHANNELS_BY_TIMES, axes, axes.times_s)
    zscore = ZScore(np.zeros(axes.shape, np.float32), np.ones(axes.shape, np.float32))
    description = Description("realnet", {}, IMAGE_SIZE, signal, zscore, 3)
    return dataclasses.replace(description, **changes)


def encoder(folder, **changes):
    description = described(**changes)
    return Encoder(Checkpoint(folder, 9, description, draw_variables(Toy()), "best"))


@pytest.fixture
def run_folder(tmp_path):
    """What lies beside a run's checkpoints."""
    folder = tmp_path / "run"
    (folder / "eval").mkdir(parents=True)
    (folder / "eval" / "metrics.json").write_text(json.dumps(SCORES))
    (folder / "config.json").write_text('{"data_dir": "/home/me/things", "seed": 1}')
    (folder / "metrics.csv").write_text("epoch,total\n1,0.5\n")
    (folder / "notes.txt").write_text("private")
    return folder


def test_what_is_saved_predicts_the_same(run_folder, tmp_path):
    before = encoder(run_folder)
    before.save_pretrained(tmp_path / "new")
    after = Encoder.from_pretrained(tmp_path / "new", subject=3)
    images = draw_batch(3)["image"]
    np.testing.assert_array_equal(after(images).data, before(images).data)
    assert after.axes == before.axes
    assert after.description == before.description
    assert (after.checkpoint.step, after.checkpoint.which) == (9, "best")
    assert after.checkpoint.history == [{"epoch": 1.0, "total": 0.5}]
    # Where the data lay is nobody's business.
    assert after.checkpoint.config == {"data_dir": "things", "seed": 1}
    assert after.scores == SCORES | {"data_dir": "things"}
    assert "/home/me" not in "".join(
        path.read_text() for path in (tmp_path / "new").rglob("*.[jmc]*[!s]")
    )
    assert not (tmp_path / "new" / "notes.txt").exists()
    # Again, from what was saved.
    after.save_pretrained(tmp_path / "again")
    for name in ("model.safetensors", "description.json", "README.md", "config.json"):
        first, second = (tmp_path / folder / name for folder in ("new", "again"))
        assert first.read_bytes() == second.read_bytes()


def test_how_far_to_trust_it_goes_along(run_folder, tmp_path):
    for name in ("trust.npz", "trust_sub-03.npz", "trust_sub-04.npz"):
        (run_folder / name).write_text(name)
    encoder(run_folder).save_pretrained(tmp_path / "new")
    assert {path.name for path in (tmp_path / "new").glob("trust*")} == {
        *("trust.npz", "trust_sub-03.npz")
    }
    assert (tmp_path / "new" / "trust_sub-03.npz").read_text() == "trust_sub-03.npz"


def test_a_place_that_is_taken(run_folder):
    message = refusal(lambda: encoder(run_folder).save_pretrained(run_folder))
    assert "`overwrite` replaces it" in message
    message = refusal(
        lambda: encoder(run_folder).save_pretrained(run_folder, overwrite=True)
    )
    assert "expected a network saved before to replace" in message
    assert (run_folder / "notes.txt").exists()


def card(scores=None, **changes):
    description = described(**changes)
    signal, unit = description.signal, {VOLTS: "µV", WHITENED: WHITENED}
    eeg = signal.axes and dataclasses.replace(
        signal.axes, unit=unit.get(signal.axes.unit, "z")
    )
    return model_card(description, eeg, scores)


def test_a_card_tells_whose_what_and_how_good():
    text = card(SCORES)
    head, _, body = text.removeprefix("---\n").partition("---\n")
    assert "library_name: img2eeg_jax" in head
    assert "license:" not in head
    assert "# EEG of subject 3, predicted from images" in body
    assert "EEG in µV" in body
    assert "3 channels (O1, Oz, O2), 5 times from 0 to 0.04 s" in body
    assert "| encoding r | 0.612 |" in body
    assert "permutation" not in body
    assert "simulated" not in body
    assert 'Encoder.from_pretrained("hf://OWNER/NAME")' in body


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"unit": WHITENED}, "whitened: the training data were noise-normalised"),
        ({"unit": UNKNOWN}, "z-scores: standard deviations over the training images"),
        ({"subject": None}, "# EEG of a person, predicted"),
        ({"subject": "AB12"}, "# EEG of subject AB12"),
        (
            {"signal": SignalLayout("features", (15,))},
            "| predicts | 15 features (0, 1, 2, 3, 4, ",
        ),
        ({"data": {"simulated": True}}, "trained on **simulated** EEG"),
        ({"data": {"image_list_sha256": "ab12"}}, "list has SHA-256 `ab12`"),
        ({"initial_weights": "/home/me/net.pth"}, "started from net.pth"),
        ({"source": {"name": "hf://me/x.pt", "sha256": "12"}}, "`hf://me/x.pt`"),
    ],
)
def test_cards_of_other_networks(changes, words):
    text = card(**changes)
    assert words in text
    assert "None were written with it." in text


def test_the_manual_lists_the_sections_of_the_card_and_the_files(run_folder, tmp_path):
    page = (ROOT / "docs" / "how_to" / "publish_a_model.md").read_text("utf-8")
    (run_folder / "trust.npz").write_text("")
    (run_folder / "metrics.csv").write_text("")
    new = tmp_path / "new"
    encoder(run_folder).save_pretrained(new)
    files = {
        path.relative_to(new).as_posix() for path in new.rglob("*") if path.is_file()
    }
    assert files == set(re.findall(r"`([\w./]+)`", "".join(files_rows(page))))
    sections = re.findall("^## (.+)$", (new / "README.md").read_text("utf-8"), re.M)
    assert len(sections) > 3
    assert [name for name in sections if f"\n| {name} |" not in page] == []


def files_rows(page):
    """Returns the first cells of the table of files."""
    return re.findall(r"^\| (`[^|]+) \|", page.split("## The card")[0], re.M)
