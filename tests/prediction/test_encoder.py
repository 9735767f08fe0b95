"""The encoder: right rows for any number of images, compiled once."""

import dataclasses
import json
import logging
import re

import flax.linen as nn
import jax
import numpy as np
import pytest
from PIL import Image

from helpers.tiny_network import IMAGE_SIZE, Toy, draw_batch, draw_variables
from img2eeg_jax.axes import UNKNOWN, VOLTS, WHITENED, Axes
from img2eeg_jax.checkpoints import description as descriptions
from img2eeg_jax.checkpoints.description import Description
from img2eeg_jax.checkpoints.load import Checkpoint
from img2eeg_jax.data.zscore import ZScore
from img2eeg_jax.errors import InputError
from img2eeg_jax.models.cornet_s import normalise_pixels
from img2eeg_jax.prediction import streaming
from img2eeg_jax.prediction.encoder import Encoder
from img2eeg_jax.prediction.network import FEW, batches
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
    for n in (0, 1, FEW - 1, FEW, 15, 16, 17, 64, 70):
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
    (batch,) = batches(images(FEW), 16)
    network, (mapped, more) = encoder._network, encoder.outputs.args
    weights = network._variables, *more
    batch = network._parallel.split(batch)
    for outside in ("bfloat16", "highest"):
        with jax.default_matmul_precision(outside):
            text = mapped.lower(weights, batch).as_text()
        # The linear layers' is HIGHEST whatever the network's.
        (convolution,) = re.findall(r".*stablehlo.convolution.*", text)
        assert re.findall(r"<precision (\w+)>", convolution) == [expected] * 2


def test_compiles_each_batch_size_once(tmp_path, caplog):
    encoder = Encoder(checkpoint(tmp_path))

    def n_compiled(predict, n_images):
        caplog.clear()
        with caplog.at_level(logging.WARNING), jax.log_compiles():
            predict(images(n_images))
        return sum("XLA compilation" in record.message for record in caplog.records)

    assert n_compiled(encoder, 1) > 0
    assert n_compiled(encoder, 65) > 0
    for predict in (encoder, encoder.predict_z, encoder.signal):
        for n_images in (1, 2, FEW - 1, FEW, 15, 16, 17, 64, 70):
            assert n_compiled(predict, n_images) == 0


def test_an_image_has_the_same_bits_in_each_batch_of_a_size(tmp_path):
    """In the other size numbers within 1e-5."""
    encoder = Encoder(checkpoint(tmp_path))
    everything = images(70)
    alone = np.concatenate([encoder.signal(everything[i : i + 1]) for i in range(70)])
    for n in (2, FEW - 1):
        np.testing.assert_array_equal(encoder.signal(everything[:n]), alone[:n])
    many = encoder.signal(everything)
    for n in (FEW, 64):
        np.testing.assert_array_equal(encoder.signal(everything[-n:]), many[-n:])
    np.testing.assert_allclose(many, alone, rtol=1e-5, atol=1e-5)


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


def in_unit_of_training(unit, mean, std):
    """A description of EEG with these statistics, and its network's z-scores."""
    axes = dataclasses.replace(AXES, unit=unit)
    signal = SignalLayout.for_eeg(CHANNELS_BY_TIMES, axes, axes.times_s)
    zscore = ZScore(np.float32(mean), np.float32(std))
    return {"signal": signal, "zscore": zscore}


@pytest.mark.parametrize(
    ("unit", "expected", "scale"),
    [(VOLTS, "µV", 1e6), (WHITENED, WHITENED, 1.0), (UNKNOWN, "z", None)],
)
def test_unit_is_that_of_the_training_data(tmp_path, unit, expected, scale):
    rng = np.random.default_rng(2)
    mean = 1e-6 * rng.standard_normal(AXES.shape)
    std = 1e-6 * rng.uniform(1, 9, AXES.shape)
    loaded = checkpoint(tmp_path)
    changes = in_unit_of_training(unit, mean, std)
    description = dataclasses.replace(loaded.description, **changes)
    encoder = Encoder(dataclasses.replace(loaded, description=description))
    prediction = encoder(images(9))
    z = encoder.predict_z(images(9)).data.astype(np.float64)
    values = z if scale is None else (z * std + mean) * scale
    assert prediction.unit == encoder.axes.unit == expected
    np.testing.assert_allclose(prediction.data, values, rtol=1e-5, atol=1e-9)


def test_unit_without_statistics(tmp_path):
    loaded = checkpoint(tmp_path)
    description = dataclasses.replace(loaded.description, zscore=None)
    encoder = Encoder(dataclasses.replace(loaded, description=description))
    assert encoder(images(1)).unit == encoder.axes.unit == "z"


def test_stream_gives_what_a_call_gives(tmp_path):
    encoder = Encoder(checkpoint(tmp_path))
    everything = images(70)
    parts = list(encoder.stream(iter(everything)))
    assert [len(part) for part in parts] == [16, 16, 16, 16, 6]
    whole = encoder(everything)
    assert sum((part.images for part in parts), ()) == whole.images
    assert whole.images == tuple(map(str, range(70)))
    joined = np.concatenate([part.data for part in parts])
    np.testing.assert_array_equal(joined, whole.data)


