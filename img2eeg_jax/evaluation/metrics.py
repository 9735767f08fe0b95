"""The scores' names, labels and formulas: one table for all that shows them.

`metrics.json` has their names, the printed table and the figures their labels. To add
a score, add its row here and a value of its name to `encoding.EncodingScores`.
"""

from collections.abc import Mapping
from dataclasses import dataclass

_GIFFORD = "Gifford et al. 2022, NeuroImage 264:119754"


@dataclass(frozen=True)
class Metric:
    """What a score is called and what it means.

    Attributes:
      name: in `metrics.json`, and as an attribute of `encoding.EncodingScores`.
      label: in the table that is printed.
      short_label: in figures.
      formula: what it is computed from, after "Pearson r over the test images between".
      chance: what is expected where nothing is true.
      range: smallest and largest value possible.
      unit: of its values.
      source: the paper that defines it; "" for ours.
    """

    name: str
    label: str
    short_label: str
    formula: str
    chance: float = 0.0
    range: tuple[float, float] = (-1.0, 1.0)
    unit: str = "Pearson r"
    source: str = ""


_ROWS = (
    Metric(
        "encoding_r",
        "encoding r",
        "prediction",
        "prediction and the mean of one half of the repetitions, mean of 100 random "
        "halvings (the official score)",
        source=_GIFFORD,
    ),
    Metric(
        "encoding_r_all_repetitions",
        "encoding r, all repetitions",
        "prediction (all repetitions)",
        "prediction and the mean of all repetitions",
    ),
    Metric(
        "noise_ceiling_lower",
        "noise ceiling, lower",
        "lower noise ceiling",
        "the other half and that half",
        source=_GIFFORD,
    ),
    Metric(
        "noise_ceiling_upper",
        "noise ceiling, upper",
        "upper noise ceiling",
        "all repetitions and that half, which they contain: pure noise gives 0.70",
        # A half and the whole that contains it: the root of 1/2.
        chance=0.7,
        source=_GIFFORD,
    ),
    Metric(
        "permutation_r",
        "permutation control",
        "wrong images",
        "predictions of the wrong images and that half: should be near 0",
    ),
    Metric(
        "best_possible_r",
        "best possible r (noise-free)",
        "best possible",
        "the noise-free response and that half (synthetic data only)",
    ),
)

# Name → metric, in the order in which they are shown.
METRICS: Mapping[str, Metric] = {metric.name: metric for metric in _ROWS}
