"""Weights saved by PyTorch, converted by the command's own code: the golden forward."""

import gc
import hashlib

import numpy as np
import pytest
import torch

from helpers import seeded
from helpers import torch_networks as plain
from helpers.golden_weights import check_areas, compiled_forward, relative_error
from img2eeg_jax.checkpoints.load import load_checkpoint
from img2eeg_jax.interop import torch_files, transfer
from img2eeg_jax.models.cornet_s import AREAS, normalise_pixels

TOLERANCE = 1e-4
LEGACY = {"_use_new_zipfile_serialization": False}
EXTRAS = {"epoch": 43, "optimizer": {"state": {0: {"m": torch.ones(2)}}, "groups": [1]}}


@pytest.fixture(scope="module")
def golden(golden_dir):
    return np.load(golden_dir / "golden_forward.npz")


def save(path, state_dict, container=None, **options):
    if path.suffix == ".safetensors":
        arrays = {name: tensor.numpy() for name, tensor in state_dict.items()}
        torch_files.write(path, arrays)
    else:
        content = {container: state_dict, **EXTRAS} if container else state_dict
        torch.save(content, path, **options)


def convert(path, output):
    transfer.import_weights(str(path), output, is_published=True)
    return load_checkpoint(output)


def check_forward(loaded, golden, tolerance):
    images = normalise_pixels(seeded.seeded_images(2, seed=int(golden["seed"])))
    outputs, areas = compiled_forward(loaded.model)(loaded.variables, images)
    logits = outputs[0]
    if loaded.description.kind == "cornet_s":
        # The teacher's weights have names of their own, and so other values.
        assert relative_error(logits, golden["eval_teacher_logits"]) < tolerance
        return
    signal = outputs[1]
    size = signal.shape[1]
    assert relative_error(logits, golden["eval_logits"]) < tolerance
    assert relative_error(signal, golden[f"eval_eeg_{size}"]) < tolerance
    assert set(areas) == set(AREAS)
    check_areas(golden, areas, tolerance)


# File name, network, options of the weights, options of saving.
KINDS = [
    ("encoder.pt", lambda: plain.ReAlNet(340), {}, {}),
    ("encoder.safetensors", lambda: plain.ReAlNet(340), {}, {}),
    ("encoder.pth", lambda: plain.ReAlNet(340, data_parallel=False), {}, LEGACY),
    ("best_model_params.pt", lambda: plain.ReAlNet(100), {"counters": False}, {}),
    ("epoch7_model_params.pt", lambda: plain.ReAlNet(100), {}, LEGACY),
    ("realnet.pt", plain.cornet_s, {}, {}),
    ("realnet.pth", lambda: plain.cornet_s(False), {"counters": False}, LEGACY),
    ("cornet_s-1d3f7974.pth", plain.cornet_s, {}, LEGACY | {"container": "state_dict"}),
    ("cornet_s.pth", plain.cornet_s, {}, {"container": "state_dict"}),
]
IDS = [name for name, *_ in KINDS]


@pytest.mark.parametrize(
    "kind",
    [
        pytest.param(kind, marks=[] if kind[0] == "encoder.pt" else pytest.mark.slow)
        for kind in KINDS
    ],
    ids=IDS,
)
def test_golden_forward_of_a_torch_file(golden, tmp_path, kind):
    """And back: the same tensors, bit for bit."""
    name, make, weights, saving = kind
    path = tmp_path / name
    state_dict = plain.seeded_state_dict(make(), int(golden["seed"]), **weights)
    save(path, state_dict, **saving)
    loaded = convert(path, tmp_path / "converted")
    record = loaded.description.source
    assert record["name"] == str(path)
    assert record["sha256"] == hashlib.sha256(path.read_bytes()).hexdigest()
    back = tmp_path / "back.pt"
    transfer.export_weights(tmp_path / "converted", back)
    content = torch.load(back, weights_only=True)
    content = content[saving["container"]] if "container" in saving else content
    # A safetensors file sorts its tensors.
    expected = state_dict
    if path.suffix == ".safetensors":
        expected = dict(sorted(state_dict.items()))
        content = dict(sorted(content.items()))
    assert plain.same(content, expected)
    del state_dict, content, expected
    gc.collect()
    check_forward(loaded, golden, TOLERANCE)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("dtype", "tolerance"), [(torch.float16, 5e-3), (torch.bfloat16, 5e-2)]
)
def test_golden_forward_in_half_precision(golden, tmp_path, dtype, tolerance):
    """Rounded weights give rounded outputs; the round trip stays exact."""
    seed = int(golden["seed"])
    state_dict = plain.seeded_state_dict(plain.ReAlNet(340), seed, dtype=dtype)
    save(tmp_path / "encoder.pt", state_dict)
    loaded = convert(tmp_path / "encoder.pt", tmp_path / "converted")
    transfer.export_weights(tmp_path / "converted", tmp_path / "back.pt")
    assert plain.same(torch.load(tmp_path / "back.pt", weights_only=True), state_dict)
    check_forward(loaded, golden, tolerance)


@pytest.mark.slow
def test_golden_forward_of_plain_torch(golden):
    """The oracle of the tests is the published network, too."""
    seed = int(golden["seed"])
    network = plain.ReAlNet(340).eval()
    network.load_state_dict(plain.seeded_state_dict(network, seed), strict=True)
    with torch.no_grad():
        logits, signal = network(plain.normalise(seeded.seeded_images(2, seed=seed)))
    assert relative_error(logits, golden["eval_logits"]) < TOLERANCE
    assert relative_error(signal, golden["eval_eeg_340"]) < TOLERANCE
