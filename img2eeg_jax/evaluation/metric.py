"""What a score is called and what it means; the table of them is in `metrics`."""

from collections.abc import Mapping
from dataclasses import dataclass

# Groups of metrics that can be compared with each other. The mean of all repetitions is
# less noisy than that of a half, so that the same prediction has a higher r against it;
# and images at random show which r there is where nothing is predicted.
HALF, ALL, RANDOM = "one half", "all", "one half, images at random"

# More groups: repetitions that agree with each other, times, differences of networks.
SHUFFLED, TIME, DIFFERENCE = "each other, shuffled", "time", "difference"

# Endings that a metric's name may have in `metrics.json` and in CSVs → their meaning.
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
