"""The rows of RSA in the table of `metrics`."""

import math
from typing import Any

from img2eeg_jax.evaluation.metric import TIME, Metric

_NILI = "Nili et al. 2014, PLoS Comput Biol 10:e1003553"
_DIEDRICHSEN = "Diedrichsen et al. 2021, Neurons Behav Data Anal Theory 5(3)"
_ONE_SIDED: dict[str, Any] = {
    "chance": 0.5,
    "range": (0.0, 1.0),
    "unit": "p, one-sided",
}

# Groups of RSA: all pairs of images, or as many of half of the repetitions.
RDM, RDM_HALF, RDM_SUBJECTS = "RDMs", "RDMs of halves", "RDMs of subjects"


def _rsa(
    name: str, label: str, formula: str, against: str = RDM, **others: Any
) -> Metric:
    facts = {"unit": "similarity", "source": "", **others}
    return Metric(f"rsa_{name}", label, label, against, formula, part="rsa", **facts)


# In the order in which they are shown.
RSA = (
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
