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
from img2eeg_jax.data.shards import builder
from img2eeg_jax.data.shards.folders import is_remote
from img2eeg_jax.data.shards.store import Shards
from img2eeg_jax.data.zscore import ZScore
from img2eeg_jax.errors import expecting, unexpected
from img2eeg_jax.evaluation.ceilings import spearman_brown_ceiling
from img2eeg_jax.evaluation.correlation import correlate_over_images
from img2eeg_jax.files import replace_folder, scratch_dir
from img2eeg_jax.linear.cache import FeatureCache
from img2eeg_jax.linear.feature_files import FeatureFiles
from img2eeg_jax.linear.features import Backbone
from img2eeg_jax.linear.readout import model_of
from img2eeg_jax.linear.regression import Fitted, Regression
from img2eeg_jax.linear.time_map import TimeMap
from img2eeg_jax.linear.trust import write_trust
from img2eeg_jax.locks import only_writer
from img2eeg_jax.models.linear_encoder import FLAT, POOLS
from img2eeg_jax.signal_layout import CHANNELS_BY_TIMES, SignalLayout
from img2eeg_jax.timing import timed

# Files of the layer × time map, beside the checkpoint.
MAP_TABLE, MAP_FIGURE = "layers.csv", "layers.png"
# In the map, the encoder that reads all layers.
ALL_LAYERS = "all layers"

# Of the mean scores that are printed.
_WINDOW_S = (0.1, 0.3)

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
    """

    layers: tuple[str, ...] = ()
    pool: str = FLAT
    channels: tuple[str, ...] | None = None
    window_s: tuple[float, float] | None = None
    regression: Regression = dataclasses.field(default_factory=Regression)
    shuffle_eeg_seed: int | None = None
    layer_map: bool = True

    def __post_init__(self):
        if self.pool not in POOLS:
            raise unexpected("`pool`", f"one of {', '.join(POOLS)}", f"{self.pool!r}")


@dataclasses.dataclass(frozen=True, eq=False)
class Result:
    """What was fitted of one subject.

    Attributes:
      subject: whose EEG.
      folder: of its checkpoint.
      time_map: r on the test images, of all layers together and of each.
      fitted: the regression.
    """

    subject: layout.Label
    folder: pathlib.Path
    time_map: TimeMap | None
    fitted: Fitted


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
    subjects = tuple(subjects) or (only_subject(data_dir),)
    data_dir = os.path.abspath(data_dir) if data_dir else ""
    layers = choices.layers or tuple(backbone.layers)
    backbone.check_layers(layers)
    choices = dataclasses.replace(choices, layers=layers)
    config = config_of(backbone, data_dir, shards_dir, subjects, choices)
    folders = folders_of(workdir, subjects)
    store.check_folder(workdir)
    for folder, subject in folders.items():
        run_folder.check_config(folder, config | {"subjects": str(subject)})
    with only_writer(workdir, log=log):
        with timed("reading data", log):
            shards = open_shards(
                data_dir, shards_dir, workdir, subjects, backbone.image_size, log
            )
            data = load_encoding_data(
                shards,
                subjects=subjects,
                channels=choices.channels,
                window_s=choices.window_s,
                n_validation_concepts=0,
                split_seed=0,
                shuffle_eeg_seed=choices.shuffle_eeg_seed,
            )
        if repeated := duplicates.warning(shards):
            log(repeated)
        cache = FeatureCache(pathlib.Path(cache_dir or workdir / "features"), log)
        features = read_features(backbone, cache, shards, choices)
        with timed(f"fitting {_told(features['training'], data)}", log):
            fitted = _fit(features["training"], data, shards, choices.regression, True)
        maps = _time_maps(features, data, shards, subjects, fitted, choices, log)
        results, checkpoints = [], []
        for place, (folder, subject) in enumerate(folders.items()):
            own = config | {"subjects": str(subject)}
            description, variables = _describe(
                backbone, shards, data, place, fitted[place], choices, own
            )
            write(folder, own, description, variables)
            checkpoints.append(Checkpoint(folder, 0, description, variables))
            if isinstance(backbone, FeatureFiles):
                backbone.write_index(folder, shards)
            if maps is not None:
                maps[place].save(folder / MAP_TABLE)
                maps[place].plot(folder / MAP_FIGURE)
            results.append(Result(subject, folder, maps and maps[place], fitted[place]))
        with timed("measuring how far to trust predictions", log):
            write_trust(
                checkpoints,
                [one.ridge.held_out for one in fitted],
                shards,
                choices.regression.seed,
                choices.shuffle_eeg_seed,
            )
    return results


def only_subject(data_dir: str | os.PathLike) -> layout.Label:
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


def folders_of(
    workdir: pathlib.Path, subjects: Sequence[layout.Label]
) -> dict[pathlib.Path, layout.Label]:
    """Returns the folder of each subject's checkpoint."""
    if len(subjects) == 1:
        return {workdir: subjects[0]}
    return {workdir / layout.subject_name(one): one for one in subjects}


