"""Which channels, or features, respond alike when an image is shown again."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from img2eeg_jax.errors import unexpected

if TYPE_CHECKING:
    from img2eeg_jax.data.shards.store import SubjectEEG


def reliable_channels(
    eeg: "SubjectEEG",
    least: float,
    channels: Sequence[str] | None = None,
    window_s: tuple[float, float] | None = None,
) -> tuple[str, ...]:
    """Returns the channels, or features, that are reliable over the training images.

    Args:
      eeg: of one subject.
      least: reliability of the mean over repetitions, see `split_half_reliability`; of
        a channel it is the mean over the window.
      channels: those to choose from; None for all.
      window_s: first and last time, seconds; None for all.

    Raises:
      InputError: none is, there is one repetition, or see `SubjectEEG.means`.
    """
    if eeg.n_repetitions["training"] < 2:
        expected = "at least 2 repetitions of training images, for their reliability"
        raise unexpected("responses", expected, "1")
    n_images, _ = eeg.means("training", channels, window_s)[0].shape[:2]
    _, halves = eeg.means("training", channels, window_s, halves_of=range(n_images))
    reliability = split_half_reliability(halves).mean(-1)
    # NaN, of a constant response, is no reliability.
    kept = np.flatnonzero(reliability >= least)
    if not len(kept):
        best = np.nan if np.isnan(reliability).all() else np.nanmax(reliability)
        expected = f"a reliability over training images of at least {least:g}"
        raise unexpected("responses", expected, f"{best:.3g} at best")
    names = eeg.axes.select(channels).ch_names
    return tuple(names[place] for place in kept)


def split_half_reliability(halves: NDArray[np.floating]) -> NDArray[np.float64]:
    """Correlates two halves of the repetitions over images, at each channel and time.

    Corrected for their number (Spearman and Brown, 2r / (1 + r)), so that it is of the
    mean over all repetitions.

    Args:
      halves: f[2, image, channel, time], means over the repetitions of each half.

    Returns:
      f64[channel, time]; nan of one repetition, or where a half is constant.
    """
    with np.errstate(invalid="ignore", divide="ignore"):
        one, other = (
            (half - half.mean(0)) / half.std(0) for half in halves.astype(np.float64)
        )
        r = (one * other).mean(0)
        return np.where(r > 0, 2 * r / (1 + r), r)
