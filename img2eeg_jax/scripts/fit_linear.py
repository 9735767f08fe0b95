"""Fit linear encoders: EEG as a linear map of any network's features."""

from typing import TYPE_CHECKING, Any

from absl import flags

from img2eeg_jax.scripts import common

if TYPE_CHECKING:
    from img2eeg_jax.linear.feature_files import FeatureFiles
    from img2eeg_jax.linear.features import Backbone


def _read_alphas(text: str) -> tuple[float, ...]:
    alphas = tuple(float(alpha) for alpha in text.split(",")) if text else ()
    if any(not 0 <= alpha < float("inf") for alpha in alphas):
        raise ValueError
    return alphas


_BACKBONES = "cornet_s:CHECKPOINT, random, pixels, timm:MODEL or torchvision:MODEL"

_BACKBONE = flags.DEFINE_string(
    "backbone",
    "",
    f"{_BACKBONES}. CHECKPOINT is a converter's folder, or a run whose CORnet-S is "
    "taken; random is a CORnet-S of random weights, a control as pixels are.",
)
_FEATURES = common.define_path(
    "features",
    "",
    "Instead of --backbone: .npy, .npz, .h5 or .mat file of features of the training "
    "images, in their order.",
)
_TEST_FEATURES = common.define_path(
    "test_features", "", "With --features: the same of the test images, to be scored."
)
_BACKBONE_WEIGHTS = common.define_path(
    "backbone_weights", "", "Of timm: and torchvision:, a local file; else random."
)
_LAYERS = flags.DEFINE_list("layers", [], "Whose features are read; all if none.")
_POOL = flags.DEFINE_enum(
    "pool", "flat", ["flat", "avg"], "Maps as they are, or their mean over positions."
)
_IMAGE_SIZE = flags.DEFINE_integer(
    "image_size",
    None,
    "Pixels; default: the checkpoint's or the model's own, else 64.",
    lower_bound=1,
    upper_bound=1024,
)
_WIDTH = flags.DEFINE_integer("width", 64, "Of random: channels of V1.", lower_bound=1)
_DATA_DIR = common.define_path("data_dir", "", "Data set in THINGS-EEG2's layout.")
_SHARDS_DIR = common.define_path("shards_dir", "", "Its shards; default: with it.")
_SUBJECTS = common.define_subjects(
    "Whose EEG: 3, 1,3, 1-10 or labels; default: the only one's. Several share the "
    "features, and have a folder --workdir/sub-XX each."
)
_WORKDIR = common.define_path("workdir", None, "Folder of the run; made if need be.")
_CACHE_DIR = common.define_path(
    "cache_dir", "", "Where features are kept; default: --workdir/features."
)
_CHANNELS = flags.DEFINE_list(
    "channels", [], "Channels, or features, to predict; all if none."
)
_WINDOW = common.define(
    "window",
    "",
    "FIRST,LAST in seconds",
    lambda text: common.read_range(text) if text else None,
    "Times to predict, both included; all if not given.",
)
_PRESET = flags.DEFINE_enum(
    "preset",
    "ridge",
    ["ridge", "banded", "gifford2022", "pca1000"],
    "ridge on all features (on 1,000 components where they are too many); banded: a "
    "penalty for each layer; as the authors of THINGS-EEG2, least squares on 1,000 "
    "components of a polynomial kernel; or on as many principal components.",
)
_N_COMPONENTS = flags.DEFINE_integer(
    "n_components", None, "Principal components.", lower_bound=1
)
_ALPHAS = common.define(
    "alphas",
    "",
    "numbers of 0 or more, separated by commas",
    _read_alphas,
    "Penalties to choose from; default: the preset's, or ten around the features' mean "
    "eigenvalue.",
)
_PENALTY_PER = flags.DEFINE_enum(
    "penalty_per",
    "target",
    ["target", "channel", "all"],
    "A penalty for each channel and time, each channel, or one for all.",
)
_N_FOLDS = flags.DEFINE_integer(
    "n_folds",
    5,
    "Parts of the training concepts that are held out in turn to choose penalties; 0 "
    "for exact leave-one-image-out.",
    lower_bound=0,
)
_SEED = flags.DEFINE_integer("seed", 0, "Of what is random.", lower_bound=0)
_RESPONSES = flags.DEFINE_boolean(
    "responses",
    False,
    "Instead of EEG: responses of any kind, preprocessed_data/sub-XX/"
    "responses_{training,test}.npz.",
)
_LEAST_RELIABILITY = flags.DEFINE_float(
    "least_reliability",
    None,
    "Channels, or features, are kept that have it in training; all if not given.",
    upper_bound=1,
)
_SHUFFLE_EEG = flags.DEFINE_boolean(
    "shuffle_eeg", False, "Control: EEG assigned to random training images."
)
_LAYER_MAP = flags.DEFINE_boolean(
    "layer_map", True, "Fit each layer alone, too: layers.csv and layers.png."
)


