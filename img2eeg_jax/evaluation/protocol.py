"""How scores were made: what a reader needs to judge and to repeat them."""

import dataclasses
import importlib.metadata
import platform
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import numpy as np

from img2eeg_jax.checkpoints.load import Checkpoint
from img2eeg_jax.checkpoints.pretrained import without_places
from img2eeg_jax.data.layout import Label
from img2eeg_jax.data.shards.store import Shards
from img2eeg_jax.evaluation.leaks import epoch, whitening
from img2eeg_jax.evaluation.material import Material
from img2eeg_jax.evaluation.measured import Measured
from img2eeg_jax.evaluation.parts.leaks import run_config
from img2eeg_jax.provenance import digest_of, sha256_of_bytes

_PACKAGES = ("img2eeg_jax", "jax", "jaxlib", "flax", "numpy", "scipy", "mne")


def of_material(material: Material, choices: Any) -> dict[str, Any]:
    """Returns the protocol of one subject's scores, JSON's own types.

    Args:
      material: the network and the data.
      choices: what else was chosen, a dataclass.
    """
    checkpoint, measured = material.encoder.checkpoint, material.scored_against
    protocol: dict[str, Any] = {
        "scored": _scored(checkpoint, measured),
        "network": _network(checkpoint),
    }
    if measured is not None:
        protocol |= {
            "data": _data(measured),
            "split": _split(measured.shards, checkpoint),
            "whitening": _reason(measured),
            "zscore": _zscore(checkpoint),
        }
    return {
        **protocol,
        "epoch": epoch(run_config(checkpoint), checkpoint.which).reason,
        "scoring": _plain(choices),
        "versions": versions(),
    }


def versions() -> dict[str, str]:
    """Returns the versions of Python and of the libraries that make the numbers."""
    return {"python": platform.python_version()} | {
        name: importlib.metadata.version(name) for name in _PACKAGES
    }


def weights_sha256(checkpoint: Checkpoint) -> str:
    """Tells these weights from others, 64 hexadecimal digits."""
    leaves = jax.tree_util.tree_leaves_with_path(checkpoint.variables)
    return digest_of(
        {
            jax.tree_util.keystr(path): sha256_of_bytes(np.ascontiguousarray(leaf))
            for path, leaf in leaves
        }
    )


def merge(by_subject: Mapping[Label, Mapping[str, Any]]) -> dict[str, Any]:
    """Puts several subjects' protocols together.

    Returns:
      What all have in common; and `subjects`, label → what differs.
    """
    first, *others = by_subject.values()
    common, _ = _apart(first, others)
    different = {
        str(whose): _apart(one, [*others, first])[1]
        for whose, one in by_subject.items()
    }
    return {**common, "subjects": different} if any(different.values()) else common


def _apart(
    one: Mapping[str, Any], others: Sequence[Mapping[str, Any]]
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Returns the entries that all others have, too, and the rest."""
    common: dict[str, Any] = {}
    rest: dict[str, Any] = {}
    for key, value in one.items():
        theirs: list[Any] = [other.get(key) for other in others]
        if all(their == value for their in theirs):
            common[key] = value
        elif all(isinstance(each, Mapping) for each in (value, *theirs)):
            same, different = _apart(value, theirs)
            common |= {key: same} if same else {}
            rest |= {key: different} if different else {}
        else:
            rest[key] = value
    return common, rest


def _scored(checkpoint: Checkpoint, measured: Measured | None) -> dict[str, Any]:
    """Returns whose EEG, whose network and whose z-score make the scores.

    Weights that do not bring the statistics of their training take those of the EEG.
    """
    trained = checkpoint.description
    subject = trained.subject if measured is None else measured.subject
    return {
        "checkpoint_step": checkpoint.step,
        "which": checkpoint.which,
        "subject": subject,
        "trained_subject": trained.subject,
        "zscore_subject": subject if trained.zscore is None else trained.subject,
    }


def _network(checkpoint: Checkpoint) -> dict[str, Any]:
    description = checkpoint.description
    entries = {
        "name": str(checkpoint.path),
        "kind": description.kind,
        **description.model,
        "image_size": description.image_size,
        "initial_weights": description.initial_weights,
        "weights_sha256": weights_sha256(checkpoint),
        **({"source": description.source} if description.source else {}),
    }
    # Where things lay tells of the machine only.
    return _plain(without_places(entries))


def _data(measured: Measured) -> dict[str, Any]:
    eeg = measured.shards.eeg(measured.subject)
    return {
        "simulated": eeg.simulated,
        "unit": eeg.axes.unit,
        "channels": len(eeg.axes.ch_names),
        "times_s": eeg.axes.span_s(slice(None)),
        "training_repetitions": eeg.n_repetitions["training"],
        "test_repetitions": eeg.n_repetitions["test"],
        "eeg_sha256": eeg.sha256,
        "images_sha256": measured.shards.images_sha256,
        "image_list_sha256": measured.shards.image_list_sha256,
    }


def _split(shards: Shards, checkpoint: Checkpoint) -> dict[str, Any]:
    counts = {
        f"{partition}_{what}": len(of)
        for partition in ("training", "test")
        for what, of in (
            ("images", shards.image_list[partition]),
            ("concepts", {*shards.concepts[partition]}),
        )
    }
    held_out = (run_config(checkpoint) or {}).get("validation_concepts")
    return counts | {"validation_concepts": held_out}


def _reason(measured: Measured) -> str:
    eeg = measured.shards.eeg(measured.subject)
    return whitening(eeg.preprocessing, eeg.axes.unit).reason


def _zscore(checkpoint: Checkpoint) -> str:
    if checkpoint.description.zscore is None:
        return "training images of these data"
    of = (run_config(checkpoint) or {}).get("zscore", "unknown")
    if of == "none":
        return "none: responses as they are"
    return f"{of.replace('_', ' ')} images of the data trained on"


def _plain(value: Any) -> Any:
    """Turns what JSON does not have into what it has."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        value = dataclasses.asdict(value)
    if isinstance(value, Mapping):
        return {key: _plain(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(entry) for entry in value]
    return value if isinstance(value, int | float | str | None) else str(value)
