"""2-D convolution and pooling, NHWC, by the fastest algorithm of each platform.

On CPU XLA's own convolution is near the rate of its matrix product for the forward pass
only, and far behind it on small maps. `benchmarks/convolutions.py` compares.
"""

import functools
from collections.abc import Callable, Sequence
from typing import Protocol

import jax
import jax.numpy as jnp
from jax import lax

Array = jax.Array


class Algorithm(Protocol):
    """A way to compute `conv`."""

    def __call__(self, x: Array, kernel: Array, stride: int) -> Array:
        """Returns what `conv` does."""


# Offset → a strided part of an array; see `every`.
Phases = Callable[[int], Array]
# Rows of matrices [in, out]; see `transform_kernel`.
Transformed = list[list[Array]]

# With this many output rows or columns, or fewer, XLA's CPU convolution is far slower
# than a matrix product: at 2 × 2 positions it has a fiftieth of the product's rate.
_FEW_POSITIONS = 8

# With fewer input channels than this, patches cost more to gather than to multiply.
_FEW_CHANNELS = 8

# Winograd's fewer products pay for its additions from this many channels on.
_MANY_CHANNELS = 256

# Stride → how many tiles of 2 × 2 outputs per channel Winograd needs to pay: its
# transform of the kernel costs the same for any number of tiles.
_TILES_PER_CHANNEL = {1: 1 / 8, 2: 1 / 2}

# With fewer tiles, as of one image, Winograd saves 7 ms of 120, and its many small
# operations take half a second longer to compile.
_MANY_TILES = 200

# XLA's convolution is behind a matrix product of so few rows, positions of all images.
_FEW_ROWS = 1024


def xla_conv(x: Array, kernel: Array, stride: int) -> Array:
    """Convolves as `conv` does, by XLA's own operation."""
    padding = kernel.shape[0] // 2
    return lax.conv_general_dilated(
        x,
        kernel,
        window_strides=(stride, stride),
        padding=((padding, padding), (padding, padding)),
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
    )


