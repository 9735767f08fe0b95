"""Linear support vector machines, thousands at a time: the exact solution of each.

What LIBSVM finds for one problem step by step, an interior-point method finds for a
block of problems at once, with NumPy: all problems of a block have as many examples,
and lie along the last axis of every array, so that each operation is one loop over
contiguous memory.
"""

import dataclasses

import numpy as np
from numpy.typing import ArrayLike, NDArray

# The gap between primal and dual at which a problem counts as solved, relative.
_TOLERANCE = 1e-14
_MAX_STEPS = 60

# How much of the way to the nearest bound a step may go.
_TO_BOUND = 0.995


def fit(
    kernel: ArrayLike, labels: ArrayLike, cost: float = 1.0
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Solves soft-margin support vector classification, as `SVC(kernel="linear")`.

    Maximises sum(a) - a'Qa / 2 with Q[i, j] = labels[i] labels[j] kernel[i, j],
    0 <= a <= cost and labels'a = 0 (LIBSVM's C-SVC; Chang & Lin 2011, ACM TIST 2:27),
    by the predictor-corrector method of Mehrotra (1992, SIAM J. Optim. 2:575). The
    intercept is LIBSVM's: the mean of those that the free support vectors ask for, and
    the middle of all that are as good where none is free. LIBSVM comes less close, its
    kernels being float32.

    Args:
      kernel: f[example, example, problem], products of the examples.
      labels: f[example], 1 or -1 of each example, the same in all problems, as many of
        one as of the other.
      cost: C, the largest weight of an example.

    Returns:
      (f64[example, problem], f64[problem]): by what to multiply examples to get the
      direction, which is their label times a; and the intercept. The decision of x is
      the sum of direction * x, plus the intercept: above 0 for label 1.

    Raises:
      ValueError: shapes do not agree, or there are not as many labels of 1 as of -1.
    """
    kernel, labels = np.asarray(kernel, np.float64), np.asarray(labels, np.float64)
    n = len(labels)
    if kernel.ndim != 3 or kernel.shape[:2] != (n, n):
        expected = f"[{n}, {n}, problem] for {n} labels"
        raise ValueError(f"kernel: expected {expected}, found {kernel.shape}")
    if set(labels.tolist()) != {-1.0, 1.0} or labels.sum():
        raise ValueError("labels: expected as many of 1 as of -1, found others")
    signs = labels[:, np.newaxis, np.newaxis] * labels[:, np.newaxis]
    labels = labels[:, np.newaxis]
    problems, scale = _conditioned(kernel)
    point = _solve(problems * signs, labels, cost * scale)
    directions = labels * point.a / scale
    asked = labels - np.einsum("ijb,jb->ib", kernel, directions)
    return directions, _intercept(asked, labels, point)


def _conditioned(
    kernel: NDArray[np.float64],
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Returns a kernel that has the same solution but for a scale, and this scale.

    Because labels'a is 0, moving all examples changes nothing, nor does one more
    feature that all share. The mean of the examples is moved to 0, and the shared
    feature keeps the equations regular where examples have few others. The scale makes
    tolerances mean the same whatever the unit of the examples.
    """
    of_mean = kernel.mean(0)
    centred = kernel - of_mean - of_mean[:, np.newaxis] + of_mean.mean(0)
    scale = np.einsum("iib->b", centred) / len(kernel)
    # Examples that are all the same.
    scale = np.where(scale > 0, scale, 1.0)
    return centred / scale + 1, scale


@dataclasses.dataclass
class _Point:
    """Where the method is, all f64[example, problem] and above 0 but `nu`, [problem].

    Attributes:
      a: the dual variables.
      rest: the cost minus `a`, kept apart so that it stays exact where it is tiny.
      low: the multipliers of 0 <= a.
      high: the multipliers of a <= cost.
      nu: the multipliers of labels'a = 0, which tend to the intercepts.
    """

    a: NDArray[np.float64]
    rest: NDArray[np.float64]
    low: NDArray[np.float64]
    high: NDArray[np.float64]
    nu: NDArray[np.float64]

    def gap(self) -> NDArray[np.float64]:
        """Returns the mean product of a bounded variable and its multiplier."""
        return _gap(self.a, self.rest, self.low, self.high)

    def move(self, step: "_Step", length: NDArray[np.float64]) -> None:
        """Goes f64[problem] of a step."""
        self.a += length * step.a
        self.rest -= length * step.a
        self.low += length * step.low
        self.high += length * step.high
        self.nu += length * step.nu


@dataclasses.dataclass
class _Step:
    """A direction; see `_Point`, whose `rest` goes against `a`."""

    a: NDArray[np.float64]
    low: NDArray[np.float64]
    high: NDArray[np.float64]
    nu: NDArray[np.float64]

    def longest(self, at: _Point) -> NDArray[np.float64]:
        """Returns f64[problem], how far it goes before a variable is 0; 1 at most."""
        rates = (
            -self.a / at.a,
            self.a / at.rest,
            -self.low / at.low,
            -self.high / at.high,
        )
        fastest = np.maximum.reduce([rate.max(0) for rate in rates])
        return 1 / np.maximum(fastest, 1)

    def gap_after(self, at: _Point, length: NDArray[np.float64]) -> NDArray[np.float64]:
        """Returns what `_Point.gap` would be."""
        a = length * self.a
        high, low = length * self.high, length * self.low
        return _gap(at.a + a, at.rest - a, at.low + low, at.high + high)


