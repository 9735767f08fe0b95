"""What is trained, what teaches it, and from which weights it starts."""

import dataclasses
import os
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import numpy as np
import optax

from img2eeg_jax.checkpoints.description import Description
from img2eeg_jax.checkpoints.load import load_checkpoint
from img2eeg_jax.checkpoints.trees import check_shapes, variable_shapes
from img2eeg_jax.errors import naming
from img2eeg_jax.evaluation.ceilings import spearman_brown_ceiling
from img2eeg_jax.models.cornet_s import CORnetS
from img2eeg_jax.models.flops import training_flops
from img2eeg_jax.models.realnet import ReAlNet
from img2eeg_jax.signal_layout import SignalLayout
from img2eeg_jax.training.state import TrainState, create_state, init_variables


@dataclasses.dataclass(frozen=True)
class Networks:
    """A network, and its teacher.

    Attributes:
      signal: what the network's signal means.
      model: the network.
      arguments: of the network, as a checkpoint's description records them.
      image_size: height and width of its images, pixels.
      initial: the initial values that are not drawn at random, see `load_initial`.
      teacher: CORnet-S, or None.
      teacher_variables: of the teacher; {} if there is none.
    """

    signal: SignalLayout
    model: ReAlNet
    arguments: Mapping[str, Any]
    image_size: int
    initial: Mapping[str, Any]
    teacher: CORnetS | None
    teacher_variables: Mapping[str, Any]

    @property
    def flops_per_image(self) -> float:
        """Floating-point operations of a training step, for each image."""
        arguments = self.arguments
        return training_flops(
            width=arguments["width"],
            image_size=self.image_size,
            num_classes=arguments["num_classes"],
            signal_size=int(np.prod(arguments["signal_shape"])),
            features=arguments["features"],
            areas=arguments["areas"],
        )

    def initial_state(
        self, optimizer: optax.GradientTransformation, seed: int, with_ema: bool
    ) -> TrainState:
        """Returns the state before the first step, on the host.

        Args:
          optimizer: of the training.
          seed: of the values that are drawn at random.
          with_ema: whether parameters are averaged.
        """
        model = self.model.clone(axis_name=None)
        drawn = init_variables(model, self.image_size, seed)
        variables = {name: {**drawn[name], **self.initial[name]} for name in drawn}
        state = create_state(variables, optimizer, with_ema=with_ema)
        return jax.tree.map(np.asarray, state)

    def ceiling(
        self, halves: np.ndarray | None, n_repetitions: Sequence[int]
    ) -> list[float] | None:
        """Returns the r that a perfect prediction would reach, for each subject.

        Args:
          halves: see `EncodingData.validation_halves`.
          n_repetitions: of each subject, that the halves are of.

        Returns:
          None if it is not known.
        """
        if halves is None:
            return None
        measured = self.signal.measured(halves.astype(np.float64))
        if measured.ndim == 4:
            measured = measured[:, :, np.newaxis]
        ceiling = spearman_brown_ceiling(measured, n_repetitions)
        return None if np.isnan(ceiling).any() else ceiling.tolist()

    def describe(self, **origin: Any) -> Description:
        """Returns what a checkpoint says of the network.

        Args:
          **origin: the entries of the description that tell of its training.
        """
        return Description(
            kind="realnet",
            model=self.arguments,
            image_size=self.image_size,
            signal=self.signal,
            **origin,
        )


def load_initial(
    path: str | os.PathLike, model: ReAlNet, image_size: int, signal: SignalLayout
) -> dict[str, Any]:
    """Returns the variables that a checkpoint holds, of a part of a network or all.

    The outputs of an encoder are found by the names of their channels, and their times.

    Args:
      path: of a checkpoint of ReAlNet or CORnet-S; "" for none.
      model: the network that is trained.
      image_size: height and width of its images, pixels.
      signal: what its signal means, that of each subject.

    Returns:
      {"params": …, "batch_stats": …}, module by module; modules that the checkpoint
      lacks are absent.

    Raises:
      InputError: the checkpoint cannot be read, has other shapes, or an encoder lacks
        channels or times.
    """
    if not path:
        return {"params": {}, "batch_stats": {}}
    loaded = load_checkpoint(path)
    given = loaded.variables
    if loaded.description.kind == "cornet_s":
        given = {name: {"realnet": tree} for name, tree in given.items()}
    else:
        with naming(os.fspath(path)):
            places = signal.places_in(loaded.description.signal)
        last = {name: a[..., places] for name, a in given["params"]["fc"].items()}
        given = {**given, "params": {**given["params"], "fc": last}}
    everything = variable_shapes(model.clone(axis_name=None), image_size)
    expected = {
        name: {module: everything[name].get(module, {}) for module in tree}
        for name, tree in given.items()
    }
    check_shapes(os.fspath(path), given, expected)
    return given
