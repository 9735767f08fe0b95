"""The encoder: right rows for any number of images, compiled once."""

import dataclasses
import logging
import re

import jax
import numpy as np
import pytest
from PIL import Image

from helpers.tiny_network import IMAGE_SIZE, Toy, draw_batch, draw_variables
from img2eeg_jax.axes import VOLTS, Axes
from img2eeg_jax.checkpoints import description as descriptions
from img2eeg_jax.checkpoints.description import Description
from img2eeg_jax.checkpoints.load import Checkpoint
from img2eeg_jax.data.zscore import ZScore
from img2eeg_jax.errors import InputError
from img2eeg_jax.models.cornet_s import normalise_pixels
from img2eeg_jax.prediction.encoder import Encoder, write_predictions
from img2eeg_jax.prediction.network import batches
from img2eeg_jax.signal_layout import CHANNEL_MEAN, CHANNELS_BY_TIMES, SignalLayout

pytestmark = pytest.mark.usefixtures("quick_compilation")

AXES = Axes(("O1", "Oz", "O2"), np.arange(5) / 100, VOLTS)
ZSCORE = ZScore(np.zeros(AXES.shape, np.float32), np.ones(AXES.shape, np.float32))
EEG = SignalLayout.for_eeg(CHANNELS_BY_TIMES, AXES, AXES.times_s)
MEAN = SignalLayout.for_eeg(
    CHANNEL_MEAN, AXES.select(window_s=(0.01, 0.03)), np.arange(15) / 100
)


@pytest.fixture(autouse=True)
def _toy(monkeypatch):
    monkeypatch.setitem(descriptions.MODELS, "realnet", Toy)


def checkpoint(tmp_path, signal=EEG, kind="realnet"):
    description = Description(
        kind, {}, IMAGE_SIZE, signal=signal, zscore=ZSCORE, subject=3
    )
    return Checkpoint(tmp_path, 1, description, draw_variables(Toy()))


def images(n):
    return draw_batch(n)["image"]


def test_each_image_has_its_prediction_whatever_their_number(tmp_path):
    encoder = Encoder(checkpoint(tmp_path))
    everything = images(70)
    _, expected = Toy().apply(
        encoder.checkpoint.variables, normalise_pixels(everything)
    )
    assert np.ptp(np.asarray(expected), axis=0).min() > 0.01
    for n in (0, 1, 8, 9, 63, 64, 65, 70):
        signal = encoder.signal(everything[:n])
        assert signal.shape == (n, 15)
        np.testing.assert_allclose(signal, expected[:n], atol=1e-5)
    # An iterable is read a batch at a time.
    np.testing.assert_array_equal(encoder.signal(iter(everything)), signal)


@pytest.mark.parametrize(
    ("config", "dtype", "expected"),
    [
        ({"precision": "float32"}, "float32", "HIGHEST"),
        ({"precision": "tf32"}, "float32", "HIGH"),
        ({"precision": "bfloat16"}, "bfloat16", "DEFAULT"),
        (None, "float32", "HIGHEST"),
        ({}, "bfloat16", "DEFAULT"),
    ],
)
def test_precision_is_that_of_training(tmp_path, monkeypatch, config, dtype, expected):
    """Whatever is JAX's default where it is called: TF32 on GPUs that have it."""
    loaded = checkpoint(tmp_path)
    description = dataclasses.replace(
        loaded.description, config=config, model={"dtype": dtype}
    )
    monkeypatch.setitem(descriptions.MODELS, "realnet", lambda dtype: Toy())
    encoder = Encoder(dataclasses.replace(loaded, description=description))
    (batch,) = batches(images(8))
    network, mapped = encoder._network, encoder._signals.args[0]
    batch = network._parallel.split(batch)
    for outside in ("bfloat16", "highest"):
        with jax.default_matmul_precision(outside):
            text = mapped.lower(network._variables, batch).as_text()
        # The linear layers' is HIGHEST whatever the network's.
        (convolution,) = re.findall(r".*stablehlo.convolution.*", text)
        assert re.findall(r"<precision (\w+)>", convolution) == [expected] * 2


def test_compiles_each_batch_size_once(tmp_path, caplog):
    encoder = Encoder(checkpoint(tmp_path))

    def n_compiled(n_images):
        caplog.clear()
        with caplog.at_level(logging.WARNING), jax.log_compiles():
            encoder.predict_z(images(n_images))
        return sum("XLA compilation" in record.message for record in caplog.records)

    assert n_compiled(2) > 0
    assert n_compiled(65) > 0
    for n_images in (1, 8, 20, 63, 64, 70, 130):
        assert n_compiled(n_images) == 0


def test_prediction_knows_what_it_is(tmp_path):
    encoder = Encoder(checkpoint(tmp_path))
    prediction = encoder.predict_z(images(3), ["a.jpg", "b.jpg", "c.jpg"])
    assert prediction.data.shape == (3, 3, 5)
    np.testing.assert_array_equal(
        prediction.data.reshape(3, 15), encoder.signal(images(3))
    )
    # z-scores, whatever the unit of the EEG that it was trained on.
    assert prediction.unit == prediction.axes.unit == "z"
    assert prediction.axes.ch_names == AXES.ch_names
    assert prediction.images == ("a.jpg", "b.jpg", "c.jpg")
    assert (prediction.subject, prediction.zscore) == (3, ZSCORE)
    assert encoder.predict_z(images(2)).images == ("0", "1")
    with pytest.raises(InputError, match="prediction: expected shape"):
        encoder.predict_z(images(2), ["a.jpg"])


def test_prediction_of_a_channel_mean(tmp_path):
    encoder = Encoder(checkpoint(tmp_path, MEAN))
    prediction = encoder.predict_z(images(2))
    np.testing.assert_array_equal(
        prediction.data[:, 0], encoder.signal(images(2))[:, 1:4]
    )
    np.testing.assert_array_equal(prediction.axes.times_s, [0.01, 0.02, 0.03])
    assert prediction.axes.ch_names == ("mean",)
    assert prediction.zscore is None


def test_prediction_of_features(tmp_path):
    encoder = Encoder(checkpoint(tmp_path, SignalLayout("features", (15,))))
    prediction = encoder.predict_z(images(2))
    assert prediction.data.shape == (2, 15)
    assert (prediction.unit, prediction.axes) == ("unknown", None)


def test_a_network_without_a_signal_is_refused(tmp_path):
    with pytest.raises(InputError, match="expected a network that predicts EEG"):
        Encoder(checkpoint(tmp_path, None, "cornet_s"))


def test_predictions_of_whatever_pillow_reads(tmp_path, monkeypatch):
    """A row an image, in order; what is no image is counted."""
    encoder = Encoder(checkpoint(tmp_path))
    monkeypatch.setattr(Encoder, "from_pretrained", lambda *args, **options: encoder)
    folder = tmp_path / "in"
    names = ["a.avif", "b.jfif", "c.jp2", "d.jpe", "e,f.png", "x.png/\udce9.png"]
    for name, pixels in zip(names, images(len(names)), strict=True):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(folder / name)
    (folder / "notes.txt").write_text("")
    line = write_predictions(tmp_path, [folder], tmp_path / "x.npz")
    assert line.startswith("6 images, 1 other file left out (1 .txt): eeg (6, 3, 5)")
    with np.load(tmp_path / "x.npz") as arrays:
        assert arrays["images"].tolist() == [str(folder / name) for name in names]
        # PNG is lossless.
        expected = encoder.signal(images(len(names)))[-2:] * 1e6
        np.testing.assert_allclose(arrays["eeg"][-2:].reshape(2, 15), expected)
