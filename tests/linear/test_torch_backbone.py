"""Features of PyTorch's modules; libraries of models are stand-ins."""

import sys
import types

import numpy as np
import pytest

from helpers.checkpoints import refusal
from img2eeg_jax.linear import torch_backbone
from img2eeg_jax.linear.torch_backbone import TorchBackbone, normalised

torch = pytest.importorskip("torch")


def network(seed=0):
    torch.manual_seed(seed)
    conv = torch.nn.Conv2d(3, 2, 3)
    return torch.nn.Sequential(conv, torch.nn.ReLU(), torch.nn.BatchNorm2d(2))


def read(backbone, images, layers, pool="flat"):
    parts = [*backbone.features(images, layers, pool)]
    return {layer: np.concatenate([part[layer] for part in parts]) for layer in layers}


def test_layers_are_what_modules_give(images):
    module = network()
    backbone = TorchBackbone(module, name="net", image_size=32)
    assert backbone.layers == ("0", "1", "2")
    with torch.no_grad():
        maps = module[0](torch.from_numpy(normalised(images))).numpy()
    found = read(backbone, images, ("0", "1"))
    nhwc = np.moveaxis(maps, 1, -1)
    np.testing.assert_allclose(found["0"], nhwc.reshape(5, -1), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(
        found["1"], np.maximum(nhwc, 0).reshape(5, -1), atol=1e-6
    )
    average = read(backbone, images, ("0",), "avg")["0"]
    np.testing.assert_allclose(average, maps.mean((2, 3)), rtol=1e-4, atol=1e-5)
    assert not module[0]._forward_hooks
    assert not module.training


def test_digest_and_unknown_layers(images):
    a, b, c = (TorchBackbone(network(s), name="net", image_size=32) for s in (0, 0, 1))
    assert a.digest == b.digest != c.digest
    assert "different ones of 0, 1, 2" in refusal(lambda: read(a, images, ("conv",)))


class Rectified(torch.nn.Module):
    """A function beside its weights, which its repr does not tell, or by address."""

    def __init__(self, function, tells_address=False):
        super().__init__()
        self.conv = network(0)[0]
        self.function = function
        self._tells_address = tells_address

    def extra_repr(self):
        return repr(self.function) if self._tells_address else ""

    def forward(self, x):
        return self.function(self.conv(x))


class Doubled(Rectified):
    def forward(self, x):
        return 2 * super().forward(x)


def test_equal_weights_and_another_function_are_another_program():
    """The cache of features goes by the weights and by this."""

    def darker(images):
        return normalised(images // 2)

    def program(module, preprocess=None):
        backbone = TorchBackbone(
            module, name="net", image_size=32, preprocess=preprocess
        )
        return backbone.program

    as_before = program(network(0))
    assert program(network(1)) == as_before
    assert program(network(0), darker) != as_before
    assert program(torch.nn.Sequential(*network(0), torch.nn.ReLU())) != as_before
    strided = network(0)
    strided[0].stride = (2, 2)
    assert program(strided) != as_before
    relu, gelu = torch.nn.functional.relu, torch.nn.functional.gelu
    assert program(Rectified(relu)) == program(Rectified(relu))
    assert program(Rectified(relu)) != program(Rectified(gelu))
    assert program(Rectified(relu)) != program(Doubled(relu))


def test_addresses_are_no_part_of_a_program():
    """Another process has other ones."""
    programs = [
        TorchBackbone(
            Rectified(lambda x: x, tells_address=True), name="net", image_size=32
        ).program
        for _ in range(2)
    ]
    assert programs[0] == programs[1]
    assert "function" in programs[0]


@pytest.mark.parametrize("library", ["timm", "torchvision"])
def test_by_name_with_weights(library, images, tmp_path, monkeypatch):
    stand_in = types.ModuleType(library)
    models = types.ModuleType(f"{library}.models")
    stand_in.models = models
    stand_in.create_model = lambda name, pretrained: network(7)
    models.get_model = lambda name, weights: network(7)
    monkeypatch.setitem(sys.modules, library, stand_in)
    monkeypatch.setitem(sys.modules, f"{library}.models", models)
    path = tmp_path / "weights.pt"
    torch.save(network(3).state_dict(), path)
    backbone = torch_backbone.named(library, "net", str(path), 32)
    expected = TorchBackbone(network(3), name="net", image_size=32)
    assert backbone.digest == expected.digest
    said = backbone.describe()
    assert (said["kind"], said["library"], said["model"]) == ("torch", library, "net")
    torch.save(torch.nn.Linear(2, 3).state_dict(), path)
    message = refusal(lambda: torch_backbone.named(library, "net", str(path), 32))
    assert message.startswith(f"{path}: expected weights of Sequential")


def test_a_library_that_is_not_there(monkeypatch):
    monkeypatch.setitem(sys.modules, "timm", None)
    message = refusal(lambda: torch_backbone.named("timm", "resnet18"))
    assert (
        message == "backbone: expected timm (pip install timm), found it not installed"
    )
    monkeypatch.setitem(sys.modules, "torch", None)
    message = refusal(lambda: torch_backbone.named("timm", "resnet18"))
    assert "pip install 'img2eeg_jax[torch]'" in message
