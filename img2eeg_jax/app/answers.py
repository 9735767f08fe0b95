"""What the page shows of a prediction, as JSON's own types."""

import os
from collections.abc import Sequence
from typing import Any

import numpy as np

from img2eeg_jax.axes import UNKNOWN, Z
from img2eeg_jax.drawing import scalp
from img2eeg_jax.errors import InputError
from img2eeg_jax.evaluation.report_page.pictures import thumbnail_uri
from img2eeg_jax.evaluation.report_page.scalp_maps import head
from img2eeg_jax.models.cornet_s import AREAS
from img2eeg_jax.prediction.encoder import Encoder
from img2eeg_jax.prediction.prediction import Prediction
from img2eeg_jax.prediction.streaming import Predictor

_DIGITS = 5
_LEVEL = 0.95
# Positions along a side of an area's map; larger ones are averaged.
_MAP_SIDE = 28


def answer(
    encoder: Predictor, names: Sequence[str], images: Sequence[np.ndarray], path: str
) -> dict[str, Any]:
    """Predicts pictures, and returns what the page draws.

    Args:
      encoder: of one subject, or a mean.
      names: of the pictures.
      images: u8[size, size, 3] each.
      path: where the encoder was found.

    Raises:
      InputError: the encoder predicts no EEG.
    """
    eeg = encoder(np.stack(images), names, progress=False)
    if eeg.axes is None:
        raise InputError(f"{path}: expected a network that predicts EEG, found another")
    words = {Z: "z-scores", UNKNOWN: "unit unknown"}
    return {
        "unit": words.get(eeg.unit, eeg.unit),
        "subject": eeg.subject,
        "simulated": eeg.simulated,
        "times_ms": np.round(eeg.times_s * 1e3, 3).tolist(),
        "ch_names": list(eeg.ch_names),
        "colours": _colours(eeg.ch_names),
        "head": head(eeg.ch_names),
        "trust": trust_of(eeg),
        "images": [
            {
                "name": name,
                "values": rounded(eeg.data[row]),
                "thumbnail": thumbnail_uri(image),
                "familiarity": _familiarity(eeg, row),
            }
            for row, (name, image) in enumerate(zip(names, images, strict=True))
        ],
        "areas": areas_of(encoder, images),
        "code": python_lines(path, eeg.subject, names),
    }


def rounded(values: np.ndarray) -> list[Any]:
    """Returns numbers with as many digits as a screen shows, NaN as None."""
    values = np.asarray(values, np.float64)
    largest = np.nanmax(np.abs(values), initial=0) or 1.0
    decimals = _DIGITS - 1 - int(np.floor(np.log10(largest)))
    plain = np.round(values, decimals).astype(object)
    plain[np.isnan(values)] = None
    return plain.tolist()


def trust_of(eeg: Prediction) -> dict[str, Any]:
    """Returns how far to trust a prediction at each time, means over channels.

    `reach`: how far the interval of 95 % reaches to both sides of a curve; `r` and
    `ceiling`: of validation images; or `why` they are not known.
    """
    try:
        reliability = eeg.reliability
        low, high = eeg.interval(_LEVEL)
    except InputError as error:
        return {"why": str(error)}
    return {
        "reach": rounded((high[0] - low[0]).mean(0) / 2),
        "r": rounded(_mean(reliability.r)),
        "ceiling": rounded(_mean(reliability.ceiling)),
        "n_images": reliability.n_images,
        "n_repetitions": reliability.n_repetitions,
    }


def _mean(values: np.ndarray) -> np.ndarray:
    """Returns f64[time], the mean over channels where it is defined."""
    is_defined = np.isfinite(values)
    total = np.where(is_defined, values, 0).sum(0)
    with np.errstate(invalid="ignore", divide="ignore"):
        return total / is_defined.sum(0)


def areas_of(
    encoder: Predictor, images: Sequence[np.ndarray]
) -> list[dict[str, Any]] | None:
    """Returns of each area what its units do, for each picture; None if not known.

    `maps` [image][row][column] are means over channels, from 0 to 1 over all pictures;
    `means` [image] and `active` [image] the mean and the share above 0 of all units.
    """
    if not isinstance(encoder, Encoder):
        return None
    try:
        features = encoder.features(np.stack(images), AREAS, progress=False)
    except InputError:
        # A linear encoder of another backbone has other layers.
        return None
    return [{"name": name, **_area(of)} for name, of in features.items()]


def _area(activations: np.ndarray) -> dict[str, Any]:
    maps = activations.mean(-1, dtype=np.float64)
    step = -(-maps.shape[1] // _MAP_SIDE)
    side = maps.shape[1] // step
    maps = maps[:, : side * step, : side * step]
    maps = maps.reshape(len(maps), side, step, side, step).mean((2, 4))
    low, high = maps.min(), maps.max()
    spread = high - low if high > low else 1.0
    return {
        "shape": list(activations.shape[1:]),
        "maps": np.round((maps - low) / spread, 3).tolist(),
        "means": rounded(activations.mean((1, 2, 3))),
        "active": rounded((activations > 0).mean((1, 2, 3))),
    }


def python_lines(path: str, subject: Any, names: Sequence[str]) -> str:
    """Returns the program that predicts the same."""
    whose = "" if subject is None else f", subject={subject!r}"
    pictures = ", ".join(map(repr, names))
    lines = [
        "from img2eeg_jax import Encoder",
        "",
        f"encoder = Encoder.from_pretrained({os.fspath(path)!r}{whose})",
        f"eeg = encoder([{pictures}])",
        f"eeg.plot({names[0]!r}).savefig('predicted.png')",
        "eeg.save('predicted-ave.fif')",
    ]
    if len(names) > 1:
        lines.append(f"difference = eeg[{names[0]!r}] - eeg[{names[1]!r}]")
    return "\n".join(lines)


def _colours(ch_names: Sequence[str]) -> list[str]:
    colours = scalp.colours_of(scalp.positions_of(ch_names))
    return [
        "#" + "".join(f"{round(255 * part):02x}" for part in colour)
        for colour in colours
    ]


def _familiarity(eeg: Prediction, row: int) -> float | None:
    return None if eeg.familiarity is None else round(float(eeg.familiarity[row]), 2)
