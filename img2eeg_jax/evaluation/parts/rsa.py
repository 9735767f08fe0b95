"""RSA: which layers see the images as the measured responses do, and when."""

import os
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from img2eeg_jax.axes import WHITENED, Axes
from img2eeg_jax.errors import InputError, unexpected
from img2eeg_jax.evaluation import rsa
from img2eeg_jax.evaluation.decoding import pairwise_accuracy
from img2eeg_jax.evaluation.findings import Findings, NotApplicable, Table
from img2eeg_jax.evaluation.layers import backbone_layers
from img2eeg_jax.evaluation.material import Material
from img2eeg_jax.evaluation.rsa_scores import Sampling, layer_rows, nested, time_rows

PART = "rsa"

# The model beside the layers: the predicted pattern over channels and times.
PREDICTED = "predicted EEG"

# Pairs of fewer images leave nothing to permute.
_MIN_IMAGES = 6
# A correlation over 2 channels is -1 or 1, whatever they hold.
_MIN_CHANNELS = 3
# The covariance of more residuals takes longer than it tells.
_MOST_CHANNELS = 2000

# Of rows of responses without times, nothing to tell.
_OF_TIMES = ("time_s", "rsa_peak", "rsa_peak_time_s", "rsa_p_max")


def find(
    material: Material,
    *,
    n_permutations: int = 1000,
    n_bootstraps: int = 500,
    n_splits: int = 10,
    against: str | os.PathLike | Mapping[str, ArrayLike] = "",
    decoding: bool = False,
) -> Findings:
    """Compares the layers and the predicted EEG with the measured EEG of each time.

    Responses without times, which are called EEG here, too, have one RDM of each kind.

    A layer's RDM is 1 minus Pearson's r of its activations; that of the predicted EEG
    is of its z-scores over channels and times. The measured EEG's RDMs, one a time, are
    of all its channels, in its own unit: "correlation", 1 minus r over channels of the
    mean response ("euclidean" of fewer than 3 channels), and "crossnobis", see
    `rsa.crossnobis`, with the covariance of the residuals unless the EEG is whitened.

    Args:
      material: the network and the data.
      n_permutations: of the images, for p.
      n_bootstraps: draws of images, for intervals.
      n_splits: random halvings of the repetitions, for `rsa_split_half`.
      against: another network, whose layers compete with those of the same name: a
        checkpoint's folder (the CORnet-S from which training started, say), or layer →
        f[image, ...]; "" for none.
      decoding: whether there is a third RDM, "decoding": the accuracy of telling two
        images from each other, see `decoding.pairwise_accuracy`; takes minutes.

    Returns:
      Findings whose tables are `rsa`, a row for each measured RDM, layer and time;
      `rsa_layers`, of the mean over the window and of the peak; `rsa_reliability`; and
      `rsa_shares`, with `against`. `scores` are those of `rsa_layers`: of the
      predicted EEG and the first RDM, and in `per_layer` all, RDM → layer → metric →
      value. Arrays: `layer_rdms/LAYER` f32[pair], `eeg_rdms/NAME` f32[time, pair],
      `times_s`.

    Raises:
      InputError: the other network does not fit.
      NotApplicable: there are fewer than 6 test images.
    """
    eeg, axes = material.whole
    if len(eeg) < _MIN_IMAGES:
        raise NotApplicable(f"{len(eeg)} test images, {_MIN_IMAGES} are needed")
    notes: list[str] = []
    targets = dict(_measured(eeg, axes, notes))
    if decoding and eeg.shape[1] > 1:
        material.log(f"RSA: decoding of {len(eeg)} images at {eeg.shape[3]} times")
        targets["decoding"] = pairwise_accuracy(eeg, seed=material.seed).T
    models = _models(material, notes)
    sampling = Sampling(n_permutations, n_bootstraps, material.seed)
    window = np.arange(len(axes.times_s))[axes.window(material.window_s)]
    rows, of_layers = [], []
    for name, measured in targets.items():
        material.log(f"RSA: {len(models)} models, {name} of {len(measured)} times")
        names, rdms = list(models), np.stack([*models.values()])
        samples = sampling.draw(rdms, measured)
        rows += time_rows(name, names, axes.times_s, rdms, measured, samples)
        of_layers += layer_rows(name, names, axes.times_s, window, samples)
    if not axes.has_times:
        rows, of_layers = map(_without_times, (rows, of_layers))
    tables = {"rsa": _table(rows), "rsa_layers": _table(of_layers)}
    if eeg.shape[1] > 1:
        tables["rsa_reliability"] = _reliability(eeg, axes, n_splits, material.seed)
    if against:
        others = _others(material, against)
        tables["rsa_shares"] = _shares(models, others, targets, axes.times_s)
    return Findings(
        PART,
        scores=_scores(of_layers) | _protocol(material, axes, sampling, eeg, window),
        tables=tables,
        arrays=_arrays(models, targets, axes),
        notes=tuple(notes),
    )


