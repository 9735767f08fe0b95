"""Options of XLA's compiler, of which each version has others."""

from collections.abc import Mapping
from typing import Any

import jax


def known_options(options: Mapping[str, Any]) -> dict[str, Any]:
    """Leaves out the compiler's options that this version of XLA does not have.

    They come and go with its versions, and one that it does not know is an error.

    Args:
      options: name → value, as `compiler_options` of `jax.jit`.
    """
    if _takes(options):
        return dict(options)
    return {name: of for name, of in options.items() if _takes({name: of})}


def _takes(options: Mapping[str, Any]) -> bool:
    nothing = jax.jit(lambda: 0, compiler_options=dict(options))
    try:
        nothing.lower().compile()
    except jax.errors.JaxRuntimeError as error:
        if "No such compile option" not in str(error):
            raise
        return False
    return True
