"""Fits linear encoders of responses that are no EEG: voxels, sensors, ratings."""

import csv
import dataclasses
import io
import os
import pathlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from img2eeg_jax.checkpoints import run_folder
from img2eeg_jax.checkpoints.description import Description
from img2eeg_jax.data import duplicates, layout
from img2eeg_jax.data.layout.response_files import (
    Responses,
    read_responses,
    responses_path,
)
from img2eeg_jax.data.shards.store import Shards
from img2eeg_jax.errors import naming, unexpected
from img2eeg_jax.evaluation.correlation import correlate_over_images
from img2eeg_jax.files import write_text
from img2eeg_jax.linear import fit
from img2eeg_jax.linear.cache import FeatureCache
from img2eeg_jax.linear.features import Backbone
from img2eeg_jax.linear.readout import LinearMap, model_of
from img2eeg_jax.linear.regression import Fitted
from img2eeg_jax.locks import only_writer
from img2eeg_jax.signal_layout import FEATURES, SignalLayout
from img2eeg_jax.timing import timed

# The file of each response feature's scores, beside the checkpoint.
TABLE = "features.csv"


@dataclasses.dataclass(frozen=True, eq=False)
class Scores:
    """How well the responses to test images are predicted.

    Attributes:
      subject: whose responses.
      folder: of the checkpoint.
      feature_names: of the features that were fitted.
      r: f64[feature], Pearson r over test images with the mean of all repetitions.
      reliability: f64[feature], of that mean; its root is the r of a perfect
        prediction. nan of one repetition.
      n_images: number of test images.
    """

    subject: layout.Label
    folder: pathlib.Path
    feature_names: tuple[str, ...]
    r: np.ndarray
    reliability: np.ndarray
    n_images: int

    def save(self) -> None:
        """Writes a CSV: a row for each feature."""
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(["feature", "r", "reliability"])
        columns = (self.feature_names, self.r, self.reliability)
        for name, r, reliability in zip(*columns, strict=True):
            writer.writerow([name, f"{r:.6f}", f"{reliability:.6f}"])
        write_text(self.folder / TABLE, text.getvalue())

    def __str__(self) -> str:
        mean, median = np.nanmean(self.r), np.nanmedian(self.r)
        return (
            f"subject {self.subject}, in {self.folder}\n"
            f"  r over {self.n_images} test images with the mean of all repetitions, "
            f"of {len(self.r)} features: mean {mean:.3f}, median {median:.3f}\n"
            "  left out: ceilings over time, maps, and all else that needs channels "
            "and times"
        )


def fit_responses(
    backbone: Backbone,
    workdir: str | os.PathLike,
    *,
    data_dir: str | os.PathLike,
    shards_dir: str = "",
    subjects: Sequence[layout.Label] = (),
    choices: fit.Choices | None = None,
    least_reliability: float | None = None,
    cache_dir: str | os.PathLike = "",
    log: Callable[[str], None] = print,
) -> list[Scores]:
    """Fits linear encoders on the responses in `responses_{training,test}.npz`.

    They predict in the responses' own unit. Subjects share features.

    Args:
      backbone: see `fit.fit_linear`.
      workdir: see `fit.fit_linear`.
      data_dir: see `fit.fit_linear`.
      shards_dir: see `fit.fit_linear`; they hold images alone.
      subjects: see `fit.fit_linear`.
      choices: see there; channels and window are those of EEG, and must be None.
      least_reliability: of the features that are kept, over training images; None
        keeps all.
      cache_dir: see `fit.fit_linear`.
      log: see `fit.fit_linear`.

    Raises:
      InputError: something the user gave is wrong, or the folder holds another run.
    """
    choices, workdir = choices or fit.Choices(), pathlib.Path(workdir)
    if choices.channels is not None or choices.window_s is not None:
        raise unexpected("`channels`", "none, nor a window, of responses", "some")
    subjects = tuple(subjects) or (fit.only_subject(data_dir),)
    data_dir = os.path.abspath(data_dir)
    layers = choices.layers or tuple(backbone.layers)
    backbone.check_layers(layers)
    choices = dataclasses.replace(choices, layers=layers)
    responses = {
        subject: _read(data_dir, subject, least_reliability) for subject in subjects
    }
    config = fit.config_of(backbone, data_dir, shards_dir, subjects, choices)
    config["least_reliability"] = least_reliability
    folders = fit.folders_of(workdir, subjects)
    for folder, subject in folders.items():
        run_folder.check_config(folder, config | {"subjects": str(subject)})
    with only_writer(workdir, log=log):
        shards = fit.open_shards(
            data_dir, shards_dir, workdir, (), backbone.image_size, log
        )
        for subject, of in responses.items():
            _check_rows(data_dir, subject, of, shards)
        if repeated := duplicates.warning(shards):
            log(repeated)
        cache = FeatureCache(pathlib.Path(cache_dir or workdir / "features"), log)
        features = fit.read_features(backbone, cache, shards, choices)
        prepared = choices.regression.prepare(
            features["training"], shards.concepts["training"]
        )
        found = []
        for folder, subject in folders.items():
            own = config | {"subjects": str(subject)}
            of = responses[subject]
            with timed(f"fitting {len(of['training'].feature_names)} features", log):
                fitted, linear_map = _fit(prepared, of["training"].mean, choices)
            description, variables = _describe(
                backbone, shards, subject, of["training"], fitted, linear_map, own
            )
            fit.write(folder, own, description, variables)
            if "test" in features:
                found.append(
                    _score(subject, folder, fitted, features["test"], of["test"])
                )
    return found


