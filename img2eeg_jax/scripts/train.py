"""Train image-to-EEG encoders, or go on where the same command stopped."""

from typing import Any

from absl import flags
from ml_collections import config_flags

from img2eeg_jax.scripts import common, config_flag

_CONFIG = config_flags.DEFINE_config_file(
    "config", None, "Recipe: demo, or a file, e.g. configs/demo.py.", lock_config=True
)
_WORKDIR = common.define_path("workdir", None, "Folder of the run; made if need be.")
_DISTRIBUTED = flags.DEFINE_boolean(
    "distributed",
    False,
    "One of several processes that train together, each started with the same command; "
    "SLURM, Open MPI and TPU pods tell which, else the flags below do.",
)
_COORDINATOR_ADDRESS = flags.DEFINE_string(
    "coordinator_address", None, "HOST:PORT of the first process; --distributed."
)
_NUM_PROCESSES = flags.DEFINE_integer(
    "num_processes", None, "How many there are.", lower_bound=1
)
_PROCESS_ID = flags.DEFINE_integer(
    "process_id", None, "Which this one is, from 0.", lower_bound=0
)


def main() -> None:
    """Calls `training.experiment.train` with the flags."""
    print("loading libraries ...", flush=True)
    # Imported here so that --help and wrong flags answer at once.
    with common.importing():
        from img2eeg_jax.devices import compiled, distributed
        from img2eeg_jax.training import config_check, experiment

    if _DISTRIBUTED.value or _COORDINATOR_ADDRESS.value:
        common.leave_at_once_on_errors()
        distributed.start(
            _COORDINATOR_ADDRESS.value, _NUM_PROCESSES.value, _PROCESS_ID.value
        )
    compiled.keep_compiled_programs()
    if config_check.fine_tunes_random_weights(_CONFIG.value):
        common.say(
            "no `init_from`: the network starts from random weights, at a learning "
            f"rate for trained ones ({_CONFIG.value.learning_rate:g}); "
            "configs/scratch.py has one for random weights, or "
            "python convert_torch_weights.py --input=cornet_s --output=CORNET_S "
            "makes those of CORnet-S, for `init_from=CORNET_S`"
        )
    experiment.train(_CONFIG.value, _WORKDIR.value)
    distributed.stop()


def _names_the_coordinator(values: dict[str, Any]) -> bool:
    is_one_of_several = values["distributed"] or values["coordinator_address"]
    return is_one_of_several or values["num_processes"] is values["process_id"] is None


def run() -> None:
    """Entry point."""
    config_flag.let_configs_import()
    flags.mark_flags_as_required(["config", "workdir"])
    flags.register_validator("workdir", lambda path: path != "", "expected a folder")
    flags.register_multi_flags_validator(
        ["distributed", "coordinator_address", "num_processes", "process_id"],
        _names_the_coordinator,
        "--num_processes and --process_id need --coordinator_address or --distributed",
    )
    common.run(main)
