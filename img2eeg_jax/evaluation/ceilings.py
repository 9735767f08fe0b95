"""What a perfect prediction could score: noise ceilings from repetitions alone."""

import numpy as np
from numpy.typing import ArrayLike, NDArray

# A reliability of fewer standard errors than this is noise: it counts as 0.
_MIN_STANDARD_ERRORS = 2


def spearman_brown_ceiling(
    halves: ArrayLike, n_repetitions: ArrayLike = 2
) -> NDArray[np.float64]:
    """Returns the r that a perfect prediction would reach with the mean response.

    The difference of two halves of a and b of n repetitions, times sqrt(ab) / n, varies
    over images as much as the noise does in the mean over all repetitions. One minus
    its variance over the mean's is the mean's reliability: of equal halves that of
    Spearman and Brown, 2r / (1 + r). Both variances are first averaged over channels
    and times. A perfect prediction correlates with the mean by the reliability's root;
    where channels and times differ in reliability, the root of the average is an upper
    bound of the average of their roots.

    Of noise alone the reliability is negative as often as not, and the root would make
    much of the rest: one that is not above 2 standard errors (jackknife over images,
    because channels and times go together) has a ceiling of 0.

    Args:
      halves: f[2, image, ..., channel, time], the mean responses to the repetitions at
        even and at odd places, of what the network predicts, any unit; nan where there
        is one repetition.
      n_repetitions: i[...], how many repetitions the halves are of together; of an odd
        number the first half has one more. The default stands for any even number.

    Returns:
      f64[...] from 0 to 1; a response that is constant over images counts as one whose
      ceiling is 0. nan where a half is nan.
    """
    halves = np.asarray(halves, np.float64)
    n = np.asarray(n_repetitions)
    share = np.asarray((n + 1) // 2 / n)[..., np.newaxis, np.newaxis]
    mean = share * halves[0] + (1 - share) * halves[1]
    noise = np.sqrt(share * (1 - share)) * (halves[0] - halves[1])
    varies = np.ptp(mean, axis=0) > 0
    of_mean, of_noise = (
        (np.square(x - x.mean(0)) * varies).sum((-2, -1)) for x in (mean, noise)
    )
    with np.errstate(divide="ignore", invalid="ignore"):
        reliability = 1 - of_noise.sum(0) / of_mean.sum(0)
        n_images = len(mean)
        # The jackknife: what is left of the sums of squares without one of n images.
        of_mean, of_noise = (
            x.sum(0) - n_images / np.float64(n_images - 1) * x
            for x in (of_mean, of_noise)
        )
        error = np.sqrt((n_images - 1) * np.var(of_noise / of_mean, axis=0))
        is_signal = reliability > _MIN_STANDARD_ERRORS * error
    root = np.sqrt(np.where(is_signal, np.maximum(reliability, 0), 0))
    is_unknown = np.isnan(halves).any((0, 1, -2, -1))
    return np.where(is_unknown, np.nan, varies.mean((-2, -1)) * root)
