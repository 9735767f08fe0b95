"""What a perfect prediction could score: noise ceilings from repetitions alone."""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from img2eeg_jax.evaluation.correlation import correlate_over_images


def spearman_brown_ceiling(halves: ArrayLike) -> NDArray[np.float64]:
    """Returns the r that a perfect prediction would reach with the mean response.

    The reliability of the mean over all repetitions follows from r of the two halves'
    means by the formula of Spearman and Brown, 2r / (1 + r), with a negative r taken
    for 0. A perfect prediction correlates with the mean by the reliability's root.

    Args:
      halves: f[2, image, ..., channel, time], the mean responses to the two halves of
        the repetitions, of what the network predicts, any unit; nan where there is
        one repetition.

    Returns:
      f64[...], mean over channels and times; a response that is constant over images
      counts as 0. nan where a half is nan.
    """
    halves = np.asarray(halves, np.float64)
    r = correlate_over_images(*halves)
    r = np.maximum(np.nan_to_num(r, nan=0.0), 0)
    ceiling = np.sqrt(2 * r / (1 + r)).mean((-2, -1))
    is_unknown = np.isnan(halves).any((0, 1, -2, -1))
    return np.where(is_unknown, np.nan, ceiling)
