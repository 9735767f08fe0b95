"""Batches for training and evaluation, read ahead by threads."""

import collections
from collections.abc import Iterator
from concurrent import futures

import numpy as np

from img2eeg_jax.data.examples import Split

# Batches read ahead: one being read by each thread and as many waiting.
_THREADS = 2
_AHEAD = 4


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

    def read(batch_rows: np.ndarray) -> dict[str, np.ndarray]:
        is_real = batch_rows >= 0
        taken = np.where(is_real, batch_rows, 0)
        batch = {
            "image": split.images[taken],
            "response": split.response[taken],
            "mask": is_real.astype(np.float32),
            "index": np.where(is_real, split.index[taken], -1).astype(np.int32),
        }
        if split.teacher_logits is not None:
            batch["teacher_logits"] = split.teacher_logits[split.index[taken]]
        return batch

    ahead = collections.deque()
    with futures.ThreadPoolExecutor(_THREADS, "batches") as pool:
        try:
            for batch_rows in rows:
                ahead.append(pool.submit(read, batch_rows))
                if len(ahead) > _AHEAD:
                    yield ahead.popleft().result()
            while ahead:
                yield ahead.popleft().result()
        finally:
            # Whoever stops early does not wait for what nobody will use.
            for future in ahead:
                future.cancel()


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
