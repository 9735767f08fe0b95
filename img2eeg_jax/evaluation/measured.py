"""What is measured of the test images, in the terms of what a network predicts."""

import pathlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from img2eeg_jax.checkpoints.load import Checkpoint
from img2eeg_jax.data import duplicates, layout
from img2eeg_jax.data.pairing import Pairing, comparable, row_digests
from img2eeg_jax.data.shards import builder
from img2eeg_jax.data.shards.image_rows import ImageRows
from img2eeg_jax.data.shards.store import Shards, SubjectEEG
from img2eeg_jax.data.zscore import ZScore, fit_zscore
from img2eeg_jax.errors import InputError, naming, unexpected
from img2eeg_jax.provenance import difference


@dataclass(frozen=True)
class Measured:
    """The test images and the responses to them.

    Attributes:
      subject: whose responses they are.
      images: u8[image, height, width, 3], read when asked for.
      names: CONCEPT/FILE of each image.
      eeg: f32[image, repetition, channel, time], z-scored, of the channels (or their
        mean) and times that the network predicts; of features there is one time.
      noise_free: f32[image, channel, time], the same without noise; None if unknown.
      shards: all data: training images and responses, channels and times that the
        network does not predict.
    """

    subject: int | str
    images: ImageRows
    names: tuple[str, ...]
    eeg: np.ndarray
    noise_free: np.ndarray | None
    shards: Shards

    @property
    def pictures(self) -> "Pictures":
        """Name → u8[height, width, 3] of a test image, read when asked for."""
        return Pictures(self.names, self.images)


class Pictures(Mapping):
    """Images by their names."""

    def __init__(self, names: Sequence[str], images: ImageRows):
        """Reads none yet.

        Args:
          names: of the images.
          images: u8[image, height, width, 3].
        """
        self._rows = {name: row for row, name in enumerate(names)}
        self._images = images

    def __getitem__(self, name: str) -> np.ndarray:
        """Reads an image."""
        return self._images[self._rows[name]]

    def __iter__(self) -> Iterator[str]:
        """Yields the names, in row order."""
        return iter(self._rows)

    def __len__(self) -> int:
        """Returns how many there are."""
        return len(self._rows)


def load_measured(
    checkpoint: Checkpoint,
    *,
    data_dir: str | pathlib.Path = "",
    subject: int | str | None = None,
    beside: pathlib.Path | None = None,
    log: Callable[[str], None] = print,
) -> Measured:
    """Reads what a network is scored against from shards, built first if need be.

    Args:
      checkpoint: a network that predicts EEG, or other responses.
      data_dir: data set in THINGS-EEG2's layout; "" for the one it was trained on,
        whose shards are enough.
      subject: whose EEG; None for the one it was trained on, or the data's only one.
      beside: folder that gets the shards of data that cannot be written to; None for
        the network's own folder, which on a hub is its cache.
      log: called with one line for each configuration of shards that is built, and
        for each way in which the data are not those of training, or test nothing.

    Raises:
      InputError: no data set or subject is named where one must be, the data do not
        have what the network predicts, or their images are not beside the EEG that they
        were beside in training.
    """
    given = data_dir
    data_dir, shards_dir = _places(checkpoint, data_dir, beside)
    subject = subject or checkpoint.description.subject or _only_subject(data_dir)
    shards = builder.open_or_build(
        data_dir,
        shards_dir,
        subjects=(subject,),
        image_size=checkpoint.description.image_size,
        is_eeg=checkpoint.description.encoder_signal.is_eeg,
        log=log,
    )
    with naming(shards.shards_dir):
        raw = _read(checkpoint, shards.eeg(subject))
        _check_same_data(checkpoint, shards, subject, raw, is_own=not given, log=log)
        eeg, noise_free = _in_z(checkpoint, shards.eeg(subject), raw)
    if repeated := duplicates.warning(shards):
        log(repeated)
    images, names = shards.images["test"], shards.image_list["test"]
    return Measured(subject, images, names, eeg, noise_free, shards)