def _gap(*sides: NDArray[np.float64]) -> NDArray[np.float64]:
    a, rest, low, high = sides
    products = np.einsum("ib,ib->b", a, low) + np.einsum("ib,ib->b", rest, high)
    return products / (2 * len(a))


def _solve(
    problems: NDArray[np.float64],
    labels: NDArray[np.float64],
    cost: NDArray[np.float64],
) -> _Point:
    """Returns the solutions.

    Args:
      problems: f64[example, example, problem], Q.
      labels: f64[example, 1].
      cost: f64[problem].
    """
    point = _start(problems, cost)
    enough = _TOLERANCE * np.minimum(1, cost)
    for _ in range(_MAX_STEPS):
        gap = point.gap()
        is_open = gap > enough
        if not is_open.any():
            break
        newton = _Newton(problems, labels, point)
        predicted = newton.step(0.0, 0.0, 0.0)
        gap_after = predicted.gap_after(point, predicted.longest(point))
        step = newton.step(
            (gap_after / gap) ** 3 * gap,
            predicted.a * predicted.low,
            -predicted.a * predicted.high,
        )
        # Solved problems stay, because rounding would spoil them.
        point.move(step, np.where(is_open, _TO_BOUND * step.longest(point), 0.0))
    return point


def _start(problems: NDArray[np.float64], cost: NDArray[np.float64]) -> _Point:
    """Returns a point inside of all bounds that meets all equations."""
    n, _, n_problems = problems.shape
    a = np.broadcast_to(np.minimum(cost / 2, 0.5), (n, n_problems)).copy()
    slope = np.einsum("ijb,jb->ib", problems, a) - 1
    return _Point(
        a=a,
        rest=cost - a,
        low=np.maximum(slope, 0) + 1,
        high=np.maximum(-slope, 0) + 1,
        nu=np.zeros(n_problems),
    )


class _Newton:
    """The linear equations of one step, factored once and solved twice."""

    def __init__(
        self,
        problems: NDArray[np.float64],
        labels: NDArray[np.float64],
        point: _Point,
    ):
        self._labels, self._point = labels, point
        self._slope = np.einsum("ijb,jb->ib", problems, point.a) - 1
        self._slope += labels * point.nu
        factor = problems.copy()
        diagonal = np.arange(len(factor))
        factor[diagonal, diagonal] += point.low / point.a + point.high / point.rest
        self._factor = _cholesky(factor)
        self._by_labels = _solved(self._factor, np.broadcast_to(labels, point.a.shape))
        self._curvature = (labels * self._by_labels).sum(0)

    def step(
        self,
        gap: NDArray[np.float64] | float,
        low_error: NDArray[np.float64] | float,
        high_error: NDArray[np.float64] | float,
    ) -> _Step:
        """Returns the step to where all products are `gap`, second order corrected.

        Args:
          gap: f64[problem].
          low_error: f64[example, problem], by how much the products of `low` would be
            too large because the equations are linear; `high_error` those of `high`.
          high_error: see `low_error`.
        """
        at = self._point
        low = (gap - low_error) / at.a - at.low
        high = (gap - high_error) / at.rest - at.high
        right = low - high - self._slope + at.low - at.high
        a = _solved(self._factor, right)
        nu = (self._labels * a).sum(0) / self._curvature
        # The rounding error of labels'a, which is 0 in theory, is taken out, too.
        nu += (self._labels * at.a).sum(0) / self._curvature
        a -= self._by_labels * nu
        return _Step(
            a=a,
            low=low - at.low / at.a * a,
            high=high + at.high / at.rest * a,
            nu=nu,
        )


def _cholesky(a: NDArray[np.float64]) -> NDArray[np.float64]:
    """Factors f64[n, n, problem] in place; the diagonal becomes its reciprocal."""
    for j in range(len(a)):
        a[j:, j] -= np.einsum("ikb,kb->ib", a[j:, :j], a[j, :j])
        # Never 0, although a kernel of few features is singular up to rounding.
        a[j, j] = 1 / np.sqrt(np.maximum(a[j, j], np.finfo(np.float64).tiny))
        a[j + 1 :, j] *= a[j, j]
    return a


def _solved(
    factor: NDArray[np.float64], right: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Returns f64[n, problem], the solution for a right side of that shape."""
    x = np.array(right)
    for j in range(len(x)):
        x[j] -= np.einsum("kb,kb->b", factor[j, :j], x[:j])
        x[j] *= factor[j, j]
    for j in reversed(range(len(x))):
        x[j] -= np.einsum("kb,kb->b", factor[j + 1 :, j], x[j + 1 :])
        x[j] *= factor[j, j]
    return x


def _intercept(
    asked: NDArray[np.float64], labels: NDArray[np.float64], point: _Point
) -> NDArray[np.float64]:
    """Returns f64[problem], the intercepts by LIBSVM's rule.

    Args:
      asked: f64[example, problem], the intercepts with which the examples' decisions
        would equal their labels.
      labels: f64[example, 1].
      point: the solutions.
    """
    at_zero, at_cost = point.a < point.low, point.rest < point.high
    is_free = ~at_zero & ~at_cost
    n_free = is_free.sum(0)
    mean = np.where(is_free, asked, 0).sum(0) / np.maximum(n_free, 1)
    # An example of label 1 that does not count, or one of -1 that counts as much as it
    # may, is as content with a larger intercept.
    wants_more = np.where(labels > 0, at_zero, at_cost)
    least = np.where(wants_more, asked, -np.inf).max(0)
    largest = np.where(wants_more, np.inf, asked).min(0)
    return np.where(n_free > 0, mean, (least + largest) / 2)
