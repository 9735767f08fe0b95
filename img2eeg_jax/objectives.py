"""The losses: pure, masked functions of arrays that add up over devices.

Every function returns (sum over the real rows of this device, number of those rows).
Summed over devices and divided, the pair is the loss of the whole batch; only
`contrast` needs to know the device axis, because it pairs images across devices.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

Array = jax.Array
SumAndCount = tuple[Array, Array]

# Keeps the correlation of a constant row finite (it is then 0).
_SMALLEST_NORM = 1e-12


def mean_squared_error(pred: Array, target: Array, mask: Array) -> SumAndCount:
    """Mean squared error of each row.

    Args:
      pred: f32[batch, n].
      target: f32[batch, n], same units as `pred`.
      mask: f32[batch], 0 on padding rows.

    Returns:
      (sum over real rows, number of real rows), scalars.

    Raises:
      ValueError: shapes differ.
    """
    _check_same_shape(pred, target)
    return _masked_sum(jnp.square(pred - target).mean(-1), mask)


def cross_entropy_to_argmax(
    logits: Array, teacher_logits: Array, mask: Array
) -> SumAndCount:
    """Cross-entropy of the logits to the class that the teacher finds likeliest.

    Args:
      logits: f32[batch, class].
      teacher_logits: f32[batch, class].
      mask: f32[batch], 0 on padding rows.

    Returns:
      (sum over real rows in nats, number of real rows), scalars.

    Raises:
      ValueError: shapes differ.
    """
    _check_same_shape(logits, teacher_logits)
    label = teacher_logits.argmax(-1, keepdims=True)
    log_probability = jnp.take_along_axis(jax.nn.log_softmax(logits), label, -1)
    return _masked_sum(-log_probability[:, 0], mask)


def average_ranks(x: Array) -> Array:
    """Ranks along the last axis from 1, ties averaged, as `scipy.stats.rankdata`.

    Args:
      x: f32[..., n].

    Returns:
      f32[..., n]. Ranks are piecewise constant: their gradient is zero.
    """

    def rank(row: Array) -> Array:
        ordered = jnp.sort(row)
        below = jnp.searchsorted(ordered, row, side="left")
        up_to = jnp.searchsorted(ordered, row, side="right")
        return (below + up_to + 1) / 2

    rows = lax.stop_gradient(x).reshape(-1, x.shape[-1])
    return jax.vmap(rank)(rows).reshape(x.shape).astype(jnp.float32)


def contrast(
    signal: Array,
    target: Array,
    mask: Array,
    *,
    correlation: str = "pearson",
    with_gradient: bool = True,
    axis_name: str | None = None,
) -> SumAndCount:
    """1 − mean_i corr(signal_i, target_i) + mean_{i≠j} corr(signal_i, target_j).

    i and j run over the real rows of all devices. Rows scaled to zero mean and unit
    norm make a correlation a dot product, so that the sum over all j is one dot
    product with the sum of the targets: linear in the batch, and one vector is all
    that devices exchange. With a single real row the off-diagonal mean is 0.

    Args:
      signal: f32[batch, n].
      target: f32[batch, n].
      mask: f32[batch], 0 on padding rows.
      correlation: "pearson", or "spearman" (on average ranks; no gradient).
      with_gradient: False reproduces the released code, which copies the
        correlations out of the graph.
      axis_name: mapped axis that the batch is split over, or None.

    Returns:
      (sum over real rows, number of real rows), scalars.

    Raises:
      ValueError: shapes differ, or an unknown correlation.
    """
    signal, target = _comparable_rows(signal, target, correlation)
    if not with_gradient:
        signal = lax.stop_gradient(signal)
    target = target * mask[:, None]
    count, target_sum = mask.sum(), target.sum(0)
    if axis_name is not None:
        count, target_sum = lax.psum((count, target_sum), axis_name)
    matching = (signal * target).sum(-1)
    with_all = jnp.matmul(signal, target_sum, precision=lax.Precision.HIGHEST)
    others = (with_all - matching) / jnp.maximum(count - 1, 1)
    return _masked_sum(1 - matching + others, mask)


def pairs(
    signal: Array, target: Array, mask: Array, *, correlation: str = "pearson"
) -> tuple[Array, Array, Array]:
    """What the contrast over the images of all batches is made of, of one batch.

    All three add up over batches and devices; `contrast_of_pairs` takes the sums. So
    the contrast depends neither on which images share a batch nor on its size.

    Args:
      signal: f32[batch, n].
      target: f32[batch, n].
      mask: f32[batch], 0 on padding rows.
      correlation: "pearson", or "spearman" (on average ranks).

    Returns:
      The sum of corr(signal_i, target_i) over real rows, a scalar; and the sums of the
      signals and of the targets, f32[n], each scaled to zero mean and unit norm.

    Raises:
      ValueError: shapes differ, or an unknown correlation.
    """
    signal, target = _comparable_rows(signal, target, correlation)
    signal, target = signal * mask[:, None], target * mask[:, None]
    return (signal * target).sum(), signal.sum(0), target.sum(0)


def contrast_of_pairs(
    sums: tuple[np.ndarray, np.ndarray, np.ndarray], count: float
) -> np.ndarray:
    """Computes the contrast, in which i and j run over the images of all batches.

    Args:
      sums: f64[...], f64[..., n] and f64[..., n], of all batches; see `pairs`.
      count: number of images.

    Returns:
      f64[...], the value of `contrast` of one batch of all images.
    """
    matching, signal, target = (np.asarray(x, np.float64) for x in sums)
    others = (signal * target).sum(-1) - matching
    return 1 - matching / count + others / (count * max(count - 1, 1))


def moments(
    signal: Array, target: Array, mask: Array, *, axis_name: str | None = None
) -> SumAndCount:
    """What a correlation over the images of all batches is made of, of one batch.

    Float32 is too short for a variance that is the difference of two large numbers.
    So values are taken from those of the batch's first real row, an exact difference
    where they are close, then from the mean of the differences, and scaled to at most
    1 before they are squared.

    Args:
      signal: f32[batch, ..., n].
      target: of the same shape.
      mask: f32[batch], 0 on padding rows.
      axis_name: mapped axis that the batch is split over, or None.

    Returns:
      (f32[9, ..., n], number of real rows), of all devices: of signal and target the
      first real row, the mean less that row and the scale; then the sums of their
      scaled squares and products. `add_moments` takes them.

    Raises:
      ValueError: shapes differ.
    """
    _check_same_shape(signal, target)

    def over_devices(reduce: Callable[..., Array], x: Array) -> Array:
        return x if axis_name is None else reduce(x, axis_name)

    values, is_real = jnp.stack([signal, target]), mask > 0
    has_rows, count = is_real.any(), over_devices(lax.psum, mask.sum())
    is_first = has_rows
    if axis_name is not None:
        device = lax.axis_index(axis_name)
        n_devices = lax.axis_size(axis_name)
        first = lax.pmin(jnp.where(has_rows, device, n_devices), axis_name)
        is_first = device == first
    row = jnp.where(is_first, values[:, jnp.argmax(is_real)], 0)
    row = over_devices(lax.psum, row)
    is_real = is_real.reshape(-1, *(1,) * (signal.ndim - 1))
    values = jnp.where(is_real, values - row[:, None], 0)
    mean = over_devices(lax.psum, values.sum(1)) / jnp.maximum(count, 1)
    values = jnp.where(is_real, values - mean[:, None], 0)
    scale = over_devices(lax.pmax, jnp.abs(values).max(1))
    x, y = values / jnp.where(scale > 0, scale, 1)[:, None]
    sums = over_devices(lax.psum, jnp.stack([x * x, y * y, x * y]).sum(1))
    return jnp.concatenate([row, mean, scale, sums]), count


def add_moments(
    total: tuple[np.ndarray, float] | None, batch: SumAndCount
) -> tuple[np.ndarray, float]:
    """Adds a batch's `moments` to those of the batches before, in float64.

    Args:
      total: what this returned of the batches before; None if there were none.
      batch: what `moments` returned.

    Returns:
      (f64[5, ..., n], the means of signal and target and the sums of their squares
      and products about the means; number of images).
    """
    values, count = np.asarray(batch[0], np.float64), float(batch[1])
    row, mean, scale, sums = values[:2], values[2:4], values[4:6], values[6:]
    scales = np.stack([*scale**2, scale[0] * scale[1]])
    added = np.concatenate([row + mean, sums * scales])
    if total is None or not total[1]:
        return added, count
    before, count_before = total
    if not count:
        return total
    n = count_before + count
    # Chan, Golub & LeVeque (1983).
    x, y = between = added[:2] - before[:2]
    apart = np.stack([x * x, y * y, x * y]) * (count_before * count / n)
    means = before[:2] + between * (count / n)
    return np.concatenate([means, before[2:] + added[2:] + apart]), n


def correlation(sums: np.ndarray) -> np.ndarray:
    """Computes Pearson r over images.

    Args:
      sums: f64[5, ..., n], what `add_moments` returned of all batches.

    Returns:
      f64[..., n], from -1 to 1; NaN where signal or target does not vary.
    """
    _, _, xx, yy, xy = sums
    with np.errstate(divide="ignore", invalid="ignore"):
        r = np.clip(xy / (np.sqrt(xx) * np.sqrt(yy)), -1, 1)
    return np.where((xx > 0) & (yy > 0), r, np.nan)


def _comparable_rows(
    signal: Array, target: Array, correlation: str
) -> tuple[Array, Array]:
    """Returns rows whose dot products are correlations."""
    _check_same_shape(signal, target)
    if correlation not in ("pearson", "spearman"):
        raise ValueError(
            f"correlation: expected 'pearson' or 'spearman', found {correlation!r}"
        )
    if correlation == "spearman":
        signal, target = average_ranks(signal), average_ranks(target)
    return _unit_rows(signal), _unit_rows(target)


def _unit_rows(x: Array) -> Array:
    """Scales rows to zero mean and unit norm."""
    x = x - x.mean(-1, keepdims=True)
    squares = jnp.square(x).sum(-1, keepdims=True)
    return x * lax.rsqrt(jnp.maximum(squares, _SMALLEST_NORM))


def _masked_sum(values: Array, mask: Array) -> SumAndCount:
    return (values * mask).sum(), mask.sum()


def _check_same_shape(pred: Array, target: Array) -> None:
    if pred.shape != target.shape:
        raise ValueError(f"expected equal shapes, found {pred.shape}, {target.shape}")
