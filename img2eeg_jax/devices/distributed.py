"""Several processes that train together, on one machine or many."""

import contextlib
from collections.abc import Iterator

import jax

from img2eeg_jax.errors import InputError, first_line, unexpected

# A process without a sign of life for so long counts as dead, and the others end.
_HEARTBEAT_S = 60

# How long a process that is done waits for others: subjects that are trained side by
# side end at different times.
_SHUTDOWN_S = 7 * 24 * 3600


def start(
    coordinator_address: str | None = None,
    num_processes: int | None = None,
    process_id: int | None = None,
) -> None:
    """Joins the other processes; before anything else that uses JAX.

    Args:
      coordinator_address: host:port of the first process; None, as for the others, to
        find it in the environment, where JAX knows it: SLURM, Open MPI, Cloud TPU, GKE.
      num_processes: how many there are.
      process_id: which this one is, from 0.

    Raises:
      InputError: the environment does not tell, or the others do not come.
    """
    # Processes without GPU or TPU add up over all of them by Gloo.
    jax.config.update("jax_cpu_collectives_implementation", "gloo")
    # JAX's preemption service would take SIGTERM, at which a run saves and stops.
    jax.config.update("jax_enable_preemption_service", False)
    try:
        jax.distributed.initialize(
            coordinator_address,
            num_processes,
            process_id,
            heartbeat_timeout_seconds=_HEARTBEAT_S,
            shutdown_timeout_seconds=_SHUTDOWN_S,
        )
    except (ValueError, RuntimeError) as error:
        raise unexpected(
            "`distributed`",
            "to find the other processes (SLURM, Open MPI and TPU pods tell of them; "
            "else `coordinator_address`, `num_processes` and `process_id`)",
            error,
        ) from error


def is_running() -> bool:
    """Tells whether this process is one of several."""
    return jax.distributed.is_initialized()


def stop() -> None:
    """Leaves together with the others."""
    if is_running():
        jax.distributed.shutdown()


@contextlib.contextmanager
def naming_failures() -> Iterator[None]:
    """Turns what devices and other processes fail with into an InputError."""
    try:
        yield
    except jax.errors.JaxRuntimeError as error:
        found = first_line(error)
        if "RESOURCE_EXHAUSTED" in found:
            raise InputError(
                "expected a step that fits into the device's memory (`remat` and a "
                f"smaller `batch_size` need less), found: {found}"
            ) from error
        if jax.process_count() == 1:
            raise
        where, expected = jax.process_index(), jax.process_count()
        raise unexpected(
            f"process {where}", f"{expected} processes", f"one gone: {found}"
        ) from error
