"""The scores' names, labels and formulas: one table for all that shows them.

`metrics.json` and the CSVs have their names, the printed table and the figures their
labels, and `docs/metrics.md` is this table. To add a score, add its row to the block of
its part.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

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

_NILI = "Nili et al. 2014, PLoS Comput Biol 10:e1003553"
_DIEDRICHSEN = "Diedrichsen et al. 2021, Neurons Behav Data Anal Theory 5(3)"
_ONE_SIDED = {"chance": 0.5, "range": (0.0, 1.0), "unit": "p, one-sided"}

# Groups of RSA: all pairs of images, or as many of half of the repetitions.
RDM, RDM_HALF, RDM_SUBJECTS = "RDMs", "RDMs of halves", "RDMs of subjects"


def _rsa(
    name: str, label: str, formula: str, against: str = RDM, **others: Any
) -> Metric:
    facts = {"unit": "similarity", "source": "", **others}
    return Metric(f"rsa_{name}", label, label, against, formula, part="rsa", **facts)


_RSA = (
    _rsa(
        "spearman",
        "RSA, Spearman",
        "Spearman's rank correlation, over pairs of images, of a model's and the "
        "measured dissimilarities",
        source="Kriegeskorte et al. 2008, Front Syst Neurosci 2:4",
    ),
    _rsa(
        "p",
        "p of RSA",
        "share of the permutations of the model's images, the true order among them, "
        "whose `rsa_spearman` is at least as high",
        **_ONE_SIDED,
    ),
    _rsa(
        "p_max",
        "p of RSA, all times",
        "the same against the highest of all times: corrected for their number",
        **_ONE_SIDED | {"chance": "above 0.5, of one time"},
    ),
    _rsa(
        "peak",
        "RSA, peak",
        "the highest `rsa_spearman` of all times",
        chance="above 0: the highest of many",
    ),
    _rsa(
        "peak_time_s",
        "RSA, time of the peak",
        "the time of `rsa_peak`",
        TIME,
        chance="any time",
        range=(-math.inf, math.inf),
        unit="s",
    ),
    _rsa(
        "tau_a",
        "RSA, Kendall's τ-a",
        "as `rsa_spearman`, by τ-a: ties are no agreement",
        source=_NILI,
    ),
    _rsa(
        "cosine",
        "RSA, cosine",
        "cosine of the dissimilarities; of dissimilarities that are all positive it "
        "is high by chance, too",
        chance="above 0, but for cross-validated distances",
    ),
    _rsa(
        "whitened_cosine",
        "RSA, whitened cosine",
        "cosine of dissimilarities whose dependence through common images is removed",
        chance="0 for cross-validated distances",
        source=_DIEDRICHSEN,
    ),
    _rsa(
        "split_half",
        "RSA, split half",
        "Spearman's r of the measured dissimilarities of both halves of the "
        "repetitions, mean over random halvings; no ceiling, for all repetitions are "
        "less noisy",
        RDM_HALF,
    ),
    _rsa(
        "ceiling_lower",
        "RSA, lower ceiling",
        "mean similarity of a subject with the mean of the others",
        RDM_SUBJECTS,
        source=_NILI,
    ),
    _rsa(
        "ceiling_upper",
        "RSA, upper ceiling",
        "mean similarity of a subject with the mean of all, which contains it",
        RDM_SUBJECTS,
        chance="above 0: 1 / root of the number of subjects",
        source=_NILI,
    ),
    _rsa(
        "partial",
        "RSA, partial",
        "`rsa_spearman` without what another network's same layer explains of both",
    ),
    _rsa(
        "unique",
        "RSA, unique share",
        "by how much the other network's layer alone explains less variance of the "
        "ranks (R²) than both",
        chance="just above 0",
        range=(0.0, 1.0),
        unit="R²",
    ),
    _rsa(
        "unique_of_other",
        "RSA, unique share of the other",
        "by how much this network's layer alone explains less than both",
        chance="just above 0",
        range=(0.0, 1.0),
        unit="R²",
    ),
    _rsa(
        "common",
        "RSA, common share",
        "what either explains; below 0 where one hides what does not fit in the other",
        chance="about 0",
        unit="R²",
    ),
)

# Name → metric, in the order in which they are shown.
METRICS: Mapping[str, Metric] = {
    metric.name: metric for metric in (*_ENCODING, *_COMPARISON, *_RSA)
}


def upper_ceiling_of_noise(n_repetitions: int) -> float:
    """Returns the upper noise ceiling of EEG that is nothing but noise.

    The mean of n repetitions correlates with the mean of k of them by sqrt(k / n).
    """
    return (n_repetitions // 2 / n_repetitions) ** 0.5
