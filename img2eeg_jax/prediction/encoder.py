"""A trained network at work: pictures in, predicted EEG out."""

import functools
import os
import pathlib
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from img2eeg_jax.axes import Axes
from img2eeg_jax.checkpoints.description import Description
from img2eeg_jax.checkpoints.load import Checkpoint, load_checkpoint
from img2eeg_jax.checkpoints.pretrained import is_on_hub
from img2eeg_jax.data import layout
from img2eeg_jax.errors import unexpected
from img2eeg_jax.models.cornet_s import AREAS, normalise_pixels
from img2eeg_jax.prediction import about, card, sampling
from img2eeg_jax.prediction.differentiable import Differentiable
from img2eeg_jax.prediction.familiarity import make_step
from img2eeg_jax.prediction.network import Network, Run, Step
from img2eeg_jax.prediction.pictures import Pictures
from img2eeg_jax.prediction.prediction import Prediction
from img2eeg_jax.prediction.streaming import Predictor, stream
from img2eeg_jax.prediction.trust import Trust, of_checkpoint, why_none
from img2eeg_jax.training.step import make_predict_step

if TYPE_CHECKING:
    import mne

    from img2eeg_jax.linear.features import Backbone

# Whose response it is that several subjects' predictions average to.
MEAN = "mean"

# Layers whose activations `Encoder.features` gives.
LOGITS = "logits"
LAYERS = (*AREAS, LOGITS)


