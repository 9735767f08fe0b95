"""Files of weights: formats, dtypes, and those that are damaged or malicious."""

import argparse
import fractions
import os
import pickle
import warnings

import ml_dtypes
import numpy as np
import pytest
import torch

from helpers.commands import run_program
from img2eeg_jax.errors import InputError
from img2eeg_jax.interop import torch_files

TENSORS = {
    "a.weight": torch.arange(6, dtype=torch.float32).reshape(2, 3) / 7,
    "a.half": torch.tensor([1.5, -2.25], dtype=torch.float16),
    "a.brain": torch.tensor([1.0, 3.140625], dtype=torch.bfloat16),
    "a.num_batches_tracked": torch.tensor(12),
}
ZIP = {"_use_new_zipfile_serialization": True}
LEGACY = {"_use_new_zipfile_serialization": False}


class OpensAFile:
    """Unpickling it writes a file."""

    asks_for = "io.open"

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (str(self.path), "w")


class RunsAShell(OpensAFile):
    asks_for = "posix.system"

    def __reduce__(self):
        return os.system, (f"touch {self.path}",)


def check_same(found):
    assert list(found) == list(TENSORS)
    for name, tensor in TENSORS.items():
        is_brain = tensor.dtype == torch.bfloat16
        expected = tensor.float().numpy() if is_brain else tensor.numpy()
        assert found[name].shape == expected.shape
        np.testing.assert_array_equal(found[name].astype(expected.dtype), expected)
    assert found["a.half"].dtype == np.float16
    assert found["a.brain"].dtype == ml_dtypes.bfloat16
    assert found["a.num_batches_tracked"].dtype == np.int64


@pytest.mark.parametrize("options", [ZIP, LEGACY], ids=["zip", "legacy"])
def test_flat(tmp_path, options):
    torch.save(TENSORS, tmp_path / "x.pt", **options)
    weights = torch_files.read(tmp_path / "x.pt")
    check_same(weights.tensors)
    assert (weights.container, weights.ignored) == (None, ())


@pytest.mark.parametrize("options", [ZIP, LEGACY], ids=["zip", "legacy"])
def test_training_checkpoint(tmp_path, options):
    content = {
        "flags": {"lr": 0.1, "names": ["a", None]},
        "epoch": torch.tensor(43),
        "state_dict": TENSORS,
        "optimizer": {"state": {0: {"momentum_buffer": torch.ones(3)}}},
    }
    torch.save(content, tmp_path / "x.pth", **options)
    weights = torch_files.read(tmp_path / "x.pth")
    check_same(weights.tensors)
    assert weights.container == "state_dict"
    assert weights.ignored == ("flags", "epoch", "optimizer")


@pytest.mark.parametrize(
    ("wrap", "container", "ignored"),
    [
        (lambda t: {"net": t, "epoch": 3}, "net", ("epoch",)),
        (lambda t: {"a": {"ema_state": t, "n": 3}}, "a/ema_state", ("a.n",)),
        (lambda t: t | {"n_averaged": torch.tensor(3)}, None, ("n_averaged",)),
        (
            lambda t: {
                "state_dict": t,
                "callbacks": {"best": {"score": torch.tensor(0.5)}},
                "optimizer_states": [{"state": {0: {"exp_avg": torch.ones(3)}}}],
                "losses": torch.ones(9),
                "shadow_params": [torch.ones(2)],
            },
            "state_dict",
            ("callbacks", "optimizer_states", "losses", "shadow_params"),
        ),
    ],
    ids=["net", "nested", "averaged", "lightning"],
)
def test_containers(tmp_path, wrap, container, ignored):
    torch.save(wrap(TENSORS), tmp_path / "x.pt")
    weights = torch_files.read(tmp_path / "x.pt")
    check_same(weights.tensors)
    assert (weights.container, weights.ignored) == (container, ignored)
    torch_files.write(tmp_path / "y.pt", weights.tensors, container)
    assert torch_files.read(tmp_path / "y.pt").container == container


def test_weights_in_several_containers(tmp_path):
    """All are taken under their full names, but for those that are not asked for."""
    content = {"net": {"V1.a": torch.ones(2)}, "fc": {"weight": torch.zeros(1)}}
    torch.save(content | {"optimizer": {"x.y": torch.ones(1)}}, tmp_path / "x.pt")
    weights = torch_files.read(tmp_path / "x.pt")
    assert list(weights.tensors) == ["net.V1.a", "fc.weight"]
    assert (weights.container, weights.ignored) == (None, ("optimizer",))
    torch.save(
        {"model": TENSORS, "ema": {"a.weight": torch.ones(3)}}, tmp_path / "y.pt"
    )
    weights = torch_files.read(tmp_path / "y.pt", "model")
    check_same(weights.tensors)
    assert (weights.container, weights.ignored) == ("model", ("ema",))
    flat = {f"net.{name}": tensor for name, tensor in TENSORS.items()}
    torch.save(flat | {"teacher.a.weight": torch.ones(3)}, tmp_path / "z.pt")
    weights = torch_files.read(tmp_path / "z.pt", "net")
    assert list(weights.tensors) == list(flat)
    assert weights.ignored == ("teacher",)
    torch.save({"state_dict": flat | {"teacher.x": torch.ones(1)}}, tmp_path / "w.pt")
    for part in ("net", "state_dict.net"):
        assert list(torch_files.read(tmp_path / "w.pt", part).tensors) == list(flat)
    with pytest.raises(InputError, match="under 'ne', found others under net, teacher"):
        torch_files.read(tmp_path / "z.pt", "ne")


