"""A model of a training step's time on several devices, and how far it is right here.

    python -m benchmarks.scaling
    python -m benchmarks.scaling --name=table

- `check` measures the model's constants on this machine's CPU and, apart from that,
  training with 1, 2 and 4 processes that share it; `ratio` is predicted over measured.
- `table` prints what the model says of accelerators whose constants are given by flags.

A step of B images on D devices takes

    of_step + B x of_image / D + n_sums x latency + bytes / bandwidth

- `of_step`: seconds a step that do not depend on images, of which each device has its
  own: the optimiser, the state; `of_image`: seconds an image on one device alone.
- `bytes`: what a device sends to add gradients up around a ring: 2 (D - 1) / D of them.
- `n_sums`: separate sums over devices, most of them batch norms'; small ones, so that
  latency counts.

Processes on one CPU share its cores and its memory's bandwidth: B images take as long
as in one process, `of_step` is paid D times, and bytes of all devices add up.

Have the machine to yourself.
"""

import dataclasses
import functools
import json
import math
import os
import re
import socket
import statistics
import subprocess
import sys
import time

import numpy as np
from absl import app, flags

PROCESSES = (1, 2, 4)
# Bytes of an image on the host, with its response and a teacher's logits.
BYTES_OF_EXAMPLE = 224 * 224 * 3 + 4 * 340 + 4 * 1000
# Of a checkpoint, over the parameters': they and Adam's two moments.
COPIES = 3
# Numbers that are added up, and how often.
SUMS = {"latency": (512, 50), "bandwidth": (2**24, 1)}

NAMES = ("check", "table")

_NAMES = flags.DEFINE_multi_enum("name", NAMES, NAMES, "What to print.")
_WIDTH = flags.DEFINE_integer("width", 32, "Channels of V1, of `check`.")
_IMAGE_SIZE = flags.DEFINE_integer("image_size", 112, "Pixels, of `check`.")
_BATCH_SIZE = flags.DEFINE_integer("batch_size", 16, "Images a step of all processes.")
_STEPS = flags.DEFINE_integer("steps", 8, "Timed steps.", 1)
_TABLE_BATCH = flags.DEFINE_integer("table_batch", 256, "Images a step, of `table`.")
_TFLOPS = flags.DEFINE_float("tflops", 490.0, "What a device reaches, of `table`.")
_INSIDE = flags.DEFINE_float("gb_per_s", 300.0, "Between devices of a host.")
_BETWEEN = flags.DEFINE_float("gb_per_s_hosts", 50.0, "Between hosts.")
_LATENCY_US = flags.DEFINE_float("latency_us", 10.0, "Of a small sum, one hop.")
_OF_STEP_MS = flags.DEFINE_float("of_step_ms", 5.4, "Of a step without images.")
_ON_HOST = flags.DEFINE_integer("devices_of_host", 8, "Devices of a host.")
# Of the processes that `check` starts.
_WORK = flags.DEFINE_enum("work", None, ["steps", "sums"], "")
_RANK = flags.DEFINE_integer("rank", 0, "")
_COUNT = flags.DEFINE_integer("count", 1, "")
_PORT = flags.DEFINE_integer("port", 0, "")


@dataclasses.dataclass(frozen=True)
class Costs:
    """Constants of the model.

    Attributes:
      of_step: seconds a step, whatever its images.
      of_image: seconds an image on one device.
      n_sums: sums over devices in a step.
      gradient_bytes: what they add up, nearly all of it gradients.
    """

    of_step: float
    of_image: float
    n_sums: int
    gradient_bytes: int

    def seconds(
        self, batch: int, devices: int, latency: float, bandwidth: float
    ) -> float:
        """Returns the seconds a step on devices of their own.

        Args:
          batch: images of all devices.
          devices: how many.
          latency: seconds of a small sum.
          bandwidth: bytes a second that a device sends.
        """
        compute = self.of_step + math.ceil(batch / devices) * self.of_image
        if devices == 1:
            return compute
        sent = 2 * (devices - 1) / devices * self.gradient_bytes
        return compute + self.n_sums * latency + sent / bandwidth

    def seconds_shared(
        self, batch: int, processes: int, latency: float, bandwidth: float
    ) -> float:
        """Returns the seconds a step of processes that share one machine.

        Args:
          batch: images of all processes.
          processes: how many.
          latency: seconds of a small sum among so many.
          bandwidth: bytes a second that all of them together send.
        """
        compute = processes * self.of_step + batch * self.of_image
        if processes == 1:
            return compute
        sent = 2 * (processes - 1) * self.gradient_bytes
        return compute + self.n_sums * latency + sent / bandwidth


def main(argv):
    """Prints the lines of what is asked for, or does a process's part."""
    del argv
    if _WORK.value:
        print(json.dumps({"steps": take_steps, "sums": add_up}[_WORK.value]()))
        return
    for name in _NAMES.value:
        for line in {"check": check, "table": table}[name]():
            print(json.dumps({"name": name} | line), flush=True)


