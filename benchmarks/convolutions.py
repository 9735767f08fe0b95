"""Times the CPU convolution algorithms on CORnet-S's layers: one JSON line per layer.

    python benchmarks/convolutions.py --width=64 --image_size=224 --batch_size=16

`img2eeg_jax.models.convolution` chooses between them by a rule; `chosen` is its choice.
Seconds are of a forward pass and both gradients, all taken in turns.
"""

import functools
import json
import statistics
import time

import jax
import numpy as np
from absl import app, flags

from img2eeg_jax.models import convolution
from img2eeg_jax.models.cornet_s import AREA_WIDTHS, EXPANSION, STEPS

_BATCH_SIZE = flags.DEFINE_integer("batch_size", 16, "Images.")
_IMAGE_SIZE = flags.DEFINE_integer("image_size", 224, "Pixels.")
_WIDTH = flags.DEFINE_integer("width", 64, "Channels of V1.")
_REPEATS = flags.DEFINE_integer("repeats", 5, "Timed runs of each, after one.")

ALGORITHMS = {
    "xla": convolution.xla_conv,
    "matmul": convolution.matmul_conv,
    "winograd": convolution.winograd_conv,
}


def network_layers(width, image_size):
    """Yields (name, input's height, in, out, kernel size, stride), as in REFERENCE."""
    yield "V1.conv1", image_size, 3, width, 7, 2
    side = image_size // 4
    yield "V1.conv2", side, width, width, 3, 1
    channels = width
    for area in STEPS:
        features = AREA_WIDTHS[area] * width
        inner = EXPANSION * features
        yield f"{area}.conv_input", side, channels, features, 1, 1
        yield f"{area}.skip", side, features, features, 1, 2
        yield f"{area}.conv1 step 0", side, features, inner, 1, 1
        yield f"{area}.conv2 step 0", side, inner, inner, 3, 2
        side //= 2
        yield f"{area}.conv2 step 1", side, inner, inner, 3, 1
        yield f"{area}.conv3", side, inner, features, 1, 1
        channels = features


def main(argv):
    """Prints one JSON line per layer."""
    del argv
    for name, side, inputs, outputs, size, stride in network_layers(
        _WIDTH.value, _IMAGE_SIZE.value
    ):
        rng = np.random.default_rng(0)
        shape = (_BATCH_SIZE.value, side, side, inputs)
        x = rng.standard_normal(shape, np.float32)
        kernel = rng.standard_normal((size, size, inputs, outputs), np.float32)
        seconds = compare(x, kernel, stride)
        line = {"name": name, "input": shape, "kernel": kernel.shape, "stride": stride}
        line |= {key: round(value, 5) for key, value in seconds.items()}
        chosen = convolution.cpu_algorithm(x.shape, kernel.shape, stride)
        line["chosen"] = chosen.__name__.removesuffix("_conv")
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
