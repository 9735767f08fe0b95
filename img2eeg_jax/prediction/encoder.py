"""A trained network at work: pictures in, predicted EEG out."""

import functools
import os
import pathlib
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from tqdm import tqdm

from img2eeg_jax.axes import Axes
from img2eeg_jax.checkpoints.description import Description
from img2eeg_jax.checkpoints.load import Checkpoint, load_checkpoint
from img2eeg_jax.data import layout
from img2eeg_jax.errors import InputError, unexpected
from img2eeg_jax.files import check_new
from img2eeg_jax.models.cornet_s import AREAS, normalise_pixels
from img2eeg_jax.prediction import sampling
from img2eeg_jax.prediction.familiarity import Familiarity, Unfamiliar, make_step
from img2eeg_jax.prediction.files import npz_arrays, write_npz
from img2eeg_jax.prediction.network import Network, Run
from img2eeg_jax.prediction.pictures import Pictures
from img2eeg_jax.prediction.prediction import Prediction
from img2eeg_jax.prediction.trust import Trust, of_checkpoint
from img2eeg_jax.training.step import make_predict_step

if TYPE_CHECKING:
    import mne

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

    @functools.cached_property
    def trust(self) -> Trust | None:
        """How far to trust it; None where training wrote nothing of it."""
        return of_checkpoint(self.checkpoint)

    @property
    def image_size(self) -> int:
        """Height and width of the images that it takes, in pixels."""
        return self.description.image_size

    @property
    def axes(self) -> Axes | None:
        """Channels, times and unit of what a call predicts; None of features."""
        return Prediction.of_signal(self._joined([]), self.description, []).axes

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
        images = [name for names, _, _ in parts for name in names]
        signal = self._joined(rows for _, rows, _ in parts)
        familiarity = [np.empty(0, np.float32), *(far for _, _, far in parts)]
        return self._in_unit(signal, images, np.concatenate(familiarity))

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
        for images, *rows in self._predicted(pictures, names, bad, progress):
            yield self._in_unit(rows[0], images, rows[1])

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

    def sample_trials(
        self, pictures: Any, n_trials: int, seed: int = 0, *, unitless: bool = False
    ) -> "mne.EpochsArray":
        """Simulates single trials; see `sampling.sample_trials`."""
        return sampling.sample_trials(self, pictures, n_trials, seed, unitless=unitless)

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
        return Prediction.of_signal(signal, self.description, names, in_z=True)

    def _predicted(
        self,
        pictures: Any,
        names: Iterable[str] | None,
        bad: list[InputError] | None,
        progress: bool | None,
    ) -> Iterator[tuple[list[str], np.ndarray, np.ndarray]]:
        """Yields names, flat signals and familiarity of one batch after the other."""
        given = Pictures(pictures, names)
        read: list[str] = []
        unfamiliar = Unfamiliar()

        def pixels() -> Iterator[np.ndarray]:
            for name, image in given.read(self.image_size, bad):
                read.append(name)
                yield image

        n = None if given.names is None else len(given.names)
        for rows in self._outputs(_bar(pixels(), n, progress)):
            done = read[: len(rows)]
            del read[: len(rows)]
            signal, features = np.split(rows, [self.description.signal.size], axis=1)
            distance = np.full(len(rows), np.nan, np.float32)
            if self._familiarity is not None:
                distance = self._familiarity.distance(features)
            unfamiliar.add(done, distance)
            yield done, signal, distance
        unfamiliar.tell(self.description.simulated)

    def _joined(self, parts: Iterable[np.ndarray]) -> np.ndarray:
        nothing = np.empty((0, self.description.signal.size), np.float32)
        return np.concatenate([nothing, *parts])

    def _in_unit(
        self, signal: np.ndarray, names: Iterable[str], familiarity: np.ndarray
    ) -> Prediction:
        """Returns the prediction in its unit."""
        return Prediction.of_signal(
            signal,
            self.description,
            names,
            trust=self.trust,
            familiarity=familiarity if self._familiarity is not None else None,
        )

    @functools.cached_property
    def _network(self) -> Network:
        return Network(self.checkpoint.variables, self.description.precision)

    @functools.cached_property
    def _signals(self) -> Run:
        return self._network.compiled(make_predict_step(self.checkpoint.model))

    @property
    def _familiarity(self) -> Familiarity | None:
        return self.trust and self.trust.familiarity

    @functools.cached_property
    def _outputs(self) -> Run:
        """Runs the network for the signal, and behind it features, if they matter."""
        if self._familiarity is None:
            return self._signals
        return self._network.compiled(make_step(self.checkpoint.model))

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


def _local(path: str | os.PathLike, revision: str | None) -> pathlib.Path:
    """Returns the folder of a network; fetches it first if it is on a hub."""
    if not os.fspath(path).startswith("hf://"):
        if revision is not None:
            raise unexpected("`revision`", "none beside a local folder", revision)
        return pathlib.Path(path)
    # Imported here: most networks are at hand.
    from img2eeg_jax.prediction import hub

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
      output: the file to write; see `files.write_npz`.
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
    write_npz(prediction, output)
    arrays = npz_arrays(prediction).items()
    shapes = ", ".join(f"{name} {array.shape}" for name, array in arrays)
    left_out = found.left_out() and f", {found.left_out()}"
    return f"{len(found.images)} images{left_out}: {shapes}, in {output}"
