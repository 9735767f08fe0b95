"""What was compiled once is kept for the next process."""

import hashlib
import os
import pathlib

import jax

from img2eeg_jax.files import cache_dir

# Bytes of programs that are kept; those that were used longest ago go first.
MAX_BYTES = 2**30

_CPU_INFO = pathlib.Path("/proc/cpuinfo")

# Fields of `_CPU_INFO` that decide which instructions a CPU has; x86, then ARM.
_FEATURES = ("flags", "Features")
_IDENTITY = (
    *("vendor_id", "cpu family", "model", "stepping"),
    *("CPU implementer", "CPU architecture", "CPU variant", "CPU part", "CPU revision"),
    *_FEATURES,
)


def keep_compiled_programs() -> None:
    """Lets later processes on this machine start without compiling.

    What is compiled for one CPU may not run on the next, and JAX's own keys do not
    tell all CPUs apart; so each kind of CPU has a folder of its own, and where nobody
    can say what it is, nothing is kept. Whoever has told JAX where to keep programs
    (``JAX_COMPILATION_CACHE_DIR``), or not to (``JAX_ENABLE_COMPILATION_CACHE=0``), has
    chosen. They lie in ``compiled`` in the folder of `files.cache_dir`, up to
    `MAX_BYTES` of a kind of device.

    To be called after `distributed.start`, where that is.
    """
    if jax.config.values["jax_compilation_cache_dir"]:
        return
    place = cache_dir() / "compiled"
    if jax.default_backend() == "cpu":
        kind = _kind_of_cpu()
        if kind is None:
            return
        place /= kind
    jax.config.update("jax_compilation_cache_max_size", MAX_BYTES)
    # Small programs are many, and a run's second start should compile none.
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0)
    jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)
    jax.config.update("jax_compilation_cache_dir", os.fspath(place))


def _kind_of_cpu() -> str | None:
    """Returns a name that CPUs with other instructions do not have; None if unknown."""
    try:
        text = _CPU_INFO.read_text()
    except OSError:
        return None
    return kind_of_cpu(text, os.cpu_count() or 1)


def kind_of_cpu(text: str, n_cores: int) -> str | None:
    """Names a kind of CPU.

    Args:
      text: of ``/proc/cpuinfo``.
      n_cores: programs are divided among so many.

    Returns:
      A name for a folder, the same for CPUs with the same instructions; None where the
      text does not tell them.
    """
    pairs = {
        (name.strip(), " ".join(sorted(value.split())))
        for name, _, value in (line.partition(":") for line in text.splitlines())
        if name.strip() in _IDENTITY
    }
    if not any(name in _FEATURES for name, _ in pairs):
        return None
    digest = hashlib.sha256(repr((sorted(pairs), n_cores)).encode())
    return f"cpu-{digest.hexdigest()[:16]}"
