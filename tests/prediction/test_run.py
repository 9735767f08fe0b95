"""Pictures in, files out: formats, selections, folders that go on, bad pictures."""

import csv
import dataclasses
import json
import os
import pathlib

import mne
import numpy as np
import pytest
from PIL import Image

from helpers.hub import files_of, local_hub
from helpers.tiny_network import IMAGE_SIZE, Toy, draw_batch, draw_variables
from img2eeg_jax.axes import UNKNOWN, VOLTS, Axes
from img2eeg_jax.checkpoints import description as descriptions
from img2eeg_jax.checkpoints import pretrained
from img2eeg_jax.checkpoints.description import Description
from img2eeg_jax.data.zscore import ZScore
from img2eeg_jax.errors import InputError
from img2eeg_jax.prediction import run
from img2eeg_jax.prediction.encoder import Encoder
from img2eeg_jax.signal_layout import CHANNELS_BY_TIMES, SignalLayout

pytestmark = pytest.mark.usefixtures("quick_compilation")

AXES = Axes(("O1", "Oz", "O2"), np.arange(5) / 100, VOLTS)
ZSCORE = ZScore(
    np.full(AXES.shape, 1e-6, np.float32), np.full(AXES.shape, 2e-6, np.float32)
)


@pytest.fixture(autouse=True)
def _toy(monkeypatch):
    monkeypatch.setitem(descriptions.MODELS, "realnet", Toy)


def save_network(folder, unit=VOLTS, subject=3, seed=0):
    axes = dataclasses.replace(AXES, unit=unit)
    signal = SignalLayout.for_eeg(CHANNELS_BY_TIMES, axes, axes.times_s)
    description = Description("realnet", {}, IMAGE_SIZE, signal, ZSCORE, subject)
    network = 1, description, draw_variables(Toy(), seed), "best"
    pretrained.write(folder, network, "", {}, overwrite=True)
    return folder


@pytest.fixture
def network(tmp_path):
    return save_network(tmp_path / "network")


@pytest.fixture
def pictures(tmp_path):
    """Three pictures, one of them in a folder, and a file that is none."""
    folder = tmp_path / "pictures"
    (folder / "cats").mkdir(parents=True)
    for name, pixels in zip(NAMES, draw_batch(3)["image"], strict=True):
        Image.fromarray(pixels).save(folder / name)
    (folder / "notes.txt").write_text("")
    return folder


NAMES = ("bird.png", "cats/a, b.png", "dog.png")


def predict(network, pictures, output, *, subjects=(), revision=None, **choices):
    """Returns the lines that are told."""
    lines = []
    run.predict_to_files(
        network,
        [pictures] if isinstance(pictures, str | os.PathLike) else pictures,
        output,
        subjects=subjects,
        revision=revision,
        choices=run.Choices(**choices),
        log=lines.append,
    )
    return lines


def expected_uv(network):
    """What the network predicts in µV, f64[image, channel, time]."""
    z = Encoder.from_pretrained(network).signal(draw_batch(3)["image"])
    return z.astype(np.float64).reshape(3, 3, 5) * 2 + 1


def load(path):
    with np.load(path) as arrays:
        return dict(arrays)


