"""Material of evaluations without a network: features and EEG of known make."""

import types

import numpy as np

from img2eeg_jax.axes import VOLTS, Axes

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
