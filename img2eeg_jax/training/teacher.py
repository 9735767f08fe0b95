"""The teacher's logits of all images of a data set, computed once."""

import os
from typing import Any

import flax.linen as nn
import jax
import numpy as np

from img2eeg_jax.data import layout
from img2eeg_jax.data.shards import store, teacher_logits
from img2eeg_jax.devices.parallel import DataParallel
from img2eeg_jax.models.cornet_s import normalise_pixels


def load_logits(
    shards_dir: str | os.PathLike,
    teacher: nn.Module,
    variables: dict[str, Any],
    image_size: int,
    batch_size: int = 64,
) -> dict[str, np.ndarray]:
    """Computes a teacher's logits on all local devices, or reads those kept.

    They are those of eval mode, in float32 arithmetic: a teacher that uses batch
    statistics (`Recipe.teacher_batch_stats`) has no logits of an image alone.

    Args:
      shards_dir: shards that `tfds_builder.ensure_shards` has built; the logits are
        kept beside them.
      teacher: CORnet-S, or a network whose first output are the logits.
      variables: its variables.
      image_size: height and width of the images in pixels.
      batch_size: images a step.

    Returns:
      Partition → f32[image, class], in row order.

    Raises:
      InputError: shards are missing or damaged, or the logits cannot be kept.
    """
    parallel = DataParallel(jax.local_devices())
    step = parallel.predict_step(_make_logits_step(teacher))
    replicated = parallel.replicate(variables)

    def compute(images: np.ndarray) -> np.ndarray:
        batch = {"image": images, "mask": np.ones(len(images), np.float32)}
        with jax.default_matmul_precision("highest"):
            logits = step(replicated, parallel.split(batch))
        return parallel.merge(logits, batch["mask"])

    images = {
        partition: store.load_images(shards_dir, image_size, partition)
        for partition in layout.PARTITIONS
    }
    metadata = store.read_metadata(shards_dir, store.images_name(image_size))
    key = teacher_logits.key(variables, metadata["data_sha256"], image_size)
    teacher_logits.ensure_teacher_logits(
        shards_dir, key, images, compute, batch_size=batch_size
    )
    return {
        partition: teacher_logits.load_teacher_logits(
            shards_dir, key, partition, len(rows)
        )
        for partition, rows in images.items()
    }


def _make_logits_step(teacher):
    def logits_step(variables, batch):
        logits, _ = teacher.apply(variables, normalise_pixels(batch["image"]))
        return logits

    return logits_step
