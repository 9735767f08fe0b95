"""The main scores as lines of text, what compares together."""

from collections.abc import Mapping
from typing import Any

from img2eeg_jax.axes import spoken_window
from img2eeg_jax.errors import counted
from img2eeg_jax.evaluation.evaluation import Evaluation
from img2eeg_jax.evaluation.metrics import ALL, HALF, METRICS, RANDOM, SHUFFLED, TIME

# In `metrics.json`: whose EEG, whose network, whose z-score.
_WHOSE = ("subject", "trained_subject", "zscore_subject")

_WIDTH = 30

# The one of the scores with RDMs from files that is printed.
_OF_FILES = "rsa_spearman"


def result_table(found: Evaluation) -> str:
    """Returns the main scores of an evaluation."""
    lines: list[str] = []
    for whose in found.subjects:
        one = found.of_subject(whose).scores
        if len(found.subjects) > 1:
            # Of networks that are compared, the names stand where subjects would.
            kind = "subject" if found.group or not found.comparisons else "network"
            lines += [*_blank(lines), f"{kind} {whose}"]
        lines += _of_subject(one)
    if found.group:
        lines += ["", f"{counted(len(found.subjects), 'subject')} together"]
        lines += _of_parts({name: of.scores for name, of in found.group.items()})
    for name, compared in found.comparisons.items():
        lines += ["", name, *_numbers(compared.scores)]
    return "\n".join(lines)


def encoding_table(scores: Mapping[str, Any]) -> str:
    """Returns the scores of encoding.

    A single repetition has no halves, and no scores against them.

    Args:
      scores: of the part `encoding`.
    """
    halvings = counted(scores["n_splits"], "random halving")
    permutations = counted(scores["n_permutations"], "permutation")
    heads = {
        HALF: f"against the mean of half of the repetitions, {halvings}:",
        ALL: "against the mean of all repetitions:",
        RANDOM: f"images at random, {permutations}:",
        SHUFFLED: "images shuffled within repetitions:",
        TIME: "r over time, mean of the channels, from image onset on:",
    }
    if not scores["n_splits"]:
        del heads[HALF]
    lines = [
        f"{counted(scores['n_images'], 'test image')}, "
        f"{counted(scores['n_repetitions'], 'repetition')}, "
        f"mean of {_averaged(scores)}"
    ]
    for group, head in heads.items():
        if numbers := _numbers(scores, group):
            lines += [head, *numbers]
    return "\n".join(lines)


def _averaged(scores: Mapping[str, Any]) -> str:
    n, window_s = len(scores["ch_names"]), scores["window_s"]
    if window_s is None:
        return counted(n, "feature")
    return f"{counted(n, 'channel')} and {spoken_window(window_s)}"


def audit_table(scores: Mapping[str, Any]) -> str:
    """Returns what the leak audit says: a line a check."""
    lines = [f"leak audit: {scores['verdict']}"]
    for check in scores["checks"].values():
        lines.append(f"  {check['state']:<8} {check['question']} {check['reason']}")
    return "\n".join(lines)


def _of_subject(scores: Mapping[str, Any]) -> list[str]:
    lines = []
    if "encoding_r" in scores:
        lines.append(encoding_table(scores))
    eeg, network, zscore = (scores.get(key) or "unknown" for key in _WHOSE)
    kind = "responses" if scores.get("window_s", ()) is None else "EEG"
    lines.append(
        f"{kind} of subject {eeg}, network of subject {network}, z-score of subject "
        f"{zscore}"
    )
    if "leaks" in scores:
        lines.append(audit_table(scores["leaks"]))
    lines += _of_parts(
        {
            name: of
            for name, of in scores.items()
            if isinstance(of, Mapping) and name not in ("leaks", "protocol")
        }
    )
    left_out = scores["protocol"].get("left_out", {})
    return lines + [f"left out: {what}: {why}" for what, why in left_out.items()]


def _of_parts(parts: Mapping[str, Mapping[str, Any]]) -> list[str]:
    lines = []
    for name, scores in parts.items():
        if numbers := _numbers(scores):
            lines += [f"{name}:", *numbers]
        for file, layers in scores.get("per_file", {}).items():
            lines.append(f"{METRICS[_OF_FILES].label} with {file}:")
            lines += [
                f"  {layer:<{_WIDTH}}{_number(of[_OF_FILES])}{_interval(of, _OF_FILES)}"
                for layer, of in layers.items()
            ]
    return lines


def _numbers(scores: Mapping[str, Any], group: str | None = None) -> list[str]:
    """Returns a line a metric; of one group, or of all."""
    return [
        f"  {metric.label:<{_WIDTH}}{_number(scores[name])}{_interval(scores, name)}"
        for name, metric in METRICS.items()
        if name in scores and group in (None, metric.against) and _is_one(scores[name])
    ]


def _interval(scores: Mapping[str, Any], name: str) -> str:
    """Returns the 95 % interval behind a score; nothing where there is none."""
    ends = [scores.get(f"{name}_ci_{end}") for end in ("low", "high")]
    return "" if None in ends else f"  [{ends[0]:.3f}, {ends[1]:.3f}]"


def _is_one(value: Any) -> bool:
    return value is None or isinstance(value, int | float)


def _number(value: float | None) -> str:
    # r is None of EEG that is constant over images.
    return "undefined" if value is None else f"{value:6.3f}"


def _blank(lines: list[str]) -> list[str]:
    return [""] if lines else []
