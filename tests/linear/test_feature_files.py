"""Files of features as other programs write them: each kind holds the same."""

import h5py
import numpy as np
import pytest
import scipy.io

from helpers.checkpoints import refusal
from img2eeg_jax.linear.feature_files import FeatureFiles

N = 5
NAMES = [f"0000{n}_thing/thing_{n}.jpg" for n in range(N)]
CONV = np.random.default_rng(0).standard_normal((N, 2, 3, 4)).astype(np.float32)
FC = np.random.default_rng(1).standard_normal((N, 6))


def write_npz(path, names):
    np.savez(path, conv=CONV, fc=FC, images=np.array(names))


def write_h5(path, names):
    with h5py.File(path, "w") as file:
        file["conv"], file["fc"], file["images"] = CONV, FC, names


def write_mat(path, names):
    entries = {"conv": CONV, "fc": FC, "images": np.array(names, object)}
    scipy.io.savemat(path, entries)


def write_mat_73(path, _):
    """As MATLAB's version 7.3: HDF5 behind 512 bytes, axes from the other end."""
    with h5py.File(path, "w", userblock_size=512) as file:
        file["conv"], file["fc"] = CONV.T, FC.T
        file.create_group("#refs#")["a"] = np.ones((3, 3))
    with open(path, "r+b") as file:
        file.write(b"MATLAB 7.3 MAT-file".ljust(512))


WRITERS = {
    "npz": ("x.npz", write_npz),
    "h5": ("x.h5", write_h5),
    "hdf5": ("x.hdf5", write_h5),
    "mat": ("x.mat", write_mat),
    "mat 7.3": ("x.mat", write_mat_73),
}


@pytest.fixture(params=WRITERS)
def written(request, tmp_path):
    name, write = WRITERS[request.param]
    return tmp_path / name, write


def read(path, layers=("conv", "fc"), pool="flat", names=NAMES):
    return FeatureFiles(path).read({"training": names}, layers, pool)["training"]


def test_layers_are_what_was_written(written):
    path, write = written
    write(path, NAMES)
    assert sorted(FeatureFiles(path).layers) == ["conv", "fc"]
    found = read(path)
    np.testing.assert_array_equal(found["conv"], CONV.reshape(N, -1))
    np.testing.assert_allclose(found["fc"], FC, rtol=1e-6)
    average = read(path, pool="avg")["conv"]
    np.testing.assert_allclose(average, CONV.mean((1, 2)), rtol=1e-5, atol=1e-6)
    assert {one.dtype for one in found.values()} == {np.dtype(np.float32)}


def test_names_in_another_order_are_refused(written):
    path, write = written
    if write is write_mat_73:
        pytest.skip("has no names")
    write(path, NAMES[::-1])
    expected = f"{path}: expected {NAMES[0]} in row 0, as the images are ordered"
    assert refusal(lambda: read(path)) == f"{expected}, found {NAMES[-1]}"


def test_npy_with_names_beside(tmp_path):
    path = tmp_path / "x.npy"
    np.save(path, CONV)
    found = read(path, ("features",))["features"]
    np.testing.assert_array_equal(found, CONV.reshape(N, -1))
    # As thingsvision writes them.
    names = tmp_path / "file_names.txt"
    names.write_text("".join(f"images/{name}\n" for name in NAMES))
    read(path, ("features",))
    names.write_text("\n".join([NAMES[1], NAMES[0], *NAMES[2:]]))
    assert "in row 0" in refusal(lambda: read(path, ("features",)))


@pytest.mark.parametrize("suffix", [".npy", ".npz", ".h5", ".mat"])
@pytest.mark.parametrize("content", [b"", b"nothing of the kind" * 50])
def test_damage(tmp_path, suffix, content):
    path = tmp_path / f"x{suffix}"
    path.write_bytes(content)
    assert refusal(lambda: FeatureFiles(path)).startswith(f"{path}: expected a file of")


def test_pickles_are_not_read(tmp_path):
    path = tmp_path / "x.npy"
    np.save(path, np.array([{"a": 1}], object), allow_pickle=True)
    assert refusal(lambda: FeatureFiles(path)).startswith(f"{path}: expected")


def test_other_kinds(tmp_path):
    message = refusal(lambda: FeatureFiles(tmp_path / "x.csv"))
    assert "expected a file of features (.npy, .npz, .h5, .hdf5, .mat)" in message


def test_layers_of_the_test_images(tmp_path):
    np.savez(tmp_path / "a.npz", conv=CONV, fc=FC)
    np.savez(tmp_path / "b.npz", fc=FC)
    assert FeatureFiles(tmp_path / "a.npz", tmp_path / "b.npz").layers == ("fc",)
    np.savez(tmp_path / "b.npz", other=FC)
    message = refusal(lambda: FeatureFiles(tmp_path / "a.npz", tmp_path / "b.npz"))
    assert message.endswith("expected a layer of conv, fc, found other")


def test_an_archive_under_the_name_of_an_array(tmp_path):
    path = tmp_path / "x.npy"
    with open(path, "wb") as file:
        np.savez(file, fc=FC)
    np.testing.assert_allclose(read(path, ("fc",))["fc"], FC, rtol=1e-6)


def test_a_layer_without_features(tmp_path):
    path = tmp_path / "x.npz"
    np.savez(path, none=FC[:, :0], fc=FC)
    message = refusal(lambda: read(path, ("none",)))
    assert message.startswith(f"{path}: none: expected numbers [image, feature]")
