"""Pictures through a network as they are read: bounded memory, and a bar."""

import abc
import dataclasses
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np
from tqdm import tqdm

from img2eeg_jax.errors import InputError, unexpected
from img2eeg_jax.prediction.familiarity import Unfamiliar
from img2eeg_jax.prediction.network import Run
from img2eeg_jax.prediction.pictures import Pictures
from img2eeg_jax.prediction.prediction import Prediction

# A bar is shown of what takes longer.
_BAR_AFTER_S = 1.0


class Predictor(abc.ABC):
    """What predicts the responses to pictures: of one subject, or of several."""

    @property
    @abc.abstractmethod
    def image_size(self) -> int:
        """Height and width of the images that its network takes, in pixels."""

    @property
    @abc.abstractmethod
    def outputs(self) -> Run:
        """Images → a network's rows, or a tuple of several networks' rows."""

    @abc.abstractmethod
    def prediction(self, rows: Any, images: Sequence[str]) -> Any:
        """Returns what rows of `outputs` predict.

        Args:
          rows: f32[image, n], or a tuple of such, which are overwritten.
          images: the name of each image.
        """

    def __call__(
        self,
        pictures: Any,
        names: Iterable[str] | None = None,
        *,
        bad: list[InputError] | None = None,
        progress: bool | None = None,
    ) -> Any:
        """Predicts the responses to pictures of any number and size.

        The network compiles when it first sees fewer than 16 pictures, which go one by
        one, and when it first sees more, in batches of 64; nothing compiles after that.

        Args:
          pictures: a path, folder, pattern of paths, ``.txt`` file of paths, Pillow
            image, array u8 or float 0-1 [height, width, 3] or [image, height, width,
            3], or an iterable of these; see `Pictures`.
          names: one a picture; by default its path, or its number from 0.
          bad: takes what is wrong with pictures that cannot be read, which are left
            out; None raises it.
          progress: whether to show a bar; None shows one in a terminal, of what takes
            long.

        Returns:
          The `Prediction`, f32[image, channel, time]: in µV where the network was
          trained on volts, "whitened" where it was on whitened EEG, in z-scores where
          neither is known; or features. Of several subjects: subject → prediction, or
          their mean.

        Raises:
          InputError: there is no such picture, one cannot be read, none can, or there
            are not as many names as pictures.

        Example:
          >>> encoder(["dog.jpg", "car.jpg"]).images
          ('dog.jpg', 'car.jpg')
        """
        parts = [*self.stream(pictures, names, bad=bad, progress=progress)]
        if not parts:
            raise unexpected("pictures", "one that can be read", "none")
        if not isinstance(parts[0], dict):
            return _joined(parts)
        return {whose: _joined([part[whose] for part in parts]) for whose in parts[0]}

    def stream(
        self,
        pictures: Any,
        names: Iterable[str] | None = None,
        *,
        bad: list[InputError] | None = None,
        progress: bool | None = None,
    ) -> Iterator[Any]:
        """Predicts as a call does, a batch at a time, for more pictures than fit.

        Args:
          pictures: see `__call__`; an iterator may be endless.
          names: see `__call__`.
          bad: see `__call__`.
          progress: see `__call__`.

        Yields:
          The prediction of the next 1 to 64 pictures.

        Raises:
          InputError: see `__call__`.

        Example:
          >>> for eeg in encoder.stream("many/"):
          ...     eeg.save(f"{eeg.images[0]}.npz")
        """
        given = Pictures(pictures, names)
        parts = stream(self.outputs, given, self.image_size, bad=bad, progress=progress)
        yield from _telling(self.prediction(rows, images) for images, rows in parts)


def _telling(predictions: Iterable[Any]) -> Iterator[Any]:
    """Passes predictions on, and tells at the end of images that are unfamiliar."""
    unfamiliar, one = Unfamiliar(), None
    for prediction in predictions:
        # Of several subjects the first's speaks for all: pictures are the same.
        is_many = isinstance(prediction, dict)
        one = next(iter(prediction.values())) if is_many else prediction
        if one.familiarity is not None:
            unfamiliar.add(one.images, one.familiarity)
        yield prediction
    if one is not None:
        unfamiliar.tell(one.simulated)


def _joined(parts: list[Prediction]) -> Prediction:
    """Joins the predictions of batches, whose list is emptied.

    Each is let go once it has been copied, so that memory holds all of them once.
    """
    first = parts[0]
    images = tuple(name for part in parts for name in part.images)
    by_image = {
        name: np.concatenate([part.by_image()[name] for part in parts])
        for name, value in first.by_image().items()
        if value is not None
    }
    data = np.empty((len(images), *first.data.shape[1:]), first.data.dtype)
    end = len(images)
    while parts:
        part = parts.pop()
        data[end - len(part) : end] = part.data
        end -= len(part)
    return dataclasses.replace(first, data=data, images=images, **by_image)


def stream(
    run: Run,
    pictures: Pictures,
    size: int,
    *,
    bad: list[InputError] | None = None,
    progress: bool | None = None,
) -> Iterator[tuple[list[str], Any]]:
    """Runs a network over pictures, a batch at a time.

    Args:
      run: see `Network.compiled`; or several networks' as one, which yields a tuple of
        their rows.
      pictures: what is read.
      size: height and width of the network's images in pixels.
      bad: takes what is wrong with pictures that cannot be read, which are left out;
        None raises it.
      progress: whether to show a bar; None shows one in a terminal, of what takes long.

    Yields:
      The names of the next pictures, and what `run` yields of them.

    Raises:
      InputError: a picture cannot be read.
    """
    names: list[str] = []

    def pixels() -> Iterator[np.ndarray]:
        for name, image in bar:
            names.append(name)
            yield image

    bar = tqdm(
        pictures.read(size, bad),
        total=None if pictures.names is None else len(pictures.names),
        unit="image",
        dynamic_ncols=True,
        delay=_BAR_AFTER_S if progress is None else 0,
        # None asks whether there is a terminal.
        disable=None if progress is None else not progress,
    )
    for rows in run(pixels()):
        n = len(rows[0] if isinstance(rows, tuple) else rows)
        done = names[:n]
        del names[:n]
        yield done, rows
