"""Times prediction: one JSON line for each.

    python -m benchmarks.prediction --checkpoint=runs/demo
    python -m benchmarks.prediction --name=full_size --batch=1 --batch=64

- `pictures`: mixed JPEGs of 240 to 960 pixels, decoded and predicted, in turns, by
  as many threads; `of_decoding` is the ratio of the rates. `growth_mb` is what the
  process grew by from image 1,000 to the last of --images (Linux).
- `overhead`: `encoder.signal` of ten batches of images in memory beside the bare
  compiled step with a batch that is on the device, in turns; and how often a second
  call compiled.
- `full_size`: {"name": "ours" | "torch" | "matmul_floor", "batch": n, "images_per_s"},
  in turns: `Encoder.signal` of n images, the same network in PyTorch
  (`inference_mode`, the faster of two layouts), and the rate of large matrix products.
  PyTorch is left out where it is not installed. 224 pixels, width 64: 3 GB.

Have the machine to yourself. The first two need a run: the demo's.
"""

import importlib.util
import itertools
import json
import os
import pathlib
import statistics
import tempfile
import time

import jax
import numpy as np
from absl import app, flags
from PIL import Image

from benchmarks import jax_steps
from img2eeg_jax.checkpoints.description import Description
from img2eeg_jax.checkpoints.load import Checkpoint
from img2eeg_jax.models.flops import forward_flops
from img2eeg_jax.models.realnet import ReAlNet
from img2eeg_jax.prediction.encoder import Encoder
from img2eeg_jax.prediction.network import batches
from img2eeg_jax.prediction.pictures import Pictures
from img2eeg_jax.signal_layout import FEATURES, SignalLayout
from img2eeg_jax.training.state import init_variables

NAMES = ("pictures", "overhead", "full_size")
ROOT = pathlib.Path(__file__).parents[1]
COMPILED = "/jax/core/compile/backend_compile_duration"
# Images by which memory has settled.
SETTLED = 1000
IMAGE_SIZE, SIGNAL_SIZE = 224, 340

_CHECKPOINT = flags.DEFINE_string("checkpoint", "runs/demo", "A run of the demo.")
_IMAGES = flags.DEFINE_integer("images", 20_000, "Of `pictures`' growth.", 1)
_RUNS = flags.DEFINE_integer("runs", 5, "Timed turns.", lower_bound=1)
_BATCH = flags.DEFINE_multi_integer("batch", [1, 16, 64], "Of `full_size`.")
_NAMES = flags.DEFINE_multi_enum("name", NAMES, NAMES, "What to time.")


def main(argv):
    """Prints the lines of what is asked for."""
    del argv
    for name in _NAMES.value:
        for line in globals()[name]():
            facts = {"device": jax.devices()[0].device_kind, "cores": os.cpu_count()}
            print(json.dumps({"name": name} | line | facts), flush=True)


def pictures():
    """Yields the rates of decoding and of predicting, and how memory grows."""
    encoder = Encoder.from_pretrained(_CHECKPOINT.value)
    with tempfile.TemporaryDirectory() as folder:
        paths = write_pictures(pathlib.Path(folder), SETTLED)

        def decode():
            for _ in Pictures(paths).read(encoder.image_size):
                pass

        def predict():
            encoder(paths, progress=False)

        predict()
        turns = in_turns({"decoding": decode, "predicting": predict})
        rates = {name: SETTLED / statistics.median(s) for name, s in turns.items()}
        line = {f"{name}_images_per_s": round(rate) for name, rate in rates.items()}
        line["of_decoding"] = round(rates["predicting"] / rates["decoding"], 3)
        yield line | growth(encoder, paths)


def growth(encoder, paths):
    """Returns by how much memory grows over many pictures."""
    at = {}

    def endless():
        for number, path in enumerate(itertools.cycle(paths)):
            if number in (SETTLED, _IMAGES.value):
                at[number] = resident_mb()
            if number == _IMAGES.value:
                return
            yield path

    if _IMAGES.value <= SETTLED or not pathlib.Path("/proc/self/statm").exists():
        return {}
    eeg = encoder(endless(), progress=False)
    end = max(resident_mb(), *at.values())
    mb = {"growth_mb": round(end - at[SETTLED]), "images": len(eeg)}
    return mb | {"of_these_results_mb": round(eeg.data.nbytes / 1e6)}


