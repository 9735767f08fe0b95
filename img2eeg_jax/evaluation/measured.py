"""What is measured of the test images, in the terms of what a network predicts."""

import pathlib
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from img2eeg_jax.checkpoints.load import Checkpoint
from img2eeg_jax.data import layout
from img2eeg_jax.data.shards import builder
from img2eeg_jax.data.shards.image_rows import ImageRows
from img2eeg_jax.data.shards.store import SubjectEEG
from img2eeg_jax.data.zscore import ZScore, fit_zscore
from img2eeg_jax.errors import naming, unexpected


@dataclass(frozen=True)
class Measured:
    """The test images and the responses to them.

    Attributes:
      subject: whose responses they are.
      images: u8[image, height, width, 3], read when asked for.
      names: CONCEPT/FILE of each image.
      eeg: f32[image, repetition, channel, time], z-scored, of the channels (or their
        mean) and times that the network predicts.
      noise_free: f32[image, channel, time], the same without noise; None if unknown.
    """

    subject: int | str
    images: ImageRows
    names: tuple[str, ...]
    eeg: np.ndarray
    noise_free: np.ndarray | None


def load_measured(
    checkpoint: Checkpoint,
    *,
    data_dir: str | pathlib.Path = "",
    subject: int | str | None = None,
    log: Callable[[str], None] = print,
) -> Measured:
    """Reads what a network is scored against from shards, built first if need be.

    Args:
      checkpoint: a network that predicts EEG.
      data_dir: data set in THINGS-EEG2's layout; "" for the one it was trained on,
        whose shards are enough.
      subject: whose EEG; None for the one it was trained on, or the data's only one.
      log: called with one line for each configuration of shards that is built.

    Raises:
      InputError: no data set or subject is named where one must be, or the data do not
        have what the network predicts.
    """
    data_dir, shards_dir = _places(checkpoint, data_dir)
    subject = subject or checkpoint.description.subject or _only_subject(data_dir)
    shards = builder.open_or_build(
        data_dir,
        shards_dir,
        subjects=(subject,),
        image_size=checkpoint.description.image_size,
        log=log,
    )
    with naming(shards.shards_dir):
        eeg, noise_free = _read(checkpoint, shards.eeg(subject))
    images, names = shards.images["test"], shards.image_list["test"]
    return Measured(subject, images, names, eeg, noise_free)


def _places(
    checkpoint: Checkpoint, data_dir: str | pathlib.Path
) -> tuple[pathlib.Path, str | pathlib.Path]:
    """Returns where the data set and its shards are, or will be."""
    if data_dir:
        data_dir = pathlib.Path(data_dir)
        if not data_dir.is_dir():
            raise unexpected(data_dir, "a data set", "No such file or directory")
        # The run's own shards, which may be in its folder, stay as they are.
        fallback = checkpoint.path / "eval" / "shards"
        return data_dir, builder.shards_folder("", data_dir, fallback)
    # The run's own config, because the data may have moved since the checkpoint.
    config = checkpoint.config
    if config is None:
        raise unexpected("`data_dir`", "a folder", "nothing")
    data_dir = pathlib.Path(config["data_dir"] or checkpoint.path / "data")
    # Where training puts them: in the run's folder, of which a subject's may be a part.
    folders = [checkpoint.path / "shards", checkpoint.path.parent / "shards"]
    fallback = next((folder for folder in folders if folder.is_dir()), folders[0])
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


def _read(
    checkpoint: Checkpoint, measured: SubjectEEG
) -> tuple[np.ndarray, np.ndarray | None]:
    """Returns the test partition's `eeg` and `noise_free` of `Measured`."""
    signal = checkpoint.description.signal
    wanted = signal.eeg.ch_names, tuple(signal.axes.times_s[[0, -1]])
    expected_s, n_times = signal.axes.times_s, measured.axes.select(*wanted).shape[1]
    if n_times != len(expected_s):
        expected = f"{len(expected_s)} in {expected_s[0]:g}..{expected_s[-1]:g} s"
        raise unexpected("times", expected, n_times)
    zscore = checkpoint.description.zscore or _fit_zscore(measured, *wanted)
    eeg = signal.measured(zscore.apply(measured.read("test", *wanted)))
    noise_free = measured.noise_free("test", *wanted)
    if noise_free is not None:
        noise_free = signal.measured(zscore.apply(noise_free))
    return eeg, noise_free


def _fit_zscore(
    measured: SubjectEEG, channels: tuple[str, ...], window_s: tuple[float, float]
) -> ZScore:
    """Returns the statistics of training that converted weights do not bring."""
    means, _ = measured.means("training", channels, window_s)
    return fit_zscore(means, measured.axes.select(channels, window_s))