def subject_ceilings(by_subject: Mapping[Any, Findings]) -> Table:
    """Bounds what any model's mean similarity over subjects can be, at each time.

    Args:
      by_subject: subject → what `find` found, of the same images, in the same order.

    Returns:
      A table with a row for each measured RDM that all have, and time:
      `rsa_ceiling_lower` and `rsa_ceiling_upper`, of Spearman's r.

    Raises:
      InputError: there is one subject, or other times or images in some.
      NotApplicable: there is no kind of measured RDM that all have.
    """
    first, *others = by_subject.values()
    rows = []
    for name, of_first in first.arrays.items():
        kind, _, eeg_rdm = name.partition("/")
        theirs = [other.arrays[name] for other in others if name in other.arrays]
        if kind != "eeg_rdms" or len(theirs) < len(others):
            continue
        shapes = {of.shape for of in (of_first, *theirs)}
        if len(shapes) > 1:
            raise unexpected("subjects", "the same times and images", sorted(shapes))
        by_time = np.stack([of_first, *theirs], axis=1)
        for time_s, rdms in zip(first.arrays["times_s"], by_time, strict=True):
            lower, upper = rsa.subject_ceilings(rdms)
            row = {"eeg_rdm": eeg_rdm, "time_s": float(time_s)}
            rows.append(row | {"rsa_ceiling_lower": lower, "rsa_ceiling_upper": upper})
    if not rows:
        raise NotApplicable("subjects have no kind of measured RDM in common")
    has_times = not np.isnan(first.arrays["times_s"]).any()
    return _table(rows if has_times else _without_times(rows))


def _measured(
    eeg: NDArray, axes: Axes, notes: list[str]
) -> Iterator[tuple[str, NDArray[np.float64]]]:
    """Yields name, f64[time, pair] of the RDMs that these data can give."""
    n_repetitions, n_channels = eeg.shape[1:3]
    mean = eeg.mean(axis=1, dtype=np.float64)
    if n_channels >= _MIN_CHANNELS:
        yield "correlation", rsa.rdm_over_time(mean, "correlation")
    else:
        yield "euclidean", rsa.rdm_over_time(mean, "euclidean")
        notes.append(
            f"{n_channels} channel(s): no correlation over channels; the RDM is of "
            "differences of the mean response, euclidean."
        )
    if n_repetitions < 2:
        notes.append("One repetition: no cross-validated distances, no reliability.")
        return
    try:
        is_white = axes.unit == WHITENED or n_channels > _MOST_CHANNELS
        covariance = None if is_white else rsa.residual_covariance(eeg)
        yield "crossnobis", rsa.crossnobis(eeg, covariance)
    except InputError as error:
        notes.append(f"Cross-validated distances are left out: {error}")
        return
    kind = "the identity, for the EEG is whitened"
    if axes.unit != WHITENED:
        kind = f"the identity, for there are over {_MOST_CHANNELS} channels or features"
    if covariance is not None:
        kind = "Ledoit and Wolf's of the residuals"
    notes.append(f"Noise covariance of crossnobis: {kind}.")


def _models(material: Material, notes: list[str]) -> dict[str, NDArray[np.float64]]:
    """Returns layer → f64[pair], and `PREDICTED`; notes which tell nothing."""
    if not material.layers:
        notes.append(
            "The encoder is not made of CORnet-S: RSA is of what it predicts, not of "
            "layers."
        )
    features = {**material.layers, PREDICTED: material.prediction.data}
    models = {}
    for name, of in features.items():
        n_features = int(np.prod(np.shape(of)[1:]))
        metric = "correlation" if n_features >= _MIN_CHANNELS else "euclidean"
        models[name] = rsa.rdm(of, metric)
        if np.isnan(models[name]).any():
            notes.append(f"{name}: constant for some image: its RSA is undefined (NA).")
        elif np.ptp(models[name]) == 0:
            notes.append(f"{name}: the same for all images: its RSA is undefined (NA).")
    return models


