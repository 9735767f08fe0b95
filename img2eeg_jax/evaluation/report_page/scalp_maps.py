"""Maps of the scalp over time, which the page draws as its slider moves."""

import base64
import dataclasses
import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from img2eeg_jax.drawing import scalp
from img2eeg_jax.evaluation.findings import Table
from img2eeg_jax.evaluation.metrics import METRICS
from img2eeg_jax.evaluation.report_page import columns

_PIXELS = 56
# Weights are integers in the page, so many to one.
_SCALE = 8192
_DECIMALS = 4


@dataclasses.dataclass(frozen=True)
class ScalpMaps:
    """What the page's script draws maps from.

    Attributes:
      title: in a few words.
      alt_text: where and when values are highest.
      data: JSON: `names`, `xy` (from the left and the top of the head, 0..1),
        `times_ms`, `metrics` [{label, values[time][channel], limit, signed}], `first`
        (the time to show first), `n_pixels`, and base64 of i16 little-endian `pixels`
        (which are drawn) and `weights` [pixel, channel], `scale` to 1.
    """

    title: str
    alt_text: str
    data: str


def scalp_maps(
    tables: Mapping[Any, Table], names: Sequence[str], where: str = ""
) -> ScalpMaps | None:
    """Makes maps of metrics by channel and time, mean over subjects.

    Args:
      tables: subject → table with `channel` and `time_s`.
      names: the metrics; those that are undefined everywhere are left out.
      where: of which rows, in words.

    Returns:
      None if fewer than 2 channels have a known place, or nothing is defined.
    """
    first = next(iter(tables.values()))
    channels = columns.unique(first, "channel")
    drawn = head(channels)
    if drawn is None:
        return None
    known, is_known = drawn["names"], drawn["rows"]
    metrics, shown, times_s = [], [], np.empty(0)
    for name in names:
        axes, mean = columns.mean_grid(tables.values(), ("channel", "time_s"), name)
        times_s, mean = np.asarray(axes[1]), mean[is_known]
        if np.isfinite(mean).any():
            metrics.append(_metric(name, mean))
            shown.append(mean)
    if not metrics:
        return None
    peak, alt_text = _peak(METRICS[names[0]].short_label, shown[0], known, times_s)
    data = {
        **drawn,
        "times_ms": np.round(times_s * 1e3, 2).tolist(),
        "first": peak,
        "metrics": metrics,
    }
    title = f"Maps of the scalp over time{where}"
    return ScalpMaps(title, alt_text, json.dumps(data))


def head(channels: Sequence[str]) -> dict[str, Any] | None:
    """Returns what draws maps of any values on the head, as JSON's own types.

    Args:
      channels: their names; those without a known place are left out.

    Returns:
      `names`, `rows` (their places among `channels`), and of `ScalpMaps.data` `xy`,
      `n_pixels`, `scale`, `pixels`, `weights`; None of fewer than 2 known channels.
    """
    positions = scalp.positions_of(channels)
    (rows,) = np.nonzero(~np.isnan(positions).any(axis=1))
    if len(rows) < 2:
        return None
    positions = positions[rows]
    return {
        "names": [str(channels[int(row)]) for row in rows],
        "rows": rows.tolist(),
        "xy": np.round(scalp.on_square(positions), 4).tolist(),
        **_weights(positions),
    }


def _metric(name: str, values: NDArray[np.float64]) -> dict[str, Any]:
    """Returns what the page holds of f64[channel, time]."""
    rounded = np.round(values.T, _DECIMALS)
    plain = rounded.astype(object)
    plain[np.isnan(rounded)] = None
    return {
        "label": METRICS[name].short_label,
        "unit": METRICS[name].unit,
        "values": plain.tolist(),
        "limit": max(float(np.nanmax(np.abs(values))), 10.0**-_DECIMALS),
        "signed": bool(np.nanmin(values) < 0),
    }


def _peak(
    label: str, values: NDArray, channels: Sequence[str], times_s: NDArray
) -> tuple[int, str]:
    """Returns when the mean over channels is highest, and says so."""
    mean = np.where(np.isfinite(values), values, -np.inf).mean(axis=0)
    peak = int(np.argmax(mean))
    at_peak = np.where(np.isfinite(values[:, peak]), values[:, peak], -np.inf)
    best = int(np.argmax(at_peak))
    return peak, (
        f"The head seen from above, nose up, coloured by {label} at the time that the "
        f"slider chooses. Its mean over {len(channels)} channels is highest at "
        f"{times_s[peak] * 1e3:.0f} ms, where {channels[best]} is highest: "
        f"{values[best, peak]:.3f}."
    )


def _weights(positions: NDArray) -> dict[str, Any]:
    weights = scalp.map_weights(positions, _PIXELS).reshape(_PIXELS**2, -1)
    (drawn,) = np.nonzero(np.isfinite(weights).all(axis=1))
    most = float(np.abs(weights[drawn]).max(initial=1))
    scale = min(_SCALE, np.floor(32767 / most))
    return {
        "n_pixels": _PIXELS,
        "scale": float(scale),
        "pixels": _base64(drawn),
        "weights": _base64(np.round(weights[drawn] * scale)),
    }


def _base64(numbers: NDArray) -> str:
    return base64.b64encode(numbers.astype("<i2").tobytes()).decode()
