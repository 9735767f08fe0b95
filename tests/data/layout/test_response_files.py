"""Responses of any kind: what is written is read, and damage is told."""

import io

import numpy as np
import pytest

from img2eeg_jax.data.layout.response_files import (
    Responses,
    read_responses,
    responses_path,
    write_responses,
)
from img2eeg_jax.errors import InputError


def make(n_images=300, n_repetitions=4, seed=0):
    """Features whose share of signal rises from none."""
    rng = np.random.default_rng(seed)
    signal = rng.standard_normal((n_images, 1, 4)) * [0, 0.5, 1, 2]
    noise = rng.standard_normal((n_images, n_repetitions, 4))
    names = tuple(f"voxel_{n}" for n in range(4))
    return Responses(np.float32(signal + noise), names, "beta")


def test_what_is_written_is_read(tmp_path):
    written = make()
    write_responses(tmp_path, 3, "training", written)
    found = read_responses(tmp_path, 3, "training")
    np.testing.assert_array_equal(found.values, written.values)
    assert found.feature_names == written.feature_names
    assert found.unit == "beta"
    path = tmp_path / "preprocessed_data" / "sub-03" / "responses_training.npz"
    assert responses_path(tmp_path, 3, "training") == path
    assert [one.name for one in path.parent.iterdir()] == [path.name]


def test_reliability_is_of_the_mean():
    found = make(n_images=20_000).reliability
    variance = np.array([0, 0.5, 1, 2]) ** 2
    np.testing.assert_allclose(found, variance / (variance + 1 / 4), atol=0.03)


def test_reliable_features_are_kept():
    responses = make(n_images=2000)
    found = responses.reliable(0.7)
    assert found.feature_names == ("voxel_2", "voxel_3")
    np.testing.assert_array_equal(found.values, responses.values[..., 2:])
    np.testing.assert_allclose(found.mean, responses.values[..., 2:].mean(1))


@pytest.mark.parametrize("n_repetitions", [1, 4])
def test_none_is_reliable(n_repetitions):
    responses = make(n_repetitions=n_repetitions)
    with pytest.raises(InputError, match="features: expected a reliability of 0"):
        responses.reliable(0.999)


GOOD = {
    "responses": np.ones((5, 2, 3)),
    "feature_names": np.array(["a", "b", "c"]),
    "unit": np.array("V"),
}
NOT_FINITE = np.ones((5, 2, 3))
NOT_FINITE[3, 1, 0] = np.inf


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"responses": np.ones((5, 3))}, r"numbers of image × .*shape \(5, 3\)"),
        ({"responses": np.full((5, 2, 3), "x")}, "numbers of image × "),
        ({"responses": NOT_FINITE}, "finite numbers, found others of image 3"),
        ({"responses": np.full((5, 2, 3), None)}, "without pickles"),
        ({"feature_names": np.array(["a", "b"])}, "3 different ones, found 2, 2 of"),
        ({"feature_names": np.array(["a", "b", "b"])}, "found 3, 2 of them different"),
        ({"unit": None}, "responses, feature_names, unit, found no unit"),
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
    if content is not None:
        path.parent.mkdir(parents=True)
        path.write_bytes(content)
    with pytest.raises(InputError, match="without pickles, found"):
        read_responses(tmp_path, 1, "test")
