"""The steps that `train_step.py` times in PyTorch, on CPU in float32.

`torch_single_pass` does what `ours` does: one pass of the backbone, no teacher, the
contrast as matrix products with gradient, fused Adam.

`torch_published` does what the published step is described to do: the backbone twice,
once for the logits and once for the signal, both differentiated; a frozen teacher on
the same batch; the task loss to its logits; a correlation for every pair of images, in
Python loops on copies outside the graph; PyTorch's default Adam.
"""

import os
import pathlib
import sys
import time

import numpy as np
import torch
from torch import nn

sys.path.insert(0, str(pathlib.Path(__file__).parents[1] / "tests"))

from helpers import torch_networks as plain

LEARNING_RATE = 2e-5
GENERATION_WEIGHT = 100.0


def build(name, settings, batch):
    """Builds what one name times.

    Args:
      name: "torch_single_pass" or "torch_published".
      settings: `train_step.Settings`.
      batch: what `train_step.random_batch` returns.

    Returns:
      A function that takes a step and returns the seconds, and a dict of what to print
      besides.
    """
    torch.set_num_threads(os.cpu_count() or 1)
    torch.manual_seed(0)
    facts = {"dtype": "float32", "device": "cpu", "torch": torch.__version__}
    if name == "torch_published":
        facts["memory_format"] = "contiguous"
        return build_published(settings, batch), facts
    facts["memory_format"] = settings.memory_format
    return build_single_pass(settings, batch), facts


def build_single_pass(settings, batch):
    """Returns a function that takes the step of `torch_single_pass`."""
    memory_format = {
        "channels_last": torch.channels_last,
        "contiguous": torch.contiguous_format,
    }[settings.memory_format]
    network = make_student(settings).to(memory_format=memory_format)
    optimizer = torch.optim.Adam(network.parameters(), LEARNING_RATE, fused=True)
    target = torch.from_numpy(batch["response"]).flatten(1)

    def loss():
        images = plain.normalise(batch["image"])
        _, signal = network(images.contiguous(memory_format=memory_format))
        mse = nn.functional.mse_loss(signal, target)
        return GENERATION_WEIGHT * (mse + contrast(signal, target))

    return timed_step(loss, optimizer)


def build_published(settings, batch):
    """Returns a function that takes the step of `torch_published`."""
    network = make_student(settings)
    teacher = plain.CORnetS(settings.width).eval()
    optimizer = torch.optim.Adam(network.parameters(), LEARNING_RATE)
    target = torch.from_numpy(batch["response"]).flatten(1)

    def loss():
        images = plain.normalise(batch["image"]).contiguous()
        with torch.no_grad():
            teacher_logits, _ = teacher(images)
        logits, _ = network.realnet(images)
        _, signal = network(images)
        task = nn.functional.mse_loss(logits, teacher_logits)
        mse = nn.functional.mse_loss(signal, target)
        return task + GENERATION_WEIGHT * (mse + looped_contrast(signal, target))

    return timed_step(loss, optimizer)


def make_student(settings):
    """Returns the network to train, in train mode."""
    return plain.ReAlNet(
        signal_size=int(np.prod(settings.signal_shape)),
        width=settings.width,
        image_size=settings.image_size,
        data_parallel=False,
    )


def timed_step(loss, optimizer):
    """Returns a function that minimises the loss by a step and returns the seconds."""

    def take_step():
        start = time.perf_counter()
        optimizer.zero_grad()
        loss().backward()
        optimizer.step()
        return time.perf_counter() - start

    return take_step


def contrast(signal, target):
    """Computes 1 − mean of corr(signal_i, target_i) + mean of those with i ≠ j.

    Args:
      signal: f32[batch, n], a batch of two or more.
      target: f32[batch, n].
    """
    correlations = unit_rows(signal) @ unit_rows(target).T
    n, matching = len(signal), correlations.trace()
    return 1 - matching / n + (correlations.sum() - matching) / (n * (n - 1))


def unit_rows(x):
    """Scales rows to zero mean and unit norm."""
    return nn.functional.normalize(x - x.mean(1, keepdim=True), dim=1)


def looped_contrast(signal, target):
    """Computes `contrast` pair by pair on copies, as a number without gradient."""
    matching, others = [], []
    for i in range(len(signal)):
        for j in range(len(target)):
            a, b = signal[i].detach().cpu().numpy(), target[j].detach().cpu().numpy()
            (matching if i == j else others).append(np.corrcoef(a, b)[0, 1])
    return 1 - np.mean(matching) + np.mean(others)
