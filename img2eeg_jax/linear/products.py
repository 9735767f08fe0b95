"""Products of large matrices: float32 in JAX, float64 where a Gram matrix needs it.

On a CPU XLA multiplies float32 faster than NumPy's BLAS, which has float64 and knows
that a Gram matrix is symmetric.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np

# A block of rows has about so many numbers: 128 MB of float32.
BLOCK_NUMBERS = 2**25


@functools.partial(jax.jit, static_argnames=("transposed",))
def _product(a: jax.Array, b: jax.Array, transposed: bool) -> jax.Array:
    # GPUs and TPUs round the factors to fewer bits by default.
    return jnp.matmul(a.T if transposed else a, b, precision=jax.lax.Precision.HIGHEST)


def product(a: np.ndarray, b: np.ndarray | jax.Array) -> np.ndarray:
    """Returns f32[m, n], a @ b of f32[m, k] and f32[k, n]."""
    return np.asarray(_product(_f32(a), _f32(b), transposed=False))


def cross_product(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Returns f32[m, n], a.T @ b of f32[k, m] and f32[k, n]."""
    return np.asarray(_product(_f32(a), _f32(b), transposed=True))


@functools.partial(jax.jit, donate_argnums=0)
def add_applied(total: jax.Array, block: jax.Array, basis: jax.Array) -> jax.Array:
    """Returns f32[m, n], total + block.T @ (block @ basis); `total` is used up."""
    along = jnp.matmul(block, basis, precision=jax.lax.Precision.HIGHEST)
    return total + jnp.matmul(block.T, along, precision=jax.lax.Precision.HIGHEST)


def gram(a: np.ndarray) -> np.ndarray:
    """Returns f64[m, m], a.T @ a of f[k, m]; products of float32 are exact in it."""
    a = np.asarray(a, np.float64)
    return a.T @ a


def block_rows(n_columns: int) -> int:
    """Returns how many rows of so many columns are read at once."""
    return max(1, BLOCK_NUMBERS // max(1, n_columns))


def _f32(a: np.ndarray | jax.Array) -> np.ndarray | jax.Array:
    return a if isinstance(a, jax.Array) else np.asarray(a, np.float32)
