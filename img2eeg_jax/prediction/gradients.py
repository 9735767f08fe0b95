"""Gradients of predicted responses by pixels, and pictures that follow them."""

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from tqdm import trange

from img2eeg_jax.checkpoints.load import Checkpoint
from img2eeg_jax.errors import unexpected
from img2eeg_jax.prediction.function import response_function, unit_change
from img2eeg_jax.prediction.pictures import Pictures
from img2eeg_jax.prediction.prediction import Prediction

Array = jax.Array
# (z f32[1, channel, time], goal f32[channel, time]) → what is increased, a scalar
Objective = Callable[[Array, Array], Array]

# Weights of the prior. With less than the first a mean rises to tens of standard
# deviations by noise; a difference from a pattern is of the order of 1.
_OF_MEAN, _OF_PATTERN = 1000.0, 10.0

# Where `optimise` starts without a picture.
_GREY = 0.5


@dataclass(frozen=True, eq=False)
class Optimised:
    """A picture that was changed to bring a predicted response nearer to something.

    Attributes:
      image: u8[height, width, 3], RGB.
      before: the prediction of the picture at the start, as bytes.
      after: the prediction of `image`.
      objective: f32[step], what was increased, before each step; see `optimise`.
    """

    image: np.ndarray
    before: Prediction
    after: Prediction
    objective: np.ndarray


class Gradients:
    """The compiled gradients of a network, on the first device; kept by an encoder."""

    def __init__(self, checkpoint: Checkpoint):
        """Puts the weights on the device; compiles nothing yet."""
        self._respond = response_function(checkpoint)
        factor, offset = unit_change(checkpoint.description)
        self._factor, self._offset = factor[None], offset[None]
        self._weights = jax.device_put(checkpoint.variables)
        self.of_mean = functools.partial(jax.jit(self._of_mean), self._weights)
        self.to_mean = self._step_of(_weighted_sum)
        self.to_pattern = self._step_of(_closeness)

    def _step_of(self, objective: Objective) -> Callable[..., Any]:
        step = jax.jit(functools.partial(self._step, objective))
        return functools.partial(step, self._weights)

    def _of_mean(self, weights: Any, pixels: Array, chosen: Array) -> Array:
        """Returns ∂ Σ chosen · response / ∂ pixels."""

        def response(pixels: Array) -> Array:
            return _weighted_sum(self._respond(weights, pixels), chosen)

        return jax.grad(response)(pixels)

    def _step(
        self,
        objective: Objective,
        weights: Any,
        pixels: Array,
        state: Any,
        goal: Array,
        smoothness: Array,
        learning_rate: Array,
    ) -> tuple[Array, Any, Array]:
        """Takes a step of Adam, within 0 to 1; returns the objective before it, too."""

        def loss(pixels: Array) -> tuple[Array, Array]:
            z = (self._respond(weights, pixels) - self._offset) / self._factor
            value = objective(z, goal)
            return smoothness * roughness(pixels) - value, value

        (_, value), grads = jax.value_and_grad(loss, has_aux=True)(pixels)
        updates, state = optax.scale_by_adam().update(grads, state)
        return jnp.clip(pixels - learning_rate * updates, 0, 1), state, value


def _weighted_sum(response: Array, chosen: Array) -> Array:
    return (chosen[None] * response).sum()


def _closeness(z: Array, target: Array) -> Array:
    return -jnp.square(z - target[None]).mean()


def roughness(pixels: Array) -> Array:
    """Returns the mean squared difference of neighbours, as a prior of smoothness.

    Args:
      pixels: f[image, height, width, colour].
    """
    down, across = (jnp.square(jnp.diff(pixels, axis=axis)).mean() for axis in (1, 2))
    return down + across


