"""Simulated EEG: evoked responses that depend on the image, and trial noise."""

import dataclasses
from collections.abc import Sequence

import mne
import numpy as np

from img2eeg_jax.axes import VOLTS, Axes
from img2eeg_jax.data.sources.synthetic.drawing import (
    IS_CIRCULAR,
    PROPERTY_NAMES,
    RANGES,
)
from img2eeg_jax.data.sources.things_eeg2 import OFFICIAL_CH_NAMES, OFFICIAL_TIMES_S

CH_NAMES = OFFICIAL_CH_NAMES
TIMES_S = OFFICIAL_TIMES_S
AXES = Axes(CH_NAMES, TIMES_S, VOLTS)
SFREQ_HZ = 100.0
_MONTAGE = "colin27_1005"
# Columns of `_features`, and the property that each comes from.
_FEATURE_PROPERTY = np.array([0, 1, 1, 2, 3, 3, 4, 5])
_POSITION_FEATURE = 7
# Standard deviation over images of a source's modulation, and of single-trial noise.
_MODULATION_UV = 1.6
_NOISE_UV = 4.2
_WHITE_NOISE_UV = 1.0
# Distance over which noise stays correlated, in metres on the scalp.
_NOISE_RANGE_M = 0.06
# Standard deviation over images of a component's latency and of log(width).
_LATENCY_JITTER_S = 0.004
_LOG_WIDTH_JITTER = 0.08


@dataclasses.dataclass(frozen=True)
class _Component:
    """One deflection of the evoked response.

    Attributes:
      latency_s: peak time.
      width_s: standard deviation of its Gaussian time course.
      amplitude_uv: mean over images at a source's centre.
      modulation: strength of the dependence on the image, 1 = `_MODULATION_UV`.
      centres: an electrode below each source.
      range_m: distance over which a source's field falls off.
    """

    latency_s: float
    width_s: float
    amplitude_uv: float
    modulation: float
    centres: tuple[str, ...]
    range_m: float


_COMPONENTS = (
    _Component(0.080, 0.014, -2.0, 0.8, ("POz",), 0.07),
    _Component(0.115, 0.018, 4.0, 1.1, ("PO7", "PO8", "Oz"), 0.06),
    _Component(0.165, 0.022, -5.0, 1.2, ("P7", "P8", "POz"), 0.06),
    _Component(0.220, 0.026, 4.5, 1.2, ("PO3", "PO4", "Pz"), 0.07),
    _Component(0.280, 0.032, -2.5, 1.2, ("P5", "P6", "Oz"), 0.07),
    _Component(0.420, 0.090, 3.5, 0.8, ("Pz",), 0.09),
)


def simulate_responses(properties: np.ndarray, subject: int, seed: int) -> np.ndarray:
    """Computes evoked responses without noise.

    Args:
      properties: f64[image, property], see `image_properties`.
      subject: subject number; subjects differ in topography, latency and gain.
      seed: seed of the data set.

    Returns:
      f64[image, channel, time] in volts.
    """
    features = _features(properties)
    shared = np.random.default_rng([seed, 1])
    own = np.random.default_rng([seed, 2, subject])
    positions_m = _electrode_positions_m(CH_NAMES)
    response_uv = np.zeros((len(features), len(CH_NAMES), len(TIMES_S)))
    for component in _COMPONENTS:
        time_course = _time_courses(component, features, shared, own)
        amplitude_uv = _source_amplitudes(component, features, shared, own)
        fields = _source_fields(component, positions_m, own)
        topography_uv = amplitude_uv @ fields
        response_uv += topography_uv[:, :, None] * time_course[:, None, :]
    return response_uv * 1e-6


def simulate_noise(
    n_images: int, n_repetitions: int, rng: np.random.Generator
) -> np.ndarray:
    """Draws trial noise with a 1/f spectrum, correlated between near electrodes.

    Args:
      n_images: number of images.
      n_repetitions: trials of each image.
      rng: source of randomness.

    Returns:
      f32[image, repetition, channel, time] in volts, baseline-corrected.
    """
    n_channels, n_times = len(CH_NAMES), len(TIMES_S)
    # Twice the epoch, because noise made by an FFT is periodic.
    shape = (n_images, n_repetitions, n_channels, 2 * n_times)
    frequencies_hz = np.fft.rfftfreq(2 * n_times, 1 / SFREQ_HZ)
    gain = np.zeros(len(frequencies_hz), np.float32)
    gain[1:] = frequencies_hz[1:] ** -0.5
    gain *= _NOISE_UV / np.sqrt(np.mean(gain**2))
    mixing = np.linalg.cholesky(_noise_covariance()).astype(np.float32)
    noise_uv = np.empty((*shape[:3], n_times), np.float32)
    for image_noise_uv in noise_uv:
        white = rng.standard_normal(shape[1:], np.float32)
        spectrum = np.fft.rfft(white) * gain
        image_noise_uv[:] = mixing @ np.fft.irfft(spectrum)[..., :n_times]
    noise_uv += _WHITE_NOISE_UV * rng.standard_normal(noise_uv.shape, np.float32)
    noise_uv -= noise_uv[..., TIMES_S <= 0].mean(axis=-1, keepdims=True)
    noise_uv *= 1e-6
    return noise_uv


