"""Predictors of known worth, and the scores that they must have.

The first scores are of arrays. Then whole evaluations are run, from files to
`metrics.json`, by a predictor that knows images by their pixels: if any stage between
shuffled, shifted or mixed up images, channels or times, it would not score 1.
"""

import json

import numpy as np
import pytest

from helpers.scores import simulate
from img2eeg_jax.axes import Axes
from img2eeg_jax.checkpoints.description import Description
from img2eeg_jax.checkpoints.load import Checkpoint
from img2eeg_jax.data import layout
from img2eeg_jax.data.sources import synthetic
from img2eeg_jax.evaluation import networks
from img2eeg_jax.evaluation.encoding import encoding_scores
from img2eeg_jax.evaluation.evaluation import Evaluation
from img2eeg_jax.evaluation.permutations import permutation_test
from img2eeg_jax.evaluation.run import evaluate_to_files
from img2eeg_jax.prediction import encoder
from img2eeg_jax.signal_layout import CHANNEL_MEAN, CHANNELS_BY_TIMES, SignalLayout

SAMPLING = {"n_splits": 10, "seed": 3}
CHANNELS, WINDOW_S = ("O2", "Pz", "PO7"), (0.1, 0.13)
SIZE = 16


def scores_of(prediction, eeg, signal):
    """Returns {name: f64[channel, time]} of all that is scored."""
    scores = encoding_scores(prediction, eeg, noise_free=signal, **SAMPLING)
    return {k: v for k, v in vars(scores).items() if isinstance(v, np.ndarray)}


@pytest.fixture
def known(rng):
    """EEG of 40 images with its noise-free response: (signal, EEG, scores of it)."""
    _, signal, eeg = simulate(rng, n_images=40)
    return signal, eeg, scores_of(signal, eeg, signal)


def test_the_noise_free_response_scores_the_best_possible_r(known):
    _, _, scores = known
    for against in ("", "_all_repetitions"):
        of_prediction = scores[f"encoding_r{against}"]
        np.testing.assert_array_equal(
            of_prediction, scores[f"best_possible_r{against}"]
        )
        assert of_prediction.min() > 0.5


def test_the_mean_response_scores_the_upper_ceiling(known):
    signal, eeg, _ = known
    scores = scores_of(eeg.mean(1), eeg, signal)
    np.testing.assert_array_equal(scores["encoding_r"], scores["noise_ceiling_upper"])
    np.testing.assert_allclose(scores["encoding_r_all_repetitions"], 1, rtol=1e-12)


def test_the_opposite_scores_the_negative(known):
    signal, eeg, expected = known
    scores = scores_of(-signal, eeg, signal)
    for name in ("encoding_r", "encoding_r_all_repetitions"):
        np.testing.assert_allclose(scores[name], -expected[name], rtol=1e-12)


def test_gain_and_offset_of_a_prediction_change_nothing(known, rng):
    """Of each channel and time their own: units, baselines, z-scores."""
    signal, eeg, expected = known
    gain, offset = 10.0 ** rng.integers(-6, 7, (2, *signal.shape[1:]))
    scores = scores_of(gain * signal - offset, eeg, signal)
    np.testing.assert_allclose(scores["encoding_r"], expected["encoding_r"], atol=1e-4)
    scores = scores_of(gain * signal, eeg * gain, signal)
    for name, r in expected.items():
        np.testing.assert_allclose(scores[name], r, atol=1e-12)


@pytest.mark.parametrize("axis", [0, -2, -1], ids=["images", "channels", "times"])
def test_prediction_and_eeg_permuted_together_change_nothing(known, rng, axis):
    signal, eeg, expected = known
    order = rng.permutation(signal.shape[axis])
    signal, eeg = (np.take(values, order, axis) for values in (signal, eeg))
    for name, r in scores_of(signal, eeg, signal).items():
        r_expected = (
            expected[name] if axis == 0 else np.take(expected[name], order, axis)
        )
        np.testing.assert_allclose(r, r_expected, atol=1e-12, err_msg=name)


