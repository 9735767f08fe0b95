"""Train an image-to-EEG encoder, or go on where the same command stopped."""

import os
import sys

from absl import flags
from ml_collections import config_flags

from img2eeg_jax.scripts import common

_CONFIG = config_flags.DEFINE_config_file(
    "config", None, "Recipe, e.g. configs/demo.py.", lock_config=True
)
_WORKDIR = flags.DEFINE_string("workdir", None, "Folder of the run; made if need be.")


def main() -> None:
    """Calls `training.loop.train` with the flags."""
    # Imported here so that --help and wrong flags answer at once.
    with common.importing():
        from img2eeg_jax.training import loop

    loop.train(_CONFIG.value, _WORKDIR.value)


def run() -> None:
    """Entry point."""
    # Config files import each other as `configs.NAME`, from the clone they are used in;
    # an installed command would not look there.
    sys.path.insert(0, os.getcwd())
    flags.mark_flags_as_required(["config", "workdir"])
    flags.register_validator("workdir", lambda path: path != "", "expected a folder")
    common.run(main)
