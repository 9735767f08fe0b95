"""The teacher: CORnet-S from a checkpoint, and its logits, computed once."""

import dataclasses
import os
from collections.abc import Callable, Mapping
from typing import Any

import flax.linen as nn
import jax
import numpy as np

from img2eeg_jax.checkpoints.load import load_checkpoint
from img2eeg_jax.data.examples import EncodingData, Split
from img2eeg_jax.data.shards import teacher_logits
from img2eeg_jax.data.shards.store import Shards
from img2eeg_jax.devices.parallel import DataParallel
from img2eeg_jax.devices.precision import matmul_precision
from img2eeg_jax.errors import unexpected
from img2eeg_jax.models.cornet_s import CORnetS, normalise_pixels


def load_teacher(
    path: str | os.PathLike, num_classes: int
) -> tuple[CORnetS, dict[str, Any]]:
    """Loads CORnet-S, or a network's backbone, and its variables.

    Args:
      path: of a checkpoint.
      num_classes: size of the logits of the network that it teaches.

    Raises:
      InputError: the checkpoint cannot be read, or its logits have another size.
    """
    checkpoint = load_checkpoint(path)
    model, variables = checkpoint.backbone
    if model.num_classes != num_classes:
        expected = f"a teacher with {num_classes} classes"
        raise unexpected(path, expected, model.num_classes)
    return model, variables


def load_logits(
    shards: Shards,
    teacher: nn.Module,
    variables: Mapping[str, Any],
    batch_size: int = 64,
) -> dict[str, np.ndarray]:
    """Computes a teacher's logits, or reads those kept.

    Of several processes the first computes them, on all its devices.

    They are those of eval mode, in float32 arithmetic: a teacher that uses batch
    statistics (`Recipe.teacher_batch_stats`) has no logits of an image alone.

    Args:
      shards: the images; the logits are kept beside them.
      teacher: CORnet-S, or a network whose first output are the logits.
      variables: its variables.
      batch_size: images a step.

    Returns:
      Partition → f32[image, class], in row order.

    Raises:
      InputError: shards are damaged, or the logits cannot be kept.
    """
    key = teacher_logits.key(variables, shards.images_sha256, shards.image_size)
    everyone = DataParallel()
    if everyone.process_index == 0:
        teacher_logits.ensure_teacher_logits(
            shards.shards_dir,
            key,
            shards.images,
            _make_compute(teacher, variables),
            batch_size=batch_size,
        )
    everyone.wait_for_all("teacher")
    return {
        partition: teacher_logits.load_teacher_logits(
            shards.shards_dir, key, partition, len(images)
        )
        for partition, images in shards.images.items()
    }


def with_logits(data: EncodingData, logits: Mapping[str, np.ndarray]) -> EncodingData:
    """Gives each split the teacher's logits of its images.

    Args:
      data: of some subjects.
      logits: what `load_logits` returns.
    """

    def give(split: Split, partition: str) -> Split:
        return dataclasses.replace(split, teacher_logits=logits[partition])

    return dataclasses.replace(
        data,
        train=give(data.train, "training"),
        validation=data.validation and give(data.validation, "training"),
        test=give(data.test, "test"),
    )


def _make_compute(
    teacher: nn.Module, variables: Mapping[str, Any]
) -> Callable[[np.ndarray], np.ndarray]:
    """Builds images u8[image, height, width, 3] → logits f32[image, class]."""

    def logits_step(variables: Any, batch: dict[str, jax.Array]) -> jax.Array:
        logits, _ = teacher.apply(variables, normalise_pixels(batch["image"]))
        return logits

    parallel = DataParallel(jax.local_devices())
    step, variables = parallel.predict_step(logits_step), parallel.replicate(variables)

    def compute(images: np.ndarray) -> np.ndarray:
        batch = {"image": images, "mask": np.ones(len(images), np.float32)}
        with matmul_precision("float32"):
            logits = step(variables, parallel.split(batch))
        return parallel.merge(logits, batch["mask"])

    return compute