def shards_at_hand(checkpoint: Checkpoint) -> Shards | None:
    """Opens the data that a network was trained on, if there are shards of them.

    Nothing is built, and nothing is checked against the network.

    Args:
      checkpoint: of a run.
    """
    description = checkpoint.description
    if checkpoint.config is None or description.subject is None:
        return None
    try:
        _, shards_dir = _places(checkpoint, "")
        return Shards.open(
            shards_dir,
            image_size=description.image_size,
            subjects=(description.subject,),
            is_eeg=description.encoder_signal.is_eeg,
        )
    except InputError:
        return None


def training_means(
    checkpoint: Checkpoint, measured: Measured, rows: np.ndarray
) -> np.ndarray:
    """Reads the mean responses to some training images, as a network predicts them.

    Args:
      checkpoint: the network.
      measured: of `load_measured`, whose subject's responses they are.
      rows: i64[row], of the training partition.

    Returns:
      f32[row, channel, time], z-scored.
    """
    eeg, wanted = measured.shards.eeg(measured.subject), _wanted(checkpoint)
    zscore = checkpoint.description.zscore or _fit_zscore(eeg, *wanted)
    means = eeg.read_rows("training", rows, *wanted).mean(1, np.float64)
    return checkpoint.description.encoder_signal.measured(zscore.apply(means))


def _places(
    checkpoint: Checkpoint,
    data_dir: str | pathlib.Path,
    beside: pathlib.Path | None = None,
) -> tuple[pathlib.Path, str | pathlib.Path]:
    """Returns where the data set and its shards are, or will be."""
    if data_dir:
        data_dir = pathlib.Path(data_dir)
        if not data_dir.is_dir():
            raise unexpected(data_dir, "a data set", "No such file or directory")
        # The run's own shards, which may be in its folder, stay as they are.
        fallback = (beside or checkpoint.path / "eval") / "shards"
        return data_dir, builder.shards_folder("", data_dir, fallback)
    # The run's own config, because the data may have moved since the checkpoint.
    config = checkpoint.config
    if config is None:
        raise unexpected("`data_dir`", "a folder", "nothing")
    data_dir = pathlib.Path(config["data_dir"] or checkpoint.path / "data")
    # Where training puts them: in the run's folder, of which a subject's may be a part.
    folders = [checkpoint.path / "shards", checkpoint.path.parent / "shards"]
    new = folders[0] if beside is None else beside / "shards"
    fallback = next((folder for folder in folders if folder.is_dir()), new)
    return data_dir, builder.shards_folder(config["shards_dir"], data_dir, fallback)


def _only_subject(data_dir: pathlib.Path) -> int | str:
    """Returns the subject of a data set; converted weights need not say whose they are.

    Raises:
      InputError: there are several, or none.
    """
    subjects = layout.subjects_in(data_dir)
    if len(subjects) != 1:
        raise unexpected("`subject`", "one subject", f"{len(subjects)} in {data_dir}")
    return subjects[0]


# Names of channels and window of what a network predicts.
_Wanted = tuple[tuple[str, ...] | None, tuple[float, float] | None]


def _wanted(checkpoint: Checkpoint) -> _Wanted:
    """Returns the channels and the window of what a network predicts.

    Features have no window; where nobody knows their names, all of the data are meant.
    """
    signal = checkpoint.description.encoder_signal
    if signal.eeg is None:
        return None, None
    if not signal.is_eeg:
        return signal.eeg.ch_names, None
    return signal.eeg.ch_names, tuple(signal.axes.times_s[[0, -1]])


def _read(checkpoint: Checkpoint, measured: SubjectEEG) -> np.ndarray:
    """Returns the test partition's EEG, f32[image, repetition, channel, time]."""
    signal, wanted = checkpoint.description.encoder_signal, _wanted(checkpoint)
    expected_s, there = signal.axes.times_s, measured.axes.select(*wanted)
    if len(there.times_s) != len(expected_s):
        expected = f"{len(expected_s)} in {expected_s[0]:g}..{expected_s[-1]:g} s"
        raise unexpected("times", expected, len(there.times_s))
    if not signal.is_eeg and there.shape != signal.axes.shape:
        raise unexpected("responses", str(signal.axes), there)
    return measured.read("test", *wanted)