@pytest.mark.parametrize("options", [ZIP, LEGACY], ids=["zip", "legacy"])
def test_numbers_and_arrays_of_numpy_beside_weights(tmp_path, options):
    beside = {
        "loss": np.float64(0.5),
        "epoch": np.int32(3),
        "is_best": np.bool_(True),
        "scores": [np.float32(1)],
        "history": {"r": np.arange(3.0)},
    }
    torch.save(beside | {"state_dict": TENSORS}, tmp_path / "x.pt", **options)
    weights = torch_files.read(tmp_path / "x.pt")
    check_same(weights.tensors)
    assert weights.ignored == tuple(beside)


def without_brain():
    tensors = {name: tensor for name, tensor in TENSORS.items() if "brain" not in name}
    return {name: tensor.numpy() for name, tensor in tensors.items()}


def save_npz(content, path):
    with open(path, "wb") as file:
        np.savez(file, **content)


def save_npy(content, path):
    with open(path, "wb") as file:
        np.save(file, np.array(content, object))


@pytest.mark.parametrize(
    "save",
    [
        torch.save,
        save_npz,
        save_npy,
        lambda content, path: path.write_bytes(pickle.dumps(content)),
    ],
    ids=["torch", "npz", "npy", "pickle"],
)
def test_arrays_of_numpy_as_weights(tmp_path, save):
    save(without_brain(), tmp_path / "x.pt")
    found = torch_files.read(tmp_path / "x.pt").tensors
    for name, array in without_brain().items():
        assert found[name].dtype == array.dtype
        np.testing.assert_array_equal(found[name], array)
    assert list(found) == list(without_brain())


@pytest.mark.parametrize("options", [ZIP, LEGACY], ids=["zip", "legacy"])
def test_numpy_is_not_called_freely(tmp_path, options):
    """With an address as buffer, numpy.ndarray reads any memory."""

    class Array:
        def __reduce__(self):
            return np.ndarray, ((1,), "O", b"\0" * 8)

    torch.save({"a.b": Array()}, tmp_path / "x.pt", **options)
    assert "a call of numpy.ndarray" in refused(tmp_path / "x.pt")


@pytest.mark.parametrize(
    ("data", "kind"),
    [
        (b"version https://git-lfs.github.com/spec/v1\noid ", "a Git LFS pointer"),
        (b"<!DOCTYPE html><html>Sign in", "a web page"),
        (b"\x89HDF\r\n\x1a\n\0\0\0\0", "an HDF5 file"),
        (b"", "an empty file"),
    ],
)
def test_what_another_file_is(tmp_path, data, kind):
    (tmp_path / "x.pt").write_bytes(data)
    assert f"expected a file of PyTorch weights, found {kind}" in refused(
        tmp_path / "x.pt"
    )


def test_a_program_and_a_whole_module(tmp_path):
    """Both hold weights that nothing can take out without running the rest."""
    with warnings.catch_warnings(action="ignore"):
        torch.jit.trace(torch.nn.ReLU(), torch.ones(1)).save(tmp_path / "x.pt")
    assert refused(tmp_path / "x.pt").endswith("found a TorchScript program")
    torch.save(torch.nn.ReLU(), tmp_path / "y.pt")
    message = refused(tmp_path / "y.pt")
    assert "as torch.save(model.state_dict(), …) writes, found one that asks" in message


@pytest.mark.parametrize("name", ["x.pt", "x.pth", "x.safetensors"])
def test_write_and_read(tmp_path, name):
    arrays = {
        name: tensor.view(torch.int16).numpy().view(ml_dtypes.bfloat16)
        if tensor.dtype == torch.bfloat16
        else tensor.numpy()
        for name, tensor in TENSORS.items()
    }
    arrays["a.weight"] = np.asfortranarray(arrays["a.weight"])
    torch_files.write(tmp_path / name, arrays)
    found = torch_files.read(tmp_path / name).tensors
    check_same({name: found[name] for name in TENSORS})
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_write_under_a_key(tmp_path):
    torch_files.write(tmp_path / "x.pt", {"a": np.ones(2)}, "state_dict")
    content = torch.load(tmp_path / "x.pt", weights_only=True)
    assert list(content) == ["state_dict"]
    assert torch.equal(content["state_dict"]["a"], torch.ones(2, dtype=torch.float64))


