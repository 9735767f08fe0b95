"""The leak audit: checks of `leaks` on the data and the network of an evaluation."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from img2eeg_jax.checkpoints.description import Description
from img2eeg_jax.checkpoints.load import Checkpoint, load_whole
from img2eeg_jax.data.shards.store import Shards
from img2eeg_jax.errors import InputError
from img2eeg_jax.evaluation import leaks
from img2eeg_jax.evaluation.findings import Findings, Table
from img2eeg_jax.evaluation.leaks import Check
from img2eeg_jax.evaluation.material import Material
from img2eeg_jax.evaluation.near_duplicates import (
    Fingerprints,
    Pair,
    near_duplicates,
)

PART = "leaks"


def find(material: Material) -> Findings:
    """Audits what of the test set training may have seen.

    Returns:
      Findings whose `leaks` table has a row a check, and `leak_images` one an image
      that a check is about. Scores: `verdict`; `checks`, name → state, reason and
      images; `n_red` and `n_unknown`.
    """
    measured, checkpoint = material.measured, material.encoder.checkpoint
    shards, trained = measured.shards, checkpoint.description
    eeg, config = shards.eeg(measured.subject), run_config(checkpoint)
    pairs = _near_duplicates(shards)
    digests = eeg.trial_digests("test")
    list_sha256 = shards.image_list_sha256
    checks = (
        leaks.shared_concepts(shards.image_list["test"], shards.image_list["training"]),
        leaks.near_duplicates([pair[:2] for pair in pairs], len(digests)),
        leaks.test_repetitions(
            dict(zip(shards.image_list["test"], digests, strict=True)),
            eeg.trial_digests("training"),
        ),
        leaks.whitening(eeg.preprocessing, eeg.axes.unit),
        leaks.zscore(trained, config),
        leaks.epoch(config, checkpoint.which),
        leaks.image_list((trained.data or {}).get("image_list_sha256"), list_sha256),
        leaks.initial_weights(
            trained.initial_weights, _start(trained.initial_weights), list_sha256
        ),
    )
    return Findings(
        PART,
        scores={
            "verdict": leaks.verdict(checks),
            "n_red": sum(check.state == leaks.RED for check in checks),
            "n_unknown": sum(check.state == leaks.UNKNOWN for check in checks),
            "checks": {
                check.name: {
                    "question": check.question,
                    "state": check.state,
                    "reason": check.reason,
                    "images": [list(names) for names in check.images],
                }
                for check in checks
            },
        },
        tables=_tables(checks, pairs),
        notes=(
            "The audit reads records, and compares images and trials: what was done "
            "before the data came here it cannot see.",
        ),
    )


def run_config(checkpoint: Checkpoint) -> Mapping[str, Any] | None:
    """Returns the config of the run that a network is of; None where none is known."""
    return checkpoint.description.config or checkpoint.config


def _near_duplicates(shards: Shards) -> list[tuple[str, str, Pair]]:
    """Returns (test image, training image, how close) of those that are as the same."""
    images, names = shards.images, shards.image_list
    training = Fingerprints.of(images["training"])
    closest: dict[int, Pair] = {}
    for step in (1, -1):
        test = Fingerprints.of(np.asarray(one)[:, ::step] for one in images["test"])
        for pair in near_duplicates(test, training):
            known = closest.get(pair.first)
            if known is None or pair.r > known.r:
                closest[pair.first] = pair
    return [
        (names["test"][row], names["training"][pair.second], pair)
        for row, pair in sorted(closest.items())
    ]


def _start(initial_weights: str) -> Description | None:
    """Returns the description of the network that training started from, if it can."""
    if initial_weights == "random":
        return None
    try:
        return load_whole(initial_weights).description
    except (InputError, OSError):
        # It has moved, or was never on this machine.
        return None


def _tables(
    checks: tuple[Check, ...], pairs: list[tuple[str, str, Pair]]
) -> Mapping[str, Table]:
    columns = {"check": "name", "question": "question", "state": "state"}
    columns["reason"] = "reason"
    tables = {
        "leaks": {
            column: np.array([getattr(check, name) for check in checks])
            for column, name in columns.items()
        }
    }
    rows = [(check.name, *names) for check in checks for names in check.images]
    if rows:
        bits = {(test, training): pair.n_bits for test, training, pair in pairs}
        names, images, training_images = map(np.array, zip(*rows, strict=True))
        tables["leak_images"] = {
            "check": names,
            "image": images,
            "training_image": training_images,
            "hash_bits": np.array([bits.get(row[1:], np.nan) for row in rows]),
        }
    return tables
