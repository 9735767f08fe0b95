"""Counted arithmetic against PyTorch's own counter, and the published figure."""

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from helpers import torch_networks as plain
from img2eeg_jax.models import flops

FULL_SIZE = {
    "width": 64,
    "image_size": 224,
    "num_classes": 1000,
    "signal_size": 340,
    "features": 128,
}
SMALL = {
    "width": 3,
    "image_size": 96,
    "num_classes": 7,
    "signal_size": 5,
    "features": 11,
}


def counted_by_torch(batch, backward, **sizes):
    """Returns the FLOP of one image, counted as PyTorch runs; nothing is computed."""
    with torch.device("meta"):
        network = plain.ReAlNet(**sizes)
        images = torch.zeros(batch, 3, sizes["image_size"], sizes["image_size"])
    with FlopCounterMode(display=False) as counter:
        logits, signal = network(images)
        if backward:
            (logits.sum() + signal.sum()).backward()
    return counter.get_total_flops() / batch


@pytest.mark.parametrize("sizes", [FULL_SIZE, SMALL], ids=["full size", "small"])
def test_forward(sizes):
    assert flops.forward_flops(**sizes) == counted_by_torch(2, False, **sizes)


@pytest.mark.parametrize("sizes", [FULL_SIZE, SMALL], ids=["full size", "small"])
def test_training(sizes):
    assert flops.training_flops(**sizes) == counted_by_torch(2, True, **sizes)


def test_odd_image_size_rounds_up():
    # 50 → 25 (conv1) → 13 (pool) → 7 → 4 → 2, as in test_realnet.py.
    layers = {layer.name: layer for layer in flops.convolutions(4, 50)}
    assert layers["V1.conv1"].macs == 25**2 * 7**2 * 3 * 4
    assert layers["V1.conv2"].macs == 13**2 * 3**2 * 4 * 4
    assert layers["V2.skip"].macs == 7**2 * 8 * 8
    assert layers["V4.conv3"].macs == 4 * (4**2 * 64 * 16)
    assert layers["IT.conv2 step 1"].macs == 2**2 * 3**2 * 128 * 128


def test_published_cost_of_cornet_s():
    """16.4 GMAC an image, forward, decoder included (REFERENCE.md §1)."""
    assert flops.forward_flops(areas=()) / 2e9 == pytest.approx(16.4, abs=0.05)


def test_heads_of_the_tapped_areas():
    # Side 7 and 512 channels in IT, 28 and 128 in V2.
    sizes = {"features": 10, "signal_size": 6}
    backbone = flops.forward_flops(areas=(), **sizes)
    tapped = flops.forward_flops(areas=("IT", "V2"), **sizes)
    heads = 7 * 7 * 512 * 10 + 28 * 28 * 128 * 10 + 2 * 10 * 6
    assert tapped - backbone == 2 * heads
