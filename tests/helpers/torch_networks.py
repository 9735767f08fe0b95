"""CORnet-S and ReAlNet in plain PyTorch, from the published description.

An oracle for names, shapes and outputs. With `data_parallel` the backbone's names have
DataParallel's `module.`, as in the published files.
"""

import math

import torch
from torch import nn

from helpers import seeded

WIDTHS = {"V1": 1, "V2": 2, "V4": 4, "IT": 8}
STEPS = {"V2": 2, "V4": 4, "IT": 2}
MEAN = torch.tensor([0.485, 0.456, 0.406]).view(1, 3, 1, 1)
STD = torch.tensor([0.229, 0.224, 0.225]).view(1, 3, 1, 1)

# Small enough for a test; 32 pixels leave 1 x 1 positions in IT.
TINY = {"width": 4, "num_classes": 10}
TINY_ENCODER = TINY | {"features": 8, "image_size": 32}


def conv(inputs, outputs, size, stride=1):
    return nn.Conv2d(inputs, outputs, size, stride, size // 2, bias=False)


class V1(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.conv1 = conv(3, width, 7, 2)
        self.norm1 = nn.BatchNorm2d(width)
        self.conv2 = conv(width, width, 3)
        self.norm2 = nn.BatchNorm2d(width)

    def forward(self, x):
        x = torch.relu(self.norm1(self.conv1(x)))
        x = nn.functional.max_pool2d(x, 3, 2, 1)
        return torch.relu(self.norm2(self.conv2(x)))


class Block(nn.Module):
    def __init__(self, inputs, outputs, steps):
        super().__init__()
        inner = 4 * outputs
        self.steps = steps
        self.conv_input = conv(inputs, outputs, 1)
        self.skip = conv(outputs, outputs, 1, 2)
        self.norm_skip = nn.BatchNorm2d(outputs)
        self.conv1 = conv(outputs, inner, 1)
        self.conv2 = conv(inner, inner, 3, 2)
        self.conv3 = conv(inner, outputs, 1)
        for step in range(steps):
            for layer, features in ((1, inner), (2, inner), (3, outputs)):
                setattr(self, f"norm{layer}_{step}", nn.BatchNorm2d(features))

    def forward(self, x):
        x = self.conv_input(x)
        for step in range(self.steps):
            norm1, norm2, norm3 = (getattr(self, f"norm{k}_{step}") for k in (1, 2, 3))
            skip = self.norm_skip(self.skip(x)) if step == 0 else x
            self.conv2.stride = (2, 2) if step == 0 else (1, 1)
            x = torch.relu(norm1(self.conv1(x)))
            x = torch.relu(norm2(self.conv2(x)))
            x = torch.relu(norm3(self.conv3(x)) + skip)
        return x


class CORnetS(nn.Module):
    def __init__(self, width=64, num_classes=1000):
        super().__init__()
        self.V1 = V1(width)
        self.V2 = Block(width, 2 * width, STEPS["V2"])
        self.V4 = Block(2 * width, 4 * width, STEPS["V4"])
        self.IT = Block(4 * width, 8 * width, STEPS["IT"])
        self.decoder = nn.Sequential()
        self.decoder.add_module("linear", nn.Linear(8 * width, num_classes))

    def forward(self, x):
        outputs = {}
        for area in WIDTHS:
            x = outputs[area] = getattr(self, area)(x)
        return self.decoder(x.mean((2, 3))), outputs


class Wrapped(nn.Module):
    """What DataParallel does to the names."""

    def __init__(self, module):
        super().__init__()
        self.module = module

    def forward(self, x):
        return self.module(x)


class ReAlNet(nn.Module):
    def __init__(
        self,
        signal_size=340,
        features=128,
        width=64,
        num_classes=1000,
        image_size=224,
        data_parallel=True,
    ):
        super().__init__()
        backbone = CORnetS(width, num_classes)
        self.realnet = Wrapped(backbone) if data_parallel else backbone
        side = image_size // 4
        for area, factor in WIDTHS.items():
            inputs = factor * width * side**2
            setattr(self, f"fc_{area.lower()}", nn.Linear(inputs, features))
            side = math.ceil(side / 2)
        self.fc = nn.Linear(4 * features, signal_size)

    def forward(self, x):
        logits, outputs = self.realnet(x)
        heads = [
            torch.relu(getattr(self, f"fc_{area.lower()}")(outputs[area].flatten(1)))
            for area in WIDTHS
        ]
        return logits, self.fc(torch.cat(heads, 1))


def cornet_s(data_parallel=True, **arguments):
    network = CORnetS(**arguments)
    return Wrapped(network) if data_parallel else network


def seeded_state_dict(network, seed=0, counters=True, dtype=torch.float32):
    """Returns the state dict that the golden files were made with.

    Args:
      network: whose names and shapes.
      seed: of `seeded.seeded_tensor`.
      counters: whether there is `num_batches_tracked`, which older files lack.
      dtype: of the weights.
    """
    state_dict = {}
    for k, (name, tensor) in enumerate(network.state_dict().items()):
        if name.endswith("num_batches_tracked"):
            if counters:
                state_dict[name] = torch.tensor(1000 + k)
        else:
            canonical = name.replace("module.", "")
            values = seeded.seeded_tensor(canonical, tuple(tensor.shape), seed)
            state_dict[name] = torch.from_numpy(values).to(dtype)
    return state_dict


def normalise(images):
    """Maps u8[image, height, width, 3] to what the networks expect."""
    pixels = torch.from_numpy(images).permute(0, 3, 1, 2) / 255
    return (pixels - MEAN) / STD


def same(a, b):
    """Tells whether two state dicts are equal: names, order, dtypes and bits."""
    return list(a) == list(b) and all(
        a[name].dtype == b[name].dtype
        and a[name].shape == b[name].shape
        and torch.equal(a[name], b[name])
        for name in a
    )
