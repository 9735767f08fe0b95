"""Convert published PyTorch weights to a checkpoint, or a checkpoint to PyTorch's."""

import math
import re
from typing import Any

from absl import flags

from img2eeg_jax.scripts import common


def _read_times(text: str) -> list[float]:
    times = [float(time) for time in text.split(",")] if text else []
    if not all(map(math.isfinite, times)) or times != sorted(set(times)):
        raise ValueError
    return times


_INPUT = common.define_path(
    "input",
    None,
    "File, folder, https://, file://, hf://OWNER/NAME[/PATH], or cornet_s. With "
    "--to_torch a checkpoint: work directory, or a converter's output folder.",
)
_OUTPUT = common.define_path(
    "output", "", "Folder to write; with --to_torch a .pt, .pth or .safetensors file."
)
_LIST = flags.DEFINE_boolean("list", False, "Print what is found, and write nothing.")
_TO_TORCH = flags.DEFINE_boolean("to_torch", False, "The other direction.")
_OVERWRITE = flags.DEFINE_boolean("overwrite", False, "Replace what is at --output.")
_SUBJECT = common.define_subject("Whose file, out of several (sub-03 for 3).")
flags.DEFINE_alias("subject", "subjects")
_SHA256 = flags.DEFINE_string("sha256", "", "What the file's SHA-256 must be.")
_REVISION = flags.DEFINE_string("revision", "", "Of hf://: branch, tag or commit.")
_PART = flags.DEFINE_string(
    "part", "", "Which of several networks: the key or first names it lies under."
)
_CH_NAMES = flags.DEFINE_list("ch_names", [], "Channels of the signal, in order.")
_TIMES_S = common.define(
    "times_s",
    "",
    "ascending numbers",
    _read_times,
    "Times of the signal in seconds: all, or the first and the last.",
)
_PUBLISHED = flags.DEFINE_boolean(
    "published",
    False,
    "A copy of published weights, the size of whose signal tells channels and times; "
    "needless for hf://kmazrolina/ReAlNet.",
)
_IMAGE_SIZE = flags.DEFINE_integer(
    "image_size",
    None,
    "Pixels; default: as the heads say, or 224.",
    lower_bound=1,
    upper_bound=1024,
)
_WHICH = flags.DEFINE_enum(
    "which", "best", ["best", "last"], "With --to_torch: which checkpoint."
)


@flags.multi_flags_validator(
    ["list", "output", "to_torch"],
    "expected either --list or --output, and with --to_torch the latter",
)
def _writes_or_lists(values: dict[str, Any]) -> bool:
    return bool(values["output"]) != values["list"] and not (
        values["list"] and values["to_torch"]
    )


def main() -> None:
    """Calls `interop.transfer` with the flags and prints what it says."""
    # Imported here so that --help and wrong flags answer at once.
    with common.importing():
        from huggingface_hub.utils import logging

        from img2eeg_jax.interop import transfer

    # The hub's client logs attempts that failed and were repeated.
    logging.set_verbosity_error()
    if _TO_TORCH.value:
        summary = transfer.export_weights(
            _INPUT.value, _OUTPUT.value, which=_WHICH.value, overwrite=_OVERWRITE.value
        )
    else:
        summary = transfer.import_weights(
            _INPUT.value,
            _OUTPUT.value or None,
            subject=_SUBJECT.value,
            sha256=_SHA256.value,
            revision=_REVISION.value,
            part=_PART.value,
            ch_names=_CH_NAMES.value,
            times_s=_TIMES_S.value,
            is_published=_PUBLISHED.value,
            image_size=_IMAGE_SIZE.value,
            overwrite=_OVERWRITE.value,
        )
    print(summary)


def run() -> None:
    """Entry point."""
    flags.mark_flags_as_required(["input"])
    flags.register_validator("input", lambda name: name != "", "expected a name")
    flags.register_validator(
        "sha256",
        lambda digits: re.fullmatch(r"([0-9a-fA-F]{8,64})?", digits) is not None,
        "expected 64 hexadecimal digits, or at least the first 8",
    )
    common.run(main, {"subject": "subjects", "is_published": "published"})
