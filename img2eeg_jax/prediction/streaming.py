"""Pictures through a network as they are read: bounded memory, and a bar."""

import abc
import dataclasses
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import jax
import numpy as np
from tqdm import tqdm

from img2eeg_jax.errors import InputError, unexpected
from img2eeg_jax.prediction.familiarity import Unfamiliar
from img2eeg_jax.prediction.network import Run
from img2eeg_jax.prediction.pictures import Pictures
from img2eeg_jax.prediction.prediction import Prediction

# A bar is shown of what takes longer.
_BAR_AFTER_S = 1.0

# An array for predictions of nobody knows how many pictures begins with so much room.
_LEAST_BYTES = 2**26


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

        The network compiles when it first sees fewer than 8 pictures, which go one by
        one, and when it first sees more, in batches of 16 on CPU and of 64 elsewhere;
        nothing compiles after that.

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
        given = Pictures(pictures, names)
        n_expected = None if given.names is None else len(given.names)
        joined: dict[Any, _Joined] = {}
        part = None
        for part in self._stream(given, bad, progress):
            for whose, one in _by_subject(part).items():
                joined.setdefault(whose, _Joined(n_expected)).add(one)
        if part is None:
            raise unexpected("pictures", "one that can be read", "none")
        whole = {whose: parts.whole() for whose, parts in joined.items()}
        return whole if isinstance(part, dict) else whole[None]

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
        yield from self._stream(Pictures(pictures, names), bad, progress)

    def _stream(
        self, given: Pictures, bad: list[InputError] | None, progress: bool | None
    ) -> Iterator[Any]:
        parts = stream(self.outputs, given, self.image_size, bad=bad, progress=progress)
        yield from _telling(self.prediction(rows, images) for images, rows in parts)


def _telling(predictions: Iterable[Any]) -> Iterator[Any]:
    """Passes predictions on, and tells at the end of images that are unfamiliar."""
    unfamiliar, one = Unfamiliar(), None
    for prediction in predictions:
        # Of several subjects the first's speaks for all: pictures are the same.
        one = next(iter(_by_subject(prediction).values()))
        if one.familiarity is not None:
            unfamiliar.add(one.images, one.familiarity)
        yield prediction
    if one is not None:
        unfamiliar.tell(one.simulated)


def _by_subject(prediction: Any) -> dict[Any, Prediction]:
    """Returns subject → prediction; None of the only one, or of a mean."""
    return prediction if isinstance(prediction, dict) else {None: prediction}


class _Joined:
    """Joins the predictions of batches in one array, which is filled as they come.

    Memory holds all of them once: what of an array has no values yet takes no memory,
    and an array of `_LEAST_BYTES` goes back to the system when it is replaced.
    """

    def __init__(self, n_expected: int | None):
        """Has none yet; `n_expected` images come at most, None if nobody knows."""
        self._n_expected = n_expected
        self._first: Prediction | None = None
        self._data = np.empty(0, np.float32)
        self._images: list[str] = []
        self._by_image: dict[str, list[np.ndarray]] = {}

    def add(self, part: Prediction) -> None:
        """Takes the next images."""
        start, end = len(self._images), len(self._images) + len(part)
        if self._first is None:
            self._first = part
            n_rows = self._n_expected or max(end, _LEAST_BYTES // part.data[0].nbytes)
            self._data = np.empty((n_rows, *part.data.shape[1:]), part.data.dtype)
        elif end > len(self._data):
            fuller = np.empty((2 * end, *self._data.shape[1:]), self._data.dtype)
            fuller[:start] = self._data[:start]
            self._data = fuller
        self._data[start:end] = part.data
        self._images += part.images
        for name, value in part.by_image().items():
            if value is not None:
                self._by_image.setdefault(name, []).append(value)

    def whole(self) -> Prediction:
        """Returns all of them as one; takes no more afterwards."""
        if self._first is None:
            raise unexpected("prediction", "images", "none")
        # Nobody else knows of the array, whose end has no values.
        self._data.resize((len(self._images), *self._data.shape[1:]), refcheck=False)
        by_image: dict[str, Any] = {
            name: np.concatenate(parts) for name, parts in self._by_image.items()
        }
        return dataclasses.replace(
            self._first,
            data=self._data,
            images=tuple(self._images),
            **by_image,
        )


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
        n = len(jax.tree.leaves(rows)[0])
        done = names[:n]
        del names[:n]
        yield done, rows