def _make_backbone() -> "Backbone | FeatureFiles":
    """Returns what the flags name."""
    from img2eeg_jax.errors import unexpected
    from img2eeg_jax.linear import features, torch_backbone
    from img2eeg_jax.linear.feature_files import FeatureFiles

    if _FEATURES.value:
        return FeatureFiles(
            _FEATURES.value, _TEST_FEATURES.value or None, _IMAGE_SIZE.value or 64
        )
    kind, _, argument = _BACKBONE.value.partition(":")
    if kind in ("cornet_s", "realnet") and argument:
        return features.of_checkpoint(argument)
    if kind == "random" and not argument:
        size = _IMAGE_SIZE.value or 64
        return features.random_cornet_s(_WIDTH.value, size, _SEED.value)
    if kind == "pixels" and not argument:
        return features.pixels(_IMAGE_SIZE.value or 64)
    if kind in torch_backbone.LIBRARIES and argument:
        return torch_backbone.named(
            kind, argument, _BACKBONE_WEIGHTS.value, _IMAGE_SIZE.value
        )
    raise unexpected("`backbone`", _BACKBONES, f"{_BACKBONE.value!r}")


def main() -> None:
    """Calls `linear.fit.fit_linear` with the flags and prints the scores."""
    print("loading libraries ...", flush=True)
    # Imported here so that --help and wrong flags answer at once.
    with common.importing():
        from img2eeg_jax.devices import compiled
        from img2eeg_jax.linear import fit
        from img2eeg_jax.linear.regression import Regression
        from img2eeg_jax.linear.result import result_table

    compiled.keep_compiled_programs()
    regression = Regression(
        preset=_PRESET.value,
        alphas=_ALPHAS.value,
        penalty_per=_PENALTY_PER.value,
        n_components=_N_COMPONENTS.value,
        n_folds=_N_FOLDS.value,
        seed=_SEED.value,
    )
    choices = fit.Choices(
        layers=tuple(_LAYERS.value),
        pool=_POOL.value,
        channels=tuple(_CHANNELS.value) or None,
        window_s=_WINDOW.value,
        regression=regression,
        shuffle_eeg_seed=_SEED.value if _SHUFFLE_EEG.value else None,
        layer_map=_LAYER_MAP.value,
        is_eeg=not _RESPONSES.value,
        least_reliability=_LEAST_RELIABILITY.value,
    )
    for result in fit.fit_linear(
        _make_backbone(),
        _WORKDIR.value,
        data_dir=_DATA_DIR.value,
        shards_dir=_SHARDS_DIR.value,
        subjects=_SUBJECTS.value,
        choices=choices,
        cache_dir=_CACHE_DIR.value,
        log=common.say,
    ):
        print(result_table(result))


def _names_features(values: dict[str, Any]) -> bool:
    return bool(values["backbone"]) != bool(values["features"])


def run() -> None:
    """Entry point."""
    flags.mark_flags_as_required(["workdir"])
    flags.register_validator("workdir", lambda path: path != "", "expected a folder")
    flags.register_multi_flags_validator(
        ["backbone", "features"],
        _names_features,
        "expected either --backbone or --features",
    )
    flags.register_multi_flags_validator(
        ["features", "test_features"],
        lambda values: bool(values["features"] or not values["test_features"]),
        "expected --features with --test_features",
    )
    common.run(main, {"window_s": "window", "folds": "n_folds"})
