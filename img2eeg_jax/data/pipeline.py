"""Batches for training and evaluation: tf.data in, NumPy out."""

from collections.abc import Iterator

import numpy as np

from img2eeg_jax.data.dataset import Split
from img2eeg_jax.data.tensorflow_setup import tf

_PREFETCH = 4


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
) -> Iterator[dict[str, np.ndarray]]:
    """Goes once over a split, each example exactly once.

    Args:
      split: the examples.
      batch_size: rows of every batch, B; the last batch is padded to it.
      seed: with None the examples come in order; otherwise in a random permutation of
        the whole split that depends on (seed, epoch) only.
      epoch: number of the epoch.
      first_step: number of batches to leave out at the start, which are not read.

    Yields:
      Dicts of ``image`` u8[B, height, width, 3], ``eeg`` f32[B, channel, time],
      ``mask`` f32[B], 1 on examples and 0 on padding, and ``index`` i32[B], the row in
      the partition, -1 on padding. Padding repeats the split's first example.

    Raises:
      ValueError: the batch size is not positive, or `first_step` is negative.
    """
    if batch_size < 1 or first_step < 0:
        raise ValueError(
            "expected batch_size >= 1 and first_step >= 0, found "
            f"{batch_size} and {first_step}"
        )
    rows = _rows_of_batches(len(split.index), batch_size, seed, epoch)[first_step:]

    def gather(batch_rows: np.ndarray) -> tuple[np.ndarray, ...]:
        is_real = batch_rows >= 0
        taken = np.where(is_real, batch_rows, 0)
        index = np.where(is_real, split.index[taken], -1)
        return (
            split.images[taken],
            split.eeg[taken],
            is_real.astype(np.float32),
            index.astype(np.int32),
        )

    dtypes = (tf.uint8, tf.float32, tf.float32, tf.int32)
    names = ("image", "eeg", "mask", "index")
    dataset = tf.data.Dataset.from_tensor_slices(rows).map(
        lambda batch_rows: tf.numpy_function(gather, [batch_rows], dtypes),
        num_parallel_calls=2,
        deterministic=True,
    )
    for values in dataset.prefetch(_PREFETCH).as_numpy_iterator():
        yield dict(zip(names, values, strict=True))


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
