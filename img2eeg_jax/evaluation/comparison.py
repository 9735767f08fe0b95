"""Compares two networks on the same images: a paired bootstrap."""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from img2eeg_jax.axes import Axes
from img2eeg_jax.errors import unexpected
from img2eeg_jax.evaluation.findings import Findings
from img2eeg_jax.evaluation.statistics import false_discovery, interval, p_of_draws
from img2eeg_jax.evaluation.summary import plain
from img2eeg_jax.evaluation.tables import places


def compare(a: Findings, b: Findings) -> Findings:
    """Compares two networks on the same images: the first's r minus the second's.

    Bootstrap samples of the images, the same of both networks, say how far the
    difference depends on which images were shown.

    Args:
      a: what the part `encoding` found of one network.
      b: what it found of the other, of the same images and EEG, with the same seed.

    Returns:
      Findings of the channels and times, or features, that both predict: scores are
      differences in the first's window, with `_ci_low`, `_ci_high` and the two-sided
      bootstrap `_p`; the table `encoding` has the same of each channel and time,
      `encoding_times` of each time.

    Raises:
      InputError: images, EEG, seed or numbers of draws differ, or there is no channel
        and time that both predict.
    """
    return _Pair(a, b).difference()


class _Pair:
    """Two networks' findings, at the channels and times that both have.

    Attributes:
      rows: for each of both, i64[channel] and i64[time].
    """

    def __init__(self, a: Findings, b: Findings):
        self.both = (a, b)
        self.axes = [_axes(of) for of in self.both]
        one, other = self.axes
        ch_names, others = list(one.ch_names), list(other.ch_names)
        shared = [name for name in ch_names if name in {*others}]
        near = _near(one, other)
        if not shared or not near.any():
            expected = "networks with a channel and a time in common"
            raise unexpected("comparison of networks", expected, "none")
        times = np.flatnonzero(near.any(axis=1))
        channels = [[of.index(name) for name in shared] for of in (ch_names, others)]
        self.rows = [(channels[0], times), (channels[1], near[times].argmax(axis=1))]
        self.shared = Axes(tuple(shared), one.times_s[times], one.unit)
        self._check()

    def _check(self) -> None:
        a, b = self.both
        where = "comparison of networks"
        if not np.array_equal(a.arrays["images"], b.arrays["images"]):
            raise unexpected(where, "the same test images", "others")
        one, other = (self._cells(i, "noise_ceiling_lower") for i in (0, 1))
        if not np.allclose(one, other, atol=1e-4, equal_nan=True):
            expected = "the same EEG, halvings and seed: one lower noise ceiling"
            raise unexpected(where, expected, "two")
        counts = [of.scores["n_draws"] for of in self.both]
        if counts[0] != counts[1]:
            raise unexpected(where, f"{counts[0]} draws of both", counts[1])

    def _cells(self, i: int, name: str) -> NDArray[np.float64]:
        """Returns f64[channel, time] of one of both."""
        values = np.asarray(self.both[i].tables["encoding"][name], np.float64)
        return values.reshape(self.axes[i].shape)[np.ix_(*self.rows[i])]

    def _draws(self, i: int, name: str) -> NDArray[np.float32]:
        channels, times = self.rows[i]
        return self.both[i].arrays[f"draws_{name}"][:, channels][:, :, times]

    def difference(self) -> Findings:
        """Returns what `compare` does."""
        names = ("encoding_r", "encoding_r_all_repetitions")
        inside = self._inside()
        scores: dict[str, Any] = {}
        cells: dict[str, NDArray] = {}
        at_times: dict[str, NDArray] = {}
        for name in names:
            values = self._cells(0, name) - self._cells(1, name)
            if np.isnan(values).all():
                continue
            draws = np.subtract(self._draws(0, name), self._draws(1, name), dtype=float)
            label = f"{name}_difference"
            mean = values[:, inside].mean(), draws[:, :, inside].mean((1, 2))
            scores |= {k: plain(v) for k, v in self._described(label, *mean).items()}
            at_times |= self._described(label, values.mean(0), draws.mean(1))
            cells |= self._described(
                label, values.ravel(), draws.reshape(len(draws), -1)
            )
        tables = {"encoding": {**places(self.shared), **cells}}
        if self.shared.has_times:
            tables["encoding_times"] = {"time_s": self.shared.times_s, **at_times}
        return Findings(
            "comparison",
            scores={
                **scores,
                "window_s": self.shared.span_s(inside),
                "ch_names": list(self.shared.ch_names),
                "n_images": len(self.both[0].arrays["images"]),
                "n_draws": self.both[0].scores["n_draws"],
            },
            tables=tables,
            notes=(
                "Differences are of these images and this EEG: another subject's may "
                "differ otherwise.",
            ),
        )

    def _inside(self) -> NDArray[np.bool_]:
        """Returns which shared times are in the first's window; the one of features."""
        times_s, window_s = self.shared.times_s, self.both[0].scores["window_s"]
        if window_s is None:
            return np.ones(len(times_s), bool)
        first_s, last_s = window_s
        half_s = 1e-6
        inside = (times_s >= first_s - half_s) & (times_s <= last_s + half_s)
        if not inside.any():
            expected = f"a shared time in {first_s:g} to {last_s:g} s"
            raise unexpected("comparison of networks", expected, "none")
        return inside

    def _described(
        self, name: str, value: ArrayLike, draws: ArrayLike
    ) -> dict[str, NDArray]:
        """Returns a difference with its interval and p, under their names."""
        low, high = interval(draws, len(self.both[0].arrays["images"]))
        p = p_of_draws(draws)
        described = {"": value, "_ci_low": low, "_ci_high": high, "_p": p}
        if np.ndim(p):
            described["_p_fdr"] = false_discovery(p)
        return {name + suffix: np.asarray(of) for suffix, of in described.items()}


def _near(one: Axes, other: Axes) -> NDArray[np.bool_]:
    """Returns whether times are the same, bool[time, other's time]."""
    if not (one.has_times or other.has_times):
        return np.ones((1, 1), bool)
    step_s = np.min(np.diff(one.times_s)) if len(one.times_s) > 1 else 0.001
    return np.abs(one.times_s[:, np.newaxis] - other.times_s) < step_s / 10


def _axes(findings: Findings) -> Axes:
    scores = findings.scores
    if scores["window_s"] is None:
        return Axes.of_features(scores["ch_names"])
    return Axes(scores["ch_names"], scores["per_time"]["times_s"])
