"""What training needs, made from shards: selected, averaged and z-scored EEG."""

import dataclasses
import functools
import os
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from img2eeg_jax.axes import Axes
from img2eeg_jax.data.layout import PARTITIONS, subject_name
from img2eeg_jax.data.zscore import ZScore, fit_zscore, pooled_zscore, stack_zscores
from img2eeg_jax.errors import unexpected

if TYPE_CHECKING:
    from img2eeg_jax.data.shards.images import ShardedImages

# Which images a split is of.
_PARTITION_OF = {"training": "training", "validation": "training", "test": "test"}


@dataclasses.dataclass(frozen=True)
class Split:
    """Images with their averaged responses.

    Attributes:
      images: u8[image, height, width, 3]; `images[rows]` may read them from files.
      response: f32[image, channel, time], z-scored EEG (unitless); of several
        subjects f32[image, subject, channel, time].
      index: i32[image], row of each image in its partition.
      teacher_logits: f32[row, class] of the whole partition, or None.
    """

    images: "np.ndarray | ShardedImages"
    response: np.ndarray
    index: np.ndarray
    teacher_logits: np.ndarray | None = None


@dataclasses.dataclass(frozen=True)
class EncodingData:
    """The data of one subject, or of several.

    Attributes:
      train: training images without those held out.
      validation: training images of the concepts held out, or None.
      test: test images; their responses are averages over all repetitions.
      zscore: the statistics that all three were z-scored with.
      axes: the selected channels and window.
      epoch_times_s: f64[time'], all the times that the data have.
      validation_halves: f32[2, image, channel, time], or with an axis of subjects after
        images: the validation images' responses to the repetitions at even and at odd
        places, z-scored, NaN where there is one repetition; or None.
    """

    train: Split
    validation: Split | None
    test: Split
    zscore: ZScore
    axes: Axes
    epoch_times_s: np.ndarray
    validation_halves: np.ndarray | None = None


def average_repetitions(eeg: np.ndarray) -> np.ndarray:
    """Returns the mean over repetitions (axis 1), f32[image, channel, time]."""
    return eeg.mean(axis=1, dtype=np.float64).astype(np.float32)


