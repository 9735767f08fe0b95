"""An encoder as a function: its gradients, and a file that holds the function."""

import functools
import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from img2eeg_jax.axes import Axes
from img2eeg_jax.checkpoints.load import Checkpoint
from img2eeg_jax.prediction.function import Function, response_function

if TYPE_CHECKING:
    from img2eeg_jax.prediction.gradients import Gradients, Optimised


class Differentiable:
    """What an `Encoder` can do because it is a differentiable function of pixels."""

    checkpoint: Checkpoint
    axes: Axes | None

    def function(self) -> tuple[Function, Any]:
        """Returns the network as a function, for gradients and loops of your own.

        Returns:
          (function, weights). The function takes weights and pixels
          f32[image, height, width, 3] from 0 to 1, RGB, of `image_size`, and returns
          the response, f32[image, channel, time] in the unit of `axes`, or features
          f32[image, feature]. It is pure: `jax.jit`, `jax.grad` and `jax.vmap` take it.

        Example:
          >>> function, weights = encoder.function()
          >>> jax.grad(lambda pixels: function(weights, pixels)[0, 0, 0])(pixels).shape
          (1, 64, 64, 3)
        """
        return response_function(self.checkpoint), self.checkpoint.variables

    def saliency(
        self,
        pictures: Any,
        channel: str | Sequence[str] | None = None,
        times_s: float | tuple[float, float] | None = None,
    ) -> np.ndarray:
        """Computes the gradient of a predicted response by the pixels.

        How the mean response over the chosen channels and times would change if a
        pixel did, to first order. docs/how_to/gradients.md says what
        cannot be concluded.

        Args:
          pictures: as those of a call; see `Pictures`.
          channel: name of a channel, or of several; None for all.
          times_s: a time in seconds from image onset, whose sample is taken, or the
            first and the last of a window; None for all.

        Returns:
          f32[image, height, width, 3], RGB, of the picture as the network sees it: in
          the unit of `axes`, per full range (0 to 1) of a pixel's colour.

        Raises:
          InputError: there is no such channel or time, the network predicts no EEG, or
            a picture cannot be read.

        Example:
          >>> gradient = encoder.saliency("dog.jpg", "Oz", 0.1)
          >>> strength = np.linalg.norm(gradient[0], axis=-1)  # f32[height, width]
        """
        from img2eeg_jax.prediction import gradients

        return gradients.saliency(self, pictures, channel, times_s)

    def optimise(
        self,
        picture: Any,
        towards: Any,
        *,
        n_steps: int = 200,
        smoothness: float | None = None,
        learning_rate: float = 0.01,
        progress: bool | None = None,
    ) -> "Optimised":
        """Changes a picture's pixels step by step towards a response.

        Adam increases an objective less `smoothness` times the mean squared difference
        of neighbouring pixels; pixels stay within 0 to 1.
        docs/how_to/gradients.md says what cannot be concluded.

        Args:
          picture: where to start, one picture of any kind; None starts from grey.
          towards: (channel, times_s), as those of `saliency`: the objective is their
            mean response in standard deviations over the training images. Or an EEG
            pattern f[channel, time] in the unit of `axes`, or a prediction of one
            image: the objective is minus the mean squared difference, in squared
            standard deviations.
          n_steps: how often the pixels change.
          smoothness: weight of the prior, 0 for none; None takes 1000 for a mean, 10
            for a pattern.
          learning_rate: about how much a pixel changes in a step, of its range 0 to 1.
          progress: whether to show a bar; None shows one in a terminal.

        Returns:
          The picture with its prediction, and that of the start.

        Raises:
          InputError: there is no such channel or time, the pattern has another shape or
            holds NaN, or the picture cannot be read.

        Example:
          >>> found = encoder.optimise("dog.jpg", towards=("Oz", (0.09, 0.12)))
          >>> PIL.Image.fromarray(found.image).save("more_p1.png")
        """
        from img2eeg_jax.prediction import gradients

        return gradients.optimise(
            self,
            picture,
            towards,
            n_steps=n_steps,
            smoothness=smoothness,
            learning_rate=learning_rate,
            progress=progress,
        )

    def export(
        self, path: str | os.PathLike, vjp_order: int = 0, *, overwrite: bool = False
    ) -> None:
        """Writes the encoder to one file that JAX and NumPy alone can run.

        A zip file with the program for CPU, CUDA and TPU and images of any number
        (`jax.export`), the weights, what the encoder tells of itself, checksums and a
        module that loads it; docs/how_to/export.md shows how. Convolutions are
        XLA's own, so that numbers agree with the encoder's but for rounding.

        Args:
          path: the file to write, "encoder.zip".
          vjp_order: how often `jax.grad` may be taken of it: 0 for not at all.
          overwrite: whether to replace the file.

        Raises:
          InputError: something is there already, or it cannot be written.

        Example:
          >>> encoder.export("encoder.zip", vjp_order=1)
        """
        from img2eeg_jax.prediction.export import export

        export(self.checkpoint, self.axes, path, vjp_order, overwrite)

    @functools.cached_property
    def gradients(self) -> "Gradients":
        """The compiled gradients."""
        from img2eeg_jax.prediction.gradients import Gradients

        return Gradients(self.checkpoint)
