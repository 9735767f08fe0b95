"""Score checkpoints on the test images: metrics.json, tables, figures, report.html."""

from absl import flags

from img2eeg_jax.scripts import common

_CHECKPOINT = common.define_paths(
    "checkpoint",
    "Work directory, also of several subjects, a converter's or save_pretrained's "
    "folder, or hf://OWNER/NAME. Several are compared with each other.",
)
_DATA_DIR = common.define_path("data_dir", "", "Data set; default: the run's own.")
_SUBJECTS = common.define_subjects("Whose EEG; default: the run's own subjects.")
_OUTPUT = common.define_path(
    "output",
    "",
    "Folder; default: CHECKPOINT/eval, or CHECKPOINT/eval/sub-XX with one --subjects.",
)
_ONLY = flags.DEFINE_list(
    "only",
    None,
    "Parts: leaks, encoding, images, identification, decoding, rsa, rsa_files, "
    "training; default: all but decoding, which takes long, and rsa_files without its "
    "files. What was found before of other parts stays.",
)
_WHICH = flags.DEFINE_enum("which", "best", ["best", "last"], "Which checkpoint.")
_N_SPLITS = flags.DEFINE_integer(
    "n_splits", 100, "Halvings of the repetitions.", lower_bound=1
)
_DECODING_HALVINGS = flags.DEFINE_integer(
    "decoding_halvings", 1, "The same, of pairwise decoding.", lower_bound=1
)
_CANDIDATES = common.define_path(
    "candidates", "", "Folder of pictures that test images are told from, too."
)
_RSA_IMAGES = common.define_path(
    "rsa_images", "", "Folder of pictures that --rsa_rdms are of."
)
_RSA_RDMS = common.define_paths(
    "rsa_rdms",
    "Dissimilarities to compare with: .npy, .mat, or rsatoolbox's .hdf5 or .h5; "
    "may be given several times.",
)
_RSA_ORDERS = common.define_paths(
    "rsa_orders",
    "Text file that says which picture each row of a --rsa_rdms is, one for each; "
    "default: sorted paths.",
)
_RSA_AGAINST = common.define_path(
    "rsa_against",
    "",
    "Another checkpoint, whose layers compete with these: the one training began with.",
)
_RSA_DECODING = flags.DEFINE_bool(
    "rsa_decoding", False, "Compare layers with pairwise decoding, too: minutes."
)
_WINDOW = common.define(
    "window",
    "0.1,0.3",
    "FIRST,LAST in seconds",
    common.read_range,
    "Of the mean scores.",
)
_SEED = flags.DEFINE_integer("seed", 0, "Of everything random.", lower_bound=0)


def main() -> None:
    """Calls `evaluation.run.evaluate_to_files` with the flags and prints a table."""
    print("loading libraries ...", flush=True)
    # Imported here so that --help and wrong flags answer at once.
    with common.importing():
        from img2eeg_jax.devices import compiled
        from img2eeg_jax.evaluation import printed
        from img2eeg_jax.evaluation import run as evaluation

    compiled.keep_compiled_programs()
    found = evaluation.evaluate_to_files(
        _CHECKPOINT.value,
        data_dir=_DATA_DIR.value,
        subjects=_SUBJECTS.value,
        output=_OUTPUT.value,
        which=_WHICH.value,
        only=_ONLY.value,
        n_splits=_N_SPLITS.value,
        decoding_halvings=_DECODING_HALVINGS.value,
        candidates=_CANDIDATES.value,
        rsa_images=_RSA_IMAGES.value,
        rsa_rdms=tuple(_RSA_RDMS.value or ()),
        rsa_orders=tuple(_RSA_ORDERS.value or ()),
        rsa_against=_RSA_AGAINST.value,
        rsa_decoding=_RSA_DECODING.value,
        window_s=_WINDOW.value,
        seed=_SEED.value,
        log=common.say,
    )
    print(printed.result_table(found))
    output = _OUTPUT.value or evaluation.default_output(
        _CHECKPOINT.value[0], _SUBJECTS.value
    )
    print(f"report.html, metrics.json, tables and figures are in {output}")


def run() -> None:
    """Entry point."""
    flags.mark_flags_as_required(["checkpoint"])
    flags.register_validator(
        "checkpoint", lambda paths: bool(paths), "expected a folder"
    )
    common.run(main, {"window_s": "window", "orders": "rsa_orders"})
