"""What the page says of each part, and how it writes numbers."""

import re
from collections.abc import Mapping
from typing import Any

import numpy as np

from img2eeg_jax.evaluation.metrics import METRICS
from img2eeg_jax.evaluation.report_page.columns import is_p

# Part → heading, and how to read it.
PARTS: Mapping[str, tuple[str, str]] = {
    "leaks": (
        "Leak audit",
        "What of the test set training may have seen. Green: the records show that "
        "nothing leaked. Red: they show that something did; scores are then too high. "
        "Unknown: they do not tell, and so do not clear it.",
    ),
    "encoding": (
        "Encoding accuracy",
        "Pearson's r over test images between predicted and measured EEG, for each "
        "channel and time. The grey band lies between the lower and the upper noise "
        "ceiling: a perfect prediction comes to lie in it. The upper one is far "
        "above 0 even where the EEG is nothing but noise.",
    ),
    "rsa": (
        "Representational similarity",
        "How alike the dissimilarities of images are in a layer (or in predicted "
        "EEG) and in the brain. Only r within one measure compares; noise in the EEG "
        "bounds it, which the ceilings show.",
    ),
    "decoding": (
        "Pairwise decoding",
        "How often a linear classifier that learned two images from measured EEG "
        "tells them apart in predicted EEG: 50 % is chance. The ceiling is the same "
        "classifier on measured EEG.",
    ),
    "rsa_files": (
        "Similarity to other measurements",
        "How alike the dissimilarities of pictures are in each layer and in files that "
        "were given: other brains, other methods, behaviour. Of several subjects in a "
        "file the ceilings say what their differences allow.",
    ),
    "identification": (
        "Zero-shot identification",
        "How often the image that was seen is the first, or among the first five, of "
        "a set of candidates, ranked by how well their predicted EEG fits the "
        "measured one. Chance falls with the size of the set.",
    ),
    "images": (
        "Best and worst predicted images",
        "For each image, r over channels and times between predicted and measured "
        "response. With noise, some images come out best and some worst by luck alone: "
        "single ones prove nothing.",
    ),
    "training": ("Training", "The losses of the run that made these weights."),
}

# Part → what cannot be concluded from it; "" holds for all.
LIMITS: Mapping[str, tuple[str, ...]] = {
    "": (
        "Scores are of these images, these people and this preprocessing. Others "
        "differ, and scores of other evaluations compare only where the protocol "
        "(split, repetitions, whitening, choice of the epoch) is the same.",
    ),
    "encoding": (
        "A significant cluster says that there is an effect, not where or when it "
        "starts or ends: clusters do not localise (Sassenhagen & Draschkow 2019).",
        "Onset latencies depend on the noise: with more trials the same response "
        "seems to start earlier.",
        "That a network predicts EEG does not say that it computes as a brain does.",
    ),
    "rsa": (
        "Two layers that correlate equally with the brain need not share the same "
        "part of it; shares of variance depend on which models are in the set.",
    ),
    "decoding": (
        "That two images can be told apart does not say by what: contrast, size or "
        "the object.",
    ),
    "identification": (
        "Candidates that are much alike, or much unlike, make identification harder "
        "or easier: rates compare only between the same candidates.",
    ),
}


def part_title(part: str) -> str:
    """Returns the heading of a part."""
    return PARTS.get(part, (part.replace("_", " ").capitalize(), ""))[0]


def limits_of(parts: list[str], has_group: bool) -> list[str]:
    """Returns what cannot be concluded from an evaluation of these parts."""
    limits = [line for part in ("", *parts) for line in LIMITS.get(part, ())]
    if not has_group:
        limits.insert(
            1,
            "Each person is tested alone: p and intervals are over images, and say "
            "nothing of other people.",
        )
    return limits


def number(value: Any, metric: str = "") -> str:
    """Returns a number as the page writes it; of a metric, p to two digits.

    None and nan are "undefined".
    """
    if value is None:
        return "undefined"
    if isinstance(value, bool | np.bool_ | str):
        return str(value)
    if isinstance(value, int | np.integer):
        return f"{value:,}" if abs(int(value)) >= 10_000 else str(value)
    if np.isnan(value):
        return "undefined"
    if np.isinf(value):
        return "∞" if value > 0 else "−∞"
    if metric in METRICS and is_p(METRICS[metric]):
        return f"{value:.2g}"
    # Adding 0 takes the sign of what is rounded to -0.
    text = f"{round(value, 3) + 0.0:.3f}" if abs(value) < 100 else f"{value:.5g}"
    return text.replace("-", "−")


def formula(metric: str) -> str:
    """Returns what a metric is; other metrics are called by their labels."""
    return re.sub(
        r"`(\w+)`",
        lambda name: METRICS[name[1]].label if name[1] in METRICS else name[0],
        METRICS[metric].formula,
    )


def chance(metric: str) -> str:
    """Returns what is expected of a metric where nothing is true, in words."""
    value = METRICS[metric].chance
    return value if isinstance(value, str) else f"{value:g}"