def overhead():
    """Yields the time of a call beside that of its steps."""
    encoder = Encoder.from_pretrained(_CHECKPOINT.value)
    network, (step, _) = encoder._network, encoder.signals.args
    weights, largest = (network._of_many,), network.batch_size
    images = noise(10 * largest, encoder.image_size)
    (batch,) = batches(images[:largest], largest)
    (batch,) = network._parallel.load([batch])

    def bare():
        for _ in range(10):
            outputs = step(weights, batch)
        jax.block_until_ready(outputs)

    def signal():
        encoder.signal(images)

    for n in (1, len(images)):
        encoder.signal(images[:n])
    turns = in_turns({"bare": bare, "signal": signal})
    medians = {name: statistics.median(values) for name, values in turns.items()}
    compiled = []
    jax.monitoring.register_event_duration_secs_listener(
        lambda event, *_, **__: compiled.append(event == COMPILED)
    )
    for n in (1, 2, 7, 8, 15, 16, 17, 64, 65, 130):
        encoder.signal(images[:n])
    ms = {f"{name}_ms": round(1e3 * value, 1) for name, value in medians.items()}
    ratio = round(medians["signal"] / medians["bare"], 3)
    yield ms | {"of_bare": ratio, "compiled_by_second_calls": sum(compiled)}


def full_size():
    """Yields the rates of the full-size network."""
    model = ReAlNet()
    description = Description(
        "realnet", {}, IMAGE_SIZE, signal=SignalLayout(FEATURES, (SIGNAL_SIZE,))
    )
    variables = jax.device_get(init_variables(model, IMAGE_SIZE, seed=0))
    encoder = Encoder(Checkpoint(pathlib.Path(), 0, description, variables))
    flop = forward_flops(image_size=IMAGE_SIZE, signal_size=SIGNAL_SIZE)
    floor = jax_steps.build_floor(flop, "float32")
    for n in _BATCH.value:
        images = noise(n, IMAGE_SIZE)
        steps = {"ours": lambda images=images: encoder.signal(images)}
        if importlib.util.find_spec("torch"):
            steps["torch"] = torch_step(images)
        steps["ours"]()
        floor()
        turns = in_turns(steps) | {"matmul_floor": [floor() * n for _ in range(3)]}
        for name, values in turns.items():
            rate = round(n / statistics.median(values), 2)
            yield {"name": name, "batch": n, "images_per_s": rate}


def torch_step(images):
    """Returns a function that runs the network in PyTorch, in its faster layout."""
    import torch

    from benchmarks.torch_steps import plain

    network = plain.ReAlNet(
        signal_size=SIGNAL_SIZE, width=64, image_size=IMAGE_SIZE, data_parallel=False
    ).eval()
    torch.set_num_threads(os.cpu_count() or 1)

    def runs(layout):
        own = network.to(memory_format=layout)
        pixels = plain.normalise(images).contiguous(memory_format=layout)

        def run():
            with torch.inference_mode():
                own(pixels)

        run()
        return run

    def layout_seconds(layout):
        run = runs(layout)
        return min(seconds(run), seconds(run))

    layouts = (torch.channels_last, torch.contiguous_format)
    return runs(min(layouts, key=layout_seconds))


def write_pictures(folder, n):
    """Writes JPEGs like photographs, of several sizes; returns their paths."""
    rng = np.random.default_rng(0)
    paths = [folder / f"{i:04d}.jpg" for i in range(n)]
    for path in paths:
        height, width = rng.integers(240, 961, 2)
        coarse = rng.integers(0, 256, (12, 12, 3), np.uint8)
        image = Image.fromarray(coarse).resize(
            (width, height), Image.Resampling.BICUBIC
        )
        grain = rng.integers(0, 16, (height, width, 3), np.uint8)
        Image.fromarray(np.asarray(image) // 2 + grain).save(path, quality=90)
    return paths


def noise(n, size):
    """Returns u8[n, size, size, 3]."""
    return np.random.default_rng(0).integers(0, 256, (n, size, size, 3), np.uint8)


def in_turns(steps):
    """Returns name → the seconds of each run; the steps take turns."""
    times = {name: [] for name in steps}
    for _ in range(_RUNS.value):
        for name, step in steps.items():
            times[name].append(seconds(step))
    return times


def seconds(step):
    """Returns how long a step takes."""
    start = time.perf_counter()
    step()
    return time.perf_counter() - start


def resident_mb():
    """Returns the memory of this process, pages of files aside."""
    pages = pathlib.Path("/proc/self/statm").read_text().split()
    return (int(pages[1]) - int(pages[2])) * os.sysconf("SC_PAGE_SIZE") / 1e6


if __name__ == "__main__":
    app.run(main)