def _others(
    material: Material, against: str | os.PathLike | Mapping[str, ArrayLike]
) -> dict[str, NDArray[np.float64]]:
    """Returns layer → f64[pair] of the other network."""
    if not isinstance(against, Mapping):
        against = backbone_layers(against, np.stack([*material.measured.images]))
    layers = {layer: np.asarray(features) for layer, features in against.items()}
    n_images = len(material.measured.names)
    for layer, features in layers.items():
        if len(features) != n_images:
            expected = f"{n_images} images of {layer}"
            raise unexpected("`against`", expected, len(features))
    return {layer: rsa.rdm(features) for layer, features in layers.items()}


def _shares(
    models: Mapping[str, NDArray],
    others: Mapping[str, NDArray],
    targets: Mapping[str, NDArray],
    times_s: NDArray,
) -> Table:
    """Returns what each layer explains that the other network's does not."""
    rows = []
    for name, measured in targets.items():
        for layer in (layer for layer in models if layer in others):
            pair = np.stack([models[layer], others[layer]])
            found = rsa.shares(measured, pair)
            columns = {
                "rsa_partial": rsa.partial(measured, *pair),
                "rsa_unique": found.unique[0],
                "rsa_unique_of_other": found.unique[1],
                "rsa_common": found.common,
            }
            for time, time_s in enumerate(times_s):
                row = {"eeg_rdm": name, "layer": layer, "time_s": float(time_s)}
                rows.append(row | {key: of[time] for key, of in columns.items()})
    return _table(_without_times(rows) if np.isnan(times_s).any() else rows)


def _reliability(eeg: NDArray, axes: Axes, n_splits: int, seed: int) -> Table:
    """Returns how alike the RDMs of both halves of the repetitions are."""
    metric = "correlation" if eeg.shape[2] >= _MIN_CHANNELS else "euclidean"
    values = rsa.split_half_reliability(
        eeg, n_splits, seed=seed, make_rdms=lambda half: rsa.rdm_over_time(half, metric)
    )
    names = np.full(len(values), metric)
    times = {"time_s": axes.times_s} if axes.has_times else {}
    return {"eeg_rdm": names, **times, "rsa_split_half": values}


def _without_times(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [
        {key: of for key, of in row.items() if key not in _OF_TIMES} for row in rows
    ]


def _table(rows: list[dict[str, Any]]) -> Table:
    names = rows[0] if rows else ()
    return {name: np.array([row[name] for row in rows]) for name in names}


def _scores(of_layers: list[dict[str, Any]]) -> dict[str, Any]:
    """Returns those of the predicted EEG and the first RDM, and all of them nested."""
    by_rdm = nested(of_layers, "eeg_rdm")
    first = next(iter(by_rdm))
    about = {"eeg_rdm": first, "layer": PREDICTED}
    return {**by_rdm[first][PREDICTED], **about, "per_layer": by_rdm}


def _protocol(
    material: Material, axes: Axes, sampling: Sampling, eeg: NDArray, window: NDArray
) -> dict[str, Any]:
    return {
        "window_s": axes.span_s(window),
        "n_images": eeg.shape[0],
        "n_repetitions": eeg.shape[1],
        "n_channels": eeg.shape[2],
        "n_permutations": sampling.n_permutations,
        "n_bootstraps": sampling.n_bootstraps,
        "smallest_p": 1 / (1 + sampling.n_permutations),
        "seed": material.seed,
    }


def _arrays(
    models: Mapping[str, NDArray], targets: Mapping[str, NDArray], axes: Axes
) -> dict[str, NDArray]:
    return {
        **{f"layer_rdms/{name}": of.astype(np.float32) for name, of in models.items()},
        **{f"eeg_rdms/{name}": of.astype(np.float32) for name, of in targets.items()},
        "times_s": axes.times_s,
    }
