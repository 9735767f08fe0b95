"""The embedded default: a narrow network on a synthetic data set, minutes on a laptop.

python train.py --config=configs/demo.py --workdir=runs/demo
python eval.py --checkpoint=runs/demo
"""

from ml_collections import ConfigDict

from configs import default


def get_config() -> ConfigDict:
    """Returns the config; every key can be set as --config.KEY=VALUE."""
    config = default.get_config()
    # What `data.sources.synthetic` writes into WORKDIR/data, where data_dir is "".
    config.synthetic = ConfigDict()
    config.synthetic.seed = 0  # of images, responses and noise
    config.synthetic.n_training_concepts = 240  # of the training images
    config.synthetic.images_per_concept = 10  # training images
    config.synthetic.n_test_concepts = 100  # others, with a test image each
    config.synthetic.image_size = 64  # pixels
    config.synthetic.training_repetitions = 4  # trials of a training image
    config.synthetic.test_repetitions = 20  # trials of a test image

    config.window_s = (0.0, 0.4)
    config.image_size = 64
    config.validation_concepts = 24

    config.width = 8
    config.features = 32
    config.num_classes = 10
    config.task = "none"

    config.generation_weight = 1.0
    config.num_epochs = 8
    config.batch_size = 32
    config.learning_rate = 2e-3
    config.learning_rate_schedule = "cosine"
    return config