def _in_z(
    checkpoint: Checkpoint, measured: SubjectEEG, raw: np.ndarray
) -> tuple[np.ndarray, np.ndarray | None]:
    """Returns the test partition's `eeg` and `noise_free` of `Measured`."""
    signal, wanted = checkpoint.description.encoder_signal, _wanted(checkpoint)
    zscore = checkpoint.description.zscore or _fit_zscore(measured, *wanted)
    eeg = signal.measured(zscore.apply(raw))
    noise_free = measured.noise_free("test", *wanted)
    if noise_free is not None:
        noise_free = signal.measured(zscore.apply(noise_free))
    return eeg, noise_free


def _check_same_data(
    checkpoint: Checkpoint,
    shards: Shards,
    subject: int | str,
    raw: np.ndarray,
    *,
    is_own: bool,
    log: Callable[[str], None],
) -> None:
    """Refuses test images that are not beside the EEG that they were recorded with.

    EEG of another subject, or made otherwise, has no rows that the checkpoint knows;
    that the same images come in the order of training is all that can be asked then,
    unless the EEG was preprocessed for the list of images as it is now.

    Args:
      checkpoint: the network that is scored.
      shards: the data.
      subject: whose EEG it is scored against.
      raw: that EEG, f32[image, repetition, channel, time].
      is_own: whether it was trained on them, and nobody named others.
      log: called with what cannot be checked, or is allowed to differ.

    Raises:
      InputError: images or EEG are others where they should not be.
    """
    trained = checkpoint.description
    if trained.pairings is None:
        log(
            "the checkpoint does not record which image goes with which EEG: that each "
            "row of EEG is scored with its own image cannot be checked"
        )
        return
    rows = {subject: row_digests(raw.mean(1, np.float64))}
    recorded, found = comparable(
        trained.pairings["test"],
        [Pairing.of(images, rows) for images in shards.image_digests("test")],
    )
    made, whose = shards.eeg(subject).preprocessing, str(subject)
    known = trained.data or {}
    if found.pairs[whose] == recorded.pairs.get(whose):
        return
    has_same_images = found.images == recorded.images
    expected = "test images beside the EEG of training"
    if found.eeg[whose] == recorded.eeg.get(whose):
        other = "the images in another order" if has_same_images else "other images"
        raise unexpected("", expected, f"the same EEG beside {other}")
    if has_same_images and found.order != recorded.order:
        names = shards.image_list_sha256
        was_made_for_them = (made or {}).get("image_list_sha256") == names
        if not was_made_for_them or names == known.get("image_list_sha256"):
            raise unexpected("", expected, "the same images in another order")
    if is_own and (whose in recorded.eeg or not has_same_images):
        other = "other EEG" if has_same_images else "other images"
        raise unexpected("", "the test set of the run", f"{other}; `data_dir` names it")
    if made_otherwise := _other_choices(known.get("preprocessing"), made):
        log(f"the EEG was not made as that of training: {made_otherwise}")


def _other_choices(
    trained: Mapping[str, Any] | None, found: Mapping[str, Any] | None
) -> str | None:
    """Returns how records of preprocessing differ, in words, or None."""
    if trained is None or found is None:
        return None if trained is found else "it has no record of the preprocessing"
    return difference(found.get("choices", {}), trained.get("choices", {}))


def _fit_zscore(
    measured: SubjectEEG,
    channels: tuple[str, ...] | None,
    window_s: tuple[float, float] | None,
) -> ZScore:
    """Returns the statistics of training that converted weights do not bring."""
    means, _ = measured.means("training", channels, window_s)
    return fit_zscore(means, measured.axes.select(channels, window_s))
