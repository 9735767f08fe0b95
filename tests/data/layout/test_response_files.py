"""Responses of any kind: what is written is read, and damage is told."""

import io

import numpy as np
import pytest

from img2eeg_jax.axes import Axes
from img2eeg_jax.data.layout.response_files import (
    read_responses,
    responses_path,
    write_responses,
)
from img2eeg_jax.errors import InputError

NAMES = tuple(f"voxel_{n}" for n in range(4))


@pytest.mark.parametrize(("unit", "expected"), [("beta", "beta"), ("", "unknown")])
def test_what_is_written_is_read(tmp_path, unit, expected):
    written = np.random.default_rng(0).standard_normal((6, 3, 4), np.float32)
    write_responses(tmp_path, 3, "training", written, NAMES, unit)
    found = read_responses(tmp_path, 3, "training")
    np.testing.assert_array_equal(found.eeg, written[..., np.newaxis])
    assert found.axes == Axes.of_features(NAMES, expected)
    path = tmp_path / "preprocessed_data" / "sub-03" / "responses_training.npz"
    assert responses_path(tmp_path, 3, "training") == path
    assert [one.name for one in path.parent.iterdir()] == [path.name]


def test_bytes_are_names_and_a_unit_may_be_a_list_of_one(tmp_path):
    path = responses_path(tmp_path, 1, "test")
    path.parent.mkdir(parents=True)
    text = {"feature_names": np.array(["µ", "b", "c"]), "unit": np.array(["beta"])}
    np.savez(path, **(GOOD | {k: np.char.encode(v, "utf-8") for k, v in text.items()}))
    axes = read_responses(tmp_path, 1, "test").axes
    assert axes == Axes.of_features(("µ", "b", "c"), "beta")


def test_no_such_subject(tmp_path):
    write_responses(tmp_path, 3, "training", np.ones((2, 1, 4)), NAMES)
    with pytest.raises(InputError, match=r"sub-04: .*only these in .*: sub-03"):
        read_responses(tmp_path, 4, "training")


GOOD = {
    "responses": np.ones((5, 2, 3)),
    "feature_names": np.array(["a", "b", "c"]),
    "unit": np.array("V"),
}
NOT_FINITE = np.ones((5, 2, 3))
NOT_FINITE[3, 1, 0] = np.inf
TOO_LARGE = np.full((5, 2, 3), 1e300)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"responses": np.ones((5, 3))}, r"numbers of image × .*shape \(5, 3\)"),
        ({"responses": np.full((5, 2, 3), "x")}, "numbers of image × "),
        ({"responses": NOT_FINITE}, "finite numbers of float32, found .* image 3"),
        ({"responses": TOO_LARGE}, "finite numbers of float32, found .* image 0"),
        ({"responses": np.full((5, 2, 3), None)}, "without pickles"),
        ({"feature_names": np.array(["a", "b"])}, "3 different ones, found 2, 2 of"),
        ({"feature_names": np.array(["a", "b", "b"])}, "found 3, 2 of them different"),
        ({"unit": None}, "responses, feature_names, unit, found no unit"),
        ({"unit": np.array(["V", "mV"])}, "unit: expected one, found an array of sh"),
    ],
)
def test_damage_is_told(tmp_path, changes, message):
    path = responses_path(tmp_path, 1, "test")
    path.parent.mkdir(parents=True)
    content = {k: v for k, v in (GOOD | changes).items() if v is not None}
    np.savez(path, **content)
    with pytest.raises(InputError, match=message) as told:
        read_responses(tmp_path, 1, "test")
    assert str(told.value).startswith(str(path))


with io.BytesIO() as _file:
    np.save(_file, np.ones((2, 2)))
    NPY = _file.getvalue()


@pytest.mark.parametrize("content", [None, b"", b"no zip", NPY])
def test_no_archive(tmp_path, content):
    path = responses_path(tmp_path, 1, "test")
    path.parent.mkdir(parents=True)
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(InputError, match="without pickles, found"):
        read_responses(tmp_path, 1, "test")