class Encoder(Predictor, Differentiable):
    """A trained network on all local devices, compiled once and kept.

    Example:
      >>> encoder = Encoder.from_pretrained("runs/demo")
      >>> eeg = encoder("pictures/")
      >>> eeg.data.shape, eeg.unit
      ((3, 17, 20), 'µV')

    Attributes:
      checkpoint: the network that was loaded.
    """

    def __init__(self, checkpoint: Checkpoint, backbone: "Backbone | None" = None):
        """Compiles nothing yet; see `from_pretrained`.

        Args:
          checkpoint: the network.
          backbone: makes the features of a linear encoder whose checkpoint does not
            hold its backbone, and cannot build it again: see
            docs/how_to/linear_encoders.md.

        Raises:
          InputError: the network is a CORnet-S, which predicts no signal.
        """
        kind = checkpoint.description.kind
        if kind == "cornet_s":
            raise unexpected(checkpoint.path, "a network that predicts EEG", kind)
        self.checkpoint = checkpoint
        self._backbone = backbone
        self._layers: dict[tuple[str, ...], Run] = {}

    @classmethod
    def from_pretrained(
        cls,
        path: str | os.PathLike,
        which: str = "best",
        subject: int | str | Sequence[int | str] | None = None,
        revision: str | None = None,
    ) -> Any:
        """Loads a network: an `Encoder`, or a `SubjectEncoders` of several subjects.

        Args:
          path: work directory, a converter's output folder, or hf://OWNER/NAME; or a
            folder that holds one of these for each subject, as ``sub-01``.
          which: "best" or "last" checkpoint.
          subject: whose EEG; needed where several subjects share a network. A list for
            several, or "mean" for the mean over all that there are.
          revision: branch, tag or commit of hf://.

        Raises:
          InputError: there is no such checkpoint, its network predicts no signal, or
            it is another subject's.

        Example:
          >>> Encoder.from_pretrained("hf://OWNER/NAME", revision="v1")
          >>> Encoder.from_pretrained("runs/all", subject=[1, 2, 3])
        """
        is_one = subject is None or isinstance(subject, int | np.integer | str)
        several = None if is_one else [*subject]
        own = [subject] if is_one and subject not in (None, MEAN) else several
        folder = _local(path, revision, own)
        if not is_one or subject == MEAN:
            # Imported here: it is made of encoders.
            from img2eeg_jax.prediction.subjects import SubjectEncoders

            return SubjectEncoders.from_pretrained(folder, which, several)
        folder = layout.labelled_folders(folder).get(subject, folder)
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

    @functools.cached_property
    def _no_trust(self) -> str:
        return "" if self.trust is not None else why_none(self.checkpoint)

    @property
    def image_size(self) -> int:
        """Height and width of the images that it takes, in pixels."""
        return self.description.image_size

    @functools.cached_property
    def scores(self) -> dict[str, Any] | None:
        """What ``eval.py`` wrote of this checkpoint; None where it has not scored it.

        Pearson r by name (``encoding_r``, ``noise_ceiling_lower``, …) with their
        protocol; see docs/concepts/evaluation.md.
        """
        return about.read_scores(self.checkpoint)

    def __str__(self) -> str:
        """Returns a card: whose EEG, which network, trained on what, its scores."""
        return about.card(self.checkpoint, self.axes, self.scores, self.trust)

    @property
    def axes(self) -> Axes | None:
        """Channels, times and unit of what a call predicts; None of features."""
        nothing = np.empty((0, self.description.signal.size), np.float32)
        return Prediction.of_signal(nothing, self.description, []).axes

    def features(
        self,
        pictures: Any,
        layer: str | Sequence[str] = "IT",
        *,
        progress: bool | None = None,
    ) -> np.ndarray | dict[str, np.ndarray]:
        """Computes the activations of a layer of the backbone, or of several at once.

        Args:
          pictures: see `__call__`.
          layer: "V1", "V2", "V4", "IT" or "logits"; a sequence for several.
          progress: see `__call__`.

        Returns:
          f32[image, height, width, channel], or f32[image, class] of logits; of a
          sequence layer → such an array.

        Raises:
          InputError: there is no such layer, or see `__call__`.

        Example:
          >>> encoder.features("dog.jpg", "IT").mean((1, 2)).shape
          (1, 512)
        """
        layers = _checked_layers(layer)
        run, size = self._run_of(layers), self.image_size
        parts = [*stream(run, Pictures(pictures), size, progress=progress)]
        found = {
            one: np.concatenate([rows[one] for _, rows in parts]) for one in layers
        }
        return found[layer] if isinstance(layer, str) else found

    def sample_trials(
        self, pictures: Any, n_trials: int, seed: int = 0, *, unitless: bool = False
    ) -> "mne.EpochsArray":
        """Simulates single trials, for power analyses; see `sampling.sample_trials`.

        encoder.sample_trials(["dog.jpg", "car.jpg"], n_trials=20)["dog.jpg"].average()
        """
        return sampling.sample_trials(self, pictures, n_trials, seed, unitless=unitless)

    def signal(self, images: Iterable[np.ndarray]) -> np.ndarray:
        """Predicts the flat signal of images as the network gives it.

        Args:
          images: each u8[height, width, 3] of `image_size`; an array, or an iterable
            that is read a batch at a time.

        Returns:
          f32[image, size of the signal], z-scored EEG or features.
        """
        nothing = np.empty((0, self.description.signal.size), np.float32)
        return np.concatenate([nothing, *self.signals(images)])

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

    def prediction(self, rows: np.ndarray, images: Sequence[str]) -> Prediction:
        """Returns what rows of `outputs` predict, in its unit, and how far to trust it.

        Args:
          rows: f32[image, size of the signal], or one more with the distance of
            `Familiarity` behind it.
          images: the name of each image.
        """
        signal, distance = np.split(rows, [self.description.signal.size], axis=1)
        return Prediction.of_signal(
            signal,
            self.description,
            images,
            trust=self.trust,
            no_trust=self._no_trust,
            # A copy, which does not keep the rows in memory.
            familiarity=distance[:, 0].copy() if distance.shape[1] else None,
        )

    @functools.cached_property
    def _network(self) -> Network:
        return Network(self.checkpoint.variables, self.description.precision)

    @functools.cached_property
    def signals(self) -> Run:
        """Images u8[image_size, image_size, 3] → flat signals, a batch at a time."""
        if not self.description.has_images:
            # Imported here: its backbones need libraries of their own.
            from img2eeg_jax.linear import foreign

            return foreign.signals(self.checkpoint, self._backbone)
        return self._network.compiled(make_predict_step(self.checkpoint.model))

    @functools.cached_property
    def outputs(self) -> Run:
        """As `signals`, with how far the images are from those of training behind."""
        known = None if self.trust is None else self.trust.familiarity
        if known is None:
            return self.signals
        return self._network.compiled(make_step(self.checkpoint.model), known)

    def _run_of(self, layers: tuple[str, ...]) -> Run:
        if layers not in self._layers:
            step = _layers_step(self.checkpoint.backbone[0], layers)
            self._layers[layers] = self._network.compiled(step)
        return self._layers[layers]

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
        card.save(self.checkpoint, self.axes, self.scores, folder, overwrite)


def _checked_layers(given: str | Sequence[str]) -> tuple[str, ...]:
    layers = (given,) if isinstance(given, str) else tuple(given)
    for layer in layers:
        if layer not in LAYERS:
            raise unexpected("`layer`", f"one of {', '.join(LAYERS)}", f"{layer!r}")
    return layers


def _layers_step(backbone: Any, layers: Sequence[str]) -> Step:
    """Returns a network's step that gives layers of the backbone in it, by name."""

    def step(variables: Any, batch: dict[str, Any]) -> dict[str, Any]:
        inside = {name: tree["realnet"] for name, tree in variables.items()}
        logits, areas = backbone.apply(inside, normalise_pixels(batch["image"]))
        outputs = {**areas, LOGITS: logits}
        return {layer: outputs[layer] for layer in layers}

    return step


def _local(
    path: str | os.PathLike, revision: str | None, subjects: Sequence[int | str] | None
) -> pathlib.Path:
    """Returns the folder of a network; fetches it first if it is on a hub."""
    if not is_on_hub(path):
        if revision is not None:
            raise unexpected("`revision`", "none beside a local folder", revision)
        return pathlib.Path(path)
    # Imported here: most networks are at hand.
    from img2eeg_jax.checkpoints import hub

    return hub.fetch(os.fspath(path), revision, subjects)
