"""What training needs, made from shards: selected, averaged and z-scored EEG."""

import dataclasses
import functools
import os
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from img2eeg_jax.data.layout import PARTITIONS, PreprocessedEEG, subject_name
from img2eeg_jax.errors import InputError

if TYPE_CHECKING:
    from img2eeg_jax.data.sharded_images import ShardedImages

# Which images a split is of.
_PARTITION_OF = {"training": "training", "validation": "training", "test": "test"}


@dataclasses.dataclass(frozen=True)
class ZScore:
    """Statistics that turn EEG into unitless z-scores, per channel and time.

    Attributes:
      mean: f32[channel, time], in the units of the EEG; or f32[subject, channel, time].
      std: of the same shape, population standard deviation, in the same units.
    """

    mean: np.ndarray
    std: np.ndarray

    @classmethod
    def from_dict(cls, entries: dict[str, list]) -> "ZScore":
        """Rebuilds the statistics from `to_dict`."""
        return cls(**{name: np.float32(value) for name, value in entries.items()})

    def to_dict(self) -> dict[str, list]:
        """Returns the statistics as plain lists, which JSON keeps exactly."""
        return {"mean": self.mean.tolist(), "std": self.std.tolist()}

    def apply(self, eeg: np.ndarray, out: np.ndarray | None = None) -> np.ndarray:
        """Computes z-scores.

        Args:
          eeg: f[..., channel, time], in the units of the EEG.
          out: f32 of the same shape, to be overwritten, which takes no other memory if
            `eeg` is f32; None makes a new array.

        Returns:
          The z-scores, f32, of the shape of `eeg`.
        """
        scores = np.subtract(eeg, self.mean, out=out)
        scores = np.divide(scores, self.std, out=out)
        return scores.astype(np.float32, copy=False)


