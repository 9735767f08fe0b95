"""The scores' names, labels and formulas: one table for all that shows them.

`metrics.json` and the CSVs have their names, the printed table and the figures their
labels, and `docs/reference/metrics.md` is this table. To add a score, add its
row to the block of its part.
"""

import math
from collections.abc import Mapping

from img2eeg_jax.evaluation.metric import (
    ALL,
    DIFFERENCE,
    HALF,
    RANDOM,
    SHUFFLED,
    SUFFIXES,
    TIME,
    Metric,
)
from img2eeg_jax.evaluation.rsa_metrics import RSA

__all__ = [
    "ALL",
    "DIFFERENCE",
    "HALF",
    "METRICS",
    "RANDOM",
    "SHUFFLED",
    "SUFFIXES",
    "TIME",
    "Metric",
    "upper_ceiling_of_noise",
]

_GIFFORD = "Gifford et al. 2022, NeuroImage 264:119754"

_ENCODING = (
    Metric(
        "encoding_r",
        "encoding r",
        "encoding r",
        HALF,
        "the prediction (the official score)",
        source=_GIFFORD,
    ),
    Metric(
        "noise_ceiling_lower",
        "noise ceiling, lower",
        "lower noise ceiling",
        HALF,
        "the other half",
        source=_GIFFORD,
    ),
    Metric(
        "noise_ceiling_upper",
        "noise ceiling, upper",
        "upper noise ceiling",
        HALF,
        "all repetitions, which contain the half: pure noise gives 0.71",
        # See `upper_ceiling_of_noise`.
        chance="0.71 of an even number of repetitions",
        source=_GIFFORD,
    ),
    Metric(
        "best_possible_r",
        "best possible r (noise-free)",
        "best possible",
        HALF,
        "the noise-free response (synthetic data only)",
    ),
    Metric(
        "encoding_r_all_repetitions",
        "encoding r",
        "encoding r (all repetitions)",
        ALL,
        "the prediction",
    ),
    Metric(
        "best_possible_r_all_repetitions",
        "best possible r (noise-free)",
        "best possible (all repetitions)",
        ALL,
        "the noise-free response (synthetic data only)",
    ),
    Metric(
        "reliability",
        "reliability",
        "reliability of the mean",
        ALL,
        "no r but a share: 2 r / (1 + r) of the lower ceiling (Spearman-Brown), the "
        "share of the mean's variance over images that is not trial noise",
        range=(-math.inf, 1.0),
        unit="share of variance",
        source="Spearman 1910, Brown 1910, Br J Psychol 3:271-322",
    ),
    Metric(
        "noise_normalised_r",
        "noise-normalised r",
        "noise-normalised r",
        ALL,
        "the prediction, over the root of the reliability; never clipped, undefined "
        "where that is not above 0; of an average the ratio of averages",
        range=(-math.inf, math.inf),
        source="Spearman 1904, Am J Psychol 15:72-101",
    ),
    Metric(
        "explained_fraction",
        "explained fraction",
        "explained fraction",
        ALL,
        "no r but its square: noise-normalised r times its absolute value",
        range=(-math.inf, math.inf),
        unit="share of explainable variance",
        source="Schoppe et al. 2016, Front Comput Neurosci 10:10",
    ),
    Metric(
        "permutation_r_95",
        "encoding r, 95th percentile",
        "chance, 95th percentile",
        RANDOM,
        "the predictions of random images: 95th percentile of 1,000 permutations",
    ),
    Metric(
        "permutation_p",
        "p of encoding r",
        "p",
        RANDOM,
        "no r: the share of these permutations, counting the true assignment, whose r "
        "is at least as high as the true one",
        chance=0.5,
        range=(0.0, 1.0),
        unit="p, one-sided, of one test",
    ),
    Metric(
        "permutation_p_fdr",
        "p of encoding r, of all tests",
        "p, adjusted",
        RANDOM,
        "no r: that p, adjusted for all channels and times, or all times (Benjamini-"
        "Hochberg)",
        chance=1.0,
        range=(0.0, 1.0),
        unit="p, one-sided, of all tests",
        source="Benjamini & Hochberg 1995, J R Stat Soc B 57:289-300",
    ),
    Metric(
        "permutation_r_mean",
        "encoding r, mean",
        "chance, mean",
        RANDOM,
        "the predictions of random images: mean of the permutations",
    ),
    Metric(
        "permutation_r_sd",
        "encoding r, SD",
        "chance, SD",
        RANDOM,
        "the predictions of random images: standard deviation over the permutations",
        chance="1 / sqrt(images - 1) at one channel and time",
        range=(0.0, 1.0),
    ),
    Metric(
        "noise_ceiling_p",
        "p of the noise ceiling",
        "p of the ceiling",
        SHUFFLED,
        "no r: the share of shufflings of the images within repetitions, counting the "
        "true order, whose repetitions (in 8 groups) agree at least as well",
        chance=0.5,
        range=(0.0, 1.0),
        unit="p, one-sided, of one test",
    ),
    Metric(
        "onset_s",
        "onset",
        "onset",
        TIME,
        "no r: when r, averaged over channels, first is above `latency_threshold_r` "
        "for 2 samples in a row; undefined where it never is",
        chance="undefined",
        range=(0.0, math.inf),
        unit="s after image onset",
    ),
    Metric(
        "peak_s",
        "peak",
        "peak",
        TIME,
        "no r: when r, averaged over channels, is largest",
        chance="any time",
        range=(0.0, math.inf),
        unit="s after image onset",
    ),
    Metric(
        "latency_threshold_r",
        "threshold of the onset",
        "threshold of the onset",
        TIME,
        "the predictions of random images: what the largest of all times exceeds in "
        "one of 20 permutations",
    ),
)

