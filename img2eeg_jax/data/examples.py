"""What training needs, made from shards: selected, averaged and z-scored EEG."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from img2eeg_jax.axes import UNKNOWN, Axes
from img2eeg_jax.data.layout import Label, subject_name
from img2eeg_jax.data.pairing import Pairing, row_digests
from img2eeg_jax.data.zscore import ZScore, fit_zscore, pooled_zscore, stack_zscores
from img2eeg_jax.errors import listed, naming, unexpected

if TYPE_CHECKING:
    from img2eeg_jax.data.shards.image_rows import ImageRows
    from img2eeg_jax.data.shards.store import Shards, SubjectEEG

# Split → the partition that its images are of.
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

    images: "np.ndarray | ImageRows"
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
      pairings: split → which image goes with which EEG, by files and by pixels.
      validation_halves: f32[2, image, channel, time], or with an axis of subjects after
        images: the validation images' responses to the repetitions at even and at odd
        places, z-scored, NaN where there is one repetition; or None.
      validation_eeg_rows: i64[image], the rows of the training partition whose EEG the
        validation images have, their own unless it is shuffled; or None.
    """

    train: Split
    validation: Split | None
    test: Split
    zscore: ZScore
    axes: Axes
    epoch_times_s: np.ndarray
    pairings: Mapping[str, tuple[Pairing, ...]]
    validation_halves: np.ndarray | None = None
    validation_eeg_rows: np.ndarray | None = None

    def pairings_of(self, subject: Label) -> dict[str, tuple[Pairing, ...]]:
        """Returns, of each split, which image goes with which of a subject's EEG."""
        return {
            split: tuple(one.of_subject(subject) for one in pairings)
            for split, pairings in self.pairings.items()
        }


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
    shards: "Shards",
    *,
    subjects: Label | Sequence[Label],
    channels: Sequence[str] | None,
    window_s: tuple[float, float] | None,
    n_validation_concepts: int,
    split_seed: int,
    zscore: str = "training",
    shuffle_eeg_seed: int | None = None,
) -> EncodingData:
    """Loads z-scored, averaged responses of one subject or several, beside images.

    Args:
      shards: images, and the EEG of these subjects.
      subjects: a subject's number or label; or several, for EEG with an axis of
        subjects.
      channels: names of the channels, or None for all.
      window_s: first and last time in seconds, or None for all.
      n_validation_concepts: number of training concepts to hold out.
      split_seed: seed of their choice.
      zscore: ``"training"`` takes the statistics of the training images that are not
        held out; ``"training_and_test"`` those of `pooled_zscore`. Each subject has
        its own. ``"none"`` leaves responses as they are.
      shuffle_eeg_seed: if given, the training partition's responses, of images held
        out too, are permuted over its images (a control), every subject's in the same
        way. The test set is not.

    Returns:
      The data, in row order. Images are read when they are asked for.

    Raises:
      InputError: shards are damaged, subjects have other channels than the first or
        other times in the window, or an argument does not fit the data.
    """
    if zscore not in ("training", "training_and_test", "none"):
        expected = "'training', 'training_and_test' or 'none'"
        raise unexpected("zscore", expected, f"{zscore!r}")
    numbers = (subjects,) if isinstance(subjects, Label) else tuple(subjects)
    epoch_axes = _common_axes(shards, numbers, channels, window_s)
    rows = _rows_of_splits(shards, n_validation_concepts, split_seed)
    eeg_rows = _eeg_rows(rows, len(shards.images["training"]), shuffle_eeg_seed)
    axes = epoch_axes.select(channels, window_s)
    eeg, halves, statistics, digests = _read_zscored(
        shards, numbers, window_s, axes, eeg_rows, zscore
    )
    together = stack_zscores(statistics)
    if isinstance(subjects, Label):
        eeg = {name: scores[:, 0] for name, scores in eeg.items()}
        halves, (together,) = halves[:, :, 0], statistics
    splits = _make_splits(shards, rows, eeg)
    return EncodingData(
        train=splits["training"],
        validation=splits.get("validation"),
        test=splits["test"],
        zscore=together,
        axes=axes,
        epoch_times_s=epoch_axes.times_s,
        pairings=_make_pairings(shards, rows, digests),
        validation_halves=halves if "validation" in splits else None,
        validation_eeg_rows=eeg_rows.get("validation"),
    )


def _rows_of_splits(
    shards: "Shards", n_validation_concepts: int, seed: int
) -> dict[str, np.ndarray]:
    """Returns the rows, in its partition, of each split that there is."""
    train, validation = split_by_concept(
        shards.concepts["training"], n_validation_concepts, seed
    )
    rows = {"training": train, "test": np.arange(len(shards.images["test"]))}
    return rows | ({"validation": validation} if len(validation) else {})