def saliency(
    encoder: Any,
    pictures: Any,
    channel: str | Sequence[str] | None,
    times_s: float | tuple[float, float] | None,
) -> np.ndarray:
    """Computes the gradient of a predicted response; see `Encoder.saliency`."""
    chosen = _chosen(encoder, channel, times_s)
    gradient = encoder.gradients.of_mean
    size = encoder.image_size
    found = [
        np.asarray(gradient(_pixels(image), chosen))[0]
        for _, image in Pictures(pictures).read(size)
    ]
    return np.stack(found) if found else np.empty((0, size, size, 3), np.float32)


def optimise(
    encoder: Any,
    picture: Any,
    towards: Any,
    *,
    n_steps: int,
    smoothness: float | None,
    learning_rate: float,
    progress: bool | None,
) -> Optimised:
    """Changes a picture step by step; see `Encoder.optimise` for the arguments."""
    if n_steps < 1:
        raise unexpected("`n_steps`", "1 or more", n_steps)
    size = encoder.image_size
    if picture is None:
        picture = np.full((size, size, 3), _GREY)
    (*others, (_, start)) = Pictures(picture).read(size)
    if others:
        raise unexpected("picture", "one", f"{len(others) + 1}")
    step, goal, usual_smoothness = _goal(encoder, towards)
    smoothness = usual_smoothness if smoothness is None else smoothness
    pixels = _pixels(start)
    state = optax.scale_by_adam().init(pixels)
    objective = []
    hidden = None if progress is None else not progress
    for _ in trange(n_steps, unit="step", dynamic_ncols=True, disable=hidden, delay=1):
        pixels, state, value = step(pixels, state, goal, smoothness, learning_rate)
        # Asked for at the end: a step need not wait for the one before.
        objective.append(value)
    image = np.rint(np.asarray(pixels[0]) * 255).astype(np.uint8)
    return Optimised(
        image=image,
        before=encoder(start, ["start"], progress=False),
        after=encoder(image, ["optimised"], progress=False),
        objective=np.array(jax.device_get(objective), np.float32),
    )


def _pixels(image: np.ndarray) -> Array:
    """Returns f32[1, height, width, 3] from 0 to 1."""
    return jnp.asarray(image[None], jnp.float32) / 255


def _goal(encoder: Any, towards: Any) -> tuple[Any, np.ndarray, float]:
    """Returns the step that goes towards something, its goal, its usual smoothness."""
    if isinstance(towards, tuple):
        if len(towards) != 2:
            raise unexpected("`towards`", "(channel, times_s)", f"{len(towards)} parts")
        return encoder.gradients.to_mean, _chosen(encoder, *towards), _OF_MEAN
    if isinstance(towards, Prediction):
        if len(towards) != 1 or towards.axes != encoder.axes:
            raise unexpected(
                "`towards`",
                "a prediction of one image, with the encoder's channels, times, unit",
                f"one of {len(towards)} in {towards.unit}",
            )
        towards = towards.data[0]
    factor, offset = unit_change(encoder.description)
    target = np.asarray(towards)
    if target.shape != factor.shape or not np.isfinite(target).all():
        raise unexpected(
            "`towards`",
            f"(channel, times_s), or finite numbers of shape {list(factor.shape)}",
            f"{target.dtype} {list(target.shape)}",
        )
    goal = ((target - offset) / factor).astype(np.float32)
    return encoder.gradients.to_pattern, goal, _OF_PATTERN


def _chosen(
    encoder: Any,
    channel: str | Sequence[str] | None,
    times_s: float | tuple[float, float] | None,
) -> np.ndarray:
    """Returns f32[channel, time] that makes a mean of what is chosen, by its sum."""
    axes = encoder.axes
    if not axes.has_times:
        raise unexpected("channel", "a network that predicts EEG", "one of features")
    names = [channel] if isinstance(channel, str) else channel
    is_one = times_s is not None and np.ndim(times_s) == 0
    window_s = (times_s, times_s) if is_one else times_s
    chosen = np.zeros(axes.shape, np.float32)
    chosen[axes.channel_rows(names), axes.window(window_s)] = 1
    return chosen / chosen.sum()