def test_write_refuses_other_suffixes(tmp_path):
    with pytest.raises(InputError, match=r"ends in .pt, .pth, .safetensors, found .h5"):
        torch_files.write(tmp_path / "x.h5", {})


def test_views_and_parameters(tmp_path):
    """Tensors that share storage, and the Parameters of a module."""
    whole = torch.arange(12.0).reshape(3, 4)
    content = {"t": whole.T, "part": whole[1:, ::2], "p": torch.nn.Parameter(whole)}
    torch.save(content, tmp_path / "x.pt")
    found = torch_files.read(tmp_path / "x.pt").tensors
    for name, tensor in content.items():
        np.testing.assert_array_equal(found[name], tensor.detach().numpy())


def refused(path):
    with pytest.raises(InputError) as caught:
        torch_files.read(path)
    assert str(path) in str(caught.value)
    return " ".join(str(caught.value).split())


@pytest.mark.parametrize("options", [ZIP, LEGACY], ids=["zip", "legacy"])
@pytest.mark.parametrize("malicious", [OpensAFile, RunsAShell])
def test_malicious_pickle_does_not_run(tmp_path, options, malicious):
    mark = tmp_path / "it_ran"
    content = {"state_dict": TENSORS, "epoch": malicious(mark)}
    torch.save(content, tmp_path / "x.pt", **options)
    message = refused(tmp_path / "x.pt")
    assert f"asks for {malicious.asks_for};" in message
    assert "nothing of it was run" in message
    assert not mark.exists()


@pytest.mark.parametrize("protocol", range(6))
def test_malicious_plain_pickle_does_not_run(tmp_path, protocol):
    mark = tmp_path / "it_ran"
    (tmp_path / "x.pt").write_bytes(pickle.dumps({"a": RunsAShell(mark)}, protocol))
    message = refused(tmp_path / "x.pt")
    assert "posix.system" in message
    assert not mark.exists()


@pytest.mark.parametrize("options", [ZIP, LEGACY], ids=["zip", "legacy"])
def test_the_class_asked_for_is_named(tmp_path, options):
    torch.save({"args": argparse.Namespace(lr=1)}, tmp_path / "x.pt", **options)
    assert "asks for argparse.Namespace" in refused(tmp_path / "x.pt")
    torch.save([fractions.Fraction(1, 2)], tmp_path / "y.pt", **options)
    assert "asks for fractions.Fraction" in refused(tmp_path / "y.pt")


@pytest.mark.parametrize("name", ["zip.pt", "legacy.pt", "x.safetensors"])
@pytest.mark.parametrize("kept", [0, 5, 40, 0.3, 0.7, 0.99])
def test_truncated(tmp_path, name, kept):
    if name.startswith("x"):
        torch_files.write(tmp_path / name, {"a": np.ones(1000, np.float32)})
    else:
        options = ZIP if name == "zip.pt" else LEGACY
        torch.save({"a": torch.ones(1000)}, tmp_path / name, **options)
    content = (tmp_path / name).read_bytes()
    n = kept if isinstance(kept, int) else int(kept * len(content))
    (tmp_path / name).write_bytes(content[:n])
    refused(tmp_path / name)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ([1, 2], "found list"),
        (torch.ones(3), "found Tensor"),
        ({"a": torch.ones(3).to_sparse()}, "a: expected a dense tensor"),
        ({"a": [torch.ones(3)]}, "a: expected a dense tensor, found list"),
        ({"a": torch.ones(1).expand(10**12)}, "a: expected a tensor that holds its"),
        ({"a": torch.ones(2, device="meta")}, "a: expected a tensor that holds its"),
    ],
)
def test_other_content(tmp_path, content, words):
    torch.save(content, tmp_path / "x.pt")
    assert words in refused(tmp_path / "x.pt")


def test_no_file(tmp_path):
    assert "found none" in refused(tmp_path / "x.pt")
    assert "found none" in refused(tmp_path)


def test_without_torch(tmp_path):
    """`.safetensors` needs no PyTorch; the others say what they need."""
    arrays = {"a": np.ones(3, np.float32)}
    torch_files.write(tmp_path / "x.safetensors", arrays)
    torch_files.write(tmp_path / "x.pt", arrays)
    program = (
        "import sys; sys.modules['torch'] = None\n"
        "from img2eeg_jax.interop import torch_files\n"
        "assert torch_files.read('x.safetensors').tensors['a'].sum() == 3\n"
        "torch_files.write('y.safetensors', {'a': __import__('numpy').ones(3)})\n"
        "try: torch_files.read('x.pt')\n"
        "except ValueError as error: print(error)\n"
    )
    result = run_program(program, cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    assert "expected PyTorch to be installed" in result.stdout
    assert "pip install 'img2eeg_jax[torch]'" in result.stdout
