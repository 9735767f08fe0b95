"""The scores' names, labels and formulas: one table for all that shows them.

`metrics.json` and the CSVs have their names, the printed table and the figures their
labels, and `docs/metrics.md` is this table. To add a score, add its row to the block of
its part.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass

_GIFFORD = "Gifford et al. 2022, NeuroImage 264:119754"

# Groups of metrics that can be compared with each other. The mean of all repetitions is
# less noisy than that of a half, so that the same prediction has a higher r against it;
# and images at random show which r there is where nothing is predicted.
HALF, ALL, RANDOM = "one half", "all", "one half, images at random"

# More groups: repetitions that agree with each other, times, differences of networks.
SHUFFLED, TIME, DIFFERENCE = "each other, shuffled", "time", "difference"

# What a name may end in, beside the metric: in `metrics.json` and in CSVs.
SUFFIXES: Mapping[str, str] = {
    "_ci_low": "lower end of the 95 % interval: of one subject a bootstrap "
    "over images, of several t over subjects",
    "_ci_high": "its upper end",
    "_se": "standard error of the mean over subjects",
    "_p": "sign flips over subjects (of a difference in one subject, bootstrap over "
    "images): p that it is at chance",
    "_p_fdr": "the same, adjusted for all rows of the table (Benjamini, Hochberg 1995)",
    "_cluster_p": "p of the cluster of channels and times that it is in, over subjects "
    "(Maris, Oostenveld 2007); clusters do not tell where or when",
}


@dataclass(frozen=True)
class Metric:
    """What a score is called and what it means.

    Attributes:
      name: in `metrics.json`, and the column's of a CSV.
      label: in the table that is printed, below its group.
      short_label: in figures.
      against: the group of scores that compare with each other. Of encoding: which
        repetitions the mean is of that is correlated with: `HALF` of them, mean r over
        random halvings, or `ALL`; or `RANDOM`, as `HALF` but for random assignments of
        predictions to images.
      formula: what is computed; of encoding, what is correlated with that mean.
      chance: what is expected where nothing is true; in words where it depends.
      range: smallest and largest value possible.
      unit: of its values.
      source: the paper that defines it; "" for ours.
      part: the part of an evaluation that finds it, as in `findings.Findings`.
    """

    name: str
    label: str
    short_label: str
    against: str
    formula: str
    chance: float | str = 0.0
    range: tuple[float, float] = (-1.0, 1.0)
    unit: str = "Pearson r"
    source: str = ""
    part: str = "encoding"


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
        "fraction of explainable variance",
        "explained fraction",
        ALL,
        "no r but its square: noise-normalised r times its absolute value",
        range=(-math.inf, math.inf),
        unit="share of explainable variance",
        source="Schoppe et al. 2016, Front Comput Neurosci 10:10",
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

# Name → metric, in the order in which they are shown.
METRICS: Mapping[str, Metric] = {
    metric.name: metric for metric in (*_ENCODING, *_COMPARISON)
}


def upper_ceiling_of_noise(n_repetitions: int) -> float:
    """Returns the upper noise ceiling of EEG that is nothing but noise.

    The mean of n repetitions correlates with the mean of k of them by sqrt(k / n).
    """
    return (n_repetitions // 2 / n_repetitions) ** 0.5