def config_of(
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


def open_shards(
    data_dir: str,
    shards_dir: str,
    workdir: pathlib.Path,
    subjects: Sequence[layout.Label],
    image_size: int,
    log: Callable[[str], None],
) -> Shards:
    """Opens shards, with the data where they can be, after building them if need be.

    Raises:
      InputError: neither data nor shards are named, or they are not there.
    """
    if not data_dir and not shards_dir:
        raise unexpected("`data_dir`", "a data set", "none")
    if data_dir and not os.path.isdir(data_dir):
        raise unexpected(data_dir, "a data set", "No such file or directory")
    if shards_dir and not is_remote(shards_dir):
        shards_dir = os.path.abspath(shards_dir)
    place = builder.shards_folder(shards_dir, data_dir, workdir / "shards")
    return builder.open_or_build(
        data_dir, place, subjects=subjects, image_size=image_size, log=log
    )


def read_features(
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


def _told(features: Mapping[str, np.ndarray], data: EncodingData) -> str:
    n_images, n_subjects, *shape = data.train.response.shape
    n_features = sum(part.shape[1] for part in features.values())
    whose = "" if n_subjects == 1 else f" of {n_subjects} subjects"
    return (
        f"{n_images} images × {n_features} features to {shape[0]} channels × "
        f"{shape[1]} times{whose}"
    )


def _fit(
    features: Mapping[str, np.ndarray],
    data: EncodingData,
    shards: Shards,
    regression: Regression,
    keep_held_out: bool = False,
) -> list[Fitted]:
    """Fits each subject; they share what is needed of the features alone."""
    prepared = regression.prepare(features, shards.concepts["training"])
    n_subjects = data.train.response.shape[1]
    return [
        regression.fit(
            prepared,
            np.ascontiguousarray(data.train.response[:, place]),
            keep_held_out,
        )
        for place in range(n_subjects)
    ]


def _time_maps(
    features: Features,
    data: EncodingData,
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
    measured = data.test.response
    return [
        TimeMap(
            {
                name: correlate_over_images(
                    one[place].predict(read[name]), measured[:, place]
                )
                for name, one in encoders.items()
            },
            data.axes,
            _ceiling(shards, subject, choices),
            len(measured),
        )
        for place, subject in enumerate(subjects)
    ]


def _ceiling(
    shards: Shards, subject: layout.Label, choices: Choices
) -> np.ndarray | None:
    """Returns f64[time], the r that a perfect prediction would have on test images."""
    eeg = shards.eeg(subject)
    n = eeg.n_repetitions["test"]
    if n < 2:
        return None
    every = np.arange(len(shards.images["test"]))
    window_s = choices.window_s
    _, halves = eeg.means("test", choices.channels, window_s, halves_of=every)
    return np.array(
        [
            float(spearman_brown_ceiling(halves[..., time : time + 1], n))
            for time in range(halves.shape[-1])
        ]
    )


def _describe(
    backbone: Backbone | FeatureFiles,
    shards: Shards,
    data: EncodingData,
    place: int,
    fitted: Fitted,
    choices: Choices,
    config: Mapping[str, Any],
) -> tuple[Description, dict[str, Any]]:
    """Returns the description and the variables of one subject's checkpoint."""
    subject = shards.subjects[place]
    signal = SignalLayout.for_eeg(CHANNELS_BY_TIMES, data.axes, data.epoch_times_s)
    kind, arguments, variables = model_of(
        fitted.linear_map.folded(), backbone, choices.layers, choices.pool, signal.shape
    )
    eeg = shards.eeg(subject)
    description = Description(
        kind=kind,
        model=arguments,
        image_size=backbone.image_size,
        signal=signal,
        zscore=ZScore(data.zscore.mean[place], data.zscore.std[place]),
        subject=subject,
        initial_weights=backbone.name,
        config=config,
        data={
            "image_list_sha256": shards.image_list_sha256,
            "preprocessing": eeg.preprocessing,
            "simulated": eeg.simulated,
        },
        pairings=data.pairings_of(subject),
        linear={
            "backbone": backbone.describe(),
            "layers": list(choices.layers),
            "pool": choices.pool,
            **fitted.told(),
        },
    )
    return description, variables


def write(
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


def result_table(result: Result) -> str:
    """Returns the mean scores of a subject's encoders as lines of text."""
    lines = [f"subject {result.subject}, in {result.folder}"]
    if result.time_map is None:
        return lines[0]
    axes = result.time_map.axes
    covered = axes.times_s[0] <= _WINDOW_S[0] and axes.times_s[-1] >= _WINDOW_S[1]
    window_s = _WINDOW_S if covered else tuple(axes.times_s[[0, -1]])
    start_ms, stop_ms = (1e3 * time_s for time_s in window_s)
    lines.append(
        f"  r over {result.time_map.n_images} test images with the mean of all "
        f"repetitions, mean of {len(axes.ch_names)} channels and "
        f"{start_ms:.0f}-{stop_ms:.0f} ms (eval.py gives ceilings and p):"
    )
    lines += [
        f"    {name:<24}{r:6.3f}" for name, r in result.time_map.means(window_s).items()
    ]
    return "\n".join(lines)
