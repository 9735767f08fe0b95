"""Material of evaluations without a network, of known make."""

import types

import numpy as np

from img2eeg_jax.axes import VOLTS, Axes
from img2eeg_jax.prediction.prediction import Prediction

P17 = ["Pz", "P3", "P7", "O1", "Oz", "O2", "P4", "P8", "P1", "P5", "PO7", "PO3"]
P17 += ["POz", "PO4", "PO8", "P6", "P2"]

TIMES_S = np.arange(-2, 6) / 20


def material_of(
    layers,
    eeg,
    prediction,
    *,
    ch_names=None,
    unit=VOLTS,
    window_s=(0.1, 0.2),
    encoder=None,
):
    """Returns what the parts of an evaluation read of a `Material`.

    Args:
      layers: name → f[image, ...].
      eeg: f[image, repetition, channel, time], of times from -0.1 s, 20 a second.
      prediction: f[image, channel, time].
      ch_names: of the EEG; numbers by default.
      unit: of the EEG.
      window_s: of the mean scores.
      encoder: the network.
    """
    n_images, _, n_channels, n_times = eeg.shape
    ch_names = ch_names or tuple(map(str, range(n_channels)))
    return types.SimpleNamespace(
        encoder=encoder,
        measured=types.SimpleNamespace(
            names=tuple(f"{i}/{i}.png" for i in range(n_images)),
            images=np.zeros((n_images, 4, 4, 3), np.uint8),
        ),
        layers=layers,
        prediction=types.SimpleNamespace(data=prediction),
        whole=(eeg, Axes(ch_names, TIMES_S[:n_times], unit)),
        window_s=window_s,
        seed=0,
        log=lambda line: None,
    )


def material(seed=0, *, n_images=40, n_repetitions=8, spread=0.7, ch_names=P17[:5]):
    """Returns prediction and EEG whose signal over images is a bump at 100 ms.

    Args:
      seed: of everything.
      n_images: number of test images.
      n_repetitions: of each.
      spread: SD of the prediction's own error, where the signal's is 1 at its peak.
      ch_names: names of the channels.
    """
    rng = np.random.default_rng(seed)
    times_s = np.arange(-5, 20) / 100
    bump = np.exp(-0.5 * ((times_s - 0.1) / 0.03) ** 2)
    shape = (n_images, len(ch_names), len(times_s))
    signal = bump * rng.standard_normal(shape)
    noise = 2 * rng.standard_normal((n_images, n_repetitions, *shape[1:]))
    prediction = signal + spread * bump * rng.standard_normal(shape)
    prediction += 0.1 * rng.standard_normal(shape)
    names = tuple(f"{i:05d}_shape/shape.jpg" for i in range(n_images))
    axes = Axes(ch_names, times_s, "z")
    return types.SimpleNamespace(
        measured=types.SimpleNamespace(
            eeg=(signal[:, None] + noise).astype(np.float32),
            noise_free=signal,
            names=names,
        ),
        prediction=Prediction(prediction.astype(np.float32), axes, names),
        window_s=(0.07, 0.13),
        seed=0,
        log=lambda line: None,
    )
