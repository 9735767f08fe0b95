"""Predict the EEG of images: arrays in an .npz file."""

from absl import flags

from img2eeg_jax.scripts import common

_CHECKPOINT = common.define_path(
    "checkpoint", None, "Work directory, or a converter's output folder."
)
_IMAGES = common.define_paths(
    "images",
    "Image file, or folder (searched whole); may be given several times, or be several "
    "separated by commas.",
)
_OUTPUT = common.define_path("output", None, "The .npz file to write.")
_OVERWRITE = flags.DEFINE_boolean("overwrite", False, "Replace what is at --output.")
_WHICH = flags.DEFINE_enum("which", "best", ["best", "last"], "Which checkpoint.")
_SUBJECT = common.define_subject("Whose EEG, where subjects share a network.")


def main() -> None:
    """Calls `encoder.write_predictions` with the flags."""
    # Imported here so that --help and wrong flags answer at once.
    with common.importing():
        from img2eeg_jax.prediction import encoder

    print(
        encoder.write_predictions(
            _CHECKPOINT.value,
            _IMAGES.value,
            _OUTPUT.value,
            which=_WHICH.value,
            subject=_SUBJECT.value,
            overwrite=_OVERWRITE.value,
        )
    )


def run() -> None:
    """Entry point."""
    flags.mark_flags_as_required(["checkpoint", "images", "output"])
    flags.register_validator("checkpoint", lambda path: path != "", "expected a folder")
    flags.register_validator("images", lambda paths: bool(paths), "expected a path")
    flags.register_validator(
        "output", lambda path: path.endswith(".npz"), "expected a name ending in .npz"
    )
    common.run(main, {"subject": "subjects"})
