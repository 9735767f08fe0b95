"""RSA with RDMs from files: of any images, and of whatever was measured of them."""

import os
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from img2eeg_jax.errors import naming, unexpected
from img2eeg_jax.evaluation import rsa
from img2eeg_jax.evaluation.findings import Findings, NotApplicable
from img2eeg_jax.evaluation.material import Material
from img2eeg_jax.evaluation.parts.rsa import PREDICTED
from img2eeg_jax.evaluation.rsa.rdm_files import RDMs, places, read_order, read_rdms
from img2eeg_jax.evaluation.rsa_scores import Sampling, nested
from img2eeg_jax.prediction.encoder import LAYERS
from img2eeg_jax.prediction.pictures import Pictures

PART = "rsa_files"

# Of which an RDM has enough pairs to permute.
_MIN_IMAGES = 6


def find(
    material: Material,
    *,
    images: str | os.PathLike = "",
    rdms: Sequence[str | os.PathLike] = (),
    orders: Sequence[str | os.PathLike] = (),
    n_permutations: int = 1000,
    n_bootstraps: int = 1000,
) -> Findings:
    """Compares a network's layers, for a folder of pictures, with RDMs from files.

    Args:
      material: whose network; its EEG is not asked for.
      images: a folder of pictures; sorted by path, they are the RDMs' rows.
      rdms: files, see `rsa.rdm_files.read_rdms`.
      orders: for each of `rdms` a text file that says which picture each row is, see
        `rsa.rdm_files.read_order`; none where the rows are all pictures, sorted, or the
        file itself names them. "" for one of several that needs none.
      n_permutations: of the images, for p.
      n_bootstraps: draws of images, for intervals.

    Raises:
      InputError: pictures or files cannot be read, or do not fit.
      NotApplicable: no folder or no file is given.
    """
    if not images or not rdms:
        raise NotApplicable("no pictures and RDMs of them are given")
    pictures = Pictures(images)
    names = pictures.names or ()
    material.log(f"RSA: {len(names)} pictures, {len(rdms)} files of RDMs")
    measured = _read(rdms, orders, _below(images, names))
    encoder = material.encoder
    layers = encoder.features(images, LAYERS)
    read = (image for _, image in pictures.read(encoder.image_size))
    layers[PREDICTED] = encoder.signal(read)
    sampling = Sampling(n_permutations, n_bootstraps, material.seed)
    return compare_layers(layers, measured, sampling)


def compare_layers(
    layers: Mapping[str, ArrayLike],
    measured: Sequence[tuple[RDMs, NDArray[np.int64]]],
    sampling: Sampling | None = None,
) -> Findings:
    """Compares the layers of any model with RDMs.

    Of several RDMs (subjects) in one file, similarities are means over them, beside
    their ceilings; images, not subjects, are permuted and drawn: p and intervals are
    for these subjects.

    Args:
      layers: name → f[image, ...], features.
      measured: RDMs, and which image each of their rows is.
      sampling: how often images are permuted and drawn; by default 1,000 times each.

    Returns:
      Findings whose `rsa_files` table has a row for each file and layer: similarities,
      p, interval and ceilings; arrays for figures.

    Raises:
      InputError: an RDM is of fewer than 6 images.
    """
    sampling = sampling or Sampling(n_bootstraps=1000)
    rows, arrays, notes = [], {}, []
    for rdms, images in measured:
        with naming(rdms.name):
            if rdms.n_images < _MIN_IMAGES:
                expected = f"RDMs of {_MIN_IMAGES} or more images"
                raise unexpected("", expected, rdms.n_images)
        models = np.stack([rsa.rdm(np.asarray(of)[images]) for of in layers.values()])
        rows += _rows(rdms, [*layers], models, sampling)
        arrays[f"file_rdms/{rdms.name}"] = rdms.values.mean(axis=0).astype(np.float32)
        for layer, model in zip(layers, models, strict=True):
            arrays[f"layer_rdms/{rdms.name}/{layer}"] = model.astype(np.float32)
            if np.isnan(model).any() or np.ptp(model) == 0:
                notes.append(
                    f"{layer}: constant for {rdms.name}: its RSA is undefined."
                )
    table = {name: np.array([row[name] for row in rows]) for name in rows[0]}
    scores = {
        "per_file": nested(rows, "rdm"),
        "n_permutations": sampling.n_permutations,
        "n_bootstraps": sampling.n_bootstraps,
        "smallest_p": 1 / (1 + sampling.n_permutations),
        "seed": sampling.seed,
    }
    return Findings(PART, scores, {"rsa_files": table}, arrays, tuple(notes))


def _rows(
    rdms: RDMs, names: Sequence[str], models: NDArray, sampling: Sampling
) -> list[dict[str, Any]]:
    samples = sampling.draw(models, rdms.values)
    low, high = samples.interval_of_mean(slice(None))
    columns = {
        "rsa_spearman": samples.true.mean(axis=1),
        "rsa_spearman_ci_low": low,
        "rsa_spearman_ci_high": high,
        "rsa_p": samples.permuted.mean_p,
        **{
            f"rsa_{method}": rsa.compare(models, rdms.values, method).mean(axis=1)
            for method in ("tau_a", "cosine", "whitened_cosine")
        },
    }
    n_rdms, ceilings = len(rdms.values), (np.nan, np.nan)
    if n_rdms > 1:
        ceilings = rsa.subject_ceilings(rdms.values)
    columns["rsa_ceiling_lower"], columns["rsa_ceiling_upper"] = (
        np.full(len(names), end) for end in ceilings
    )
    about = {"rdm": rdms.name, "n_images": rdms.n_images, "n_rdms": n_rdms}
    return [
        {**about, "layer": name}
        | {column: float(values[m]) for column, values in columns.items()}
        for m, name in enumerate(names)
    ]


def _read(
    files: Sequence[str | os.PathLike],
    orders: Sequence[str | os.PathLike],
    names: Sequence[str],
) -> list[tuple[RDMs, NDArray[np.int64]]]:
    """Reads RDMs, and finds the picture of each of their rows."""
    if orders and len(orders) != len(files):
        raise unexpected("`orders`", f"none, or {len(files)}", len(orders))
    found = []
    for file, order in zip(files, orders or [""] * len(files), strict=True):
        rdms = read_rdms(file)
        listed = read_order(order) if order else rdms.images
        with naming(order or file):
            if listed is None and rdms.n_images != len(names):
                expected = f"RDMs of {len(names)} images as there are, or their order"
                raise unexpected("", expected, rdms.n_images)
            if listed is not None and len(listed) != rdms.n_images:
                raise unexpected("", f"{rdms.n_images} images", len(listed))
            rows = np.arange(len(names)) if listed is None else places(listed, names)
        found.append((rdms, rows))
    return found


def _below(folder: str | os.PathLike, names: Sequence[str]) -> list[str]:
    """Returns paths as they are within their folder."""
    folder = pathlib.Path(folder)
    paths = map(pathlib.Path, names)
    return [
        str(path.relative_to(folder) if path.is_relative_to(folder) else path)
        for path in paths
    ]
