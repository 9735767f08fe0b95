"""Fits linear encoders of a data set's subjects: checkpoints, scores and a map."""

import dataclasses
import json
import os
import pathlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from img2eeg_jax.checkpoints import run_folder, store
from img2eeg_jax.checkpoints.description import Description
from img2eeg_jax.checkpoints.load import Checkpoint
from img2eeg_jax.data import duplicates, layout
from img2eeg_jax.data.examples import EncodingData, load_encoding_data
from img2eeg_jax.data.reliability import reliable_channels
from img2eeg_jax.data.shards import builder
from img2eeg_jax.data.shards.folders import is_remote
from img2eeg_jax.data.shards.store import Shards
from img2eeg_jax.errors import expecting, naming, unexpected
from img2eeg_jax.evaluation.ceilings import spearman_brown_ceiling
from img2eeg_jax.evaluation.correlation import correlate_over_images
from img2eeg_jax.files import replace_folder, scratch_dir
from img2eeg_jax.linear.cache import FeatureCache
from img2eeg_jax.linear.feature_files import FeatureFiles
from img2eeg_jax.linear.features import Backbone
from img2eeg_jax.linear.readout import model_of
from img2eeg_jax.linear.regression import Fitted, Regression
from img2eeg_jax.linear.result import Result
from img2eeg_jax.linear.time_map import TimeMap
from img2eeg_jax.linear.trust import write_trust
from img2eeg_jax.locks import only_writer
from img2eeg_jax.models.linear_encoder import FLAT, POOLS
from img2eeg_jax.signal_layout import CHANNELS_BY_TIMES, FEATURES, SignalLayout
from img2eeg_jax.timing import timed

# Files of the layer × time map, beside the checkpoint.
MAP_TABLE, MAP_FIGURE = "layers.csv", "layers.png"
# In the map, the encoder that reads all layers.
ALL_LAYERS = "all layers"


# Partition → layer → f32[image, feature].
Features = Mapping[str, Mapping[str, np.ndarray]]


@dataclasses.dataclass(frozen=True)
class Choices:
    """What a linear encoder reads, what it predicts, and how it is fitted.

    Attributes:
      layers: of the backbone; () for all of them.
      pool: "flat" or "avg", see `models.linear_encoder.pooled`.
      channels: names; None for all.
      window_s: first and last time predicted, seconds from onset; None for all.
      regression: see there.
      shuffle_eeg_seed: if given, training EEG goes to random training images: a
        control.
      layer_map: whether an encoder is fitted for each layer alone, too.
      is_eeg: whether it predicts EEG, or the responses of
        `responses_{training,test}.npz`.
      least_reliability: of the channels, or features, that are kept, see
        `reliability.reliable_channels`; None keeps all.
    """

    layers: tuple[str, ...] = ()
    pool: str = FLAT
    channels: tuple[str, ...] | None = None
    window_s: tuple[float, float] | None = None
    regression: Regression = dataclasses.field(default_factory=Regression)
    shuffle_eeg_seed: int | None = None
    layer_map: bool = True
    is_eeg: bool = True
    least_reliability: float | None = None

    def __post_init__(self) -> None:
        if self.pool not in POOLS:
            raise unexpected("`pool`", f"one of {', '.join(POOLS)}", f"{self.pool!r}")


def fit_linear(
    backbone: Backbone | FeatureFiles,
    workdir: str | os.PathLike,
    *,
    data_dir: str | os.PathLike = "",
    shards_dir: str = "",
    subjects: Sequence[layout.Label] = (),
    choices: Choices | None = None,
    cache_dir: str | os.PathLike = "",
    log: Callable[[str], None] = print,
) -> list[Result]:
    """Fits linear encoders on the training images of a data set.

    Several subjects share features and their decomposition, and have a checkpoint
    WORKDIR/sub-XX each. Features are kept; the same call goes on where it was stopped.

    Args:
      backbone: makes the features, or the files that hold them.
      workdir: folder of the run; made if need be.
      data_dir: data set in THINGS-EEG2's layout; "" where shards alone are named.
      shards_dir: where its shards are or go; "" for a folder with the data.
      subjects: whose EEG; () for the only subject of the data.
      choices: see there.
      cache_dir: where features are kept; "" for WORKDIR/features.
      log: called with each line to tell.

    Returns:
      What was fitted of each subject.

    Raises:
      InputError: something the user gave is wrong, or the folder holds another run.
    """
    choices, workdir = choices or Choices(), pathlib.Path(workdir)
    subjects = tuple(subjects) or (_only_subject(data_dir),)
    data_dir = os.path.abspath(data_dir) if data_dir else ""
    layers = choices.layers or tuple(backbone.layers)
    backbone.check_layers(layers)
    choices = dataclasses.replace(choices, layers=layers)
    config = _config_of(backbone, data_dir, shards_dir, subjects, choices)
    folders = _folders_of(workdir, subjects)
    store.check_folder(workdir)
    run_folder.check_is_of_one_kind(workdir, len(subjects))
    for folder, subject in folders.items():
        run_folder.check_config(folder, config | {"subjects": str(subject)})
    with only_writer(workdir, log=log):
        with timed("reading data", log):
            shards = _open_shards(config, workdir, subjects, choices, log)
            data = [_load(shards, subject, choices) for subject in subjects]
        if repeated := duplicates.warning(shards):
            log(repeated)
        cache = FeatureCache(pathlib.Path(cache_dir or workdir / "features"), log)
        features = _read_features(backbone, cache, shards, choices)
        with timed(f"fitting {_told(features['training'], data)}", log):
            fitted = _fit(features["training"], data, shards, choices.regression, True)
        maps = _time_maps(features, data, shards, subjects, fitted, choices, log)
        results, checkpoints = [], []
        for place, (folder, subject) in enumerate(folders.items()):
            own = config | {"subjects": str(subject)}
            description, variables = _describe(
                backbone, shards, subject, data[place], fitted[place], choices, own
            )
            _write(folder, own, description, variables)
            checkpoints.append(Checkpoint(folder, 0, description, variables))
            if isinstance(backbone, FeatureFiles):
                backbone.write_index(folder, shards)
            time_map = None if maps is None else maps[place]
            if time_map is not None:
                _write_map(time_map, folder)
            results.append(Result(subject, folder, time_map, fitted[place]))
        if data[0].axes.has_times:
            with timed("measuring how far to trust predictions", log):
                write_trust(
                    checkpoints,
                    [one.ridge.held_out for one in fitted],
                    subjects,
                    shards,
                    choices.regression.seed,
                    choices.shuffle_eeg_seed,
                )
    return results


