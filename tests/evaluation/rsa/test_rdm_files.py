"""RDMs from files as their libraries write them."""

import warnings

import h5py
import numpy as np
import pytest
import scipy.io

from img2eeg_jax.errors import InputError
from img2eeg_jax.evaluation import rsa
from img2eeg_jax.evaluation.rsa.rdm_files import places, read_order, read_rdms


@pytest.fixture
def rdms(rng):
    """Those of 3 subjects, of 7 images: f64[3, 21]."""
    return rng.random((3, 21))


def assert_read(path, expected, images=None):
    found = read_rdms(path)
    np.testing.assert_allclose(found.values, np.atleast_2d(expected))
    assert (found.name, found.images, found.n_images) == (path.stem, images, 7)


@pytest.mark.parametrize("n", [1, 3])
@pytest.mark.parametrize("is_square", [True, False])
class TestArrays:
    def test_npy(self, rdms, tmp_path, n, is_square):
        expected = rdms[0] if n == 1 else rdms
        np.save(tmp_path / "a.npy", rsa.square(expected) if is_square else expected)
        assert_read(tmp_path / "a.npy", expected)

    def test_mat(self, rdms, tmp_path, n, is_square):
        """Of MATLAB, whose vectors are matrices, and whose last axis counts."""
        expected = rdms[0] if n == 1 else rdms
        content = rsa.square(expected) if is_square else expected
        if n == 3 and is_square:
            content = np.moveaxis(content, 0, -1)
        elif n == 1 and not is_square:
            content = content[:, None]
        others = {"name": "x", "n": 3.0}
        scipy.io.savemat(tmp_path / "a.mat", {"RDM": content, **others})
        assert_read(tmp_path / "a.mat", expected)

    def test_hdf5(self, rdms, tmp_path, n, is_square):
        expected = rdms[0] if n == 1 else rdms
        for name in ("a.h5", "b.hdf5"):
            with h5py.File(tmp_path / name, "w", userblock_size=512) as file:
                file["x"] = rsa.square(expected) if is_square else expected
            assert_read(tmp_path / name, expected)

    def test_mat_of_version_7_3(self, rdms, tmp_path, n, is_square):
        """HDF5 after 512 bytes, in which MATLAB's axes are in reverse order."""
        expected = rdms[0] if n == 1 else rdms
        of_matlab = rsa.square(expected) if is_square else np.atleast_2d(expected)
        if n == 3 and is_square:
            of_matlab = np.moveaxis(of_matlab, 0, -1)
        with h5py.File(tmp_path / "a.mat", "w", userblock_size=512) as file:
            file["RDM"] = of_matlab.T
        assert_read(tmp_path / "a.mat", expected)


@pytest.mark.parametrize("descriptors", [None, {"picture": list("gfedcba")}])
def test_rsatoolboxs(rdms, tmp_path, descriptors):
    toolbox = pytest.importorskip("rsatoolbox")
    path = tmp_path / "toolbox.hdf5"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        theirs = toolbox.rdm.RDMs(rdms, pattern_descriptors=descriptors)
        theirs.save(str(path), file_type="hdf5")
    assert_read(path, rdms, tuple("gfedcba") if descriptors else None)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (np.arange(4.0), r"a.npy: a: expected .* pairs, found shape \(4,\)"),
        (np.full(21, np.nan), "a.npy: expected finite dissimilarities, found 21 that"),
        (np.array(["a", "b"]), "a.npy: a: expected numbers"),
        (np.array({}, object), "a.npy: expected RDMs, .npy, .mat, .*, found: .*pickle"),
    ],
)
def test_npy_that_is_none(tmp_path, content, message):
    np.save(tmp_path / "a.npy", content, allow_pickle=True)
    with pytest.raises(InputError, match=message):
        read_rdms(tmp_path / "a.npy")


def test_files_that_are_none(tmp_path, rdms):
    scipy.io.savemat(tmp_path / "two.mat", {"a": rdms, "b": rdms})
    with pytest.raises(InputError, match=r"one array of dissimilarities, found a, b"):
        read_rdms(tmp_path / "two.mat")
    for name in ("x.npy", "x.mat", "x.h5"):
        with pytest.raises(InputError, match=rf"{name}: expected RDMs.*No such file"):
            read_rdms(tmp_path / name)
        (tmp_path / name).write_bytes(b"nonsense" * 100)
        with pytest.raises(InputError, match=rf"{name}: expected RDMs"):
            read_rdms(tmp_path / name)
    with pytest.raises(InputError, match=r"expected RDMs, .*, found .csv"):
        read_rdms(tmp_path / "x.csv")


class TestOrder:
    IMAGES = ("animals/cat.png", "animals/dog.png", "tools/saw.jpg", "tools/cat.jpg")

    @pytest.mark.parametrize(
        ("order", "expected"),
        [
            (["2", "0"], [2, 0]),
            (["saw.jpg", "dog", "animals/cat.png", "tools/cat"], [2, 1, 0, 3]),
        ],
    )
    def test_names_and_numbers(self, order, expected):
        np.testing.assert_array_equal(places(order, self.IMAGES), expected)

    @pytest.mark.parametrize("name", ["cat", "cow", "4", "-1"])
    def test_what_is_no_image_or_several(self, name):
        with pytest.raises(
            InputError, match=rf"names of one of 4 .*, found {name}, of"
        ):
            places([name], self.IMAGES)

    def test_files(self, tmp_path):
        path = tmp_path / "order.txt"
        path.write_text("\ufeffcat.png\n\n dog.png \n", encoding="utf-8")
        assert read_order(path) == ("cat.png", "dog.png")
        path.write_text("a\nb\na\n")
        with pytest.raises(InputError, match=r"different images, .*, found a"):
            read_order(path)
        with pytest.raises(InputError, match=r"a text file, .*No such file"):
            read_order(tmp_path / "none.txt")
