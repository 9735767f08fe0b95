"""Encoders of small networks that no training made."""

import numpy as np

from helpers.tiny_network import IMAGE_SIZE, draw_variables
from img2eeg_jax.axes import VOLTS, Axes
from img2eeg_jax.checkpoints.description import Description
from img2eeg_jax.checkpoints.load import Checkpoint
from img2eeg_jax.data.zscore import ZScore
from img2eeg_jax.prediction.encoder import Encoder
from img2eeg_jax.signal_layout import CHANNELS_BY_TIMES, SignalLayout

AXES = Axes(("O1", "Oz", "O2"), np.arange(5) / 100, VOLTS)
# In volts; every channel and time has its own.
ZSCORE = ZScore(
    1e-6 * np.linspace(-1, 1, 15, dtype=np.float32).reshape(AXES.shape),
    1e-6 * np.linspace(1, 3, 15, dtype=np.float32).reshape(AXES.shape),
)
EEG = SignalLayout.for_eeg(CHANNELS_BY_TIMES, AXES, AXES.times_s)


def encoder_of(
    folder, module, arguments=(), *, signal=EEG, zscore=ZSCORE, image_size=IMAGE_SIZE
):
    """Returns an encoder of a module that `MODELS["realnet"]` builds.

    Args:
      folder: where it says that it comes from.
      module: the network, built.
      arguments: of the module, as the description has them.
      signal: what its signal means.
      zscore: of its training data, or None.
      image_size: of its images.
    """
    description = Description(
        "realnet", dict(arguments), image_size, signal=signal, zscore=zscore, subject=3
    )
    variables = draw_variables(module, image_size=image_size)
    return Encoder(Checkpoint(folder, 1, description, variables))
