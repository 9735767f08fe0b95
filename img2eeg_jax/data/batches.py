"""Batches for training and evaluation, read ahead by tf.data."""

import atexit
import functools
import weakref
from collections.abc import Callable, Iterator
from typing import ClassVar

import numpy as np

from img2eeg_jax.data import aligned
from img2eeg_jax.data.examples import Split

# Batches that are being read at a time, and that wait.
_THREADS = 2
_AHEAD = 2


def num_batches(split: Split, batch_size: int) -> int:
    """Returns the number of batches of an epoch; the last one may be padded."""
    return -(-len(split.index) // batch_size)


def batches(
    split: Split,
    *,
    batch_size: int,
    seed: int | None = None,
    epoch: int = 0,
    first_step: int = 0,
    process_index: int = 0,
    process_count: int = 1,
) -> Iterator[dict[str, np.ndarray]]:
    """Goes once over a split, each example exactly once.

    Args:
      split: the examples.
      batch_size: rows of every batch of all processes together; the last batch is
        padded to it.
      seed: with None the examples come in order; otherwise in a random permutation of
        the whole split that depends on (seed, epoch) only.
      epoch: number of the epoch.
      first_step: number of batches to leave out at the start, which are not read.
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
    rows = _rows_of_batches(len(split.index), batch_size, seed, epoch)[first_step:]
    rows = np.split(rows, process_count, axis=1)[process_index]

    yield from _read_ahead(rows, functools.partial(_read, split))


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


def _read_ahead(
    rows: np.ndarray, read: Callable[[np.ndarray], dict[str, np.ndarray]]
) -> Iterator[dict[str, np.ndarray]]:
    """Yields what `read` gives for each row of rows, in order, read ahead by tf.data.

    TensorFlow gets the rows only: arrays in memory stay where they are, and files are
    read by NumPy's code and not by a copy of it in a graph.
    """
    if not len(rows):
        return
    from img2eeg_jax.data.shards.tensorflow_setup import as_numpy, tf

    # An empty batch tells the names and types, which tf.data must know beforehand.
    empty = read(rows[0, :0])
    types = [tf.as_dtype(value.dtype) for value in empty.values()]
    errors: list[Exception] = []

    def read_values(one: np.ndarray) -> list[np.ndarray]:
        try:
            return list(read(one).values())
        except Exception as error:
            # An empty batch tells of it: TensorFlow would write a traceback instead.
            errors.append(error)
            return list(empty.values())

    dataset = (
        tf.data.Dataset.from_tensor_slices(rows)
        .map(
            tf.autograph.experimental.do_not_convert(
                lambda one: tf.numpy_function(read_values, [one], types)
            ),
            num_parallel_calls=_THREADS,
            deterministic=True,
        )
        .prefetch(_AHEAD)
    )
    reading = _Reading(as_numpy(dataset))
    try:
        while (values := reading.next()) is not None:
            if not len(values[0]):
                raise errors[0]
            yield dict(zip(empty, values, strict=True))
    finally:
        reading.end()


class _Reading:
    """An iterator of tf.data, which must end before Python does.

    TensorFlow's threads would wait for Python for ever, and Python's end for them.
    """

    _open: ClassVar[weakref.WeakSet["_Reading"]] = weakref.WeakSet()

    def __init__(self, iterator: Iterator[tuple]):
        self._iterator: Iterator[tuple] | None = iterator
        self._open.add(self)

    def next(self) -> tuple | None:
        """Returns the next element; None after the last one, and after `end`."""
        return None if self._iterator is None else next(self._iterator, None)

    def end(self) -> None:
        """Ends the reading; waits for what is being read."""
        self._iterator = None

    @classmethod
    def end_all(cls) -> None:
        """Ends what those who stopped early have left open."""
        for reading in list(cls._open):
            reading.end()


atexit.register(_Reading.end_all)


def _rows_of_batches(
    n_examples: int, batch_size: int, seed: int | None, epoch: int
) -> np.ndarray:
    """Returns the rows of each batch, i64[batch, row], -1 for padding."""
    order = np.arange(n_examples)
    if seed is not None:
        order = np.random.default_rng([seed, epoch]).permutation(n_examples)
    padded = np.full(-(-n_examples // batch_size) * batch_size, -1)
    padded[:n_examples] = order
    return padded.reshape(-1, batch_size)
