"""Times the CPU convolution algorithms on CORnet-S's layers: one JSON line per layer.

    python -m benchmarks.convolutions --width=64 --image_size=224 --batch_size=16

`img2eeg_jax.models.convolution` chooses between them by a rule; `chosen` is its choice.
Seconds are of a forward pass and both gradients, all taken in turns; a step of training
does `times` of each.
"""

import functools
import json
import statistics
import time

import jax
import numpy as np
from absl import app, flags

from img2eeg_jax.models import convolution
from img2eeg_jax.models.flops import convolutions

_BATCH_SIZE = flags.DEFINE_integer("batch_size", 16, "Images.")
_IMAGE_SIZE = flags.DEFINE_integer("image_size", 224, "Pixels.")
_WIDTH = flags.DEFINE_integer("width", 64, "Channels of V1.")
_REPEATS = flags.DEFINE_integer("repeats", 5, "Timed runs of each, after one.")

ALGORITHMS = {
    "xla": convolution.xla_conv,
    "matmul": convolution.matmul_conv,
    "winograd": convolution.winograd_conv,
}


def main(argv):
    """Prints one JSON line per layer."""
    del argv
    for layer in convolutions(_WIDTH.value, _IMAGE_SIZE.value):
        rng = np.random.default_rng(0)
        shape = (_BATCH_SIZE.value, layer.side, layer.side, layer.inputs)
        x = rng.standard_normal(shape, np.float32)
        kernel_shape = (layer.size, layer.size, layer.inputs, layer.outputs)
        kernel = rng.standard_normal(kernel_shape, np.float32)
        seconds = compare(x, kernel, layer.stride)
        line = {
            "name": layer.name,
            "input": shape,
            "kernel": kernel_shape,
            "stride": layer.stride,
            "times": layer.times,
        }
        line |= {key: round(value, 5) for key, value in seconds.items()}
        chosen = convolution.cpu_algorithm(shape, kernel_shape, layer.stride)
        (line["chosen"],) = (
            name for name, algorithm in ALGORITHMS.items() if algorithm is chosen
        )
        print(json.dumps(line), flush=True)


def compare(x, kernel, stride):
    """Returns the median seconds of each algorithm."""

    def run(algorithm, x, kernel, grad):
        out, vjp = jax.vjp(functools.partial(algorithm, stride=stride), x, kernel)
        return out, vjp(grad)

    convolve = functools.partial(convolution.xla_conv, stride=stride)
    grad = np.ones(jax.eval_shape(convolve, x, kernel).shape, x.dtype)
    runs = {
        name: jax.jit(functools.partial(run, algorithm))
        for name, algorithm in ALGORITHMS.items()
        if name != "winograd" or kernel.shape[0] == 3
    }
    seconds = {name: [] for name in runs}
    for _ in range(_REPEATS.value + 1):
        for name, function in runs.items():
            start = time.perf_counter()
            jax.block_until_ready(function(x, kernel, grad))
            seconds[name].append(time.perf_counter() - start)
    return {name: statistics.median(values[1:]) for name, values in seconds.items()}


if __name__ == "__main__":
    app.run(main)
