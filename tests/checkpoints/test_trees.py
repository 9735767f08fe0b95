"""Trees of arrays by name: shapes, checksums, and the first difference."""

import json
import zlib

import numpy as np
import optax
import pytest

from helpers.checkpoints import random_state
from helpers.tiny_network import IMAGE_SIZE, draw_variables, realnet
from img2eeg_jax.checkpoints import trees
from img2eeg_jax.checkpoints.trees import check_shapes
from img2eeg_jax.errors import InputError


def test_variable_shapes():
    """Of what the model draws; the oracle runs it."""
    found = trees.variable_shapes(realnet(), IMAGE_SIZE)
    drawn = draw_variables(realnet())
    assert set(found) == {"params", "batch_stats"}
    assert found["params"]["fc"]["kernel"].shape == (32, 15)
    assert found["params"]["fc"]["kernel"].dtype == np.float32
    assert trees.shapes_of(found) == trees.shapes_of(drawn)


def test_names_of_a_whole_state():
    """Of dicts, tuples and the optimizer's named tuples."""
    state = random_state(optax.adam(1e-3))
    found = trees.shapes_of({"opt_state": state.opt_state, "step": state.step})
    assert found["step"] == ()
    assert found["opt_state/0/count"] == ()
    assert found["opt_state/0/mu/fc/kernel"] == (32, 15)


class TestCheckShapes:
    def test_first_difference_is_named(self):
        found = {"params": {"a": {"kernel": np.zeros((2, 3)), "bias": np.zeros(3)}}}
        check_shapes("file", found, found)
        for expected, message in [
            ({"a": {"kernel": np.zeros((2, 4))}}, "a/bias: expected nothing, found"),
            (
                {"a": {"kernel": np.zeros((2, 4)), "bias": np.zeros(3)}},
                r"a/kernel: expected \(2, 4\), found \(2, 3\)",
            ),
            (
                {**found["params"], "b": np.zeros(1)},
                r"params/b: expected \(1,\), found nothing",
            ),
        ]:
            with pytest.raises(InputError, match=f"file: .*{message}"):
                check_shapes("file", found, {"params": expected})


ARRAYS = {"variables": {"a": {"b": np.arange(6.0).reshape(2, 3)}, "c": np.int32(1)}}
DOCUMENTS = {"progress": {"epoch": 3, "b": [1.5]}}


class TestChecksums:
    def test_are_of_bytes_and_of_text(self):
        found = trees.checksums(ARRAYS, DOCUMENTS)
        text = json.dumps({"b": [1.5], "epoch": 3}).encode()
        assert found == {
            "variables": {
                "a/b": zlib.crc32(np.arange(6.0).tobytes()),
                "c": zlib.crc32(np.int32(1).tobytes()),
            },
            "progress": zlib.crc32(text),
        }

    def test_do_not_depend_on_the_layout_in_memory(self):
        part = np.eye(3)[:, :2]
        assert not part.flags.c_contiguous
        sums, others = (
            trees.checksums({"a": {"b": array}}, {}) for array in (part, part.copy())
        )
        assert sums == others

    def test_first_difference_is_named(self):
        sums = trees.checksums(ARRAYS, DOCUMENTS)
        trees.compare_checksums(sums, sums)
        trees.compare_checksums({"progress": sums["progress"]}, sums)
        other = {**sums, "variables": {**sums["variables"], "a/b": 1}}
        with pytest.raises(ValueError, match="variables/a/b is not what was saved"):
            trees.compare_checksums(sums, other)
        with pytest.raises(ValueError, match="progress is not what was saved"):
            trees.compare_checksums(sums, {**sums, "progress": 1})