def _only_subject(data_dir: str | os.PathLike) -> layout.Label:
    """Returns the subject of data that have one.

    Raises:
      InputError: there are several, or none.
    """
    if not data_dir:
        raise unexpected(
            "`subjects`", "whose EEG, where shards alone are named", "none"
        )
    found = layout.subjects_in(data_dir)
    if len(found) != 1:
        raise unexpected("`subjects`", f"one of those in {data_dir}", "none")
    return found[0]


def _folders_of(
    workdir: pathlib.Path, subjects: Sequence[layout.Label]
) -> dict[pathlib.Path, layout.Label]:
    """Returns the folder of each subject's checkpoint."""
    if len(subjects) == 1:
        return {workdir: subjects[0]}
    return {workdir / layout.subject_name(one): one for one in subjects}


def _config_of(
    backbone: Backbone | FeatureFiles,
    data_dir: str,
    shards_dir: str,
    subjects: Sequence[layout.Label],
    choices: Choices,
) -> dict[str, Any]:
    """Returns what `config.json` holds, JSON's own types."""
    config = {
        **dataclasses.asdict(choices),
        "backbone": backbone.describe(),
        "data_dir": data_dir,
        "shards_dir": shards_dir,
        "subjects": ",".join(map(str, subjects)),
        "image_size": backbone.image_size,
    }
    del config["layer_map"]
    return json.loads(json.dumps(config))


def _open_shards(
    config: Mapping[str, Any],
    workdir: pathlib.Path,
    subjects: Sequence[layout.Label],
    choices: Choices,
    log: Callable[[str], None],
) -> Shards:
    """Opens shards, with the data where they can be, after building them if need be.

    Raises:
      InputError: neither data nor shards are named, they are not there, or do not have
        the channels and the window that are chosen; nothing is built then.
    """
    data_dir, shards_dir = config["data_dir"], config["shards_dir"]
    if not data_dir and not shards_dir:
        raise unexpected("`data_dir`", "a data set", "none")
    if data_dir and not os.path.isdir(data_dir):
        raise unexpected(data_dir, "a data set", "No such file or directory")
    if shards_dir and not is_remote(shards_dir):
        shards_dir = os.path.abspath(shards_dir)
    place = builder.shards_folder(shards_dir, data_dir, workdir / "shards")
    what = {"subjects": subjects, "image_size": config["image_size"]}
    what["is_eeg"] = choices.is_eeg
    axes, _ = builder.look(data_dir, place, **what)
    with naming(data_dir or shards_dir):
        axes.select(choices.channels, choices.window_s)
    return builder.open_or_build(data_dir, place, **what, log=log)


def _load(shards: Shards, subject: layout.Label, choices: Choices) -> EncodingData:
    channels = choices.channels
    if choices.least_reliability is not None:
        eeg = shards.eeg(subject)
        with naming(f"{shards.shards_dir}: subject {subject}"):
            channels = reliable_channels(
                eeg, choices.least_reliability, channels, choices.window_s
            )
    return load_encoding_data(
        shards,
        subjects=subject,
        channels=channels,
        window_s=choices.window_s,
        n_validation_concepts=0,
        split_seed=0,
        shuffle_eeg_seed=choices.shuffle_eeg_seed,
    )


