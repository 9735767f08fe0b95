"""A trained network at work: images in, predicted EEG out."""

import dataclasses
import functools
import itertools
import os
import pathlib
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np

from img2eeg_jax.axes import UNKNOWN, Axes
from img2eeg_jax.checkpoints.description import Description
from img2eeg_jax.checkpoints.load import Checkpoint, load_checkpoint
from img2eeg_jax.data import layout
from img2eeg_jax.devices.parallel import DataParallel
from img2eeg_jax.devices.precision import matmul_precision
from img2eeg_jax.errors import counted, unexpected
from img2eeg_jax.files import check_new
from img2eeg_jax.prediction.prediction import Prediction, Z
from img2eeg_jax.training.step import make_predict_step

# Images in a batch. There are two sizes, so that no number of images compiles a third;
# few images take small batches, of which less is padding.
_BATCH_SIZE, _SMALL_BATCH_SIZE = 64, 8


class Encoder:
    """A trained network on all local devices, compiled once and kept.

    Attributes:
      checkpoint: the network that was loaded.
    """

    def __init__(self, checkpoint: Checkpoint):
        """Compiles nothing yet; see `from_checkpoint`.

        Raises:
          InputError: the network is a CORnet-S, which predicts no signal.
        """
        kind = checkpoint.description.kind
        if kind != "realnet":
            raise unexpected(checkpoint.path, "a network that predicts EEG", kind)
        self.checkpoint = checkpoint
        self._parallel = DataParallel()

    @classmethod
    def from_checkpoint(
        cls,
        path: str | os.PathLike,
        *,
        which: str = "best",
        subject: int | str | None = None,
    ) -> "Encoder":
        """Loads a network.

        Args:
          path: work directory, or a converter's output folder.
          which: "best" or "last" checkpoint.
          subject: whose EEG; needed where several subjects share a network.

        Raises:
          InputError: there is no such checkpoint, its network predicts no signal, or
            it is another subject's.
        """
        encoder = cls(load_checkpoint(path, which, subject))
        whose = encoder.description.subject
        if subject is not None and whose not in (None, subject):
            raise unexpected(path, f"a network of subject {subject}", f"one of {whose}")
        return encoder

    @property
    def description(self) -> Description:
        """What the checkpoint says of the network."""
        return self.checkpoint.description

    @property
    def image_size(self) -> int:
        """Height and width of the images that it takes, in pixels."""
        return self.description.image_size

    @property
    def axes(self) -> Axes | None:
        """Channels and times of predictions, which are z-scores; None of features."""
        axes = self.description.signal.axes
        return axes and dataclasses.replace(axes, unit=Z)

    def signal(self, images: Iterable[np.ndarray]) -> np.ndarray:
        """Predicts the flat signal of images.

        Args:
          images: each u8[height, width, 3] of `image_size`; an array, or an iterable
            that is read a batch at a time.

        Returns:
          f32[image, size of the signal].
        """
        signals = [
            self._parallel.merge(
                self._step(self._variables, self._parallel.split(batch)), batch["mask"]
            )
            for batch in _batches(images)
        ]
        size = self.description.signal.size
        return np.concatenate(signals) if signals else np.empty((0, size), np.float32)

    def predict(
        self, images: Iterable[np.ndarray], names: Sequence[str] | None = None
    ) -> Prediction:
        """Predicts the responses to images.

        Args:
          images: see `signal`.
          names: one an image; by default they are numbered from 0.

        Returns:
          The prediction: z-scored EEG, or features.

        Raises:
          InputError: there are not as many names as images.
        """
        signal, meaning = self.signal(images), self.description.signal
        return Prediction(
            data=meaning.to_eeg(signal) if meaning.is_eeg else signal,
            unit=Z if meaning.is_eeg else UNKNOWN,
            axes=self.axes,
            names=map(str, range(len(signal)) if names is None else names),
            subject=self.description.subject,
            # The statistics of single channels tell nothing of a channel mean.
            zscore=self.description.zscore if meaning.window is None else None,
        )

    @functools.cached_property
    def _step(self) -> Any:
        step = make_predict_step(self.checkpoint.model)

        def in_precision_of_training(variables: Any, batch: Any) -> Any:
            with matmul_precision(self.description.precision):
                return step(variables, batch)

        return self._parallel.predict_step(in_precision_of_training)

    @functools.cached_property
    def _variables(self) -> Any:
        return self._parallel.replicate(self.checkpoint.variables)


def write_predictions(
    checkpoint_dir: str | os.PathLike,
    images: Sequence[str | os.PathLike],
    output: str | os.PathLike,
    *,
    which: str = "best",
    subject: int | str | None = None,
    overwrite: bool = False,
) -> str:
    """Predicts the responses to image files and writes them to an `.npz` file.

    Args:
      checkpoint_dir: work directory, or a converter's output folder.
      images: image files, and folders to search for images; see `layout.find_images`.
      output: the file to write; see `Prediction.write_npz`.
      which: "best" or "last" checkpoint.
      subject: whose EEG, where several subjects share a network.
      overwrite: whether to replace `output`.

    Returns:
      What was written, and how many files of folders are no images, as a line of text.

    Raises:
      InputError: there is no such checkpoint or image, an image cannot be read, or
        `output` exists.
    """
    output = pathlib.Path(output)
    check_new(output, overwrite)
    found = layout.find_images(images)
    encoder = Encoder.from_checkpoint(checkpoint_dir, which=which, subject=subject)
    pixels = (layout.read_image(path, encoder.image_size) for path in found.images)
    prediction = encoder.predict(pixels, found.images)
    output.parent.mkdir(parents=True, exist_ok=True)
    prediction.write_npz(output)
    arrays = prediction.arrays().items()
    shapes = ", ".join(f"{name} {array.shape}" for name, array in arrays)
    left_out = found.left_out() and f", {found.left_out()}"
    return f"{counted(len(found.images), 'image')}{left_out}: {shapes}, in {output}"


def _batches(images: Iterable[np.ndarray]) -> Iterator[dict[str, np.ndarray]]:
    """Yields batches of one of two sizes, the last one padded."""
    images = iter(images)
    first = list(itertools.islice(images, _BATCH_SIZE))
    size = _SMALL_BATCH_SIZE if len(first) < _BATCH_SIZE else _BATCH_SIZE
    images = itertools.chain(first, images)
    while rows := list(itertools.islice(images, size)):
        mask = np.zeros(size, np.float32)
        mask[: len(rows)] = 1
        padding = itertools.repeat(rows[0], size - len(rows))
        yield {"image": np.stack([*rows, *padding]), "mask": mask}