def test_one_of_them_permuted_is_chance(known, rng):
    signal, eeg, _ = known
    test = permutation_test(np.roll(signal, 1, axis=0), eeg, **SAMPLING)
    assert test.summary()["permutation_p"] > 0.05
    test = permutation_test(signal, eeg, **SAMPLING)
    assert test.summary()["permutation_p"] < 0.002


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory):
    """A data set of one subject. Not to be changed."""
    folder = tmp_path_factory.mktemp("oracle") / "data"
    synthetic.write_synthetic(
        folder,
        n_training_concepts=3,
        images_per_concept=2,
        n_test_concepts=8,
        image_size=SIZE,
        training_repetitions=2,
        test_repetitions=4,
        subjects=(1,),
    )
    return folder


@pytest.fixture
def oracle(monkeypatch, data_dir):
    """Returns a function that scores a network which knows the data set's files.

    Images are known by their pixels, and responses by what the files hold: none of what
    is tested has a part in it. It is given the signal's kind, a change of the responses
    f64[image, channel, time], and a folder for the results.
    """
    times_s = synthetic.AXES.times_s
    inside = np.abs(times_s[:, None] - [0.1, 0.11, 0.12, 0.13]).min(1) < 1e-6

    def mean_responses(partition):
        found = layout.read_eeg(data_dir, 1, partition)
        rows = [found.axes.ch_names.index(name) for name in CHANNELS]
        return found.eeg.mean(1, dtype=np.float64)[:, rows][..., inside]

    training = mean_responses("training")
    responses = (mean_responses("test") - training.mean(0)) / training.std(0)
    files = layout.read_image_set(data_dir).files("test")
    pixels = [layout.read_image(path, SIZE).tobytes() for path in files]

    def score(kind, change, output):
        known = dict(zip(pixels, change(responses), strict=True))

        def signal_of(self, images):
            signal = np.stack([known[image.tobytes()] for image in images])
            if kind == CHANNEL_MEAN:
                signal = signal.mean(1) @ np.eye(len(times_s))[inside]
            return signal.reshape(len(signal), -1).astype(np.float32)

        axes = Axes(CHANNELS, times_s[inside])
        signal = SignalLayout.for_eeg(kind, axes, times_s)
        description = Description("realnet", {}, SIZE, signal=signal)
        loaded = Checkpoint(data_dir.parent, 5, description, {})
        monkeypatch.setattr(networks, "load_whole", lambda *args: loaded)
        monkeypatch.setattr(encoder.Encoder, "signal", signal_of)
        return evaluate_to_files(
            ["unused"],
            data_dir=data_dir,
            subjects=1,
            output=output,
            only=("encoding",),
            log=lambda line: None,
        ).scores

    return score


@pytest.mark.parametrize("kind", [CHANNELS_BY_TIMES, CHANNEL_MEAN])
def test_an_oracle_scores_1_from_files_to_metrics(oracle, tmp_path, kind):
    summary = oracle(kind, lambda responses: responses, tmp_path)
    assert json.loads((tmp_path / "metrics.json").read_text()) == summary
    for values in (summary, *summary["per_channel"].values()):
        assert values["encoding_r_all_repetitions"] == pytest.approx(1, abs=1e-5)
        upper = values["noise_ceiling_upper"]
        assert values["encoding_r"] == pytest.approx(upper, abs=1e-5)
    of_times = summary["per_time"]["encoding_r_all_repetitions"]
    assert of_times == pytest.approx([1] * 4, abs=1e-5)
    assert summary["permutation_p"] < 0.01
    n_channels = len(CHANNELS) if kind == CHANNELS_BY_TIMES else 1
    assert len(summary["ch_names"]) == n_channels


@pytest.mark.parametrize("axis", [0, 1, 2], ids=["images", "channels", "times"])
def test_one_that_is_off_by_one_does_not(oracle, tmp_path, monkeypatch, axis):
    """The test above would see it if images, channels or times were shifted."""
    monkeypatch.setattr(Evaluation, "save", lambda *args: None)
    summary = oracle(CHANNELS_BY_TIMES, lambda x: np.roll(x, 1, axis), tmp_path)
    assert summary["encoding_r_all_repetitions"] < 0.99