def _read(
    data_dir: str, subject: layout.Label, least: float | None
) -> dict[str, Responses]:
    """Reads both partitions, and keeps features that are reliable in training."""
    found = {
        part: read_responses(data_dir, subject, part) for part in layout.PARTITIONS
    }
    training, test = found["training"], found["test"]
    if test.feature_names != training.feature_names:
        raise unexpected(
            responses_path(data_dir, subject, "test"),
            "the features of the training responses",
            "others",
        )
    if least is None:
        return found
    with naming(str(responses_path(data_dir, subject, "training"))):
        names = {*training.reliable(least).feature_names}
    kept = np.array(
        [n for n, name in enumerate(training.feature_names) if name in names]
    )
    return {part: of.take(kept) for part, of in found.items()}


def _check_rows(
    data_dir: str, subject: layout.Label, of: Mapping[str, Responses], shards: Shards
) -> None:
    for part, responses in of.items():
        n_images, n_rows = len(shards.images[part]), len(responses.values)
        if n_rows != n_images:
            where = responses_path(data_dir, subject, part)
            expected = f"a row for each of {n_images} images"
            raise unexpected(where, expected, f"{n_rows} rows")


def _fit(
    prepared: Any, responses: np.ndarray, choices: fit.Choices
) -> tuple[Fitted, LinearMap]:
    """Returns the regression of z-scores, and its map in the responses' own unit."""
    mean, sd = responses.mean(0, np.float64), responses.std(0, dtype=np.float64)
    # A response that is constant is predicted as its mean.
    sd = np.where(sd > 0, sd, 1.0)
    fitted = choices.regression.fit(
        prepared, ((responses - mean) / sd).astype(np.float32)
    )
    of_z = fitted.linear_map.folded()
    linear_map = dataclasses.replace(
        of_z, coefficients=of_z.coefficients * sd, intercept=of_z.intercept * sd + mean
    )
    return fitted, linear_map


def _describe(
    backbone: Backbone,
    shards: Shards,
    subject: layout.Label,
    responses: Responses,
    fitted: Fitted,
    linear_map: LinearMap,
    config: Mapping[str, Any],
) -> tuple[Description, dict[str, Any]]:
    """Returns the description and the variables of one subject's checkpoint."""
    shape, layers = (len(responses.feature_names),), tuple(config["layers"])
    kind, arguments, variables = model_of(
        linear_map, backbone, layers, config["pool"], shape
    )
    description = Description(
        kind=kind,
        model=arguments,
        image_size=backbone.image_size,
        signal=SignalLayout(FEATURES, shape),
        subject=subject,
        initial_weights=backbone.name,
        config=config,
        data={
            "image_list_sha256": shards.image_list_sha256,
            "preprocessing": None,
            "simulated": layout.is_simulated(config["data_dir"]),
        },
        linear={
            "backbone": backbone.describe(),
            "layers": list(layers),
            "pool": config["pool"],
            "feature_names": list(responses.feature_names),
            "unit": responses.unit,
            **fitted.told(),
        },
    )
    return description, variables


def _score(
    subject: layout.Label,
    folder: pathlib.Path,
    fitted: Fitted,
    features: Mapping[str, np.ndarray],
    test: Responses,
) -> Scores:
    r = correlate_over_images(fitted.predict(features), test.mean)
    names, n_images = test.feature_names, len(test.values)
    found = Scores(subject, folder, names, r, test.reliability, n_images)
    found.save()
    return found
