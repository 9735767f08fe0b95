"""Prepare a data set: download, preprocess and shards, whatever is missing.

The same command goes on where it stopped. --dry_run tells what it would do.
"""

import math
import pathlib

from absl import flags

from img2eeg_jax.scripts import common

_DATA_DIR = flags.DEFINE_string(
    "data_dir", None, "Folder in THINGS-EEG2's layout, or to become one."
)
_SOURCE = flags.DEFINE_enum(
    "source",
    "local",
    ["osf", "local", "synthetic"],
    "osf downloads THINGS-EEG2, local takes what is in --data_dir, synthetic simulates "
    "a small data set.",
)
_SUBJECTS = flags.DEFINE_string("subjects", "", "E.g. 3, 1,3 or 1-10; default: all.")
_STAGES = flags.DEFINE_list(
    "stages", [], "Out of download,preprocess,shards; default: what is missing."
)
_DRY_RUN = flags.DEFINE_boolean("dry_run", False, "Print the plan, and do nothing.")
_EEG = flags.DEFINE_enum(
    "eeg", "preprocessed", ["preprocessed", "raw"], "What --source=osf downloads."
)
_MIRROR = flags.DEFINE_multi_string(
    "mirror", [], "Address to download from first; may be given several times."
)
_BIDS_ROOT = flags.DEFINE_string("bids_root", "", "BIDS data set with the recordings.")
_IMAGE_COLUMN = flags.DEFINE_string(
    "image_column", "stim_file", "Column of its events tables that names the image."
)
_SHARDS_DIR = flags.DEFINE_string(
    "shards_dir", "", "Folder or address (gs://...); default: DATA_DIR/shards."
)
_IMAGE_SIZE = flags.DEFINE_integer(
    "image_size", 224, "Of the images in the shards, pixels.", 1, 1024
)
_PROCESSES = flags.DEFINE_integer("processes", 1, "How many build shards.", 1, 64)
_TEACHER = flags.DEFINE_string(
    "teacher", "", "Checkpoint whose logits of all images are kept beside the shards."
)
_MEMORY_MB = flags.DEFINE_integer(
    "memory_mb", 1000, "For the blocks of preprocessing.", lower_bound=10
)
_OVERWRITE = flags.DEFINE_boolean(
    "overwrite",
    False,
    "Preprocess again what is preprocessed, also where it was made otherwise.",
)

# How to preprocess; the defaults are the official choices.
_CHANNELS = flags.DEFINE_list(
    "channels", ["official"], "official (O... and P...), all, or names."
)
_EPOCH_S = flags.DEFINE_list("epoch_s", ["-0.2", "0.8"], "FIRST,LAST of an epoch.")
_BASELINE_S = flags.DEFINE_list(
    "baseline_s",
    ["start", "0"],
    "FIRST,LAST of the baseline (start and end: of the epoch), or off.",
)
_SFREQ_HZ = flags.DEFINE_float("sfreq_hz", 100.0, "Sampling rate of the result.", 1.0)
_BANDPASS_HZ = flags.DEFINE_list(
    "bandpass_hz", ["off"], "LOW,HIGH of a filter, or off."
)
_REJECT_UV = flags.DEFINE_string(
    "reject_uv", "off", "Largest peak-to-peak amplitude that is kept, or off."
)
_MVNN = flags.DEFINE_enum(
    "mvnn", "time", ["time", "epochs", "off"], "Whitening: covariance over what."
)
_MVNN_PARTITIONS = flags.DEFINE_enum(
    "mvnn_partitions", "both", ["both", "training"], "What its covariance is from."
)
_SESSIONS = flags.DEFINE_string("sessions", "all", "E.g. 1,3 or 1-4, or all.")
_TRAINING_REPETITIONS = flags.DEFINE_string(
    "training_repetitions", "2", "Kept of each image in a session: a number or all."
)
_TEST_REPETITIONS = flags.DEFINE_string(
    "test_repetitions", "20", "The same for test images."
)
_SEED = flags.DEFINE_integer(
    "preprocessing_seed", 20200220, "Of the choice of repetitions.", 0, 2**32 - 1
)


def _epoch(values: list[str]) -> tuple[float, float]:
    """Reads FIRST,LAST, ascending."""
    first, last = map(float, values)
    if not -math.inf < first < last < math.inf:
        raise ValueError
    return first, last


def _baseline(values: list[str]) -> tuple[float | None, float | None] | None:
    """Reads FIRST,LAST, where start and end stand for the epoch's own, or off."""
    if values == ["off"]:
        return None
    first, last = values
    return (
        None if first == "start" else float(first),
        None if last == "end" else float(last),
    )


