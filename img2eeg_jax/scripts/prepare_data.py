"""Prepare a data set: download, preprocess and shards, whatever is missing.

The same command goes on where it stopped. --dry_run tells what it would do.
"""

import csv
import math
import re
from collections.abc import Callable
from typing import Any

from absl import flags

from img2eeg_jax.scripts import common

_STAGES = ("download", "preprocess", "shards")


def _or(word: str, read: Callable[[str], Any]) -> Callable[[str], Any]:
    """Returns a function that reads a word as None, and another text by `read`."""
    return lambda text: None if text == word else read(text)


def _band(text: str) -> tuple[float, float]:
    """Reads FIRST,LAST that differ."""
    first, last = common.read_range(text)
    if first == last:
        raise ValueError
    return first, last


def _baseline(text: str) -> tuple[float | None, float | None]:
    """Reads FIRST,LAST, where start and end stand for the epoch's own."""
    first, last = text.split(",")
    return _or("start", float)(first), _or("end", float)(last)


def _unit(text: str) -> str:
    if text not in ("V", "mV", "uV", "nV"):
        raise ValueError
    return text


def _above_0(text: str, kind: type = float) -> float:
    number = kind(text)
    if not 0 < number < math.inf:
        raise ValueError
    return number


def _names(text: str) -> tuple[str, ...]:
    """Reads different names."""
    names = tuple(name.strip() for name in next(csv.reader([text]), []))
    if not names or "" in names or len(set(names)) != len(names):
        raise ValueError
    return names


def _channels(text: str) -> str | tuple[str, ...]:
    return text if text in ("official", "all") else _names(text)


def _markers(text: str) -> tuple[int, ...]:
    """Reads the numbers of markers, which may be given by name, such as S 99."""
    numbers = [re.fullmatch(r"\D*(\d+)", part.strip()) for part in text.split(",")]
    if text and None in numbers:
        raise ValueError
    return tuple(sorted({int(number[1]) for number in numbers if number}))


def _stages(text: str) -> tuple[str, ...] | None:
    names = _names(text) if text else ()
    if not set(names) <= set(_STAGES):
        raise ValueError
    return names or None


_COUNT = ("a number above 0, or all", _or("all", lambda text: _above_0(text, int)))

# Field of `prepare.Request` → its flag.
_REQUEST = {
    "data_dir": common.define_path(
        "data_dir", None, "Folder in THINGS-EEG2's layout, or to become one."
    ),
    "source": flags.DEFINE_enum(
        "source",
        "local",
        ["osf", "local", "synthetic"],
        "osf downloads THINGS-EEG2, local takes what is in --data_dir, synthetic "
        "simulates a small data set.",
    ),
    "subjects": common.define_subjects("Whose EEG; default: all."),
    "stages": common.define(
        "stages",
        "",
        f"stages out of {','.join(_STAGES)}",
        _stages,
        "What to do; default: what is missing.",
    ),
    "eeg": flags.DEFINE_enum(
        "eeg", "preprocessed", ["preprocessed", "raw"], "What --source=osf downloads."
    ),
    "mirror": flags.DEFINE_multi_string(
        "mirror", [], "Address to download from first; may be given several times."
    ),
    "bids_root": common.define_path(
        "bids_root", "", "BIDS data set with the recordings."
    ),
    "image_column": flags.DEFINE_string(
        "image_column", "stim_file", "Column of its events tables that names the image."
    ),
    "ignore_images": flags.DEFINE_multi_string(
        "ignore_images",
        [],
        "Name in it that is no picture of a trial, such as fixation.png or practice/*; "
        "may be given several times.",
    ),
    "task": flags.DEFINE_string("task", "", "Which of its recordings: task-LABEL."),
    "acquisition": flags.DEFINE_string(
        "acquisition", "", "Likewise acq-LABEL; none for those without."
    ),
    "processing": flags.DEFINE_string(
        "processing", "", "Likewise proc-LABEL or desc-LABEL; none for those without."
    ),
    "extension": flags.DEFINE_enum(
        "extension", "", ["", "vhdr", "edf", "bdf", "set"], "Likewise by their format."
    ),
    "marker_type": flags.DEFINE_string(
        "marker_type", "Stimulus", "Type of BrainVision's markers that name images."
    ),
    "ignore_markers": common.define(
        "ignore_markers",
        "",
        "numbers of markers, such as 99 or 'S 99,S255'",
        _markers,
        "Markers, or triggers, that are no images: fixations and such.",
    ),
    "shards_dir": common.define_path(
        "shards_dir", "", "Folder or address (gs://...); default: DATA_DIR/shards."
    ),
    "image_size": flags.DEFINE_integer(
        "image_size", 224, "Of the images in the shards, pixels.", 1, 1024
    ),
    "processes": flags.DEFINE_integer("processes", 1, "How many build shards.", 1, 64),
    "memory_mb": flags.DEFINE_integer(
        "memory_mb", 1000, "For the blocks of preprocessing.", lower_bound=10
    ),
    "overwrite": flags.DEFINE_boolean(
        "overwrite",
        False,
        "Preprocess again what is preprocessed, also where it was made otherwise.",
    ),
}