def split_by_concept(
    concepts: Sequence[str], n_validation_concepts: int, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """Holds out whole concepts, so that validation images show new things.

    Args:
      concepts: the concept of each image.
      n_validation_concepts: number of concepts to hold out, from 0.
      seed: seed of the choice.

    Returns:
      (training rows, validation rows), ascending i64 arrays.

    Raises:
      InputError: the number is negative or leaves no concept for training.
    """
    names = np.unique(concepts)
    if not 0 <= n_validation_concepts < len(names):
        raise unexpected(
            "validation_concepts",
            f"0 to {len(names) - 1} of the {len(names)} training concepts",
            n_validation_concepts,
        )
    rng = np.random.default_rng(seed)
    held_out = rng.choice(names, n_validation_concepts, replace=False)
    is_held_out = np.isin(concepts, held_out)
    return np.flatnonzero(~is_held_out), np.flatnonzero(is_held_out)


def shuffle_rows(eeg: np.ndarray, seed: int) -> np.ndarray:
    """Assigns responses to images at random: the control in which nothing is true.

    Args:
      eeg: f[image, ...].
      seed: seed of the permutation.

    Returns:
      The same rows in another order.
    """
    return eeg[np.random.default_rng(seed).permutation(len(eeg))]


def load_encoding_data(
    shards_dir: str | os.PathLike,
    *,
    subjects: int | Sequence[int],
    image_size: int,
    channels: Sequence[str] | None,
    window_s: tuple[float, float] | None,
    n_validation_concepts: int,
    split_seed: int,
    concepts: Sequence[str],
    zscore: str = "training",
    shuffle_eeg_seed: int | None = None,
) -> EncodingData:
    """Loads images and z-scored, averaged responses of one subject or several.

    Args:
      shards_dir: shards that `tfds_builder.ensure_shards` has built.
      subjects: a subject number, from 1; or several, for EEG with an axis of subjects.
      image_size: height and width of the images in pixels.
      channels: names of the channels, or None for all.
      window_s: first and last time in seconds, or None for all.
      n_validation_concepts: number of training concepts to hold out.
      split_seed: seed of their choice.
      concepts: the concept of each training image.
      zscore: ``"training"`` takes the statistics of the training images that are not
        held out; ``"training_and_test"`` those of `pooled_zscore`. Each subject has
        its own.
      shuffle_eeg_seed: if given, the training partition's responses, of images held
        out too, are permuted over its images (a control), every subject's in the same
        way. The test set is not.

    Returns:
      The data, in row order. Images are read when they are asked for.

    Raises:
      InputError: shards are missing or damaged, subjects have other channels or times
        than the first, or an argument does not fit the data.
    """
    # Reading shards needs TensorFlow; the functions above do not.
    from img2eeg_jax.data.shards import store

    if zscore not in ("training", "training_and_test"):
        raise unexpected("zscore", "'training' or 'training_and_test'", f"{zscore!r}")
    numbers = (subjects,) if isinstance(subjects, int) else tuple(subjects)
    store.check_same_images(shards_dir, image_size, numbers)
    images = {
        partition: store.load_images(shards_dir, image_size, partition)
        for partition in PARTITIONS
    }
    if len(concepts) != len(images["training"]):
        raise unexpected(
            shards_dir,
            f"{len(concepts)} training images, one for each concept listed",
            len(images["training"]),
        )
    train, validation = split_by_concept(concepts, n_validation_concepts, split_seed)
    rows = {"training": train, "test": np.arange(len(images["test"]))}
    if len(validation):
        rows["validation"] = validation
    eeg_rows = rows
    if shuffle_eeg_seed is not None:
        order = shuffle_rows(np.arange(len(concepts)), shuffle_eeg_seed)
        eeg_rows = {
            name: order[chosen] if _PARTITION_OF[name] == "training" else chosen
            for name, chosen in rows.items()
        }
    # Filled subject by subject: all of them are most of the memory that training takes.
    eeg, halves, statistics, epoch_axes = {}, None, [], None
    for position, subject in enumerate(numbers):
        means, of_halves, found = _load_means(
            shards_dir, subject, channels, window_s, eeg_rows.get("validation", ())
        )
        epoch_axes = epoch_axes or found
        _check_subject(shards_dir, subject, images, means, found, epoch_axes)
        axes = found.select(channels, window_s)
        responses = {
            name: means[_PARTITION_OF[name]][chosen]
            for name, chosen in eeg_rows.items()
        }
        del means
        statistics.append(_fit(responses, axes, zscore))
        if position == 0:
            shape = (len(numbers), *axes.shape)
            eeg = {
                name: np.empty((len(chosen), *shape), np.float32)
                for name, chosen in rows.items()
            }
            halves = np.empty((2, len(validation), *shape), np.float32)
        for name, response in responses.items():
            statistics[-1].apply(response, out=eeg[name][:, position])
        statistics[-1].apply(of_halves, out=halves[:, :, position])
        del responses, response, of_halves
    if isinstance(subjects, int):
        eeg = {name: scores[:, 0] for name, scores in eeg.items()}
        halves = halves[:, :, 0]
    splits = {
        name: Split(
            images=images[_PARTITION_OF[name]].take(chosen),
            response=eeg[name],
            index=chosen.astype(np.int32),
        )
        for name, chosen in rows.items()
    }
    return EncodingData(
        train=splits["training"],
        validation=splits.get("validation"),
        test=splits["test"],
        zscore=statistics[0]
        if isinstance(subjects, int)
        else stack_zscores(statistics),
        axes=axes,
        epoch_times_s=epoch_axes.times_s,
        validation_halves=halves if len(validation) else None,
    )


def _load_means(
    shards_dir: str | os.PathLike,
    subject: int,
    channels: Sequence[str] | None,
    window_s: tuple[float, float] | None,
    halves_of: Sequence[int],
) -> tuple[dict[str, np.ndarray], np.ndarray, Axes]:
    """Returns f32[image, channel, time] of each partition, halves, and all the axes.

    Halves are f32[2, row, channel, time] of rows of the training partition.
    """
    from img2eeg_jax.data.shards import store

    axes = store.read_axes(shards_dir, subject)
    take = functools.partial(axes.take, channels=channels, window_s=window_s)
    training, halves = store.load_mean_eeg(
        shards_dir, subject, "training", take=take, halves_of=halves_of
    )
    test, _ = store.load_mean_eeg(shards_dir, subject, "test", take=take)
    return {"training": training, "test": test}, halves, axes


def _fit(responses: dict[str, np.ndarray], axes: Axes, zscore: str) -> ZScore:
    statistics = fit_zscore(responses["training"], axes)
    if zscore == "training_and_test":
        return pooled_zscore(statistics, fit_zscore(responses["test"], axes))
    return statistics


def _check_subject(
    shards_dir: str | os.PathLike,
    subject: int,
    images: dict[str, Sequence],
    means: dict[str, np.ndarray],
    found: Axes,
    expected: Axes,
) -> None:
    """Checks rows against the images, channels and times against the first subject."""
    where = f"{shards_dir}: {subject_name(subject)}"
    for partition in PARTITIONS:
        if len(images[partition]) != len(means[partition]):
            raise unexpected(
                where,
                f"as many {partition} images as EEG rows",
                f"{len(images[partition])} and {len(means[partition])}",
            )
    if found.ch_names != expected.ch_names:
        raise unexpected(
            where,
            f"the first subject's channels {', '.join(expected.ch_names)}",
            ", ".join(found.ch_names),
        )
    if not np.array_equal(found.times_s, expected.times_s):
        raise unexpected(
            where,
            f"the first subject's {len(expected.times_s)} times",
            f"{len(found.times_s)}, or others",
        )