@pytest.mark.parametrize("room", [1, 10_000])
def test_nobody_knows_how_many(tmp_path, monkeypatch, room):
    """The array that results go to grows, and keeps what it has."""
    monkeypatch.setattr(streaming, "_LEAST_BYTES", room)
    encoder, everything = Encoder(checkpoint(tmp_path)), images(300)
    found, expected = encoder(iter(everything)), encoder(everything)
    np.testing.assert_array_equal(found.data, expected.data)
    assert found.images == expected.images
    assert found.data.base is None


def test_a_picture_that_cannot_be_read(tmp_path):
    encoder = Encoder(checkpoint(tmp_path))
    (tmp_path / "in").mkdir()
    for name, pixels in zip(("a.png", "b.png", "c.png"), images(3), strict=True):
        Image.fromarray(pixels).save(tmp_path / "in" / name)
    whole = encoder(tmp_path / "in")
    broken = tmp_path / "in" / "b.png"
    broken.write_bytes(broken.read_bytes()[:200])
    with pytest.raises(InputError, match=re.escape(f"{broken}: expected a readable")):
        encoder(tmp_path / "in")
    bad = []
    rest = encoder(tmp_path / "in", bad=bad)
    assert rest.images == (whole.images[0], whole.images[2])
    np.testing.assert_array_equal(rest.data, whole.data[[0, 2]])
    assert [str(error).split(":")[0] for error in bad] == [str(broken)]


def test_progress(tmp_path, capsys):
    encoder = Encoder(checkpoint(tmp_path))
    encoder(images(2))
    assert capsys.readouterr().err == ""
    encoder(images(2), progress=True)
    assert "2/2" in capsys.readouterr().err


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
    assert prediction.axes == Axes.of_features([*map(str, range(15))], "z")
    # Nobody knows what these numbers are in.
    assert encoder.axes.unit == "unknown"


def test_a_network_without_a_signal_is_refused(tmp_path):
    with pytest.raises(InputError, match="expected a network that predicts EEG"):
        Encoder(checkpoint(tmp_path, None, "cornet_s"))


class Backbone(nn.Module):
    """Two areas and logits, fast to compile."""

    @nn.compact
    def __call__(self, images):
        v4 = nn.Conv(2, (3, 3))(images)
        return v4.mean((1, 2)), {"V4": v4, "IT": v4[:, ::2] * 2}


def test_features_are_the_backbone_s(tmp_path, monkeypatch):
    model = Backbone()
    variables = draw_variables(model)
    inside = {name: {"realnet": tree} for name, tree in variables.items()}
    monkeypatch.setattr(Checkpoint, "backbone", (model, variables))
    encoder = Encoder(dataclasses.replace(checkpoint(tmp_path), variables=inside))
    logits, areas = model.apply(variables, normalise_pixels(images(2)))
    for layer, expected in [("IT", areas["IT"]), ("logits", logits)]:
        found = encoder.features(images(2), layer)
        np.testing.assert_allclose(found, expected, atol=1e-5)
    # An iterator can be read once: all layers come of one pass.
    both = encoder.features(iter(images(2)), ("logits", "IT"))
    assert [*both] == ["logits", "IT"]
    np.testing.assert_allclose(both["IT"], areas["IT"], atol=1e-5)
    np.testing.assert_allclose(both["logits"], logits, atol=1e-5)
    with pytest.raises(InputError, match="`layer`: expected one of V1, V2, V4, IT, l"):
        encoder.features(images(1), "V3")
    with pytest.raises(InputError, match="found 'V3'"):
        encoder.features(images(1), ["IT", "V3"])


def test_card_and_scores(tmp_path):
    encoder = Encoder(checkpoint(tmp_path))
    assert encoder.scores is None
    text = str(encoder)
    for words in (
        "EEG in µV, 3 channels (O1, Oz, O2), 5 times (0 to 40 ms)",
        "subject     3",
        f"{tmp_path}, step 1",
        "none here",
    ):
        assert words in text
    scores = {
        "encoding_r": 0.61234,
        "noise_ceiling_lower": 0.5,
        "noise_ceiling_upper": None,
        "n_images": 9,
        "window_s": [0.1, 0.3],
        "checkpoint_step": 1,
        "subject": 3,
    }
    path = tmp_path / "eval" / "metrics.json"
    path.parent.mkdir()
    path.write_text(json.dumps(scores))
    encoder = Encoder(checkpoint(tmp_path))
    assert encoder.scores == scores
    expected = (
        "encoding r 0.612, noise ceiling 0.500 to undefined (9 test images, 100-300 ms)"
    )
    assert expected in str(encoder)
    # Of another epoch, or another subject's EEG.
    for other in ({"checkpoint_step": 2}, {"subject": 4}):
        path.write_text(json.dumps(scores | other))
        assert Encoder(checkpoint(tmp_path)).scores is None


def test_the_card_of_eeg_without_a_unit(tmp_path):
    axes = dataclasses.replace(AXES, unit=UNKNOWN)
    signal = SignalLayout.for_eeg(CHANNELS_BY_TIMES, axes, axes.times_s)
    one = checkpoint(tmp_path)
    description = dataclasses.replace(one.description, signal=signal)
    text = str(Encoder(dataclasses.replace(one, description=description)))
    assert "EEG whose unit is unknown" in text
    assert "EEG in unknown" not in text
