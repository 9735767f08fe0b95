"""Faces and houses, four channels: the N170 recordings in THINGS-EEG2's layout."""

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
    config.batch_size = 16
    config.learning_rate = 1e-3
    return config