def matmul_conv(x: Array, kernel: Array, stride: int) -> Array:
    """Convolves as `conv` does: gathers the patches, then one matrix product."""
    size, _, in_channels, features = kernel.shape
    rows, columns = (-(-length // stride) for length in x.shape[1:3])
    padding = size // 2
    x = jnp.pad(x, ((0, 0), (padding, padding), (padding, padding), (0, 0)))
    span = [stride * (length - 1) + 1 for length in (rows, columns)]
    windows = [
        x[:, i : i + span[0] : stride, j : j + span[1] : stride]
        for i in range(size)
        for j in range(size)
    ]
    patches = jnp.concatenate(windows, axis=-1).reshape(-1, size * size * in_channels)
    out = patches @ kernel.reshape(-1, features)
    return out.reshape(-1, rows, columns, features)


def winograd_conv(x: Array, kernel: Array, stride: int) -> Array:
    """Convolves as `conv` does, 3 × 3 kernels only, with fewer multiplications.

    Two neighbouring outputs of a 1-D convolution with three weights cost 4 instead of 6
    products at stride 1, and 5 at stride 2 (Lavin & Gray 2016, arXiv:1509.09308); in
    2-D the transforms nest: 16 or 25 matrix products instead of 36 for 2 × 2 outputs.
    The transforms only add and halve, so that rounding errors stay those of `xla_conv`.
    """
    return transformed_conv(x, transform_kernel(kernel, stride), stride)


def transform_kernel(kernel: Array, stride: int) -> Transformed:
    """Returns the matrices that `winograd_conv` multiplies by.

    Args:
      kernel: [3, 3, in, out].
      stride: of the convolution.

    Returns:
      4 rows of 4 matrices [in, out]; 5 of 5 at stride 2.
    """
    _, weights, _ = _WINOGRAD[stride]
    return [[*weights(_split(row, 0))] for row in weights(_split(kernel, 0))]


def transformed_conv(x: Array, weights: Transformed, stride: int) -> Array:
    """Convolves as `winograd_conv` does, with a kernel that is transformed already.

    Args:
      x: [batch, height, width, in].
      weights: what `transform_kernel` returns for this stride.
      stride: step in both directions.
    """
    batch, height, width, _ = x.shape
    rows, columns = -(-height // stride), -(-width // stride)
    tiles = -(-rows // 2), -(-columns // 2)
    # A zero before the first position, and enough after the last for whole tiles.
    step = 2 * stride
    padding = [
        (1, step * (n + 1) - 1 - length)
        for n, length in zip(tiles, (height, width), strict=True)
    ]
    x = jnp.pad(x, ((0, 0), *padding, (0, 0)))
    inputs, _, outputs = _WINOGRAD[stride]
    along_rows = []
    for x_row, weights_row in zip(inputs(every(x, 1, step)), weights, strict=True):
        products = [
            tile.reshape(-1, tile.shape[-1]) @ weight
            for tile, weight in zip(
                inputs(every(x_row, 2, step)), weights_row, strict=True
            )
        ]
        along_rows.append(outputs(products))
    left_and_right = [outputs(column) for column in zip(*along_rows, strict=True)]
    # [tile, row of 2, column of 2, feature]
    out = jnp.stack([jnp.stack(column, 1) for column in left_and_right], 2)
    out = out.reshape(batch, *tiles, 2, 2, -1).swapaxes(2, 3)
    out = out.reshape(batch, 2 * tiles[0], 2 * tiles[1], -1)
    return out[:, :rows, :columns]


def every(x: Array, axis: int, step: int) -> Phases:
    """Returns offset → every `step`-th entry of an axis from there.

    Made by a split, whose gradient is a concatenation; the gradient of a strided slice
    is a sum of arrays that are mostly zeros.

    Args:
      x: array.
      axis: its axis, of a length (n + 1) · `step`.
      step: distance of the entries.

    Returns:
      Function that takes an offset up to `step` and returns n entries.
    """
    n = x.shape[axis] // step - 1
    shape = (*x.shape[:axis], n + 1, step, *x.shape[axis + 1 :])
    phases = _split(x.reshape(shape), axis + 1)

    def take(offset: int) -> Array:
        first, phase = divmod(offset, step)
        return lax.slice_in_dim(phases[phase], first, first + n, axis=axis)

    return take


def _split(x: Array, axis: int) -> list[Array]:
    """Returns the entries of a short axis."""
    parts = lax.split(x, (1,) * x.shape[axis], axis)
    return [part.squeeze(axis) for part in parts]


def _inputs_1(x: Phases) -> tuple[Array, ...]:
    return x(0) - x(2), x(1) + x(2), x(2) - x(1), x(1) - x(3)


def _weights_1(w: Sequence[Array]) -> tuple[Array, ...]:
    even, odd = (w[0] + w[2]) / 2, w[1] / 2
    return w[0], even + odd, even - odd, w[2]


def _outputs_1(m: Sequence[Array]) -> tuple[Array, Array]:
    return m[0] + m[1] + m[2], m[1] - m[2] - m[3]


def _inputs_2(x: Phases) -> tuple[Array, ...]:
    return x(0) - x(2), x(2), x(2) - x(4), x(1), x(3)


def _weights_2(w: Sequence[Array]) -> tuple[Array, ...]:
    return w[0], w[0] + w[2], w[2], w[1], w[1]


def _outputs_2(m: Sequence[Array]) -> tuple[Array, Array]:
    return m[0] + m[1] + m[3], m[1] - m[2] + m[4]


# Stride → the transforms of inputs, weights and products along one axis.
_WINOGRAD = {
    1: (_inputs_1, _weights_1, _outputs_1),
    2: (_inputs_2, _weights_2, _outputs_2),
}


def may_be_winograd(kernel_shape: tuple[int, ...]) -> bool:
    """Tells whether Winograd's is the fastest algorithm for some size of `x` on CPU.

    Args:
      kernel_shape: [size, size, in, out], or the shape of any other array.
    """
    return kernel_shape[:2] == (3, 3) and kernel_shape[2] >= _MANY_CHANNELS


def cpu_algorithm(
    x_shape: tuple[int, ...], kernel_shape: tuple[int, ...], stride: int
) -> Algorithm:
    """Returns the fastest algorithm on CPU (`benchmarks/convolutions.py`).

    Args:
      x_shape: [batch, height, width, in].
      kernel_shape: [size, size, in, out].
      stride: step in both directions.
    """
    size, _, in_channels, _ = kernel_shape
    rows, columns = (-(-length // stride) for length in x_shape[1:3])
    if may_be_winograd(kernel_shape):
        tiles = x_shape[0] * -(-rows // 2) * -(-columns // 2)
        if tiles >= max(_TILES_PER_CHANNEL[stride] * in_channels, _MANY_TILES):
            return winograd_conv
    few_positions = min(rows, columns) <= _FEW_POSITIONS
    few_positions |= x_shape[0] * rows * columns <= _FEW_ROWS
    if in_channels >= _FEW_CHANNELS and (size == 1 or stride > 1 or few_positions):
        return matmul_conv
    return xla_conv


def _cpu_conv(x: Array, kernel: Array, stride: int) -> Array:
    return cpu_algorithm(x.shape, kernel.shape, stride)(x, kernel, stride)


def _cpu_gradients(
    x: Array, kernel: Array, grad: Array, stride: int
) -> tuple[Array, Array]:
    algorithm = cpu_algorithm(x.shape, kernel.shape, stride)
    if kernel.shape[0] > 1 and algorithm is not xla_conv:
        # Adding a zero that is known with the gradient only makes XLA gather the
        # patches and transforms of `x` again here. Otherwise it would keep them from
        # the forward pass, several times the memory of `x`; on CPU it ignores
        # `optimization_barrier`. (The kernel's transforms are small, and kept.) The
        # zero is a sum, because XLA would compute an entry of the gradient again for
        # each entry of `x` that it is added to.
        x = x + 0 * grad[0, 0, 0].sum()
    return _gradients(algorithm, x, kernel, grad, stride)


def _gradients(
    algorithm: Algorithm, x: Array, kernel: Array, grad: Array, stride: int
) -> tuple[Array, Array]:
    _, vjp = jax.vjp(functools.partial(algorithm, stride=stride), x, kernel)
    return vjp(grad)


def _is_for_any_batch(x: Array) -> bool:
    """Tells whether a program is traced for any batch, so that no rule can ask for it.

    `jax.export` does so: the size of its batch is a symbol.
    """
    return not isinstance(x.shape[0], int)


@functools.partial(jax.custom_vjp, nondiff_argnums=(2,))
def conv(x: Array, kernel: Array, stride: int) -> Array:
    """2-D convolution, the algorithm chosen per platform.

    Zeros pad each side by half of the kernel, symmetrically, as PyTorch does (and
    "SAME" does not, for stride 2). A program that is exported for any batch keeps XLA's
    operation on all platforms.

    Args:
      x: [batch, height, width, in].
      kernel: [size, size, in, out], size odd.
      stride: step in both directions.

    Returns:
      [batch, ⌈height / stride⌉, ⌈width / stride⌉, out].
    """
    if _is_for_any_batch(x):
        return xla_conv(x, kernel, stride)
    return lax.platform_dependent(
        x,
        kernel,
        cpu=functools.partial(_cpu_conv, stride=stride),
        default=functools.partial(xla_conv, stride=stride),
    )


def _conv_forward(
    x: Array, kernel: Array, stride: int
) -> tuple[Array, tuple[Array, Array]]:
    return conv(x, kernel, stride), (x, kernel)


def _conv_backward(
    stride: int, residuals: tuple[Array, Array], grad: Array
) -> tuple[Array, Array]:
    if _is_for_any_batch(residuals[0]):
        return _gradients(xla_conv, *residuals, grad, stride)
    # Differentiated per platform: through `platform_dependent` itself, JAX would keep
    # the residuals of every branch.
    return lax.platform_dependent(
        *residuals,
        grad,
        cpu=functools.partial(_cpu_gradients, stride=stride),
        default=functools.partial(_gradients, xla_conv, stride=stride),
    )


conv.defvjp(_conv_forward, _conv_backward)


def max_pool(x: Array) -> Array:
    """Takes the maximum over 3 × 3 windows at stride 2, padded by 1 on each side.

    The gradient goes to the first of equal values, row by row, and a window with a NaN
    gives NaN, as in PyTorch. XLA's own gradient sorts on CPU.

    Args:
      x: [batch, height, width, channel].

    Returns:
      [batch, ⌈height / 2⌉, ⌈width / 2⌉, channel].
    """
    padding = [(1, 1 + length % 2) for length in x.shape[1:3]]
    x = jnp.pad(x, ((0, 0), *padding, (0, 0)), constant_values=-jnp.inf)
    for axis in (2, 1):
        window = every(x, axis, 2)
        x = window(0)
        for offset in (1, 2):
            other = window(offset)
            x = jnp.where((other > x) | jnp.isnan(other), other, x)
    return x
