"""Fits `Trust`: runs a network over images that it was not trained on."""

import itertools
from collections.abc import Iterable, Iterator

import numpy as np

from img2eeg_jax.checkpoints.load import Checkpoint
from img2eeg_jax.data.layout.images import Pixels
from img2eeg_jax.devices.parallel import DataParallel
from img2eeg_jax.prediction import familiarity
from img2eeg_jax.prediction.network import Network
from img2eeg_jax.prediction.trust import Trust, digest