@dataclasses.dataclass(frozen=True)
class Split:
    """Images with their averaged responses.

    Attributes:
      images: u8[image, height, width, 3]; `images[rows]` may read them from files.
      eeg: f32[image, channel, time], z-scored (unitless); of several subjects
        f32[image, subject, channel, time].
      index: i32[image], row of each image in its partition.
      teacher_logits: f32[row, class] of the whole partition, or None.
    """

    images: "np.ndarray | ShardedImages"
    eeg: np.ndarray
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
      ch_names: the name of each channel.
      times_s: f64[time], seconds from image onset, of the selected window.
      epoch_times_s: f64[time'], all the times that the data have.
      validation_halves: f32[2, image, channel, time], or with an axis of subjects after
        images: the validation images' responses to the repetitions at even and at odd
        places, z-scored, NaN where there is one repetition; or None.
    """

    train: Split
    validation: Split | None
    test: Split
    zscore: ZScore
    ch_names: tuple[str, ...]
    times_s: np.ndarray
    epoch_times_s: np.ndarray
    validation_halves: np.ndarray | None = None


def select(
    eeg: PreprocessedEEG,
    channels: Sequence[str] | None = None,
    window_s: tuple[float, float] | None = None,
) -> PreprocessedEEG:
    """Selects channels and a time window.

    Args:
      eeg: EEG of any shape.
      channels: names of the channels, in the order wanted; None takes all.
      window_s: first and last time in seconds, both included; each may be off by half
        a sample. None takes all.

    Returns:
      The selected EEG; the same array where that is all of it.

    Raises:
      InputError: there is no such channel, or no sample in the window.
    """
    rows = _channel_rows(eeg.ch_names, channels)
    keep = _time_rows(eeg.times_s, window_s)
    return PreprocessedEEG(
        eeg=_take(eeg.eeg, rows, keep),
        ch_names=tuple(eeg.ch_names[row] for row in rows),
        times_s=eeg.times_s[keep],
    )


def average_repetitions(eeg: PreprocessedEEG) -> np.ndarray:
    """Returns the mean over repetitions, f32[image, channel, time]."""
    return eeg.eeg.mean(axis=1, dtype=np.float64).astype(np.float32)


def fit_zscore(
    mean_eeg: np.ndarray,
    ch_names: Sequence[str] | None = None,
    times_s: np.ndarray | None = None,
) -> ZScore:
    """Computes z-score statistics over images, in float64 (ddof 0).

    Args:
      mean_eeg: f[image, channel, time].
      ch_names: channel names for the error message; by default channels are numbered.
      times_s: times in seconds for the error message; by default they are numbered.

    Returns:
      The statistics per channel and time.

    Raises:
      InputError: the EEG of a channel and time is the same for all images.
    """
    mean = mean_eeg.mean(axis=0, dtype=np.float64)
    std = mean_eeg.std(axis=0, dtype=np.float64)
    # Compared exactly: the mean of equal values may be off by a rounding error.
    is_flat = mean_eeg.max(axis=0) == mean_eeg.min(axis=0)
    if is_flat.any():
        channel, time = np.argwhere(is_flat)[0]
        where = ch_names[channel] if ch_names is not None else f"number {channel}"
        when = f"{times_s[time]:.3f} s" if times_s is not None else f"sample {time}"
        raise InputError(
            f"z-score: expected EEG that varies over the {len(mean_eeg)} images, found "
            f"a standard deviation of 0 at channel {where}, {when}"
        )
    return ZScore(mean.astype(np.float32), std.astype(np.float32))


def pooled_zscore(training: ZScore, test: ZScore) -> ZScore:
    """Averages the statistics of two partitions, as the published recipe does.

    The mean of two standard deviations is not the one of the pooled data; and the
    test images take part. It is here to reproduce published training.

    Args:
      training: statistics of the training partition.
      test: statistics of the test partition.

    Returns:
      The average of the means, and of the standard deviations.
    """
    return ZScore((training.mean + test.mean) / 2, (training.std + test.std) / 2)


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
        raise InputError(
            f"validation_concepts: expected 0 to {len(names) - 1} of the "
            f"{len(names)} training concepts, found {n_validation_concepts}"
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
    from img2eeg_jax.data import shards

    if zscore not in ("training", "training_and_test"):
        raise InputError(
            f"zscore: expected 'training' or 'training_and_test', found {zscore!r}"
        )
    numbers = (subjects,) if isinstance(subjects, int) else tuple(subjects)
    shards.check_same_images(shards_dir, image_size, numbers)
    images = {
        partition: shards.load_images(shards_dir, image_size, partition)
        for partition in PARTITIONS
    }
    if len(concepts) != len(images["training"]):
        raise InputError(
            f"{shards_dir}: expected {len(concepts)} training images, one for each "
            f"concept listed, found {len(images['training'])}"
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
    eeg, halves, statistics, axes = {}, None, [], None
    for position, subject in enumerate(numbers):
        means, of_halves, found = _load_means(
            shards_dir, subject, channels, window_s, eeg_rows.get("validation", ())
        )
        axes = axes or found
        _check_subject(shards_dir, subject, images, means, found, axes)
        responses = {
            name: means[_PARTITION_OF[name]][chosen]
            for name, chosen in eeg_rows.items()
        }
        del means
        statistics.append(_fit(responses, axes, zscore))
        if position == 0:
            shape = (len(numbers), len(axes.ch_names), len(axes.times_s))
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
            eeg=eeg[name],
            index=chosen.astype(np.int32),
        )
        for name, chosen in rows.items()
    }
    return EncodingData(
        train=splits["training"],
        validation=splits.get("validation"),
        test=splits["test"],
        zscore=statistics[0] if isinstance(subjects, int) else _stack(statistics),
        ch_names=axes.ch_names,
        times_s=axes.times_s,
        epoch_times_s=axes.epoch_times_s,
        validation_halves=halves if len(validation) else None,
    )


@dataclasses.dataclass(frozen=True)
class _Axes:
    """Names and times of EEG: those selected, and all the times there are."""

    ch_names: tuple[str, ...]
    times_s: np.ndarray
    epoch_times_s: np.ndarray


def _load_means(
    shards_dir: str | os.PathLike,
    subject: int,
    channels: Sequence[str] | None,
    window_s: tuple[float, float] | None,
    halves_of: Sequence[int],
) -> tuple[dict[str, np.ndarray], np.ndarray, _Axes]:
    """Returns f32[image, channel, time] of each partition, halves, and the axes.

    Halves are f32[2, row, channel, time] of rows of the training partition.
    """
    from img2eeg_jax.data import shards

    ch_names, times_s = shards.read_axes(shards_dir, subject)
    rows, keep = _channel_rows(ch_names, channels), _time_rows(times_s, window_s)
    take = functools.partial(_take, rows=rows, keep=keep)
    training, halves = shards.load_mean_eeg(
        shards_dir, subject, "training", take=take, halves_of=halves_of
    )
    test, _ = shards.load_mean_eeg(shards_dir, subject, "test", take=take)
    axes = _Axes(tuple(ch_names[row] for row in rows), times_s[keep], times_s)
    return {"training": training, "test": test}, halves, axes


def _fit(responses: dict[str, np.ndarray], axes: _Axes, zscore: str) -> ZScore:
    names = axes.ch_names, axes.times_s
    statistics = fit_zscore(responses["training"], *names)
    if zscore == "training_and_test":
        return pooled_zscore(statistics, fit_zscore(responses["test"], *names))
    return statistics


def _stack(statistics: Sequence[ZScore]) -> ZScore:
    """Returns the statistics of several subjects, [subject, channel, time]."""
    return ZScore(
        mean=np.stack([one.mean for one in statistics]),
        std=np.stack([one.std for one in statistics]),
    )


def _take(eeg: np.ndarray, rows: Sequence[int], keep: np.ndarray) -> np.ndarray:
    """Takes rows of channels and times to keep of f[..., channel, time]."""
    # An index copies even where it takes everything.
    if list(rows) != list(range(eeg.shape[-2])):
        eeg = eeg[..., rows, :]
    return eeg[..., keep] if len(keep) < eeg.shape[-1] else eeg


def _channel_rows(ch_names: Sequence[str], channels: Sequence[str] | None) -> list[int]:
    if channels is None:
        return list(range(len(ch_names)))
    unknown = [name for name in channels if name not in ch_names]
    if unknown or not channels or len(set(channels)) != len(channels):
        raise InputError(
            f"channels: expected different names out of {', '.join(ch_names)}, found "
            f"{', '.join(unknown or channels) or 'none'}"
        )
    return [ch_names.index(name) for name in channels]


def _time_rows(times_s: np.ndarray, window_s: tuple[float, float] | None) -> np.ndarray:
    if window_s is None:
        return np.arange(len(times_s))
    start_s, stop_s = window_s
    # Recordings' samples seldom fall on round times.
    half_s = np.median(np.diff(times_s)) / 2 if len(times_s) > 1 else 0.0
    tolerance_s = half_s * (1 - 1e-6)
    keep = np.flatnonzero(
        (times_s >= start_s - tolerance_s) & (times_s <= stop_s + tolerance_s)
    )
    if start_s > stop_s or not len(keep):
        raise InputError(
            f"window: expected a window in {times_s[0]:.3f} to {times_s[-1]:.3f} s "
            f"that holds a sample, found {start_s} to {stop_s} s"
        )
    return keep


def _check_subject(
    shards_dir: str | os.PathLike,
    subject: int,
    images: dict[str, Sequence],
    means: dict[str, np.ndarray],
    found: _Axes,
    expected: _Axes,
) -> None:
    """Checks rows against the images, channels and times against the first subject."""
    where = f"{shards_dir}: {subject_name(subject)}"
    for partition in PARTITIONS:
        if len(images[partition]) != len(means[partition]):
            raise InputError(
                f"{where}: expected as many {partition} images as EEG rows, found "
                f"{len(images[partition])} and {len(means[partition])}"
            )
    if found.ch_names != expected.ch_names:
        raise InputError(
            f"{where}: expected the first subject's channels "
            f"{', '.join(expected.ch_names)}, found {', '.join(found.ch_names)}"
        )
    if not np.array_equal(found.epoch_times_s, expected.epoch_times_s):
        raise InputError(
            f"{where}: expected the first subject's {len(expected.epoch_times_s)} "
            f"times, found {len(found.epoch_times_s)}, or others"
        )
