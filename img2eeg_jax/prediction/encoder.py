"""A trained network at work: pictures in, predicted EEG out."""

import dataclasses
import functools
import os
import pathlib
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np
from tqdm import tqdm

from img2eeg_jax.axes import VOLTS, WHITENED, Axes
from img2eeg_jax.checkpoints.description import Description
from img2eeg_jax.checkpoints.load import Checkpoint, load_checkpoint
from img2eeg_jax.data import layout
from img2eeg_jax.errors import InputError, unexpected
from img2eeg_jax.files import check_new
from img2eeg_jax.models.cornet_s import AREAS, normalise_pixels
from img2eeg_jax.prediction import card
from img2eeg_jax.prediction.network import Network, Run
from img2eeg_jax.prediction.pictures import Pictures
from img2eeg_jax.prediction.prediction import MICROVOLTS, Prediction, Z
from img2eeg_jax.training.step import make_predict_step

# Layers whose activations `Encoder.features` gives.
LOGITS = "logits"
LAYERS = (*AREAS, LOGITS)

# A bar is shown of what takes longer.
_BAR_AFTER_S = 1.0


class Encoder:
    """A trained network on all local devices, compiled once and kept.

    Example:
      >>> encoder = Encoder.from_pretrained("runs/demo")
      >>> eeg = encoder("pictures/")
      >>> eeg.data.shape, eeg.unit
      ((3, 17, 20), 'µV')

    Attributes:
      checkpoint: the network that was loaded.
    """

    def __init__(self, checkpoint: Checkpoint):
        """Compiles nothing yet; see `from_pretrained`.

        Raises:
          InputError: the network is a CORnet-S, which predicts no signal.
        """
        kind = checkpoint.description.kind
        if kind != "realnet":
            raise unexpected(checkpoint.path, "a network that predicts EEG", kind)
        self.checkpoint = checkpoint
        self._layers: dict[str, Run] = {}

    @classmethod
    def from_pretrained(
        cls,
        path: str | os.PathLike,
        which: str = "best",
        subject: int | str | None = None,
        revision: str | None = None,
    ) -> "Encoder":
        """Loads a network.

        Args:
          path: work directory, a converter's output folder, or hf://OWNER/NAME; or a
            folder with one of these for each subject, of which `subject` names one.
          which: "best" or "last" checkpoint.
          subject: whose EEG; needed where several subjects share a network.
          revision: branch, tag or commit of hf://.

        Raises:
          InputError: there is no such checkpoint, its network predicts no signal, or
            it is another subject's.
        """
        folder = _local(path, revision)
        encoder = cls(load_checkpoint(folder, which, subject))
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
        """Channels, times and unit of what a call predicts; None of features."""
        axes = self.description.signal.axes
        return axes and dataclasses.replace(axes, unit=self._unit)

    def __call__(
        self,
        pictures: Any,
        names: Iterable[str] | None = None,
        *,
        bad: list[InputError] | None = None,
        progress: bool | None = None,
    ) -> Prediction:
        """Predicts the responses to pictures of any number and size.

        Args:
          pictures: a path, folder, pattern of paths, ``.txt`` file of paths, Pillow
            image, array u8 or float 0-1 [height, width, 3] or [image, height, width,
            3], or an iterable of these; see `Pictures`.
          names: one a picture; by default its path, or its number from 0.
          bad: takes what is wrong with pictures that cannot be read, which are left
            out; None raises it.
          progress: whether to show a bar; None shows one in a terminal.

        Returns:
          The prediction, f32[image, channel, time] in µV where the network was trained
          on volts, "whitened" where it was on whitened EEG, and in z-scores where that
          is not known; or features.

        Raises:
          InputError: there is no such picture, one cannot be read, or there are not as
            many names as pictures.

        Example:
          >>> encoder(["dog.jpg", "car.jpg"]).images
          ('dog.jpg', 'car.jpg')
        """
        parts = list(self._predicted(pictures, names, bad, progress))
        images = [name for names, _ in parts for name in names]
        return self._in_unit(self._joined(rows for _, rows in parts), images)

    def stream(
        self,
        pictures: Any,
        names: Iterable[str] | None = None,
        *,
        bad: list[InputError] | None = None,
        progress: bool | None = None,
    ) -> Iterator[Prediction]:
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
        for images, rows in self._predicted(pictures, names, bad, progress):
            yield self._in_unit(rows, images)

    def features(
        self, pictures: Any, layer: str = "IT", *, progress: bool | None = None
    ) -> np.ndarray:
        """Computes the activations of a layer of the backbone.

        Args:
          pictures: see `__call__`.
          layer: "V1", "V2", "V4", "IT" or "logits".
          progress: see `__call__`.

        Returns:
          f32[image, height, width, channel], or f32[image, class] of logits.

        Raises:
          InputError: there is no such layer, or see `__call__`.

        Example:
          >>> encoder.features("dog.jpg", "IT").mean((1, 2)).shape
          (1, 512)
        """
        if layer not in LAYERS:
            raise unexpected("`layer`", f"one of {', '.join(LAYERS)}", f"{layer!r}")
        given = Pictures(pictures)
        read = (pixels for _, pixels in given.read(self.image_size))
        n = None if given.names is None else len(given.names)
        return np.concatenate([*self._layer(layer)(_bar(read, n, progress))])

    def signal(self, images: Iterable[np.ndarray]) -> np.ndarray:
        """Predicts the flat signal of images as the network gives it.

        Args:
          images: each u8[height, width, 3] of `image_size`; an array, or an iterable
            that is read a batch at a time.

        Returns:
          f32[image, size of the signal], z-scored EEG or features.
        """
        return self._joined(self._signals(images))

    def predict_z(
        self, images: Iterable[np.ndarray], names: Sequence[str] | None = None
    ) -> Prediction:
        """Predicts z-scores, which scores compare with the z-scored EEG.

        Args:
          images: see `signal`.
          names: one an image; by default they are numbered from 0.

        Returns:
          The prediction: z-scored EEG, or features.

        Raises:
          InputError: there are not as many names as images.
        """
        signal = self.signal(images)
        names = map(str, range(len(signal))) if names is None else names
        return self._prediction(self._to_eeg(signal), Z, names)

    def _predicted(
        self,
        pictures: Any,
        names: Iterable[str] | None,
        bad: list[InputError] | None,
        progress: bool | None,
    ) -> Iterator[tuple[list[str], np.ndarray]]:
        """Yields the names and the flat signals of one batch after the other."""
        given = Pictures(pictures, names)
        read: list[str] = []

        def pixels() -> Iterator[np.ndarray]:
            for name, image in given.read(self.image_size, bad):
                read.append(name)
                yield image

        n = None if given.names is None else len(given.names)
        for rows in self._signals(_bar(pixels(), n, progress)):
            done = read[: len(rows)]
            del read[: len(rows)]
            yield done, rows

    def _joined(self, parts: Iterable[np.ndarray]) -> np.ndarray:
        nothing = np.empty((0, self.description.signal.size), np.float32)
        return np.concatenate([nothing, *parts])

    def _to_eeg(self, signal: np.ndarray) -> np.ndarray:
        meaning = self.description.signal
        return meaning.to_eeg(signal) if meaning.is_eeg else signal

    def _in_unit(self, signal: np.ndarray, names: Iterable[str]) -> Prediction:
        """Returns the prediction in its unit; of EEG `signal` is overwritten."""
        data, unit = self._to_eeg(signal), self._unit
        if unit in (MICROVOLTS, WHITENED):
            scale = 1e6 if unit == MICROVOLTS else 1.0
            data *= np.float32(self._zscore.std * np.float64(scale))
            data += np.float32(self._zscore.mean * np.float64(scale))
        return self._prediction(data, unit, names)

    def _prediction(
        self, data: np.ndarray, unit: str, names: Iterable[str]
    ) -> Prediction:
        axes = self.description.signal.axes
        return Prediction(
            data=data,
            axes=axes and dataclasses.replace(axes, unit=unit),
            images=tuple(names),
            subject=self.description.subject,
            zscore=self._zscore,
        )

    @property
    def _zscore(self) -> Any:
        # The statistics of single channels tell nothing of a channel mean.
        is_mean = self.description.signal.window is not None
        return None if is_mean else self.description.zscore

    @property
    def _unit(self) -> str:
        """The unit of what a call predicts, of EEG."""
        eeg = self.description.signal.eeg
        if eeg is None or self._zscore is None:
            return Z
        return {VOLTS: MICROVOLTS, WHITENED: WHITENED}.get(eeg.unit, Z)

    @functools.cached_property
    def _network(self) -> Network:
        return Network(self.checkpoint.variables, self.description.precision)

    @functools.cached_property
    def _signals(self) -> Run:
        return self._network.compiled(make_predict_step(self.checkpoint.model))

    def _layer(self, layer: str) -> Run:
        if layer in self._layers:
            return self._layers[layer]
        model, _ = self.checkpoint.backbone

        def step(variables: Any, batch: dict[str, Any]) -> Any:
            variables = {name: tree["realnet"] for name, tree in variables.items()}
            logits, areas = model.apply(variables, normalise_pixels(batch["image"]))
            return logits if layer == LOGITS else areas[layer]

        self._layers[layer] = self._network.compiled(step)
        return self._layers[layer]

    def save_pretrained(
        self, folder: str | os.PathLike, overwrite: bool = False
    ) -> None:
        """Writes what ``hf://OWNER/NAME`` reads: safetensors, JSON and a model card.

        Args:
          folder: made with its parents; `Encoder.from_pretrained` reads it, too.
          overwrite: whether to replace a network that was saved there before.

        Raises:
          InputError: there is something, or it cannot be written.

        Example:
          >>> encoder.save_pretrained("sub-01")
          >>> # hf upload OWNER/NAME sub-01
        """
        card.save_pretrained(self, folder, overwrite)


