"""How tests compile quickly what is too small to need fast code."""

import contextlib
import functools

import jax


@functools.cache
def quick_options():
    """Returns options of XLA's that more than halve the time it takes to compile."""
    options = {"xla_backend_optimization_level": 0}
    # XLA refuses an option that it does not know, as another version's.
    without_emitters = {"xla_cpu_use_fusion_emitters": False}
    try:
        jax.jit(lambda x: x, compiler_options=without_emitters)(0)
    except jax.errors.JaxRuntimeError:
        return options
    return options | without_emitters


def quick_xla_flags():
    """Returns the options as XLA_FLAGS, for other processes."""
    return " ".join(
        f"--{name}={str(value).lower()}" for name, value in quick_options().items()
    )


def compile_quickly(function):
    """Compiles as `jax.jit` does, with `quick_options`."""
    return jax.jit(function, compiler_options=quick_options())


@contextlib.contextmanager
def compiling_quickly():
    """Lets JAX compile quickly meanwhile, and share also what is small."""
    settings = {
        "jax_persistent_cache_min_compile_time_secs": 0,
        "jax_persistent_cache_min_entry_size_bytes": -1,
        "jax_disable_most_optimizations": True,
    }
    before = {name: jax.config.values[name] for name in settings}
    for name, value in settings.items():
        jax.config.update(name, value)
    try:
        yield
    finally:
        for name, value in before.items():
            jax.config.update(name, value)