def _read_features(
    backbone: Backbone | FeatureFiles,
    cache: FeatureCache,
    shards: Shards,
    choices: Choices,
) -> Features:
    """Returns the features of all partitions that the backbone or its files have."""
    if isinstance(backbone, FeatureFiles):
        return backbone.read(shards.image_list, choices.layers, choices.pool)
    return {
        partition: cache.read(
            backbone,
            shards.images[partition],
            shards.pixels_sha256[partition],
            choices.layers,
            choices.pool,
        )
        for partition in layout.PARTITIONS
    }


def _told(features: Mapping[str, np.ndarray], data: Sequence[EncodingData]) -> str:
    n_images = len(data[0].train.response)
    n_features = sum(part.shape[1] for part in features.values())
    whose = "" if len(data) == 1 else f" of {len(data)} subjects"
    return f"{n_images} images × {n_features} features to {data[0].axes}{whose}"


def _fit(
    features: Mapping[str, np.ndarray],
    data: Sequence[EncodingData],
    shards: Shards,
    regression: Regression,
    keep_held_out: bool = False,
) -> list[Fitted]:
    """Fits each subject; they share what is needed of the features alone."""
    prepared = regression.prepare(features, shards.concepts["training"])
    return [regression.fit(prepared, one.train.response, keep_held_out) for one in data]


def _time_maps(
    features: Features,
    data: Sequence[EncodingData],
    shards: Shards,
    subjects: Sequence[layout.Label],
    fitted: list[Fitted],
    choices: Choices,
    log: Callable[[str], None],
) -> list[TimeMap] | None:
    """Scores all layers together, and each alone, on the test images."""
    if "test" not in features:
        log("no features of the test images: nothing is scored")
        return None
    several = len(choices.layers) > 1
    encoders = {ALL_LAYERS if several else choices.layers[0]: fitted}
    read = dict.fromkeys(encoders, features["test"])
    if choices.layer_map and several:
        # Bands make no difference to a layer alone.
        alone = choices.regression.without_bands()
        with timed("fitting each layer alone", log):
            for layer in choices.layers:
                part = {layer: features["training"][layer]}
                encoders[layer] = _fit(part, data, shards, alone)
                read[layer] = {layer: features["test"][layer]}
    return [
        TimeMap(
            {
                name: correlate_over_images(
                    one[place].predict(read[name]), data[place].test.response
                )
                for name, one in encoders.items()
            },
            data[place].axes,
            _ceiling(shards, subject, data[place].axes.ch_names, choices.window_s),
            len(data[place].test.response),
        )
        for place, subject in enumerate(subjects)
    ]


def _ceiling(
    shards: Shards,
    subject: layout.Label,
    channels: Sequence[str],
    window_s: tuple[float, float] | None,
) -> np.ndarray | None:
    """Returns f64[time], the r that a perfect prediction would have on test images."""
    eeg = shards.eeg(subject)
    n = eeg.n_repetitions["test"]
    if n < 2:
        return None
    every = np.arange(len(shards.images["test"]))
    _, halves = eeg.means("test", channels, window_s, halves_of=every)
    return np.array(
        [
            float(spearman_brown_ceiling(halves[..., time : time + 1], n))
            for time in range(halves.shape[-1])
        ]
    )


def _describe(
    backbone: Backbone | FeatureFiles,
    shards: Shards,
    subject: layout.Label,
    data: EncodingData,
    fitted: Fitted,
    choices: Choices,
    config: Mapping[str, Any],
) -> tuple[Description, dict[str, Any]]:
    """Returns the description and the variables of one subject's checkpoint."""
    kind = CHANNELS_BY_TIMES if choices.is_eeg else FEATURES
    signal = SignalLayout.for_eeg(kind, data.axes, data.epoch_times_s)
    kind, arguments, variables = model_of(
        fitted.linear_map.folded(), backbone, choices.layers, choices.pool, signal.shape
    )
    eeg = shards.eeg(subject)
    description = Description(
        kind=kind,
        model=arguments,
        image_size=backbone.image_size,
        signal=signal,
        zscore=data.zscore,
        subject=subject,
        initial_weights=backbone.name,
        config=config,
        data={
            "image_list_sha256": shards.image_list_sha256,
            "preprocessing": eeg.preprocessing,
            "simulated": eeg.simulated,
        },
        pairings=data.pairings,
        linear={
            "backbone": backbone.describe(),
            "layers": list(choices.layers),
            "pool": choices.pool,
            **fitted.told(),
        },
    )
    return description, variables


def _write(
    folder: pathlib.Path,
    config: dict[str, Any],
    description: Description,
    variables: dict[str, Any],
) -> None:
    """Writes a checkpoint; what was there is replaced when all is written."""
    place = folder / store.FOLDER
    with (
        expecting(folder, "a folder that can be written", OSError),
        scratch_dir(folder, store.FOLDER) as scratch,
    ):
        run_folder.write_config(folder, config)
        store.write_weights(scratch / "new", variables, description)
        replace_folder(scratch / "new" / store.FOLDER, place)


def _write_map(time_map: TimeMap, folder: pathlib.Path) -> None:
    """Writes the table of a map, and its figure where there are times to draw."""
    time_map.save(folder / MAP_TABLE)
    if time_map.axes.has_times:
        time_map.plot(folder / MAP_FIGURE)
