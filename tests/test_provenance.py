import dataclasses
import hashlib
import json
import os

import pytest

from img2eeg_jax import provenance
from img2eeg_jax.provenance import SourceFile


@pytest.fixture
def files(tmp_path):
    """Two files by the names that they are recorded under."""
    files = {"first": tmp_path / "a.txt", "second": tmp_path / "b.txt"}
    for name, path in files.items():
        path.write_text(name)
    return files


def recorded(files, with_sha256=True):
    """What JSON gives back of the files' description."""
    described = [
        SourceFile.of(path, name, with_sha256).to_list() for name, path in files.items()
    ]
    return json.loads(json.dumps(described))


def touch(path):
    status = path.stat()
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns + 10**9))


def test_description(files):
    path = files["first"]
    found = SourceFile.of(path, with_sha256=True)
    digest = hashlib.sha256(b"first").hexdigest()
    assert found == SourceFile("a.txt", 5, path.stat().st_mtime_ns, digest)
    assert found.to_list() == ["a.txt", 5, path.stat().st_mtime_ns, digest]
    assert SourceFile.of(path, "x").to_list() == ["x", 5, path.stat().st_mtime_ns]


def test_a_copy_is_told_from_a_change_by_its_content(files):
    path = files["first"]
    with_content = SourceFile.of(path, with_sha256=True)
    without = SourceFile.of(path)
    assert with_content.is_still(path)
    assert without.is_still(path)
    touch(path)
    assert with_content.is_still(path)
    assert not without.is_still(path)
    path.write_text("firsT")
    touch(path)
    assert not with_content.is_still(path)
    path.write_text("first and more")
    assert not with_content.is_still(path)


def test_a_file_whose_time_is_not_known_is_compared_by_size(files):
    path = files["first"]
    described = SourceFile("a.txt", 5)
    touch(path)
    assert described.is_still(path)
    assert not dataclasses.replace(described, n_bytes=6).is_still(path)


@pytest.mark.parametrize("with_sha256", [True, False])
def test_changed_file(files, with_sha256):
    known = recorded(files, with_sha256)
    assert provenance.changed_file(known, files) is None
    assert provenance.changed_file(known[::-1], files) is None
    assert provenance.changed_file(known[:1], files) == "second"
    assert provenance.changed_file(known, {"first": files["first"]}) == "second"
    files["second"].write_text("other!")
    touch(files["second"])
    assert provenance.changed_file(known, files) == "second"


def test_a_file_that_is_gone_raises(files):
    known = recorded(files)
    files["first"].unlink()
    with pytest.raises(OSError, match="No such file"):
        provenance.changed_file(known, files)


def test_difference_names_both_sides():
    found = {"a": 1, "b": [2, 3], "other": 0}
    assert provenance.difference(found, {"a": 1, "b": [2, 3]}) is None
    assert provenance.difference(found, {"a": 2}) == "a 1 instead of 2"
    assert (
        provenance.difference(found, {"a": 2, "b": [], "c": "x"})
        == "a 1 instead of 2, b [2, 3] instead of [], c None instead of x"
    )


def test_digests_are_sha256(tmp_path):
    """Expected values by hashlib from bytes written out here."""
    expected = hashlib.sha256(b'{"a": [1, 2], "b": "x"}').hexdigest()
    assert provenance.digest_of({"b": "x", "a": [1, 2]}) == expected
    path = tmp_path / "file"
    path.write_bytes(b"abc" * 10**6)
    assert provenance.sha256_of(path) == hashlib.sha256(b"abc" * 10**6).hexdigest()
    # The test vector of FIPS 180-4.
    path.write_bytes(b"abc")
    assert provenance.sha256_of(path).startswith("ba7816bf8f01cfea414140de5dae2223")
