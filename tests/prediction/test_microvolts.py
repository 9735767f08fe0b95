"""Microvolts from the recording to MNE: amplitudes that are known beforehand."""

import dataclasses

import numpy as np
import pytest

from helpers import brainvision, raw_recordings
from helpers.preprocessed import PLAIN, run
from img2eeg_jax.checkpoints.description import Description
from img2eeg_jax.data import layout
from img2eeg_jax.data.examples import load_encoding_data
from img2eeg_jax.data.shards import builder
from img2eeg_jax.errors import InputError
from img2eeg_jax.prediction.prediction import Prediction
from img2eeg_jax.signal_layout import CHANNELS_BY_TIMES, SignalLayout

SFREQ_HZ = 200
CH_NAMES = ["O1", "Oz", "O2"]
N_IMAGES = {"training": 4, "test": 3}
N_REPETITIONS = 20
PEAK_S = 0.2
NOISE_UV = 1.0


def amplitudes_uv(partition):
    """µV of each image's response at its peak, [image, channel]."""
    return 10.0 * np.arange(1, N_IMAGES[partition] + 1)[:, None] * [1.0, -0.5, 0.2]


def write_recording(data_dir, partition, noise):
    """A Gaussian bump after each onset, in noise that channels share in part."""
    onsets = np.arange(N_IMAGES[partition] * N_REPETITIONS) * 300 + 100
    mixing = np.array([[1.0, 0.4, 0.0], [0.0, 0.9, 0.4], [0.0, 0.0, 1.0]])
    eeg_uv = NOISE_UV * mixing @ noise.standard_normal((3, onsets[-1] + 400))
    after_s = np.arange(160) / SFREQ_HZ
    bump = np.exp(-(((after_s - PEAK_S) / 0.05) ** 2) / 2)
    images = np.arange(len(onsets)) % N_IMAGES[partition]
    for onset, image in zip(onsets, images, strict=True):
        response = amplitudes_uv(partition)[image][:, None] * bump
        eeg_uv[:, onset : onset + len(bump)] += response
    path = raw_recordings.raw_path(data_dir, 1, partition).with_suffix(".vhdr")
    markers = [
        ("Stimulus", f"S {image + 1}", onset)
        for onset, image in zip(onsets.tolist(), images.tolist(), strict=True)
    ]
    brainvision.write(path, eeg_uv, CH_NAMES, SFREQ_HZ, markers)


@pytest.mark.parametrize("mvnn", ["off", "time"])
def test_amplitudes_of_a_recording_are_predicted_in_microvolts(tmp_path, mvnn):
    """By a network that errs nowhere: it puts out the z-scored test responses."""
    raw_recordings.write_images(tmp_path, N_IMAGES)
    noise = np.random.default_rng(0)
    for partition in layout.PARTITIONS:
        write_recording(tmp_path, partition, noise)
    all_of_them = {"training_repetitions": None, "test_repetitions": None}
    run(tmp_path, dataclasses.replace(PLAIN, mvnn=mvnn, **all_of_them))
    shards = builder.open_or_build(
        tmp_path,
        tmp_path / "shards",
        subjects=(1,),
        image_size=8,
        log=lambda line: None,
    )
    data = load_encoding_data(
        shards,
        subjects=1,
        channels=None,
        window_s=(0.0, 0.4),
        n_validation_concepts=0,
        split_seed=0,
    )
    description = Description(
        "realnet",
        {},
        8,
        SignalLayout.for_eeg(CHANNELS_BY_TIMES, data.axes, data.epoch_times_s),
        data.zscore,
        1,
        data={"preprocessing": shards.eeg(1).preprocessing},
    )
    signal = data.test.response.reshape(N_IMAGES["test"], -1)
    eeg = Prediction.of_signal(signal, description, shards.image_list["test"])
    if mvnn == "time":
        assert eeg.unit == "whitened"
        with pytest.raises(InputError, match=r"no unit: `unwhitened\(\)` maps it back"):
            eeg.to_evoked(0)
        eeg = eeg.unwhitened()
    assert eeg.unit == "µV"
    # The error of a mean over repetitions, and of the baseline's, is below 0.4 µV.
    expected = amplitudes_uv("test")
    at_peak = eeg.sel(window_s=(PEAK_S, PEAK_S))
    np.testing.assert_allclose(at_peak.microvolts[..., 0], expected, atol=1.0)
    for row, name in enumerate(eeg.images):
        evoked = eeg.to_evoked(name)
        column = evoked.time_as_index(PEAK_S, use_rounding=True)[0]
        volts = evoked.data[:, column]
        np.testing.assert_allclose(volts, expected[row] * 1e-6, atol=1e-6)
        microvolts = evoked.get_data(units="uV")[:, column]
        np.testing.assert_allclose(microvolts, expected[row], atol=1.0)