def _local(path: str | os.PathLike, revision: str | None) -> pathlib.Path:
    """Returns the folder of a network; fetches it first if it is on a hub."""
    if not os.fspath(path).startswith("hf://"):
        if revision is not None:
            raise unexpected("`revision`", "none beside a local folder", revision)
        return pathlib.Path(path)
    # Imported here: most networks are at hand.
    from img2eeg_jax.checkpoints import hub

    return hub.fetch(os.fspath(path), revision)


def _bar(
    images: Iterator[np.ndarray], n: int | None, is_shown: bool | None
) -> Iterator[np.ndarray]:
    """Shows how many images have been read, where it takes long."""
    return iter(
        tqdm(
            images,
            total=n,
            unit="image",
            dynamic_ncols=True,
            delay=_BAR_AFTER_S if is_shown is None else 0,
            # None asks whether there is a terminal.
            disable=None if is_shown is None else not is_shown,
        )
    )


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
    encoder = Encoder.from_pretrained(checkpoint_dir, which=which, subject=subject)
    prediction = encoder(found.images)
    output.parent.mkdir(parents=True, exist_ok=True)
    prediction.write_npz(output)
    arrays = prediction.arrays().items()
    shapes = ", ".join(f"{name} {array.shape}" for name, array in arrays)
    left_out = found.left_out() and f", {found.left_out()}"
    return f"{len(found.images)} images{left_out}: {shapes}, in {output}"
