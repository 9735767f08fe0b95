"""Faces and houses: four-channel N170 recordings in THINGS-EEG2's layout.

    python train.py --config=configs/n170.py --workdir=runs/n170 --config.data_dir=DIR
    python eval.py --checkpoint=runs/n170

A start for any small data set: a narrow network, few epochs, the best by the loss on
held-out concepts. Cost: about 30 s on two CPU cores. Expected score
(`encoding_r_all_repetitions`, 100-300 ms): 0.19 at TP10 and 0.07 over the four
channels, give or take 0.07 a seed; see docs/reference/results.md.
"""

from ml_collections import ConfigDict

from configs import default


def get_config() -> ConfigDict:
    """Returns the config; every key can be set as --config.KEY=VALUE."""
    config = default.get_config()
    config.window_s = (0.1, 0.3)
    config.image_size = 64
    config.validation_concepts = 6

    config.width = 8
    config.features = 32
    config.num_classes = 10
    config.task = "none"

    config.generation_weight = 1.0
    config.num_epochs = 20
    config.learning_rate = 1e-3
    return config
