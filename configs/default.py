"""Our recipe: the published architecture, trained without the published leaks.

    python train.py --config=configs/default.py --workdir=runs/sub-01 \
        --config.data_dir=DATA_DIR --config.subjects=1 \
        --config.teacher=CORNET_S --config.init_from=CORNET_S

z-score statistics and model selection never see the test set, the contrast has its
gradient, and each subject starts from CORnet-S on ImageNet: CORNET_S is the folder that
`python convert_torch_weights.py --input=cornet_s --output=CORNET_S` makes. Without
`teacher` the task loss is off; without `init_from` the network starts from random
weights.

Cost: 98 GFLOP an image and step at full size (no teacher), 33 more with one.
Expected score: not measured yet on THINGS-EEG2.
"""

from ml_collections import ConfigDict


def get_config() -> ConfigDict:
    """Returns the config; every key can be set as --config.KEY=VALUE."""
    config = ConfigDict()

    # Data. All in the layout of THINGS-EEG2.
    config.data_dir = ""  # folder with image_set/ and preprocessed_data/
    config.shards_dir = ""  # where the shards are or go; "" for DATA_DIR/shards
    config.subjects = "1"  # e.g. "3", "1,3", "1-10", "AB12": a network for each
    # "one_by_one"; "side_by_side", on devices of their own; "vmapped", in step on the
    # same devices; "auto" for the first two; or "shared_backbone": one network for all
    # of them, with an output layer for each.
    config.subjects_mode = "auto"
    config.channels = ()  # names, also of features; () for all that the data have
    config.window_s = (0.0, 0.19)  # of EEG, seconds from onset, both ends included
    config.image_size = 224  # pixels
    # Statistics from "training" or "training_and_test"; "none" leaves responses as they
    # are.
    config.zscore = "training"
    config.validation_concepts = 100  # held out of the training concepts
    config.shuffle_eeg = False  # control: EEG assigned to the wrong training images

    # Model.
    # "channels_x_times"; "channel_mean", as Image2EEG has it; or "features", the
    # responses that are no EEG, of responses_{training,test}.npz.
    config.signal = "channels_x_times"
    config.areas = ("V1", "V2", "V4", "IT")  # whose outputs feed the signal
    config.features = 128  # size of each area's features
    config.width = 64  # channels of V1
    config.num_classes = 1000  # size of the logits
    config.bn_updates = 1  # running-statistics updates a step; 2 as published
    # Of the computation: "float32", "tf32" (faster on NVIDIA GPUs) or "bfloat16"
    # (fastest on GPU and TPU); parameters, statistics and losses stay float32.
    config.precision = "float32"
    config.frozen_areas = ()  # of V1, V2, V4, IT: stay as they are
    # What the backward pass computes again to save memory, on GPU and TPU: "none",
    # "elementwise" (all but convolutions) or "areas".
    config.remat = "none"

    # Objective: task + generation_weight * (MSE + contrast).
    # "mse" to the teacher's logits, "cross_entropy" to its argmax, or "none".
    config.task = "mse"
    config.teacher = ""  # checkpoint; "" for none, and then no task loss
    config.teacher_batch_stats = False  # teacher normalises with batch statistics
    config.generation_weight = 100.0  # of MSE and contrast; the task has 1
    config.correlation = "pearson"  # of the contrast; "spearman" has no gradient
    config.contrast_gradient = True  # False detaches the contrast, as published

    # Optimisation: Adam.
    config.init_from = ""  # checkpoint of the initial weights; "" for random ones
    config.num_epochs = 25  # passes over the training images
    config.batch_size = 16  # images a step at most, over all devices
    # An epoch's batches have equally many images, but for one; False leaves what they
    # do not divide into to a short last batch, as published.
    config.even_batches = True
    config.learning_rate = 2e-5  # its largest, where it changes
    # "constant", or "cosine": to 0 at num_epochs, which more epochs later would raise.
    config.learning_rate_schedule = "constant"
    config.warmup_steps = 0  # over which the learning rate rises from 0
    config.adam_eps = 1e-8  # added to the root of the squared gradient's mean
    config.weight_decay = 0.0  # decoupled, of kernels only
    config.max_gradient_norm = 0.0  # longer gradients are scaled to it; 0 for any
    config.accumulate_steps = 1  # batches an update at most; it ends with the epoch
    # Of a running average of the parameters, which is validated and kept; 0 for none.
    # As long as it would be of more, it is of about the last tenth of the updates.
    config.ema_decay = 0.0
    # At a loss or a gradient that is not finite: "stop" the run or "skip" the step.
    config.nonfinite = "stop"
    config.seed = 2023  # of initial weights, data order and validation split

    # Which epoch is best: the smallest loss on "validation" or (leaky) on "test".
    config.select_by = "validation"
    config.first_selectable_epoch = 0  # from 0; earlier ones are never the best
    config.early_stopping_epochs = 0  # without a better one, then stop; 0 for never

    # May change when a run goes on.
    config.max_seconds = 0.0  # then it saves and stops; 0 for no limit
    config.checkpoint_minutes = 10.0  # between saves within an epoch; 0 for none
    config.profile_steps = 0  # traced into WORKDIR/profile
    config.peak_tflops = 0.0  # of all devices, for the summary; 0 if unknown
    return config
