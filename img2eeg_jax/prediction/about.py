"""What is known of a network, in words: its card, and the scores beside it."""

import json
from typing import Any

from img2eeg_jax.axes import UNKNOWN, Axes, spoken_window
from img2eeg_jax.checkpoints.load import Checkpoint
from img2eeg_jax.data import layout
from img2eeg_jax.errors import expecting
from img2eeg_jax.prediction.trust import Trust

# Where scores are written, in the folder of the network.
SCORES = "eval/metrics.json"

_SHOWN_CHANNELS = 6


def read_scores(checkpoint: Checkpoint) -> dict[str, Any] | None:
    """Reads what `evaluation.run.evaluate_to_files` wrote of a checkpoint.

    Args:
      checkpoint: of a folder in which the results may lie.

    Returns:
      The scores against the EEG of its own subject; None where there are none, or those
      of another checkpoint.

    Raises:
      InputError: the file is damaged.
    """
    path = checkpoint.path / SCORES
    paths, whose = [path], checkpoint.description.subject
    if whose is not None:
        own = layout.subject_name(whose)
        paths.append(path.parent / own / path.name)
        # Where several subjects' networks were scored together.
        paths.append(path.parents[2] / path.parent.name / own / path.name)
    for path in paths:
        if not path.is_file():
            continue
        with expecting(path, "scores", OSError, ValueError):
            scores = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(scores, dict) or "encoding_r" not in scores:
            continue
        is_own = scores.get("subject", whose) == whose or whose is None
        if is_own and scores.get("checkpoint_step") == checkpoint.step:
            return scores
    return None


def card(
    checkpoint: Checkpoint,
    axes: Axes,
    scores: dict[str, Any] | None,
    trust: Trust | None = None,
) -> str:
    """Returns what is known of a network as lines of text.

    Args:
      checkpoint: the network.
      axes: channels and times, or features, of what it predicts, and its unit.
      scores: of `read_scores`.
      trust: of `trust.of_checkpoint`.
    """
    description = checkpoint.description
    whose = "unknown" if description.subject is None else description.subject
    rows = {
        "predicts": _predicts(axes),
        "subject": whose,
        "network": _network(checkpoint),
        "trained on": _data(checkpoint),
        "scores": _scores(scores),
        "validation": _validation(trust),
        "checkpoint": f"{checkpoint.path}, step {checkpoint.step}",
    }
    lines = [f"  {name:<12}{value}" for name, value in rows.items() if value]
    return "\n".join(["Encoder", *lines])


def _predicts(axes: Axes) -> str:
    names = ", ".join(axes.ch_names[:_SHOWN_CHANNELS])
    more = ", …" if len(axes.ch_names) > _SHOWN_CHANNELS else ""
    if not axes.has_times:
        return f"{axes} ({names}{more}) in {axes.unit}"
    n_channels, n_times = axes.shape
    first_s, last_s = axes.times_s[[0, -1]]
    return (
        f"EEG in {axes.unit}, {n_channels} channels ({names}{more}), {n_times} times "
        f"({1e3 * first_s:.0f} to {1e3 * last_s:.0f} ms)"
    )


def _network(checkpoint: Checkpoint) -> str:
    description = checkpoint.description
    size, arguments = description.image_size, description.model
    if linear := description.linear:
        backbone, layers = linear["backbone"]["name"], ", ".join(linear["layers"])
        return f"linear map of {layers} of {backbone}, images {size} × {size}"
    width = f", width {arguments['width']}" if "width" in arguments else ""
    return (
        f"{description.kind}{width}, images {size} × {size}, started from "
        f"{description.initial_weights}"
    )


def _data(checkpoint: Checkpoint) -> str:
    description = checkpoint.description
    if description.source is not None:
        return "as published; see `description.source`"
    eeg = description.encoder_signal.eeg
    kind = "EEG" if description.encoder_signal.is_eeg else "responses"
    kind = f"simulated {kind}" if description.simulated else kind
    in_unit = "whose unit is unknown" if eeg and eeg.unit == UNKNOWN else "in {}"
    unit = f"{kind} {in_unit.format(eeg.unit)}" if eeg else None
    folder = (description.config or {}).get("data_dir")
    return " of ".join(filter(None, (unit, folder)))


def _scores(scores: dict[str, Any] | None) -> str:
    if scores is None:
        return "none here (eval.py writes them)"

    def r(name: str) -> str:
        value = scores.get(name)
        return "undefined" if value is None else f"{value:.3f}"

    of = (f"{scores['n_images']} test images", spoken_window(scores["window_s"]))
    return (
        f"encoding r {r('encoding_r')}, noise ceiling {r('noise_ceiling_lower')} to "
        f"{r('noise_ceiling_upper')} ({', '.join(filter(None, of))})"
    )


def _validation(trust: Trust | None) -> str:
    if trust is None:
        return ""
    r, ceiling = trust.r.mean(dtype=float), trust.ceiling.mean(dtype=float)
    return (
        f"r {r:.3f} at a channel and time, noise ceiling {ceiling:.3f} "
        f"({trust.n_images} images, means over {trust.n_repetitions})"
    )
