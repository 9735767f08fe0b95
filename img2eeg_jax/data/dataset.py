"""What training needs, made from shards: selected, averaged and z-scored EEG."""

import dataclasses
import os
from collections.abc import Sequence

import numpy as np

from img2eeg_jax.data.layout import PreprocessedEEG
from img2eeg_jax.errors import InputError


@dataclasses.dataclass(frozen=True)
class ZScore:
    """Statistics that turn EEG into unitless z-scores, per channel and time.

    Attributes:
      mean: f32[channel, time], in the units of the EEG.
      std: f32[channel, time], population standard deviation, in the same units.
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

    def apply(self, eeg: np.ndarray) -> np.ndarray:
        """Returns the z-scores f32[..., channel, time] of EEG of that shape."""
        return ((eeg - self.mean) / self.std).astype(np.float32)


@dataclasses.dataclass(frozen=True)
class Split:
    """Images with their averaged responses.

    Attributes:
      images: u8[image, height, width, 3].
      eeg: f32[image, channel, time], z-scored (unitless).
      index: i32[image], row of each image in its partition.
    """

    images: np.ndarray
    eeg: np.ndarray
    index: np.ndarray


@dataclasses.dataclass(frozen=True)
class EncodingData:
    """The data of one subject.

    Attributes:
      train: training images without those held out.
      validation: training images of the concepts held out, or None.
      test: test images; their responses are averages over all repetitions.
      zscore: the statistics that all three were z-scored with.
      ch_names: the name of each channel.
      times_s: f64[time], seconds from image onset, of the selected window.
      epoch_times_s: f64[time'], all the times that the data have.
    """

    train: Split
    validation: Split | None
    test: Split
    zscore: ZScore
    ch_names: tuple[str, ...]
    times_s: np.ndarray
    epoch_times_s: np.ndarray


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
      The selected EEG.

    Raises:
      InputError: there is no such channel, or no sample in the window.
    """
    rows = _channel_rows(eeg.ch_names, channels)
    keep = _time_rows(eeg.times_s, window_s)
    return PreprocessedEEG(
        eeg=eeg.eeg[:, :, rows][..., keep],
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
    subject: int,
    image_size: int,
    channels: Sequence[str] | None,
    window_s: tuple[float, float] | None,
    n_validation_concepts: int,
    split_seed: int,
    concepts: Sequence[str],
    zscore: str = "training",
    shuffle_eeg_seed: int | None = None,
) -> EncodingData:
    """Loads one subject's images and z-scored, averaged responses.

    Args:
      shards_dir: shards that `tfds_builder.ensure_shards` has built.
      subject: subject number, from 1.
      image_size: height and width of the images in pixels.
      channels: names of the channels, or None for all.
      window_s: first and last time in seconds, or None for all.
      n_validation_concepts: number of training concepts to hold out.
      split_seed: seed of their choice.
      concepts: the concept of each training image.
      zscore: ``"training"`` takes the statistics of the training images that are not
        held out; ``"training_and_test"`` those of `pooled_zscore`.
      shuffle_eeg_seed: if given, the training partition's responses, of images held
        out too, are permuted over its images (a control). The test set is not.

    Returns:
      The data, in row order.

    Raises:
      InputError: shards are missing or damaged, or an argument does not fit the data.
    """
    # Reading shards needs TensorFlow; the functions above do not.
    from img2eeg_jax.data import tfds_builder

    if zscore not in ("training", "training_and_test"):
        raise InputError(
            f"zscore: expected 'training' or 'training_and_test', found {zscore!r}"
        )
    eeg, images = {}, {}
    for partition in ("training", "test"):
        loaded = tfds_builder.load_eeg(shards_dir, subject, partition)
        selected = select(loaded, channels, window_s)
        eeg[partition] = average_repetitions(selected)
        images[partition] = tfds_builder.load_images(shards_dir, image_size, partition)
        _check_rows(shards_dir, images[partition], eeg[partition], partition)
    ch_names, times_s = selected.ch_names, selected.times_s
    if len(concepts) != len(images["training"]):
        raise InputError(
            f"{shards_dir}: expected {len(concepts)} training images, one for each "
            f"concept listed, found {len(images['training'])}"
        )
    if shuffle_eeg_seed is not None:
        eeg["training"] = shuffle_rows(eeg["training"], shuffle_eeg_seed)
    train, validation = split_by_concept(concepts, n_validation_concepts, split_seed)
    statistics = fit_zscore(eeg["training"][train], ch_names, times_s)
    if zscore == "training_and_test":
        test_statistics = fit_zscore(eeg["test"], ch_names, times_s)
        statistics = pooled_zscore(statistics, test_statistics)

    def take(partition: str, rows: np.ndarray) -> Split:
        return Split(
            images=images[partition][rows],
            eeg=statistics.apply(eeg[partition][rows]),
            index=rows.astype(np.int32),
        )

    return EncodingData(
        train=take("training", train),
        validation=take("training", validation) if len(validation) else None,
        test=take("test", np.arange(len(images["test"]))),
        zscore=statistics,
        ch_names=ch_names,
        times_s=times_s,
        epoch_times_s=loaded.times_s,
    )


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


def _check_rows(
    shards_dir: str | os.PathLike, images: np.ndarray, eeg: np.ndarray, partition: str
) -> None:
    if len(images) != len(eeg):
        raise InputError(
            f"{shards_dir}: expected as many {partition} images as EEG rows, found "
            f"{len(images)} and {len(eeg)}"
        )
