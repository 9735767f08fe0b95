"""A network is passed on: with a card that says whose it is and what it can."""

import json
import os
import pathlib
from collections.abc import Mapping
from typing import Any

from img2eeg_jax.axes import WHITENED, Axes, spoken_window
from img2eeg_jax.checkpoints import pretrained, run_folder
from img2eeg_jax.checkpoints.description import Description
from img2eeg_jax.checkpoints.load import Checkpoint
from img2eeg_jax.errors import listed
from img2eeg_jax.prediction import about, trust

_HEAD = """\
---
library_name: img2eeg_jax
tags:
- eeg
- neuroscience
- image-to-eeg
---
"""
_USE = """\
Load it with img2eeg_jax:

```python
from img2eeg_jax import Encoder

encoder = Encoder.from_pretrained("hf://OWNER/NAME")  # or this folder
eeg = encoder("pictures/")
print(encoder, eeg.data.shape, eeg.unit)
```"""
_RECORDINGS = """\
*Not known to the network's files. Replace this paragraph by: who was recorded, and by
whose consent; amplifier, cap and reference; which pictures, shown for how long; what
was done to the data before they came here; their licence, and how to cite them.*"""
_FILES = """\
`model.safetensors` (weights, named by the network's parts), `description.json` (what
rebuilds the network and names its outputs, with checksums of the other files), and
beside them what was known of its training. Nothing in them is code. Before you publish
it, add `license:` to the head of this card."""
_SCORES_SHOWN = (
    "encoding_r",
    "noise_ceiling_lower",
    "noise_ceiling_upper",
    "encoding_r_all_repetitions",
    "permutation_p",
)
_UNITS = {
    "µV": "µV, at the electrode, against the reference of the training data",
    WHITENED: "whitened: the training data were noise-normalised (no unit); "
    "`eeg.unwhitened()` maps back to µV where the statistics were recorded",
    "z": "z-scores: standard deviations over the training images (no unit; that of the "
    "training data is not known)",
}


def save(
    checkpoint: Checkpoint,
    axes: Axes,
    scores: Mapping[str, Any] | None,
    folder: str | os.PathLike,
    overwrite: bool = False,
) -> None:
    """Writes what ``hf://OWNER/NAME`` reads; see `checkpoints.pretrained`.

    Args:
      checkpoint: the network.
      axes: see `model_card`.
      scores: see `model_card`.
      folder: made with its parents.
      overwrite: whether to replace a network that was saved there before.

    Raises:
      InputError: there is something, or it cannot be written.
    """
    beside: dict[str, str | pathlib.Path] = {**_files_beside(checkpoint)}
    documents = {run_folder.CONFIG_FILE: checkpoint.config, about.SCORES: scores}
    for name, document in documents.items():
        if document is not None:
            plain = pretrained.without_places(document)
            beside[name] = json.dumps(plain, indent=2) + "\n"
    network = (
        checkpoint.step,
        checkpoint.description,
        checkpoint.variables,
        checkpoint.which,
    )
    text = model_card(checkpoint.description, axes, scores)
    pretrained.write(pathlib.Path(folder), network, text, beside, overwrite=overwrite)


def _files_beside(checkpoint: Checkpoint) -> dict[str, pathlib.Path]:
    """Returns what goes along where it is there: name → file."""
    folder, subject = checkpoint.path, checkpoint.description.subject
    # One of several subjects who share a network has a `trust` of its own.
    files = [folder / run_folder.METRICS_FILE, trust.file_of(folder)]
    if subject is not None:
        files.append(trust.file_of(folder, subject))
    return {file.name: file for file in files if file.is_file()}


def model_card(
    description: Description, axes: Axes, scores: Mapping[str, Any] | None
) -> str:
    """Returns the text of a model card, in Markdown with the hub's head.

    Args:
      description: of the network.
      axes: channels and times, or features, of what it predicts, and its unit.
      scores: of `about.read_scores`.
    """
    subject, what = description.subject, "EEG" if axes.has_times else "responses"
    whose = "a person" if subject is None else f"subject {subject}"
    facts = {
        "predicts": _predicts(axes),
        "subject": "not known" if subject is None else str(subject),
        "images": f"of any size and kind; resized to {description.image_size} × "
        f"{description.image_size} pixels",
        "network": _network(description),
        "trained on": _data(description),
    }
    rows = [f"| {name} | {value} |" for name, value in facts.items()]
    parts = [
        f"{_HEAD}\n# {what} of {whose}, predicted from images",
        _USE,
        "\n".join(["| | |", "|---|---|", *rows]),
        f"## Scores\n\n{_scores(scores)}",
        *([] if description.simulated else [f"## Recordings\n\n{_RECORDINGS}"]),
        f"## What it is not\n\n{_limits(description)}",
        f"## Files\n\n{_FILES}",
    ]
    return "\n\n".join(parts) + "\n"


def _predicts(axes: Axes) -> str:
    if not axes.has_times:
        return f"{axes} ({listed(axes.ch_names, 20)}) in {axes.unit}"
    first_s, last_s = axes.times_s[[0, -1]]
    n_channels, n_times = axes.shape
    return (
        f"EEG in {_UNITS.get(axes.unit, axes.unit)}; {n_channels} channels "
        f"({', '.join(axes.ch_names)}), {n_times} times from {first_s:g} to "
        f"{last_s:g} s after image onset"
    )


def _network(description: Description) -> str:
    if linear := description.linear:
        backbone = pretrained.without_places(linear["backbone"]["name"])
        return f"linear map of {', '.join(linear['layers'])} of {backbone}"
    started = pretrained.without_places(description.initial_weights)
    width = description.model.get("width")
    wide = "" if width is None else f" of width {width}"
    return f"{description.kind}{wide}, started from {started}"


def _data(description: Description) -> str:
    data = description.data or {}
    if description.source is not None:
        name = pretrained.without_places(description.source["name"])
        return f"see its source: `{name}` (SHA-256 `{description.source['sha256']}`)"
    if description.simulated:
        return "**simulated EEG**, of no person"
    if not data:
        return "not recorded"
    return f"images whose list has SHA-256 `{data['image_list_sha256']}`"


def _scores(scores: Mapping[str, Any] | None) -> str:
    if scores is None:
        return "None were written with it."
    rows = [
        f"| {name.replace('_', ' ')} | {scores[name]:.3f} |"
        for name in _SCORES_SHOWN
        if scores.get(name) is not None
    ]
    mean_of = spoken_window(scores["window_s"]) or "all features"
    return "\n".join(
        [
            f"Pearson r over {scores['n_images']} test images and "
            f"{scores['n_repetitions']} repetitions, mean of {mean_of}, "
            f"{scores['n_splits']} random halvings; ceilings stand beside it and "
            "are not divided into it.\n",
            "| | |",
            "|---|---|",
            *rows,
        ]
    )


def _limits(description: Description) -> str:
    limits = [
        "It predicts the mean response over many presentations, not single trials, "
        "of one person and one way of recording. Images unlike those it was trained "
        "on have predictions, too, that nobody has measured."
    ]
    if description.simulated:
        limits.append(
            "It was trained on **simulated** EEG: what it says of photographs is not "
            "what any brain does."
        )
    return "\n\n".join(limits)
