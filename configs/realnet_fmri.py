"""The ReAlNet-fMRI recipe as released, quirk for quirk, on responses that are no EEG.

    python train.py --config=configs/realnet_fmri.py --workdir=runs/fmri-01 \
        --config.data_dir=DATA_DIR --config.subjects=1 \
        --config.teacher=CORNET_S --config.init_from=CORNET_S

DATA_DIR/preprocessed_data/sub-01/responses_{training,test}.npz hold the responses:
1,024 features in the publication, and any number will do. They are predicted as they
are, averaged over repetitions; who wants z-scores sets `config.zscore`.

For reproduction only: model selection sees the test set, and the contrast has no
gradient. Two released quirks are left out: each subject starts from CORnet-S, not from
the subject before; and the test loss that selects has its contrast over all pairs of
test images, not over those that share a batch.

Cost: 30 epochs of the training images. Expected score: not measured yet.
"""

from ml_collections import ConfigDict

from configs import realnet


def get_config() -> ConfigDict:
    """Returns the config; every key can be set as --config.KEY=VALUE."""
    config = realnet.get_config()
    config.signal = "features"
    config.zscore = "none"
    config.bn_updates = 1
    config.teacher_batch_stats = False
    config.seed = 2024
    return config
