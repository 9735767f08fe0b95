"""What a part of an evaluation is made from, of known make and without a network."""

import types

import numpy as np

from img2eeg_jax.axes import Axes

P17 = ["Pz", "P3", "P7", "O1", "Oz", "O2", "P4", "P8", "P1", "P5", "PO7", "PO3"]
P17 += ["POz", "PO4", "PO8", "P6", "P2"]


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
    return types.SimpleNamespace(
        measured=types.SimpleNamespace(
            eeg=(signal[:, None] + noise).astype(np.float32),
            noise_free=signal,
            names=tuple(f"{i:05d}_shape/shape.jpg" for i in range(n_images)),
        ),
        prediction=types.SimpleNamespace(
            data=prediction.astype(np.float32), axes=Axes(ch_names, times_s, "z")
        ),
        window_s=(0.07, 0.13),
        seed=0,
        log=lambda line: None,
    )
