"""Compares two networks on the same images: a paired bootstrap."""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from img2eeg_jax.errors import unexpected
from img2eeg_jax.evaluation.findings import Findings
from img2eeg_jax.evaluation.statistics import false_discovery, interval, p_of_draws
from img2eeg_jax.evaluation.summary import plain


def compare(a: Findings, b: Findings) -> Findings:
    """Compares two networks on the same images: the first's r minus the second's.

    Bootstrap samples of the images, the same of both networks, say how far the
    difference depends on which images were shown.

    Args:
      a: what the part `encoding` found of one network.
      b: what it found of the other, of the same images and EEG, with the same seed.

    Returns:
      Findings of the channels and times that both predict: scores are differences in
      the first's window, with `_ci_low`, `_ci_high` and the two-sided bootstrap `_p`;
      the table `encoding` has the same of each channel and time, `encoding_times` of
      each time.

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
        (ch_names, times_s), (others, others_s) = self.axes
        shared = [name for name in ch_names if name in others]
        step_s = np.min(np.diff(times_s)) if len(times_s) > 1 else 0.001
        near = np.abs(times_s[:, np.newaxis] - others_s) < step_s / 10
        if not shared or not near.any():
            expected = "networks with a channel and a time in common"
            raise unexpected("comparison of networks", expected, "none")
        times = np.flatnonzero(near.any(axis=1))
        channels = [[of.index(name) for name in shared] for of in (ch_names, others)]
        self.rows = [(channels[0], times), (channels[1], near[times].argmax(axis=1))]
        self.ch_names, self.times_s = shared, times_s[times]
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
        ch_names, times_s = self.axes[i]
        values = np.asarray(self.both[i].tables["encoding"][name], np.float64)
        return values.reshape(len(ch_names), len(times_s))[np.ix_(*self.rows[i])]

    def _draws(self, i: int, name: str) -> NDArray[np.float32]:
        channels, times = self.rows[i]
        return self.both[i].arrays[f"draws_{name}"][:, channels][:, :, times]

    def difference(self) -> Findings:
        """Returns what `compare` does."""
        names = ("encoding_r", "encoding_r_all_repetitions")
        first_s, last_s = self.both[0].scores["window_s"]
        half_s = 1e-6
        inside = (self.times_s >= first_s - half_s) & (self.times_s <= last_s + half_s)
        if not inside.any():
            expected = f"a shared time in {first_s:g} to {last_s:g} s"
            raise unexpected("comparison of networks", expected, "none")
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
        n_channels, n_times = len(self.ch_names), len(self.times_s)
        return Findings(
            "comparison",
            scores={
                **scores,
                "window_s": self.times_s[inside][[0, -1]].tolist(),
                "ch_names": self.ch_names,
                "n_images": len(self.both[0].arrays["images"]),
                "n_draws": self.both[0].scores["n_draws"],
            },
            tables={
                "encoding": {
                    "channel": np.repeat(self.ch_names, n_times),
                    "time_s": np.tile(self.times_s, n_channels),
                    **cells,
                },
                "encoding_times": {"time_s": self.times_s, **at_times},
            },
            notes=(
                "Differences are of these images and this EEG: another subject's may "
                "differ otherwise.",
            ),
        )

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


def _axes(findings: Findings) -> tuple[list[str], NDArray[np.float64]]:
    scores = findings.scores
    return scores["ch_names"], np.array(scores["per_time"]["times_s"], np.float64)