def _bandpass(values: list[str]) -> tuple[float, float] | None:
    """Reads LOW,HIGH, or off."""
    return None if values == ["off"] else _epoch(values)


def _count(value: str) -> int | None:
    """Reads a number above 0, or all."""
    if value == "all":
        return None
    if int(value) < 1:
        raise ValueError
    return int(value)


def _amplitude(value: str) -> float | None:
    """Reads a number above 0, or off."""
    if value == "off":
        return None
    if not 0 < float(value) < math.inf:
        raise ValueError
    return float(value)


def _channels(values: list[str]) -> str | tuple[str, ...]:
    """Reads official, all, or different names."""
    if not values or "" in values or len(set(values)) != len(values):
        raise ValueError
    return values[0] if values in (["official"], ["all"]) else tuple(values)


_READERS = {
    "channels": (_channels, "official, all, or different names"),
    "epoch_s": (_epoch, "FIRST,LAST in seconds"),
    "baseline_s": (_baseline, "FIRST,LAST in seconds, or off"),
    "bandpass_hz": (_bandpass, "LOW,HIGH in Hz, or off"),
    "reject_uv": (_amplitude, "a number above 0, or off"),
    "training_repetitions": (_count, "a number above 0, or all"),
    "test_repetitions": (_count, "a number above 0, or all"),
}


def _accepts(read):
    """Returns a validator of what a reader accepts."""

    def validate(value) -> bool:
        try:
            read(value)
        except ValueError:
            return False
        return True

    return validate


def main() -> None:
    """Calls `prepare.prepare`, or prints the plan."""
    # Imported here so that --help and wrong flags answer at once.
    with common.importing():
        from huggingface_hub.utils import logging

        from img2eeg_jax.data import layout, prepare, preprocessing

    # Of attempts that failed and were repeated.
    logging.set_verbosity_error()
    read = {
        name: reader(flags.FLAGS[name].value) for name, (reader, _) in _READERS.items()
    }
    sessions = None
    if _SESSIONS.value != "all":
        sessions = layout.parse_subjects(_SESSIONS.value, "sessions")
    choices = preprocessing.Choices(
        sfreq_hz=_SFREQ_HZ.value,
        mvnn=_MVNN.value,
        mvnn_partitions=_MVNN_PARTITIONS.value,
        sessions=sessions,
        seed=_SEED.value,
        **read,
    )
    data_dir = pathlib.Path(_DATA_DIR.value)
    request = prepare.Request(
        data_dir=data_dir,
        shards_dir=_SHARDS_DIR.value or str(data_dir / "shards"),
        source=_SOURCE.value,
        subjects=layout.parse_subjects(_SUBJECTS.value) if _SUBJECTS.value else (),
        stages=tuple(_STAGES.value) or None,
        eeg=_EEG.value,
        mirrors=tuple(_MIRROR.value),
        bids_root=pathlib.Path(_BIDS_ROOT.value) if _BIDS_ROOT.value else None,
        image_column=_IMAGE_COLUMN.value,
        choices=choices,
        overwrite=_OVERWRITE.value,
        image_size=_IMAGE_SIZE.value,
        processes=_PROCESSES.value,
        max_bytes=_MEMORY_MB.value * 1e6,
    )
    if _DRY_RUN.value:
        print(prepare.describe_plan(prepare.plan(request), data_dir))
        return
    if _TEACHER.value:
        with common.importing():
            from img2eeg_jax.checkpoints.load import load_checkpoint
            from img2eeg_jax.training import teacher

        # Refused now rather than after what comes before its turn.
        loaded = load_checkpoint(_TEACHER.value)
    prepare.prepare(request)
    if _TEACHER.value:
        teacher.load_logits(request.shards_dir, *loaded.backbone, request.image_size)
    if "shards" in (request.stages or prepare.STAGES):
        shards = request.shards_dir
        print(f"ready: --config.data_dir={data_dir} --config.shards_dir={shards}")


def run() -> None:
    """Entry point."""
    flags.mark_flags_as_required(["data_dir"])
    flags.register_validator("data_dir", lambda path: path != "", "expected a folder")
    for name, (reader, form) in _READERS.items():
        flags.register_validator(name, _accepts(reader), f"expected {form}")
    known = ("download", "preprocess", "shards")
    flags.register_validator(
        "stages",
        lambda stages: set(stages) <= set(known),
        f"expected stages out of {', '.join(known)}",
    )
    common.run(main)
