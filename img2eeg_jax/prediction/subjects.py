"""Several subjects' networks: one reading of the pictures for all of them."""

import dataclasses
import itertools
import os
import pathlib
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from img2eeg_jax.checkpoints.load import Checkpoint, load_whole
from img2eeg_jax.data import layout
from img2eeg_jax.errors import unexpected
from img2eeg_jax.prediction.encoder import MEAN, Encoder
from img2eeg_jax.prediction.familiarity import make_step
from img2eeg_jax.prediction.network import Network, Run
from img2eeg_jax.prediction.prediction import Prediction
from img2eeg_jax.prediction.sampling import draw_trials
from img2eeg_jax.prediction.streaming import Predictor
from img2eeg_jax.prediction.trust import trust_of
from img2eeg_jax.training.step import make_predict_step

if TYPE_CHECKING:
    import mne


class SubjectEncoders(Predictor):
    """Encoders of several subjects; the pictures are read once.

    A network that subjects share runs once for all of them. Features, gradients,
    export and scores are of one: ``encoders[2].saliency(...)``.

    Example:
      >>> encoders = Encoder.from_pretrained("runs/all", subject=[1, 2, 3])
      >>> eeg = encoders("pictures/")
      >>> eeg[2].data.shape
      (3, 17, 20)
      >>> Encoder.from_pretrained("runs/all", subject="mean")("pictures/").subject
      'mean'

    Attributes:
      encoders: subject → encoder, in the order asked for.
      is_mean: whether a call gives the mean over subjects instead of each one's.
    """

    def __init__(
        self,
        checkpoints: Sequence[Checkpoint],
        subjects: Sequence[int | str] | None = None,
        is_mean: bool = False,
    ):
        """Compiles nothing yet; see `Encoder.from_pretrained`.

        Args:
          checkpoints: the network of each subject, or one that they share.
          subjects: whose EEG, in this order; None for all.
          is_mean: see the attribute.

        Raises:
          InputError: a network predicts no signal; their images differ in size; or, of
            a mean, their channels, times or units differ.
        """
        self.is_mean = is_mean
        self._runs: list[Run] = []
        found: dict[Any, Encoder] = {}
        self._places: dict[Any, tuple[int, list[slice]]] = {}
        for checkpoint in checkpoints:
            shared = checkpoint.description.subjects
            parts = map(checkpoint.of_subject, shared) if shared else [checkpoint]
            own = [Encoder(part) for part in parts]
            for i, encoder in enumerate(own):
                whose = encoder.description.subject
                found[whose] = encoder
                size = encoder.description.encoder_signal.size
                # Behind the signals of all is how far the images are.
                columns = [
                    slice(i * size, (i + 1) * size),
                    slice(len(own) * size, None),
                ]
                self._places[whose] = len(self._runs), columns
            self._runs.append(_shared(checkpoint, own) if shared else own[0].outputs)
        unknown = [whose for whose in subjects or () if whose not in found]
        if unknown:
            where = checkpoints[0].path
            known = ", ".join(map(str, found))
            raise unexpected(where, f"subjects out of {known}", unknown[0])
        self.encoders = {whose: found[whose] for whose in subjects or found}
        self._check()

    @classmethod
    def from_pretrained(
        cls,
        folder: pathlib.Path,
        which: str,
        subjects: Sequence[int | str] | None,
    ) -> "SubjectEncoders":
        """Loads networks; see `Encoder.from_pretrained`.

        Args:
          folder: with a network that subjects share, or a folder for each subject.
          which: "best" or "last" checkpoints.
          subjects: whose EEG; None for the mean over all.
        """
        is_mean = subjects is None
        if subjects is not None and not subjects:
            raise unexpected("subject", "at least one", "none")
        folders = layout.labelled_folders(folder)
        if not folders:
            return cls([load_whole(folder, which)], subjects, is_mean)
        wanted = [*folders] if subjects is None else subjects
        for whose in wanted:
            if whose not in folders:
                known = ", ".join(map(str, folders))
                raise unexpected(folder, f"subjects out of {known}", whose)
        checkpoints = [load_whole(folders[whose], which) for whose in wanted]
        return cls(checkpoints, subjects, is_mean)

    @property
    def subjects(self) -> tuple[int | str, ...]:
        """Whose EEG is predicted."""
        return tuple(self.encoders)

    def __getitem__(self, subject: int | str) -> Encoder:
        """Returns the encoder of one subject.

        Raises:
          InputError: there is none.
        """
        if subject not in self.encoders:
            known = ", ".join(map(str, self.encoders))
            raise unexpected("subject", f"one of {known}", f"{subject!r}")
        return self.encoders[subject]

    @property
    def image_size(self) -> int:
        """Height and width of the images that the networks take, in pixels."""
        return next(iter(self.encoders.values())).image_size

    @property
    def outputs(self) -> Run:
        """Images → a tuple of each network's rows."""
        return self._run

    def prediction(
        self, rows: tuple[np.ndarray, ...], images: Sequence[str]
    ) -> "dict[int | str, Prediction] | Prediction":
        """Returns subject → prediction; or the mean over subjects, in their one unit.

        Arguments are those of `Predictor.prediction`.
        """
        predictions = {}
        for whose, encoder in self.encoders.items():
            place, columns = self._places[whose]
            own = np.hstack([rows[place][:, part] for part in columns])
            predictions[whose] = encoder.prediction(own, images)
        return mean_of(predictions) if self.is_mean else predictions

    def sample_trials(
        self, pictures: Any, n_trials: int, seed: int = 0, *, unitless: bool = False
    ) -> "dict[int | str, mne.EpochsArray]":
        """Simulates each subject's trials, with noise of their own.

        Args:
          pictures: see `Encoder.__call__`; no iterator.
          n_trials: see `sampling.sample_trials`.
          seed: of the first subject's noise, one more for each that follows.
          unitless: see `Prediction.to_epochs`.

        Returns:
          Subject → trials.

        Raises:
          InputError: see `sampling.sample_trials`; or a mean over subjects was asked
            for, whose noise is not known.
        """
        predicted = self(pictures)
        if self.is_mean:
            trust_of(predicted)
        return {
            whose: draw_trials(one, n_trials, seed + i).to_epochs(unitless=unitless)
            for i, (whose, one) in enumerate(predicted.items())
        }

    def save_pretrained(
        self, folder: str | os.PathLike, overwrite: bool = False
    ) -> None:
        """Writes each subject's network, as ``sub-01``; see `Encoder.save_pretrained`.

        ``hf://OWNER/NAME`` and `Encoder.from_pretrained` read them with ``subject=``.
        """
        for whose, encoder in self.encoders.items():
            own = pathlib.Path(folder) / layout.subject_name(whose)
            encoder.save_pretrained(own, overwrite)

    def __getattr__(self, name: str) -> Any:
        """Says of what an `Encoder` has, but several have not, how to come by it."""
        if hasattr(Encoder, name):
            whose = next(iter(self.__dict__.get("encoders", {})), None)
            raise AttributeError(
                f"`{name}` is of one subject's encoder: expected "
                f"encoders[{whose!r}].{name}, found it asked of several"
            )
        raise AttributeError(f"SubjectEncoders has no `{name}`")

    def __str__(self) -> str:
        """Returns the cards of the encoders, one after the other."""
        cards = "\n\n".join(map(str, self.encoders.values()))
        n = len(self.encoders)
        return f"Mean over {n} subjects of\n\n{cards}" if self.is_mean else cards

    def _run(self, images: Iterable[np.ndarray]) -> Iterator[tuple[np.ndarray, ...]]:
        copies = itertools.tee(images, len(self._runs))
        runs = (run(copy) for run, copy in zip(self._runs, copies, strict=True))
        return zip(*runs, strict=True)

    def _check(self) -> None:
        first, *others = self.encoders.values()
        for other in others:
            where = other.checkpoint.path
            if other.image_size != first.image_size:
                expected = f"a network of images of {first.image_size} pixels"
                raise unexpected(where, expected, f"of {other.image_size}")
            if self.is_mean and other.axes != first.axes:
                raise unexpected(
                    where,
                    f"the channels, times and unit of {first.checkpoint.path} and "
                    f"subject {first.description.subject}, to take their mean",
                    f"others of subject {other.description.subject}",
                )


def mean_of(predictions: "dict[int | str, Prediction]") -> Prediction:
    """Returns the mean of several subjects' predictions of the same images."""
    first, *_ = predictions.values()
    data = np.mean([one.data for one in predictions.values()], axis=0)
    # A single subject's statistics are not those of the mean over subjects.
    return dataclasses.replace(
        first,
        data=data,
        subject=MEAN,
        zscore=None,
        unwhitening=None,
        trust=None,
        no_trust="this is a mean over subjects, and it is known of single ones",
    )


def _shared(checkpoint: Checkpoint, encoders: Sequence[Encoder]) -> Run:
    """Returns what runs a shared network once: signals of all, then the distance.

    How far images are from those of training is told by the backbone, and so it is the
    same for all subjects.
    """
    network = Network.of_checkpoint(checkpoint)
    trusts = [encoder.trust for encoder in encoders if encoder.trust is not None]
    known = [trust.familiarity for trust in trusts if trust.familiarity is not None]
    if not known:
        return network.compiled(make_predict_step(checkpoint.model))
    return network.compiled(make_step(checkpoint.model), known[0])
