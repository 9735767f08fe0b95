"""Batches for training and evaluation, read ahead by tf.data."""

import atexit
import functools
import itertools
from collections.abc import Callable, Iterator
from typing import ClassVar

import numpy as np

from img2eeg_jax.data import aligned
from img2eeg_jax.data.examples import Split

# Batches that are being read at a time, and that wait.
_THREADS = 2
_AHEAD = 2


def num_batches(split: Split, batch_size: int) -> int:
    """Returns the number of batches of an epoch."""
    return len(batch_sizes(len(split.index), batch_size))


def batch_sizes(n_examples: int, batch_size: int, even: bool = False) -> np.ndarray:
    """Returns how many examples each batch of an epoch has, i64[batch].

    Args:
      n_examples: in the epoch.
      batch_size: the most that a batch has.
      even: whether the sizes differ by one at most; otherwise all batches but the last
        are full.
    """
    n_batches = -(-n_examples // batch_size)
    if even:
        smallest, n_larger = divmod(n_examples, max(n_batches, 1))
        return smallest + (np.arange(n_batches) < n_larger)
    return np.minimum(batch_size, n_examples - batch_size * np.arange(n_batches))


def batches(
    split: Split,
    *,
    batch_size: int,
    seed: int | None = None,
    epoch: int = 0,
    first_step: int = 0,
    even: bool = False,
    process_index: int = 0,
    process_count: int = 1,
) -> Iterator[dict[str, np.ndarray]]:
    """Goes once over a split, each example exactly once.

    Args:
      split: the examples.
      batch_size: rows of every batch of all processes together; batches of fewer
        examples are padded to it.
      seed: with None the examples come in order; otherwise in a random permutation of
        the whole split that depends on (seed, epoch) only.
      epoch: number of the epoch.
      first_step: number of batches to leave out at the start, which are not read.
      even: whether all batches have equally many examples, but for one; otherwise the
        last one has what the others leave.
      process_index: which process this is: of P, number k gets and reads the k-th of P
        equal parts of each batch.
      process_count: number of processes.

    Yields:
      With B = batch_size / process_count, dicts of ``image`` u8[B, height, width, 3],
      ``response`` f32[B, channel, time] or f32[B, subject, channel, time], ``mask``
      f32[B], 1 on examples and 0 on padding, ``index`` i32[B], the row in the
      partition, -1 on padding, and ``teacher_logits`` f32[B, class] if the split has
      them. Padding repeats the split's first example.

    Raises:
      ValueError: the batch size is not positive or not a multiple of the number of
        processes, `first_step` is negative, or there is no such process.
    """
    if batch_size < 1 or first_step < 0:
        raise ValueError(
            "expected batch_size >= 1 and first_step >= 0, found "
            f"{batch_size} and {first_step}"
        )
    if not 0 <= process_index < process_count or batch_size % process_count:
        raise ValueError(
            f"expected a process from 0 to {process_count - 1} and a multiple of "
            f"{process_count} as batch_size, found {process_index} and {batch_size}"
        )
    sizes = batch_sizes(len(split.index), batch_size, even)
    rows = _rows_of_batches(sizes, batch_size, seed, epoch)[first_step:]
    rows = np.split(rows, process_count, axis=1)[process_index]
    if not len(rows):
        return
    reading = _Reading(functools.partial(_read, split), rows)
    try:
        while (batch := reading.next()) is not None:
            yield batch
    finally:
        reading.end()


def _read(split: Split, rows: np.ndarray) -> dict[str, np.ndarray]:
    """Reads one batch, i64[row] with -1 for padding."""
    is_real = rows >= 0
    taken = np.where(is_real, rows, 0)
    batch = {
        "image": aligned.take(split.images, taken),
        "response": aligned.take(split.response, taken),
        "mask": is_real.astype(np.float32),
        "index": np.where(is_real, split.index[taken], -1).astype(np.int32),
    }
    if split.teacher_logits is not None:
        rows_in_partition = split.index[taken]
        batch["teacher_logits"] = aligned.take(split.teacher_logits, rows_in_partition)
    return batch


class _Reading:
    """Reads batches ahead by tf.data, in order; must end before Python does.

    TensorFlow gets the rows of the batches and a number by which the reading is found:
    it never forgets a function that it has once been given, nor what that holds. And
    at its end Python would wait for TensorFlow's threads, which wait for Python.
    """

    _open: ClassVar[dict[int, "_Reading"]] = {}
    _numbers: ClassVar[Iterator[int]] = itertools.count()

    def __init__(self, read: Callable[[np.ndarray], dict], rows: np.ndarray):
        """Starts to read.

        Args:
          read: i64[row], -1 for padding → a batch.
          rows: i64[batch, row], at least one batch.
        """
        from img2eeg_jax.data.shards.tensorflow_setup import as_numpy, tf

        self._read = read
        # An empty batch tells the names and types, which tf.data must know beforehand.
        self._empty = read(rows[0, :0])
        self._errors: list[Exception] = []
        self._number = number = next(self._numbers)
        types = [tf.as_dtype(value.dtype) for value in self._empty.values()]
        dataset = tf.data.Dataset.from_tensor_slices(rows).map(
            tf.autograph.experimental.do_not_convert(
                lambda one: tf.numpy_function(_read_values, [number, one], types)
            ),
            num_parallel_calls=_THREADS,
            deterministic=True,
        )
        self._open[number] = self
        self._iterator: Iterator[tuple] = as_numpy(dataset.prefetch(_AHEAD))

    def values(self, rows: np.ndarray) -> list[np.ndarray]:
        """Returns the arrays of one batch, called by a thread of TensorFlow."""
        try:
            return list(self._read(rows).values())
        except Exception as error:
            # An empty batch tells of it: TensorFlow would write a traceback instead.
            self._errors.append(error)
            return list(self._empty.values())

    def next(self) -> dict[str, np.ndarray] | None:
        """Returns the next batch; None after the last one, and after `end`.

        Raises what reading it raised.
        """
        values = next(self._iterator, None)
        if values is None:
            return None
        if not len(values[0]):
            raise self._errors[0]
        return dict(zip(self._empty, values, strict=True))

    def end(self) -> None:
        """Ends the reading; waits for what is being read."""
        self._iterator = iter(())
        self._open.pop(self._number, None)

    @classmethod
    def end_all(cls) -> None:
        """Ends what those who stopped early have left open."""
        for reading in list(cls._open.values()):
            reading.end()


def _read_values(number: np.ndarray, rows: np.ndarray) -> list[np.ndarray]:
    return _Reading._open[int(number)].values(rows)


atexit.register(_Reading.end_all)


def _rows_of_batches(
    sizes: np.ndarray, batch_size: int, seed: int | None, epoch: int
) -> np.ndarray:
    """Returns the rows of each batch, i64[batch, row], -1 for padding."""
    order = np.arange(sizes.sum())
    if seed is not None:
        order = np.random.default_rng([seed, epoch]).permutation(len(order))
    rows = np.full((len(sizes), batch_size), -1)
    rows[np.arange(batch_size) < sizes[:, np.newaxis]] = order
    return rows
