"""Options of XLA's compiler, of which each version has others."""

import functools
from collections.abc import Mapping
from typing import Any

import jax


def known_options(options: Mapping[str, Any]) -> dict[str, Any]:
    """Leaves out the compiler's options that this version of XLA does not have.

    They come and go with its versions, and one that it does not know is an error.

    Args:
      options: name → value, as `compiler_options` of `jax.jit`.

    Returns:
      Those that XLA has.

    Raises:
      jax.errors.JaxRuntimeError: an option that it has does not take its value.
    """
    items = tuple(options.items())
    if _takes(items):
        return dict(items)
    return {name: value for name, value in items if _takes(((name, value),))}


@functools.cache
def _takes(options: tuple[tuple[str, Any], ...]) -> bool:
    """Tries options on an empty program, once in a process."""
    nothing = jax.jit(lambda: 0, compiler_options=dict(options))
    try:
        nothing.lower().compile()
    except jax.errors.JaxRuntimeError as error:
        if "No such compile option" not in str(error):
            raise
        return False
    return True