def _eeg_rows(
    rows: dict[str, np.ndarray], n_training: int, shuffle_seed: int | None
) -> dict[str, np.ndarray]:
    """Returns the rows whose responses each split gets; others if they are shuffled."""
    if shuffle_seed is None:
        return rows
    order = shuffle_rows(np.arange(n_training), shuffle_seed)
    return {
        name: order[chosen] if _PARTITION_OF[name] == "training" else chosen
        for name, chosen in rows.items()
    }


def _make_splits(
    shards: "Shards", rows: dict[str, np.ndarray], eeg: dict[str, np.ndarray]
) -> dict[str, Split]:
    return {
        name: Split(
            images=shards.images[_PARTITION_OF[name]].take(chosen),
            response=eeg[name],
            index=chosen.astype(np.int32),
        )
        for name, chosen in rows.items()
    }


def _make_pairings(
    shards: "Shards",
    rows: dict[str, np.ndarray],
    digests: dict[str, dict[Label, list[str]]],
) -> dict[str, tuple[Pairing, ...]]:
    pairings = {}
    for name, chosen in rows.items():
        pairings[name] = tuple(
            Pairing.of([images[row] for row in chosen], digests[name])
            for images in shards.image_digests(_PARTITION_OF[name])
        )
    return pairings


def _common_axes(
    shards: "Shards",
    subjects: Sequence[Label],
    channels: Sequence[str] | None,
    window_s: tuple[float, float] | None,
) -> Axes:
    """Returns the first subject's axes; the unit is unknown if it is not all subjects'.

    The others may have its channels in another order.

    Raises:
      InputError: a subject lacks channels that are taken, or has other times in the
        window.
    """
    common = shards.eeg(subjects[0]).axes
    names = None if channels is None else tuple(channels)
    for subject in subjects[1:]:
        axes = shards.eeg(subject).axes
        where = f"{shards.shards_dir}: {subject_name(subject)}"
        if names is None and not axes.has_channels_of(common):
            raise unexpected(
                where,
                f"the first subject's channels {listed(common.ch_names)}",
                listed(axes.ch_names),
            )
        with naming(where):
            mine, first = axes.select(names, window_s), common.select(names, window_s)
        if not mine.has_times_of(first):
            raise unexpected(
                where,
                f"the first subject's {_describe_times(first)}",
                _describe_times(mine),
            )
        if axes.unit != common.unit:
            common = dataclasses.replace(common, unit=UNKNOWN)
    return common


def _describe_times(axes: Axes) -> str:
    first_s, last_s = axes.times_s[[0, -1]]
    return f"{len(axes.times_s)} times from {first_s:.6f} to {last_s:.6f} s"


def _read_zscored(
    shards: "Shards",
    subjects: Sequence[Label],
    window_s: tuple[float, float] | None,
    axes: Axes,
    rows: dict[str, np.ndarray],
    zscore: str,
) -> tuple[
    dict[str, np.ndarray],
    np.ndarray,
    list[ZScore],
    dict[str, dict[Label, list[str]]],
]:
    """Reads z-scored responses with an axis of subjects.

    Returns:
      f32[image, subject, channel, time] of each split; the validation's halves, f32[2,
      image, subject, channel, time]; each subject's statistics; and, of each split
      and subject, the digests of the responses before they are z-scored.
    """
    shape = (len(subjects), *axes.shape)
    eeg = {name: np.empty((len(of), *shape), np.float32) for name, of in rows.items()}
    halves = np.empty((2, len(rows.get("validation", ())), *shape), np.float32)
    statistics: list[ZScore] = []
    digests: dict[str, dict[Label, list[str]]] = {name: {} for name in rows}
    # Filled subject by subject: all of them are most of the memory that training takes.
    for position, subject in enumerate(subjects):
        responses, of_halves = _read_means(
            shards.eeg(subject), axes.ch_names, window_s, rows
        )
        statistics.append(_fit(responses, axes, zscore))
        for name, response in responses.items():
            digests[name][subject] = row_digests(response)
            statistics[-1].apply(response, out=eeg[name][:, position])
        statistics[-1].apply(of_halves, out=halves[:, :, position])
        del responses, response, of_halves
    return eeg, halves, statistics, digests


def _read_means(
    eeg: "SubjectEEG",
    channels: Sequence[str],
    window_s: tuple[float, float] | None,
    rows: dict[str, np.ndarray],
) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Returns f32[image, channel, time] of each split, and the validation's halves."""
    of_training, halves = eeg.means(
        "training", channels, window_s, halves_of=rows.get("validation", ())
    )
    of_test, _ = eeg.means("test", channels, window_s)
    means = {"training": of_training, "test": of_test}
    responses = {name: means[_PARTITION_OF[name]][of] for name, of in rows.items()}
    return responses, halves


def _fit(responses: dict[str, np.ndarray], axes: Axes, zscore: str) -> ZScore:
    if zscore == "none":
        return ZScore.identity(axes)
    statistics = fit_zscore(responses["training"], axes)
    if zscore == "training_and_test":
        return pooled_zscore(statistics, fit_zscore(responses["test"], axes))
    return statistics
