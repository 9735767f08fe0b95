"""The precision of matrix products: of training, evaluation and prediction alike."""

import contextlib

import jax

# Name in a config → JAX's name for products of float32 numbers. JAX's own default is
# TF32 on GPUs that have it.
MATMUL_PRECISION = {
    "float32": "highest",
    "tf32": "tensorfloat32",
    "bfloat16": "default",
}


def matmul_precision(name: str) -> contextlib.AbstractContextManager[None]:
    """Sets the precision of what this thread traces within the context.

    Args:
      name: "float32", "tf32" or "bfloat16", as `config.precision`.
    """
    return jax.default_matmul_precision(MATMUL_PRECISION[name])