# MNE 1.13 reads metadata so; pandas 3.1 warns of it.
@pytest.mark.filterwarnings("ignore:The inplace keyword in DataFrame")
def test_one_file_of_each_format(network, pictures, tmp_path):
    names, uv = [str(pictures / name) for name in NAMES], expected_uv(network)
    path = tmp_path / "new" / "x.npz"
    assert predict(network, pictures, path) == [
        "1 other file left out (1 .txt)",
        f"3 images: 3 channels × 5 times in µV, in {path}",
    ]
    arrays = load(path)
    assert arrays["images"].tolist() == names
    np.testing.assert_allclose(arrays["eeg"], uv, rtol=1e-5, atol=1e-5)
    predict(network, pictures, tmp_path / "x-epo.fif")
    epochs = mne.read_epochs(tmp_path / "x-epo.fif", verbose="error")
    np.testing.assert_allclose(epochs.get_data() * 1e6, uv, rtol=1e-5, atol=1e-5)
    predict(network, pictures, tmp_path / "x-ave.fif")
    evokeds = mne.read_evokeds(tmp_path / "x-ave.fif", verbose="error")
    assert [evoked.comment for evoked in evokeds] == names
    predict(network, pictures, tmp_path / "x.csv")
    with open(tmp_path / "x.csv", encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    values = [float(row["value"]) for row in rows]
    np.testing.assert_allclose(values, uv.ravel(), rtol=1e-5, atol=1e-5)
    assert {row["unit"] for row in rows} == {"µV"}
    predict(network, pictures, tmp_path / "x.nc")
    assert (tmp_path / "x.nc").stat().st_size > 0


def test_what_is_given_as_images(network, pictures, tmp_path):
    listed = tmp_path / "list.txt"
    listed.write_text(f"{pictures}/dog.png\n\n{pictures}/cats\n")
    given = [listed, f"{pictures}/b*.png", pictures / "dog.png"]
    predict(network, given, tmp_path / "x.npz")
    found = [os.path.basename(name) for name in load(tmp_path / "x.npz")["images"]]
    assert found == ["dog.png", "a, b.png", "bird.png"]


@pytest.mark.parametrize("output", ["x.npz", "folder"])
def test_a_picture_that_is_given_twice_counts_once(
    network, pictures, tmp_path, monkeypatch, output
):
    monkeypatch.chdir(tmp_path)
    given = [pictures, pictures / "dog.png", "pictures/dog.png"]
    lines = predict(network, given, tmp_path / output, figures=False)
    assert lines[-1].startswith("3 images")
    if output == "x.npz":
        assert load(tmp_path / output)["images"].tolist() == [
            str(pictures / name) for name in NAMES
        ]


def test_channels_and_times(network, pictures, tmp_path):
    path = tmp_path / "x.npz"
    lines = predict(
        network, pictures, path, channels=["O2", "O1"], window_s=(0.015, 0.1)
    )
    assert "the data cover 0.020 to 0.040 s of the window 0.015 to 0.1 s" in lines
    arrays = load(path)
    assert arrays["ch_names"].tolist() == ["O2", "O1"]
    np.testing.assert_allclose(arrays["times_s"], [0.02, 0.03, 0.04])
    uv = expected_uv(network)[:, [2, 0], 2:]
    np.testing.assert_allclose(arrays["eeg"], uv, rtol=1e-5, atol=1e-5)


@pytest.mark.filterwarnings("ignore:The inplace keyword in DataFrame")
def test_mne_files_without_a_unit(tmp_path, pictures):
    network = save_network(tmp_path / "unknown", UNKNOWN)
    path = tmp_path / "x-epo.fif"
    with pytest.raises(InputError, match="unitless"):
        predict(network, pictures, path)
    predict(network, pictures, path, unitless=True)
    assert mne.read_epochs(path, verbose="error").info["chs"][0]["unit"] != 107


def test_several_subjects(tmp_path, pictures):
    for subject in (1, 2):
        save_network(tmp_path / f"all/sub-0{subject}", subject=subject, seed=subject)
    each = [expected_uv(tmp_path / f"all/sub-0{subject}") for subject in (1, 2)]
    predict(tmp_path / "all", pictures, tmp_path / "x.npz", subjects=(1, 2))
    for subject, uv in zip((1, 2), each, strict=True):
        eeg = load(tmp_path / f"sub-0{subject}_x.npz")["eeg"]
        np.testing.assert_allclose(eeg, uv, rtol=1e-5, atol=1e-5)
    predict(tmp_path / "all", pictures, tmp_path / "x.npz", subjects=("mean",))
    mean = load(tmp_path / "x.npz")["eeg"]
    np.testing.assert_allclose(mean, np.mean(each, axis=0), rtol=1e-5, atol=1e-5)
    output = tmp_path / "out"
    predict(tmp_path / "all", pictures, output, subjects=(1, 2), figures=False)
    one = load(output / "sub-02" / "cats" / "a, b.png.npz")
    np.testing.assert_allclose(one["eeg"], each[1][1:2], rtol=1e-5, atol=1e-5)
    with pytest.raises(InputError, match="expected subjects out of 1, 2, found 5"):
        predict(tmp_path / "all", pictures, tmp_path / "y.npz", subjects=(1, 5))


class TestFolder:
    def made(self, output):
        return {
            path.relative_to(output).as_posix()
            for path in output.rglob("*")
            if path.is_file()
        }

    def test_a_file_and_a_figure_for_each_picture(self, network, pictures, tmp_path):
        output = tmp_path / "out"
        predict(network, pictures, output, figures=False)
        assert self.made(output) == {run.RECORD, *(f"{name}.npz" for name in NAMES)}
        # Figures are made where there were none.
        lines = predict(network, pictures, output)
        assert lines[-1] == (f"3 images, each 3 channels × 5 times in µV, in {output}")
        expected = {f"{name}.{suffix}" for name in NAMES for suffix in ("npz", "png")}
        assert self.made(output) == expected | {run.RECORD}
        for name, uv in zip(NAMES, expected_uv(network), strict=True):
            arrays = load(output / f"{name}.npz")
            assert arrays["images"].tolist() == [str(pictures / name)]
            np.testing.assert_allclose(arrays["eeg"][0], uv, rtol=1e-5, atol=1e-5)
        with Image.open(output / "dog.png.png") as figure:
            assert min(figure.size) > 300

    def test_it_goes_on(self, network, pictures, tmp_path, monkeypatch):
        output = tmp_path / "out"
        write, n_written = run._write, []

        def stopped(one, path, has_figure):
            if len(n_written) == 2:
                raise KeyboardInterrupt
            n_written.append(path)
            write(one, path, has_figure)

        with monkeypatch.context() as patched:
            patched.setattr(run, "_write", stopped)
            with pytest.raises(KeyboardInterrupt):
                predict(network, pictures, output, figures=False)
        first = (output / "bird.png.npz").stat()
        lines = predict(network, pictures, output, figures=False)
        assert "2 of 3 images were there already" in lines
        assert (output / "bird.png.npz").stat() == first
        assert (output / "dog.png.npz").exists()
        # Nothing is left to do; what is new, or was changed, is.
        lines = predict(network, pictures, output, figures=False)
        assert lines[-1] == "3 of 3 images were there already"
        os.replace(pictures / "dog.png", pictures / "bird.png")
        lines = predict(network, pictures, output, figures=False)
        assert "1 of 2 images were there already" in lines
        uv = expected_uv(network)[2]
        eeg = load(output / "bird.png.npz")["eeg"][0]
        np.testing.assert_allclose(eeg, uv, rtol=1e-5, atol=1e-5)

    def test_other_predictions_are_not_mixed(self, network, pictures, tmp_path):
        output = tmp_path / "out"
        predict(network, pictures, output, figures=False)
        with pytest.raises(InputError, match="with the same channels, found others"):
            predict(network, pictures, output, figures=False, channels=["Oz"])
        save_network(network, seed=1)
        with pytest.raises(InputError, match="with the same networks, found others"):
            predict(network, pictures, output, figures=False)
        lines = predict(network, pictures, output, figures=False, overwrite=True)
        assert lines[-1].startswith("3 images, each")
        eeg = load(output / "dog.png.npz")["eeg"][0]
        np.testing.assert_allclose(eeg, expected_uv(network)[2], rtol=1e-5, atol=1e-5)

    def test_a_folder_of_other_things_stays(self, network, pictures, tmp_path):
        other = tmp_path / "other"
        other.mkdir()
        (other / "x.txt").touch()
        with pytest.raises(InputError, match="expected an empty folder, or one of pr"):
            predict(network, pictures, other)
        assert self.made(other) == {"x.txt"}
        with pytest.raises(InputError, match="expected pictures elsewhere"):
            predict(network, pictures, pictures)

    def test_its_own_figures_are_no_pictures(self, network, pictures):
        output = pictures / "cats" / "predicted"
        predict(network, pictures / "cats", output)
        lines = predict(network, pictures / "cats", output)
        assert lines[-1] == "1 of 1 images were there already"

    def test_pictures_of_one_name(self, network, pictures, tmp_path):
        other = tmp_path / "other" / "dog.png"
        other.parent.mkdir()
        Image.fromarray(draw_batch(1)["image"][0]).save(other)
        given = [pictures / "dog.png", other]
        with pytest.raises(InputError, match="expected pictures whose names differ"):
            predict(network, given, tmp_path / "out", figures=False)
        # Once is enough of one that is given twice.
        given = [pictures / "dog.png", pictures]
        predict(network, given, tmp_path / "out", figures=False)

    def test_long_and_odd_names(self, network, tmp_path):
        folder = tmp_path / "pictures"
        folder.mkdir()
        names = [
            "n" * 251 + ".png",
            "n" * 250 + "m.png",
            "犬" * 83 + ".png",
            "a\nb.png",
        ]
        for name, pixels in zip(names, draw_batch(4)["image"], strict=True):
            Image.fromarray(pixels).save(folder / name)
        predict(network, folder, tmp_path / "out", figures=False)
        made = [load(path) for path in (tmp_path / "out").glob("*.npz")]
        found = {os.path.basename(arrays["images"][0]) for arrays in made}
        assert found == set(names)

    def test_features_have_no_figure(self, pictures, tmp_path):
        signal = SignalLayout("features", (15,))
        description = Description("realnet", {}, IMAGE_SIZE, signal)
        network = 1, description, draw_variables(Toy()), "best"
        pretrained.write(tmp_path / "f", network, "", {})
        lines = predict(tmp_path / "f", pictures, tmp_path / "out")
        assert lines[-1].startswith("3 images, each 15 features in 'unknown', in")
        assert load(tmp_path / "out/dog.png.npz")["signal"].shape == (1, 15)


class TestBadPictures:
    @pytest.fixture(autouse=True)
    def _bad(self, pictures):
        (pictures / "cats" / "cut.jpg").write_bytes(b"\xff\xd8\xff\xe0")
        (pictures / "empty\nname.png").touch()

    @pytest.mark.parametrize("output", ["x.npz", "out"])
    def test_the_first_is_refused(self, network, pictures, tmp_path, output):
        with pytest.raises(InputError, match="`skip_bad` leaves out") as error:
            predict(network, pictures, tmp_path / output, figures=False)
        assert str(error.value).startswith(f"{pictures}/cats/cut.jpg: expected a read")
        assert not (tmp_path / "x.npz").exists()

    @pytest.mark.parametrize("output", ["x.npz", "out"])
    def test_they_are_told_at_the_end(self, network, pictures, tmp_path, output):
        output = tmp_path / output
        lines = predict(network, pictures, output, figures=False, skip_bad=True)
        *_, done, title, first, second = lines
        assert done.startswith("3 images")
        assert title == "2 left out:"
        assert first.startswith(f"  {pictures}/cats/cut.jpg: expected a readable image")
        assert second.startswith(f"  {pictures}/empty name.png: expected a readable")

    def test_nothing_is_left(self, network, pictures, tmp_path):
        with pytest.raises(InputError, match="expected one that can be read"):
            predict(
                network, pictures / "cats/cut.jpg", tmp_path / "x.npz", skip_bad=True
            )


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"output": "x.mat"}, "x.mat: expected a name ending in .npz, -epo.fif"),
        ({"output": "x.fif"}, "x.fif: expected a name ending in .npz, -epo.fif"),
        ({"output": "there.npz"}, "`overwrite` replaces it"),
        ({"output": "there.npz/x.npz"}, "expected a folder that can be written"),
        ({"output": "there.npz/x"}, "expected a folder that can be written"),
        ({"pictures": "no"}, "no: expected an image or a folder of images"),
        ({"pictures": "no/*.png"}, "expected a pattern of pictures, found none"),
        ({"network": "no"}, "no: expected a checkpoint"),
        ({"channels": ["Fz"]}, "expected different names out of O1, Oz, O2, found Fz"),
        ({"window_s": (0.5, 0.6)}, "window: expected"),
        ({"subjects": (4,)}, "expected a network of subject 4, found one of 3"),
        ({"revision": "v1"}, "`revision`: expected none beside a local folder"),
    ],
)
def test_refusals(network, pictures, tmp_path, monkeypatch, given, words):
    """In one line, before anything is computed or written."""
    monkeypatch.chdir(tmp_path)
    pathlib.Path("there.npz").touch()
    before = sorted(tmp_path.rglob("*"))
    given = {"network": network, "pictures": pictures, "output": "x.npz"} | given
    with pytest.raises(InputError) as error:
        predict(**given)
    assert words in str(error.value)
    assert "\n" not in str(error.value)
    assert sorted(tmp_path.rglob("*")) == before


def test_from_the_hub(network, pictures, tmp_path, monkeypatch):
    with local_hub(monkeypatch, tmp_path / "cache") as hub:
        hub.repos["me/net"] = files_of(network)
        predict("hf://me/net", pictures, tmp_path / "x.npz")
    eeg = load(tmp_path / "x.npz")["eeg"]
    np.testing.assert_allclose(eeg, expected_uv(network), rtol=1e-5, atol=1e-5)


def test_the_record_tells_what_was_made(network, pictures, tmp_path):
    predict(network, pictures, tmp_path / "out", figures=False, window_s=(0, 0.02))
    record = json.loads((tmp_path / "out" / run.RECORD).read_text())
    assert record["window_s"] == [0, 0.02]
    assert len(record["networks"][0]) == 64
