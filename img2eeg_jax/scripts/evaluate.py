"""Score a checkpoint on the test images: metrics.json, figures and a table."""

from absl import flags

from img2eeg_jax.scripts import common

_CHECKPOINT = common.define_path(
    "checkpoint",
    None,
    "Work directory, a converter's or save_pretrained's folder, or hf://OWNER/NAME.",
)
_DATA_DIR = common.define_path("data_dir", "", "Data set; default: the run's own.")
_SUBJECT = common.define_subject("Whose EEG; default: the run's own subject.")
_OUTPUT = common.define_path(
    "output",
    "",
    "Folder; default: CHECKPOINT/eval, or CHECKPOINT/eval/sub-XX with --subjects.",
)
_WHICH = flags.DEFINE_enum("which", "best", ["best", "last"], "Which checkpoint.")
_N_SPLITS = flags.DEFINE_integer(
    "n_splits", 100, "Halvings of the repetitions.", lower_bound=1
)
_WINDOW = common.define(
    "window",
    "0.1,0.3",
    "FIRST,LAST in seconds",
    common.read_range,
    "Of the mean scores.",
)
_SEED = flags.DEFINE_integer("seed", 0, "Of halvings and permutations.", lower_bound=0)


def main() -> None:
    """Calls `evaluation.report.evaluate` with the flags and prints its table."""
    print("loading libraries ...", flush=True)
    # Imported here so that --help and wrong flags answer at once.
    with common.importing():
        from img2eeg_jax.evaluation import report

    summary = report.evaluate(
        _CHECKPOINT.value,
        data_dir=_DATA_DIR.value,
        subject=_SUBJECT.value,
        output=_OUTPUT.value,
        which=_WHICH.value,
        n_splits=_N_SPLITS.value,
        window_s=_WINDOW.value,
        seed=_SEED.value,
        log=common.say,
    )
    print(report.result_table(summary))
    output = _OUTPUT.value or report.default_output(_CHECKPOINT.value, _SUBJECT.value)
    print(f"metrics.json and figures are in {output}")


def run() -> None:
    """Entry point."""
    flags.mark_flags_as_required(["checkpoint"])
    flags.register_validator("checkpoint", lambda path: path != "", "expected a folder")
    common.run(main, {"subject": "subjects", "window_s": "window"})