# Field of `preprocessing.Choices` → its flag's default (the field's own), form, reader
# and help.
_PARSED = {
    "channels": (
        "official",
        "official, all, or different names",
        _channels,
        "Official are those named O... and P....",
    ),
    "epoch_s": ("-0.2,0.8", "FIRST,LAST in seconds", _band, "Of an epoch."),
    "baseline_s": (
        "start,0",
        "FIRST,LAST in seconds, or off",
        _or("off", _baseline),
        "Of the baseline; start and end are those of the epoch.",
    ),
    "bandpass_hz": ("off", "LOW,HIGH in Hz, or off", _or("off", _band), "A filter."),
    "reject_uv": (
        "off",
        "a number above 0, or off",
        _or("off", _above_0),
        "Largest peak-to-peak amplitude that is kept.",
    ),
    "raw_unit": (
        "auto",
        "auto, V, mV, uV or nV",
        _or("auto", _unit),
        "Unit of the numbers in the recordings, where it is not what they say.",
    ),
    "sessions": (
        "all",
        "the form 3, 1,3, 1-4 or labels, or all",
        _or("all", common.read_labels),
        "Which to use.",
    ),
    "training_repetitions": ("2", *_COUNT, "Kept of each image in a session."),
    "test_repetitions": ("20", *_COUNT, "The same for test images."),
}
_CHOICES = {field: common.define(field, *row) for field, row in _PARSED.items()} | {
    "sfreq_hz": flags.DEFINE_float(
        "sfreq_hz", 100.0, "Sampling rate of the result.", 1.0
    ),
    "mvnn": flags.DEFINE_enum(
        "mvnn", "time", ["time", "epochs", "off"], "Whitening: covariance over what."
    ),
    "mvnn_partitions": flags.DEFINE_enum(
        "mvnn_partitions", "both", ["both", "training"], "What its covariance is from."
    ),
    "seed": flags.DEFINE_integer(
        "preprocessing_seed", 20200220, "Of the choice of repetitions.", 0, 2**32 - 1
    ),
}

_DRY_RUN = flags.DEFINE_boolean("dry_run", False, "Print the plan, and do nothing.")
_TEACHER = common.define_path(
    "teacher", "", "Checkpoint whose logits of all images are kept beside the shards."
)


def main() -> None:
    """Calls `prepare.prepare`, or prints the plan."""
    # Imported here so that --help and wrong flags answer at once.
    with common.importing():
        from huggingface_hub.utils import logging

        from img2eeg_jax.data import prepare, preprocessing

    # The hub's client logs attempts that failed and were repeated.
    logging.set_verbosity_error()
    choices = preprocessing.Choices(
        **{field: flag.value for field, flag in _CHOICES.items()}
    )
    request = prepare.Request(
        choices=choices, **{field: flag.value for field, flag in _REQUEST.items()}
    )
    if _DRY_RUN.value:
        common.say(prepare.describe_plan(prepare.plan(request), request.data_dir))
        if rows := prepare.describe_rows(request.data_dir):
            common.say(rows)
        return
    if _TEACHER.value:
        with common.importing():
            from img2eeg_jax.checkpoints.load import load_checkpoint
            from img2eeg_jax.data.shards.store import Shards
            from img2eeg_jax.training import teacher

        # A checkpoint that cannot be used is refused before the stages start.
        loaded = load_checkpoint(_TEACHER.value)
    prepare.prepare(request, log=common.say)
    if _TEACHER.value:
        shards = Shards.open(
            request.shards_dir, image_size=request.image_size, subjects=()
        )
        teacher.load_logits(shards, *loaded.backbone)
    if request.has("shards"):
        print(
            f"ready: --config.data_dir={request.data_dir} "
            f"--config.shards_dir={request.shards_dir}"
        )


def run() -> None:
    """Entry point."""
    flags.mark_flags_as_required(["data_dir"])
    flags.register_validator("data_dir", lambda path: path != "", "expected a folder")
    common.run(main, {"seed": "preprocessing_seed"})
