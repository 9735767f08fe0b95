"""What every part of an evaluation is made from: a network and what was measured."""

import dataclasses
import functools
from collections.abc import Callable, Mapping

import numpy as np

from img2eeg_jax.axes import Axes
from img2eeg_jax.errors import unexpected
from img2eeg_jax.evaluation.measured import Measured
from img2eeg_jax.prediction.encoder import LAYERS, Encoder
from img2eeg_jax.prediction.prediction import Prediction


@dataclasses.dataclass(frozen=True, eq=False)
class Material:
    """A network, and the EEG that it is scored against.

    What is dear is computed when it is first asked for, and kept.

    Attributes:
      encoder: the network.
      scored_against: the test images and the responses to them, as the network
        predicts them; None where no part needs them.
      window_s: first and last time of the mean scores, seconds; None for responses
        without times.
      seed: of everything random.
      log: called with one line of what takes long, or is left out.
    """

    encoder: Encoder
    scored_against: Measured | None
    window_s: tuple[float, float] | None = (0.1, 0.3)
    seed: int = 0
    log: Callable[[str], None] = print

    @property
    def measured(self) -> Measured:
        """The test images and the responses to them.

        Raises:
          InputError: no part that was asked for needs them.
        """
        if self.scored_against is None:
            raise unexpected("evaluation", "measured responses", "none")
        return self.scored_against

    @functools.cached_property
    def prediction(self) -> Prediction:
        """z-scored EEG of the test images."""
        return self.encoder.predict_z(self.measured.images, self.measured.names)

    @functools.cached_property
    def layers(self) -> Mapping[str, np.ndarray]:
        """Layer → f32[image, feature], activations for the test images.

        None of a linear encoder that reads another network than CORnet-S.
        """
        if not self.encoder.checkpoint.has_backbone:
            return {}
        images = np.stack([*self.measured.images])
        features = self.encoder.features(images, LAYERS)
        return {layer: of.reshape(len(of), -1) for layer, of in features.items()}

    @functools.cached_property
    def whole(self) -> tuple[np.ndarray, Axes]:
        """All channels and times of the test images' EEG, and what they are.

        f32[image, repetition, channel, time], in the unit of the axes; not z-scored.
        Of responses without times it is the features that are predicted.
        """
        eeg = self.measured.shards.eeg(self.measured.subject)
        if eeg.axes.has_times:
            return eeg.read("test"), eeg.axes
        known = self.encoder.description.encoder_signal.eeg
        names = None if known is None else known.ch_names
        return eeg.read("test", names), eeg.axes.select(names)