def _features(properties: np.ndarray) -> np.ndarray:
    """Turns properties into numbers of mean 0 and variance 1 over all images.

    The moments are those of the uniform distribution that properties come from.
    Circular properties give a cosine and a sine, so that 0 and 180 degrees agree.
    """
    low, high = RANGES.T
    unit = (properties - low) / (high - low)
    linear = np.sqrt(12) * (unit - 0.5)
    circle = 2 * np.pi * unit
    contrast, orientation, frequency, hue, size, position = range(6)
    return np.stack(
        [
            linear[:, contrast],
            np.sqrt(2) * np.cos(circle[:, orientation]),
            np.sqrt(2) * np.sin(circle[:, orientation]),
            linear[:, frequency],
            np.sqrt(2) * np.cos(circle[:, hue]),
            np.sqrt(2) * np.sin(circle[:, hue]),
            linear[:, size],
            linear[:, position],
        ],
        axis=1,
    )


def _weights(rng: np.random.Generator) -> np.ndarray:
    """Draws weights over features: f64[feature], the same strength per property."""
    n_properties = len(PROPERTY_NAMES)
    strength = np.exp(rng.normal(scale=0.2, size=n_properties))
    strength *= rng.choice([-1, 1], size=n_properties)
    turn = rng.uniform(0, 2 * np.pi, size=n_properties)
    # A circular property's pair of features shares its strength.
    is_first = np.append(True, np.diff(_FEATURE_PROPERTY) > 0)
    is_pair = IS_CIRCULAR[_FEATURE_PROPERTY]
    angle = turn[_FEATURE_PROPERTY]
    shares = np.where(is_first, np.cos(angle), np.sin(angle))
    weights = strength[_FEATURE_PROPERTY] * np.where(is_pair, shares, 1.0)
    return weights / np.linalg.norm(weights)


def _time_courses(
    component: _Component,
    features: np.ndarray,
    shared: np.random.Generator,
    own: np.random.Generator,
) -> np.ndarray:
    """Returns f64[image, time], 1 at the peak; the image moves and widens it."""
    shift, widening = features @ _weights(shared), features @ _weights(shared)
    latency_s = component.latency_s + own.normal(scale=0.004)
    latency_s = latency_s + _LATENCY_JITTER_S * shift
    width_s = component.width_s * np.exp(_LOG_WIDTH_JITTER * widening)
    return np.exp(-0.5 * ((TIMES_S - latency_s[:, None]) / width_s[:, None]) ** 2)


def _source_amplitudes(
    component: _Component,
    features: np.ndarray,
    shared: np.random.Generator,
    own: np.random.Generator,
) -> np.ndarray:
    """Returns f64[image, source] in microvolts."""
    gain = np.exp(own.normal(scale=0.15))
    amplitudes_uv = []
    for centre in component.centres:
        weights = _weights(shared)
        side = _side(centre)
        if side:
            # An object on one side drives the other hemisphere.
            weights[_POSITION_FEATURE] = -side * abs(weights[_POSITION_FEATURE])
        weights = weights + own.normal(scale=0.05, size=len(weights))
        modulation_uv = component.modulation * _MODULATION_UV * (features @ weights)
        amplitudes_uv.append(gain * (component.amplitude_uv + modulation_uv))
    return np.stack(amplitudes_uv, axis=1)


def _side(ch_name: str) -> int:
    """Returns -1 for a left, 1 for a right and 0 for a midline electrode."""
    if ch_name.endswith("z"):
        return 0
    return -1 if int(ch_name[-1]) % 2 else 1


def _source_fields(
    component: _Component, positions_m: np.ndarray, own: np.random.Generator
) -> np.ndarray:
    """Returns the smooth fields f64[source, channel] of a component, at most 1."""
    centres_m = _electrode_positions_m(component.centres)
    centres_m = centres_m + own.normal(scale=0.006, size=centres_m.shape)
    distance_m = np.linalg.norm(positions_m - centres_m[:, None], axis=2)
    return np.exp(-0.5 * (distance_m / component.range_m) ** 2)


def _noise_covariance() -> np.ndarray:
    positions_m = _electrode_positions_m(CH_NAMES)
    distance_m = np.linalg.norm(positions_m - positions_m[:, None], axis=2)
    return np.exp(-distance_m / _NOISE_RANGE_M)


def _electrode_positions_m(ch_names: Sequence[str]) -> np.ndarray:
    """Returns f64[channel, 3] in metres, from MNE's 10-05 template."""
    positions = mne.channels.make_standard_montage(_MONTAGE).get_positions()["ch_pos"]
    return np.stack([positions[name] for name in ch_names])
