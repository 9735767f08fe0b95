"""A network's step, compiled for two sizes of batches and kept."""

import functools
import itertools
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np

from img2eeg_jax.devices.parallel import DataParallel
from img2eeg_jax.devices.precision import matmul_precision

# Images in a batch, over all devices. There are two sizes, so that no number of images
# compiles a third. Fewer than `FEW` images go one by one: on CPU the full-size network
# takes as long for a padded batch as for 16 single images.
BATCH_SIZES = (1, 64)
FEW = 16

# (variables, {"image": u8[b, height, width, 3], …}, …) → f32[b, ...], or a tree of such
Step = Callable[..., Any]
# Images → the rows of each batch; see `Network.compiled`.
Run = Callable[[Iterable[np.ndarray]], Iterator[Any]]


class Network:
    """Variables on all local devices, and the steps that use them.

    A step is compiled when it first sees a size of batch: XLA may round differently for
    another size, so that the same image gives the same bits in batches of one size and
    numbers within 1e-5 of them in the other.
    """

    def __init__(
        self, variables: Any, precision: str, parallel: DataParallel | None = None
    ):
        """Puts the variables on the devices.

        Args:
          variables: {"params": …, "batch_stats": …}.
          precision: of matrix products, as `Description.precision`.
          parallel: the devices; None for all local ones.
        """
        self._parallel = parallel or DataParallel()
        self._variables = self._parallel.replicate(variables)
        self._precision = precision

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
        return functools.partial(self._run, mapped, (self._variables, *more))

    def _run(
        self, mapped: Step, weights: Any, images: Iterable[np.ndarray]
    ) -> Iterator[Any]:
        # While devices compute a batch, the next one is read.
        ahead = None
        for batch in batches(images):
            outputs = mapped(weights, self._parallel.split(batch))
            if ahead is not None:
                yield self._parallel.merge(*ahead)
            ahead = outputs, batch["mask"]
        if ahead is not None:
            yield self._parallel.merge(*ahead)


def batches(images: Iterable[np.ndarray]) -> Iterator[dict[str, np.ndarray]]:
    """Yields batches of one of two sizes, the last one padded.

    Args:
      images: each u8[height, width, 3].

    Yields:
      {"image": u8[b, height, width, 3], "mask": f32[b]}, the mask 0 on padding.
    """
    images = iter(images)
    first = list(itertools.islice(images, FEW))
    size = BATCH_SIZES[len(first) == FEW]
    images = itertools.chain(first, images)
    while rows := list(itertools.islice(images, size)):
        mask = np.zeros(size, np.float32)
        mask[: len(rows)] = 1
        padding = itertools.repeat(rows[0], size - len(rows))
        yield {"image": np.stack([*rows, *padding]), "mask": mask}
