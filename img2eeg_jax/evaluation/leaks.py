"""What of the test set training may have seen: one check each, with its reason.

A check is green where the records show that nothing leaked, red where they show that
something did, and unknown where they do not tell. Functions are pure; `parts.leaks`
gathers what they ask for.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from img2eeg_jax.axes import VOLTS
from img2eeg_jax.checkpoints.description import Description
from img2eeg_jax.errors import counted
from img2eeg_jax.evaluation.near_duplicates import MAX_BITS, MIN_R

GREEN, RED, UNKNOWN = "green", "red", "unknown"

# The number of a concept's folder, such as 00001_aardvark: each partition has its own.
_NUMBER = re.compile(r"^\d+_")

_LISTED = 5


@dataclass(frozen=True)
class Check:
    """What a check found.

    Attributes:
      name: of the check, such as "shared_concepts".
      question: what it answers, in a line.
      state: "green", "red" or "unknown".
      reason: why, in a line.
      images: those that it is about: (test image, training image) or (test image, "").
    """

    name: str
    question: str
    state: str
    reason: str
    images: tuple[tuple[str, str], ...] = ()


def verdict(checks: Sequence[Check]) -> str:
    """Returns "red" if a check is, else "unknown" if one is, else "green"."""
    states = {check.state for check in checks}
    return next(state for state in (RED, UNKNOWN, GREEN) if state in states)


def shared_concepts(test: Sequence[str], training: Sequence[str]) -> Check:
    """Tells whether images of a test concept are trained on.

    Args:
      test: CONCEPT/FILE of each test image; numbers before a concept do not count.
      training: the same of the training images.
    """
    concepts = {_concept(name) for name in training}
    images = [name for name in test if _concept(name) in concepts]
    shared = sorted({_concept(name) for name in images})
    reason = f"none of {counted(len({*map(_concept, test)}), 'test concept')} is"
    if shared:
        reason = f"{counted(len(shared), 'concept')}: {_some(shared)}"
    return Check(
        "shared_concepts",
        "Are test concepts trained on?",
        RED if shared else GREEN,
        reason,
        tuple((name, "") for name in images),
    )


def near_duplicates(pairs: Sequence[tuple[str, str]], n_test: int) -> Check:
    """Tells whether test images, or as good as these, are trained on.

    Args:
      pairs: (test image, training image) that are as good as the same.
      n_test: number of test images.
    """
    rule = (
        f"perceptual hashes differ in at most {MAX_BITS} of 128 bits, grey pixels "
        f"correlate by {MIN_R} or more; mirrored ones count"
    )
    found = counted(len(pairs), "test image") + f" of {n_test}"
    listed = _some([f"{test} is {training}" for test, training in pairs])
    return Check(
        "near_duplicates",
        "Are test images, or near-duplicates of them, trained on?",
        RED if pairs else GREEN,
        f"{found}: {listed} ({rule})" if pairs else f"none of {n_test} ({rule})",
        tuple(pairs),
    )


def test_repetitions(
    test: Mapping[str, Sequence[bytes]], training: Sequence[Sequence[bytes]]
) -> Check:
    """Tells whether a trial of the test partition is one of the training partition.

    Args:
      test: test image → digest of each of its trials.
      training: of each training image the digests of its trials.
    """
    trained = {digest for of in training for digest in of}
    counts = {name: sum(d in trained for d in of) for name, of in test.items()}
    images = [name for name, count in counts.items() if count]
    n_trials = sum(map(len, test.values()))
    reason = f"none of {counted(n_trials, 'test trial')} is a training trial"
    if images:
        trials = counted(sum(counts.values()), "test trial")
        reason = f"{trials} of {n_trials}: of {_some(images)}"
    return Check(
        "test_repetitions",
        "Are test trials trained on?",
        RED if images else GREEN,
        reason,
        tuple((name, "") for name in images),
    )


def whitening(record: Mapping[str, Any] | None, unit: str) -> Check:
    """Tells which partitions' trials the whitening covariance was estimated from.

    Args:
      record: of the preprocessing; None of EEG of other origin.
      unit: of the EEG.
    """
    choices = (record or {}).get("choices", {})
    if choices:
        mvnn = choices.get("mvnn", "time")
        partitions = choices.get("mvnn_partitions", "both")
        saw_test = mvnn != "off" and partitions != "training"
        state = RED if saw_test else GREEN
        reason = (
            "the EEG is not whitened"
            if mvnn == "off"
            else f"multivariate noise normalisation ({mvnn}), covariance of "
            + ("training and test trials" if saw_test else "training trials")
        )
    elif unit == VOLTS:
        state, reason = GREEN, "the EEG is in volts: not whitened"
    else:
        state, reason = UNKNOWN, "no record says how the EEG was preprocessed"
    return Check("whitening", "Did whitening see test trials?", state, reason)


def zscore(trained: Description, config: Mapping[str, Any] | None) -> Check:
    """Tells which partition the z-score's statistics are of."""
    if config is not None:
        of = config.get("zscore", "training")
        state = RED if of == "training_and_test" else GREEN
        is_eeg = trained.signal is None or trained.signal.is_eeg
        each = "channel and time" if is_eeg else "feature"
        reason = f"mean and SD of each {each}: {of.replace('_', ' ')} images"
        if of == "none":
            reason = "there is none: responses are predicted as they are"
    else:
        state = UNKNOWN
        reason = "weights without their run's config do not say"
        if trained.zscore is None:
            reason += "; scores use those of these data's training images"
    return Check("zscore", "Did the z-score see test trials?", state, reason)


