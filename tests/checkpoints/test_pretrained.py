"""Networks as people pass them on: in a folder of safetensors and JSON."""

import dataclasses
import json
import os

import numpy as np
import pytest
import safetensors.numpy

from helpers.checkpoints import (
    CORNET,
    CORNET_DESCRIPTION,
    assert_bit_identical,
    refusal,
)
from helpers.tiny_network import draw_variables
from img2eeg_jax.checkpoints import pretrained
from img2eeg_jax.checkpoints.load import load_checkpoint
from img2eeg_jax.models.cornet_s import CORnetS

DESCRIPTION = dataclasses.replace(
    CORNET_DESCRIPTION,
    initial_weights="/home/me/weights/cornet_s.pth",
    config={
        "data_dir": "/data/secret/things",
        "window_s": (0.1, 0.3),
        "shards_dir": "",
    },
)


@pytest.fixture(scope="module")
def variables():
    return draw_variables(CORnetS(**CORNET))


@pytest.fixture
def folder(tmp_path, variables):
    (tmp_path / "metrics.csv").write_text("epoch,total\n1,0.5\n")
    beside = {
        "config.json": '{"seed": 3}',
        "deep/metrics.csv": tmp_path / "metrics.csv",
    }
    network = 7, DESCRIPTION, variables, "best"
    pretrained.write(tmp_path / "new" / "net", network, "# a card\n", beside)
    return tmp_path / "new" / "net"


def test_what_is_written_is_read(folder, variables):
    loaded = load_checkpoint(folder)
    assert (loaded.step, loaded.which, loaded.path) == (7, "best", folder)
    assert_bit_identical(loaded.variables, variables)
    assert loaded.config == {"seed": 3}
    # What tells of the machine that it was trained on stays there.
    assert loaded.description == dataclasses.replace(
        DESCRIPTION,
        initial_weights="cornet_s.pth",
        config={"data_dir": "things", "window_s": [0.1, 0.3], "shards_dir": ""},
    )
    assert sorted(path.name for path in folder.iterdir()) == sorted(
        ["README.md", "config.json", "deep", "description.json", "model.safetensors"]
    )
    assert os.listdir(folder.parent) == ["net"]


def test_others_read_the_weights(folder, variables):
    arrays = safetensors.numpy.load_file(folder / "model.safetensors")
    kernel = variables["params"]["V1"]["conv1"]["kernel"]
    np.testing.assert_array_equal(arrays["params.V1.conv1.kernel"], kernel)
    # And may.
    modes = {path.stat().st_mode & 0o777 for path in folder.glob("*.*")}
    assert len(modes) == 1
    with safetensors.safe_open(folder / "model.safetensors", "numpy") as file:
        assert file.metadata() == {"format": "flax"}


def test_what_is_there_is_replaced_only_when_asked(folder, variables):
    network = 8, DESCRIPTION, variables, "last"
    there = refusal(lambda: pretrained.write(folder, network, "", {}))
    assert "`overwrite` replaces it" in there
    pretrained.write(folder, network, "", {}, overwrite=True)
    assert load_checkpoint(folder).step == 8
    assert not (folder / "config.json").exists()
    (folder / "description.json").unlink()
    others = refusal(lambda: pretrained.write(folder, network, "", {}, overwrite=True))
    assert "found other files" in others
    assert (folder / "model.safetensors").is_file()


def changed(folder, change):
    path = folder / "description.json"
    document = json.loads(path.read_text())
    change(document)
    path.write_text(json.dumps(document))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda d: d.update(format=2), "found format 2"),
        (lambda d: d["description"].update(image_size=64), "not what was saved"),
        (lambda d: d.pop("files"), "no entry 'files'"),
        (lambda d: d["files"].update({"../x": ""}), "found a file '../x' outside"),
        (lambda d: d["files"].update({"/etc/x": ""}), "found a file '/etc/x' outside"),
    ],
)
def test_a_changed_description_is_refused(folder, change, words):
    changed(folder, change)
    message = refusal(lambda: load_checkpoint(folder))
    assert message.startswith(f"{folder}/description.json: expected a description")
    assert words in message


@pytest.mark.parametrize("text", ["", "{", "[]", '"x"', "\xff"])
def test_what_is_no_description_is_refused(folder, text):
    (folder / "description.json").write_text(text, encoding="latin-1")
    refusal(lambda: load_checkpoint(folder))


def test_changed_weights_are_refused(folder):
    path = folder / "model.safetensors"
    whole = path.read_bytes()
    path.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    assert "found other bytes" in refusal(lambda: load_checkpoint(folder))
    path.unlink()
    assert "No such file" in refusal(lambda: load_checkpoint(folder))


def test_weights_of_another_network_are_refused(tmp_path, variables):
    other = dataclasses.replace(DESCRIPTION, model={**CORNET, "num_classes": 4})
    pretrained.write(tmp_path / "x", (1, other, variables, "last"), "", {})
    message = refusal(lambda: load_checkpoint(tmp_path / "x"))
    assert "model.safetensors: params.decoder.linear.bias: expected (4,)" in message


def test_arrays_that_are_parts_of_others(tmp_path, variables):
    """As the weights of one of several subjects are: not in one piece in memory."""
    parts = {
        "params": {
            "half": np.arange(12.0, dtype="f4").reshape(3, 4)[:, 2:],
            "turned": np.arange(6, dtype="f4").reshape(2, 3).T,
        }
    }
    network = 1, CORNET_DESCRIPTION, parts, "best"
    pretrained.write(tmp_path / "net", network, "", {})
    found = safetensors.numpy.load_file(tmp_path / "net" / pretrained.WEIGHTS)
    assert sorted(found) == ["params.half", "params.turned"]
    for name, value in parts["params"].items():
        np.testing.assert_array_equal(found[f"params.{name}"], value)