def check():
    """Yields constants measured, then steps predicted and measured."""
    half, whole = (of_processes("steps", 1, n)[0] for n in (8, 24))
    of_image = (whole["seconds"] - half["seconds"]) / 16
    costs = Costs(
        max(half["seconds"] - 8 * of_image, 0.0),
        of_image,
        # One process's program adds up nothing: it is counted where there are two.
        of_processes("sums", 2)[0]["n_sums"],
        whole["gradient_bytes"],
    )
    yield dataclasses.asdict(costs) | {"cores": os.cpu_count()}
    # What processes on this machine send together, measured between two.
    bandwidth = None
    for n in PROCESSES:
        latency = 0.0
        if n > 1:
            sums = of_processes("sums", n)
            latency = statistics.median(one["latency"] for one in sums)
            slowest = max(one["bandwidth"] for one in sums)
            sent = 2 * (n - 1) * 4 * SUMS["bandwidth"][0]
            bandwidth = bandwidth or sent / slowest
        predicted = costs.seconds_shared(_BATCH_SIZE.value, n, latency, bandwidth or 1)
        measured = max(one["seconds"] for one in of_processes("steps", n))
        yield {
            "processes": n,
            "predicted": round(predicted, 4),
            "measured": round(measured, 4),
            "ratio": round(predicted / measured, 2),
            "latency_ms": round(1e3 * latency, 2),
            "shared_gb_per_s": round((bandwidth or 0) / 1e9, 2),
        }


@functools.cache
def of_processes(work: str, n: int, batch_size: int | None = None) -> list[dict]:
    """Starts processes that do some work together; returns what each printed."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port = listener.getsockname()[1]
    command = [
        *(sys.executable, "-m", "benchmarks.scaling", f"--work={work}"),
        *(f"--count={n}", f"--port={port}", f"--width={_WIDTH.value}"),
        *(f"--image_size={_IMAGE_SIZE.value}", f"--steps={_STEPS.value}"),
        f"--batch_size={batch_size or _BATCH_SIZE.value}",
    ]
    running = [
        subprocess.Popen([*command, f"--rank={rank}"], stdout=subprocess.PIPE)
        for rank in range(n)
    ]
    printed = [process.communicate()[0] for process in running]
    return [json.loads(output.decode().splitlines()[-1]) for output in printed]


def take_steps() -> dict:
    """Times training in this process, of several."""
    from img2eeg_jax.devices import distributed

    parallel, step, state, batch = built()
    seconds = []
    for _ in range(_STEPS.value + 2):
        start = time.perf_counter()
        state, metrics = step(state, {}, batch)
        metrics["total"][0].block_until_ready()
        seconds.append(time.perf_counter() - start)
    import jax

    n_bytes = sum(leaf.nbytes for leaf in jax.tree.leaves(state.params))
    if parallel.process_count > 1:
        distributed.stop()
    return {"seconds": statistics.median(seconds[2:]), "gradient_bytes": n_bytes}


def add_up() -> dict:
    """Times small and large sums over processes, and counts those of a step."""
    _, step, state, batch = built()
    import jax

    from img2eeg_jax.devices import distributed
    from img2eeg_jax.devices.parallel import BATCH_AXIS

    compiled = step.lower(state, {}, batch).compile()
    result: dict[str, float] = {
        "n_sums": len(re.findall(r"all-reduce(?:-start)?\(", compiled.as_text()))
    }
    for name, (size, times) in SUMS.items():

        def mean(_, x):
            return jax.lax.pmean(x, BATCH_AXIS)

        add = jax.pmap(
            lambda x, times=times: jax.lax.fori_loop(0, times, mean, x), BATCH_AXIS
        )
        values = np.ones((1, size), np.float32)
        seconds = []
        for _ in range(10):
            start = time.perf_counter()
            add(values).block_until_ready()
            seconds.append((time.perf_counter() - start) / times)
        result[name] = statistics.median(seconds[3:])
    distributed.stop()
    return result


def built():
    """Returns the devices, the step, the state and this process's part of a batch."""
    from benchmarks.accelerator_steps import Settings, build, host_batches, random_split
    from img2eeg_jax.devices import distributed

    n = _COUNT.value
    if n > 1:
        distributed.start(f"127.0.0.1:{_PORT.value}", n, _RANK.value)
    settings = Settings(
        batch_size=_BATCH_SIZE.value // n,
        precision="float32",
        image_size=_IMAGE_SIZE.value,
        width=_WIDTH.value,
        steps=1,
        blocks=1,
        seconds=1.0,
        n_images=1,
        n_subjects=None,
        matrix=1,
    )
    parallel, step, state = build(settings, "none", everywhere=True)
    split = random_split(settings.batch_size, settings)
    (batch,) = host_batches(split, settings.batch_size, 0)
    return parallel, step, state, parallel.split(batch)


def table():
    """Yields what the model says of accelerators."""
    from img2eeg_jax.models.flops import training_flops

    n_parameters = 101_800_000
    costs = Costs(
        _OF_STEP_MS.value / 1e3, training_flops() / _TFLOPS.value / 1e12, 130,
        4 * n_parameters,
    )  # fmt: skip
    batch, of_host = _TABLE_BATCH.value, _ON_HOST.value
    alone = batch / costs.seconds(batch, 1, 0, 1)
    for devices in (1, 8, 64, 512):
        bandwidth = 1e9 * (_INSIDE if devices <= of_host else _BETWEEN).value
        latency = _LATENCY_US.value * 1e-6 * math.log2(max(devices, 2))
        seconds = costs.seconds(batch, devices, latency, bandwidth)
        rate = batch / seconds
        yield {
            "devices": devices,
            "ms_a_step": round(1e3 * seconds, 1),
            "images_per_s": round(rate),
            "efficiency": round(rate / alone / devices, 2),
            "input_mb_per_s_and_host": round(
                rate * BYTES_OF_EXAMPLE / 1e6 / math.ceil(devices / of_host)
            ),
            "checkpoint_gb": round(COPIES * 4 * n_parameters / 1e9, 2),
        }


if __name__ == "__main__":
    app.run(main)
