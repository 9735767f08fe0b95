"""From random weights: what to use where there are none of CORnet-S to start from.

    python train.py --config=configs/scratch.py --workdir=runs/sub-01 \
        --config.data_dir=DATA_DIR --config.subjects=1

As `default.py`, but with a learning rate of Adam for random weights, which falls to 0
along a cosine, so that the number of epochs is to be chosen at the start. There is no
teacher, and no task loss.

Cost: 98 GFLOP an image and step at full size. Expected score: not measured yet on
THINGS-EEG2. On the demo's data and at the size of its network (`encoding_r`,
100-300 ms, one seed): 0.632, and 0.544 with `default.py`, where 0.715 is possible.
"""

from ml_collections import ConfigDict

from configs import default


def get_config() -> ConfigDict:
    """Returns the config; every key can be set as --config.KEY=VALUE."""
    config = default.get_config()
    config.task = "none"
    config.generation_weight = 1.0
    config.learning_rate = 1e-3
    config.learning_rate_schedule = "cosine"
    config.warmup_steps = 100
    return config
