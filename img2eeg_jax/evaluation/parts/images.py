"""How well single images are predicted, and the responses to some of them."""

import numpy as np
from numpy.typing import NDArray

from img2eeg_jax.evaluation.correlation import correlate_over_images
from img2eeg_jax.evaluation.findings import Findings
from img2eeg_jax.evaluation.material import Material

PART = "images"

# How many images' responses figures show.
N_SHOWN = 6


def find(material: Material, *, n_shown: int = N_SHOWN) -> Findings:
    """Correlates, image by image, predicted with measured patterns.

    Args:
      material: the network and the data.
      n_shown: of how many images the responses are kept, evenly spaced over the test
        set, so that nothing is hand-picked.

    Returns:
      Findings whose `images` table has a row an image, with its file's name CONCEPT/
      FILE, `pattern_r` and `split_half_pattern_r`; and arrays for figures: `predicted`
      and `measured` f32[image, channel, time], z-scored, of the images `shown`, and
      their `pictures` u8[image, height, width, 3]. Of features `times_s` is empty.
    """
    measured, prediction = material.measured, material.prediction
    mean = measured.eeg.mean(1)
    r = pattern_r(prediction.grid, mean)
    halves = np.full(len(r), np.nan)
    if measured.eeg.shape[1] > 1:
        halves = pattern_r(measured.eeg[:, ::2].mean(1), measured.eeg[:, 1::2].mean(1))
    n = len(measured.names)
    shown = np.linspace(0, n - 1, min(n_shown, n)).round().astype(int)
    return Findings(
        PART,
        scores={
            "pattern_r": _mean(r),
            "split_half_pattern_r": _mean(halves),
            "n_repetitions": measured.eeg.shape[1],
        },
        tables={
            "images": {
                "image": np.array(measured.names),
                "pattern_r": r,
                "split_half_pattern_r": halves,
            }
        },
        arrays={
            "shown": np.array([measured.names[row] for row in shown]),
            "predicted": prediction.grid[shown],
            "measured": mean[shown],
            "pictures": np.stack([measured.images[int(row)] for row in shown]),
            "ch_names": np.array(prediction.axes.ch_names),
            "times_s": prediction.times_s,
            "channel_r": correlate_over_images(prediction.grid, mean).mean(-1),
        },
        notes=(
            "r within an image is over channels and times of z-scores: what all images "
            "have in common is not in it.",
        ),
    )


def pattern_r(a: NDArray, b: NDArray) -> NDArray[np.float64]:
    """Correlates over channels and times, image by image.

    Args:
      a: f[image, channel, time], z-scored.
      b: the same.

    Returns:
      f64[image], Pearson r; nan where one of both is constant.
    """
    # `correlate_over_images` goes along the first axis.
    columns = (np.asarray(one).reshape(len(one), -1).T for one in (a, b))
    return correlate_over_images(*columns)


def _mean(r: NDArray[np.float64]) -> float | None:
    return None if np.isnan(r).all() else float(np.nanmean(r))