_COMPARISON = (
    Metric(
        "encoding_r_difference",
        "difference of encoding r",
        "difference",
        DIFFERENCE,
        "encoding_r of one network minus that of another, on the same images",
        range=(-2.0, 2.0),
        part="comparison",
    ),
    Metric(
        "encoding_r_all_repetitions_difference",
        "difference, all repetitions",
        "difference (all repetitions)",
        DIFFERENCE,
        "the same of encoding_r_all_repetitions",
        range=(-2.0, 2.0),
        part="comparison",
    ),
)

_ACCURACY = {
    "against": "decoding",
    "chance": 0.5,
    "range": (0.0, 1.0),
    "unit": "share of pairs of images",
    "source": _GIFFORD,
    "part": "decoding",
}

_DECODING = (
    Metric(
        "decoding_accuracy",
        "decoding of predictions",
        "decoding",
        formula="pairs of images whose predictions a linear classifier (C = 1) of half "
        "of the measured repetitions tells apart, mean over both images and halvings",
        **_ACCURACY,
    ),
    Metric(
        "decoding_ceiling_lower",
        "decoding ceiling, lower",
        "decoding of the other half",
        formula="the same of the measured mean of the other half",
        **_ACCURACY,
    ),
    Metric(
        "decoding_ceiling_upper",
        "decoding ceiling, upper",
        "decoding of all repetitions",
        formula="the same of the measured mean of all repetitions, which contain the "
        "half: above 0.5 even of noise",
        **_ACCURACY | {"chance": "above 0.5, of the half that was trained on"},
    ),
    Metric(
        "decoding_p",
        "p of decoding",
        "p of decoding",
        "decoding",
        "the share of 1,000 random assignments of predictions to images, counting the "
        "true one, with at least the true accuracy",
        chance=0.5,
        range=(0.0, 1.0),
        unit="p, one-sided, of one test",
        part="decoding",
    ),
    Metric(
        "decoding_p_corrected",
        "p of decoding, corrected",
        "p of decoding, corrected",
        "decoding",
        "as `decoding_p`, of the largest accuracy of all times",
        chance=0.5,
        range=(0.0, 1.0),
        unit="p, one-sided, of all times together",
        part="decoding",
    ),
)

_SHARE = {
    "against": "identification",
    "range": (0.0, 1.0),
    "unit": "share of images",
    "source": _GIFFORD,
    "part": "identification",
}

_IDENTIFICATION = (
    Metric(
        "top1",
        "identified (top 1)",
        "top 1",
        formula="test images whose measured response correlates most with their own "
        "prediction out of a set, over the channel-times best predicted in training",
        chance="1 / size of the set",
        **_SHARE,
    ),
    Metric(
        "top5",
        "among the first five (top 5)",
        "top 5",
        formula="the same, among the five highest r",
        chance="5 / size of the set",
        **_SHARE,
    ),
    Metric(
        "mean_rank",
        "mean rank",
        "mean rank",
        "identification",
        "rank of the right image among the test images, from 1, mean over images",
        chance="(number of test images + 1) / 2",
        range=(1.0, float("inf")),
        unit="rank",
        part="identification",
    ),
    Metric(
        "identification_p",
        "p of the mean rank",
        "p of identification",
        "identification",
        "the share of 1,000 random assignments of predictions to images, counting the "
        "true one, with at most the true mean rank",
        chance=0.5,
        range=(0.0, 1.0),
        unit="p, one-sided, of one test",
        part="identification",
    ),
)

_IMAGES = (
    Metric(
        "pattern_r",
        "r within an image",
        "within-image r",
        "one image",
        "predicted and measured responses over channels and times of one image, of all "
        "repetitions, z-scored by training images; mean over images",
        part="images",
    ),
    Metric(
        "split_half_pattern_r",
        "r within an image, halves",
        "within-image r, halves",
        "one image",
        "the same between repetitions at even and at odd places: how reliable the "
        "image's response is",
        part="images",
    ),
)

# Name → metric, in the order in which they are shown.
METRICS: Mapping[str, Metric] = {
    metric.name: metric
    for block in (_ENCODING, _COMPARISON, RSA, _DECODING, _IDENTIFICATION, _IMAGES)
    for metric in block
}


def upper_ceiling_of_noise(n_repetitions: int) -> float:
    """Returns the upper noise ceiling of EEG that is nothing but noise.

    The mean of n repetitions correlates with the mean of k of them by sqrt(k / n).
    """
    return (n_repetitions // 2 / n_repetitions) ** 0.5
