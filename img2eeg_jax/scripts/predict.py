"""Predict the EEG of images: a file for all of them, or a folder with one for each."""

from absl import flags

from img2eeg_jax.scripts import common

_CHECKPOINT = common.define_path(
    "checkpoint",
    None,
    "Work directory, a converter's or save_pretrained's folder, or hf://OWNER/NAME; or "
    "a folder with one of these for each subject.",
)
_IMAGES = common.define_paths(
    "images",
    "Image file, folder (searched whole), pattern such as 'a/*.jpg', or .txt file with "
    "one of these in each line; may be given several times, or be several separated by "
    "commas.",
)
_OUTPUT = common.define_path(
    "output",
    None,
    "File to write, whose name ends in .npz, -epo.fif, -ave.fif, .csv or .nc; or a "
    "folder, which gets an .npz file and a figure for each image, and goes on where it "
    "was stopped.",
)
_SUBJECTS = common.define_subjects(
    "Whose EEG, where there are several: 3, 1,3, 1-10 or labels; or mean."
)
_CHANNELS = flags.DEFINE_list(
    "channels", [], "Channels to write, in order; all if none."
)
_WINDOW = common.define(
    "window",
    "",
    "FIRST,LAST in seconds",
    lambda text: common.read_range(text) if text else None,
    "Times to write, both included; all if not given.",
)
_UNITLESS = flags.DEFINE_boolean(
    "unitless", False, "Write MNE's files even of what is not in µV, without a unit."
)
_FIGURES = flags.DEFINE_boolean(
    "figures", True, "Draw a figure for each image, where --output is a folder."
)
_SKIP_BAD = flags.DEFINE_boolean(
    "skip_bad", False, "Leave out images that cannot be read; they are listed."
)
_OVERWRITE = flags.DEFINE_boolean("overwrite", False, "Replace what is at --output.")
_WHICH = flags.DEFINE_enum("which", "best", ["best", "last"], "Which checkpoint.")
_REVISION = flags.DEFINE_string(
    "revision", None, "Branch, tag or commit of hf://; its main branch if not given."
)


def main() -> None:
    """Calls `run.predict_to_files` with the flags."""
    # Imported here so that --help and wrong flags answer at once.
    with common.importing():
        from img2eeg_jax.devices import compiled
        from img2eeg_jax.prediction import run

    compiled.keep_compiled_programs()
    run.predict_to_files(
        _CHECKPOINT.value,
        _IMAGES.value,
        _OUTPUT.value,
        which=_WHICH.value,
        subjects=_SUBJECTS.value,
        revision=_REVISION.value,
        choices=run.Choices(
            channels=_CHANNELS.value or None,
            window_s=_WINDOW.value,
            unitless=_UNITLESS.value,
            figures=_FIGURES.value,
            skip_bad=_SKIP_BAD.value,
            overwrite=_OVERWRITE.value,
        ),
        log=common.say,
    )


def run() -> None:
    """Entry point."""
    flags.mark_flags_as_required(["checkpoint", "images", "output"])
    flags.register_validator("checkpoint", lambda path: path != "", "expected a folder")
    flags.register_validator("images", lambda paths: bool(paths), "expected a path")
    flags.register_validator(
        "output", lambda path: path != "", "expected a file or a folder"
    )
    common.run(main, {"subject": "subjects", "window_s": "window"})
