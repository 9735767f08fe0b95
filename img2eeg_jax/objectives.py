"""The losses: pure, masked functions of arrays that add up over devices.

Every function returns (sum over the real rows of this device, number of those rows).
Summed over devices and divided, the pair is the loss of the whole batch; only
`contrast` needs to know the device axis, because it pairs images across devices.
"""

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
    _check_same_shape(signal, target)
    if correlation not in ("pearson", "spearman"):
        raise ValueError(
            f"correlation: expected 'pearson' or 'spearman', found {correlation!r}"
        )
    if correlation == "spearman":
        signal, target = average_ranks(signal), average_ranks(target)
    if not with_gradient:
        signal = lax.stop_gradient(signal)
    signal, target = _unit_rows(signal), _unit_rows(target) * mask[:, None]
    count, target_sum = mask.sum(), target.sum(0)
    if axis_name is not None:
        count, target_sum = lax.psum((count, target_sum), axis_name)
    matching = (signal * target).sum(-1)
    with_all = jnp.matmul(signal, target_sum, precision=lax.Precision.HIGHEST)
    others = (with_all - matching) / jnp.maximum(count - 1, 1)
    return _masked_sum(1 - matching + others, mask)


def moments(signal: Array, target: Array, mask: Array) -> SumAndCount:
    """Sums over images of what a correlation over images is made of.

    Args:
      signal: f32[batch, ..., n].
      target: of the same shape.
      mask: f32[batch], 0 on padding rows.

    Returns:
      (f32[5, ..., n] sums of signal, target, their squares and their product, number of
      real rows).

    Raises:
      ValueError: shapes differ.
    """
    _check_same_shape(signal, target)
    values = jnp.stack([signal, target, signal**2, target**2, signal * target])
    sums = jnp.tensordot(
        values, mask, axes=((1,), (0,)), precision=lax.Precision.HIGHEST
    )
    return sums, mask.sum()


def correlation(sums: np.ndarray, count: float) -> np.ndarray:
    """Computes Pearson r over images from `moments`.

    Args:
      sums: f64[5, ..., n], added up over batches.
      count: number of images.

    Returns:
      f64[..., n]; NaN where signal or target does not vary.
    """
    x, y, xx, yy, xy = np.asarray(sums, np.float64) / count
    variances = (xx - x**2) * (yy - y**2)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(variances > 0, (xy - x * y) / np.sqrt(variances), np.nan)


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
