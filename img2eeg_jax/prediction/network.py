"""A network's step, compiled for one image and for many, and kept."""

import functools
import itertools
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np

from img2eeg_jax.checkpoints.load import Checkpoint
from img2eeg_jax.devices.parallel import DataParallel
from img2eeg_jax.devices.precision import matmul_precision
from img2eeg_jax.models.layers import transformed_kernels

# Images in a batch, over all devices: one or many, so that no number of images compiles
# a third program. The full-size network is as fast with 16 as with 64 on CPU, and needs
# a quarter of the memory.
MANY_ON_CPU, MANY = 16, 64

# Fewer images go one by one: on CPU the full-size network takes as long for a padded
# batch as for so many single images.
FEW = 8

# (variables, {"image": u8[b, height, width, 3], …}, …) → f32[b, ...], or a tree of such
Step = Callable[..., Any]
# Images → the rows of each batch; see `Network.compiled`.
Run = Callable[[Iterable[np.ndarray]], Iterator[Any]]
# (variables, images of a batch) → collections of variables that are made of them.
Prepare = Callable[[Any, int], dict[str, Any]]


class Network:
    """Variables on all local devices, and the steps that use them.

    A step is compiled when it first sees a size of batch: XLA may round differently for
    another size, so that the same image gives the same bits in batches of one size and
    numbers within 1e-5 of them in the other.
    """

    def __init__(
        self,
        variables: Any,
        precision: str,
        parallel: DataParallel | None = None,
        prepare: Prepare | None = None,
    ):
        """Puts the variables on the devices.

        Args:
          variables: {"params": …, "batch_stats": …}.
          precision: of matrix products, as `Description.precision`.
          parallel: the devices; None for all local ones.
          prepare: on CPU, makes what steps find beside the variables in batches of
            many, once; None for nothing.
        """
        self._parallel = parallel or DataParallel()
        self._variables = self._parallel.replicate(variables)
        self._precision = precision
        is_cpu = self._parallel.devices[0].platform == "cpu"
        self.batch_size = MANY_ON_CPU if is_cpu else MANY
        self._prepare = prepare if is_cpu else None

    @classmethod
    def of_checkpoint(
        cls, checkpoint: Checkpoint, parallel: DataParallel | None = None
    ) -> "Network":
        """Puts a network that was loaded on the devices; None for all local ones."""
        prepare = functools.partial(
            transformed_kernels, checkpoint.model, checkpoint.description.image_size
        )
        precision = checkpoint.description.precision
        return cls(checkpoint.variables, precision, parallel, prepare)

    @functools.cached_property
    def _of_many(self) -> Any:
        """The variables that steps take with batches of many images."""
        if self._prepare is None:
            return self._variables
        prepared = self._prepare(self._variables, self.batch_size)
        return {**self._variables, **self._parallel.replicate(prepared)}

    def compiled(self, step: Step, beside: Any = None) -> Run:
        """Returns what runs a step over images.

        Args:
          step: a pure function of variables and a batch.
          beside: arrays, as a pytree, that it takes after them; they go to the devices
            once. None for a step without.

        Returns:
          Images, each u8[height, width, 3], read a batch at a time → iterator of the
          step's rows f32[b, ...] of each batch, or trees of such, without padding.
        """
        more = () if beside is None else (self._parallel.replicate(beside),)

        def in_precision_of_training(weights: Any, batch: Any) -> Any:
            variables, *more = weights
            with matmul_precision(self._precision):
                return step(variables, batch, *more)

        mapped = self._parallel.predict_step(in_precision_of_training)
        return functools.partial(self._run, mapped, more)

    def _run(
        self, mapped: Step, more: tuple[Any, ...], images: Iterable[np.ndarray]
    ) -> Iterator[Any]:
        # While devices compute a batch, the next one is read.
        ahead = None
        for batch in batches(images, self.batch_size):
            variables = self._variables if len(batch["mask"]) == 1 else self._of_many
            outputs = mapped((variables, *more), self._parallel.split(batch))
            if ahead is not None:
                yield self._parallel.merge(*ahead)
            ahead = outputs, batch["mask"]
        if ahead is not None:
            yield self._parallel.merge(*ahead)


def batches(
    images: Iterable[np.ndarray], batch_size: int
) -> Iterator[dict[str, np.ndarray]]:
    """Yields batches of one image or of many, the last one padded.

    Args:
      images: each u8[height, width, 3].
      batch_size: images of a batch, unless there are fewer than `FEW` in all.

    Yields:
      {"image": u8[b, height, width, 3], "mask": f32[b]}, the mask 0 on padding.
    """
    images = iter(images)
    first = list(itertools.islice(images, FEW))
    size = batch_size if len(first) == FEW else 1
    images = itertools.chain(first, images)
    while rows := list(itertools.islice(images, size)):
        mask = np.zeros(size, np.float32)
        mask[: len(rows)] = 1
        padding = itertools.repeat(rows[0], size - len(rows))
        yield {"image": np.stack([*rows, *padding]), "mask": mask}