def epoch(config: Mapping[str, Any] | None, which: str) -> Check:
    """Tells what chose the epoch whose weights are scored.

    Args:
      config: of the run; None of weights without one.
      which: "best" or "last" weights.
    """
    question = "Did test images choose the epoch?"
    if config is None:
        reason = "weights without their run's config do not say who chose the epoch"
        return Check("epoch", question, UNKNOWN, reason)
    by = config.get("select_by", "validation")
    stops_early = bool(config.get("early_stopping_epochs", 0))
    if which != "best" and not stops_early:
        return Check("epoch", question, GREEN, "the last epoch of a fixed number")
    what = "the best epoch" if which == "best" else "when to stop"
    return Check(
        "epoch",
        question,
        RED if by == "test" else GREEN,
        f"{what} was chosen by the loss on {by} images",
    )


def image_list(trained: str | None, found: str) -> Check:
    """Tells whether the data's list of images is the one that was trained on.

    Args:
      trained: its digest; None of weights that do not say.
      found: that of the data of the evaluation.
    """
    state, reason = GREEN, f"the same list, SHA-256 {found[:12]}…"
    if trained is None:
        state, reason = UNKNOWN, "the weights do not say which images they were fit to"
    elif trained != found:
        state = RED
        reason = (
            f"trained on list {trained[:12]}…, scored on {found[:12]}…: the checks of "
            "images are of the data here, not of those trained on"
        )
    question = "Is the list of images the one trained on?"
    return Check("image_list", question, state, reason)


def initial_weights(
    start: str, trained: Description | None, image_list_sha256: str
) -> Check:
    """Tells what the weights that training started from had seen.

    Args:
      start: "random", or where they came from.
      trained: the description of that network, if it can be read.
      image_list_sha256: of the data of the evaluation.
    """
    state, reason = UNKNOWN, f"from {start}: what these had seen is not recorded"
    if start == "random":
        state, reason = GREEN, "random"
    elif trained is not None and trained.kind == "cornet_s":
        reason = f"from {start}, a CORnet-S: it saw no EEG; which pictures is not known"
    elif trained is not None and trained.data is not None:
        is_same = trained.data.get("image_list_sha256") == image_list_sha256
        by = (trained.config or {}).get("select_by", "validation")
        if is_same and by == "test":
            state, reason = RED, f"from {start}, whose epoch test images chose"
        elif is_same and trained.initial_weights == "random":
            state, reason = GREEN, f"from {start}, trained on the same training images"
        elif is_same:
            reason = f"from {start}, which began from {trained.initial_weights}: "
            reason += "what these had seen is not recorded"
    question = "Had the initial weights seen the test set?"
    return Check("initial_weights", question, state, reason)


def _concept(name: str) -> str:
    return _NUMBER.sub("", name.split("/")[0])


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - _LISTED} more" if len(names) > _LISTED else ""
    return ", ".join(names[:_LISTED]) + more
