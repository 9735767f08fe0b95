"""Archives that mean harm, and ones that are merely broken."""

import io
import stat
import zipfile

import pytest

from img2eeg_jax.data.sources import archives
from img2eeg_jax.errors import InputError

MIB = 2**20


def write_zip(path, entries):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as zipped:
        for name, content in entries:
            zipped.writestr(name, content)
    return path


@pytest.fixture
def target(tmp_path):
    folder = tmp_path / "target"
    folder.mkdir()
    return folder


def refuse(archive, target, match):
    with pytest.raises(InputError, match=match) as refused:
        archives.unzip(archive, target)
    assert "\n" not in str(refused.value)
    assert str(archive) in str(refused.value)


def test_unpacks_files_and_folders(tmp_path, target):
    entries = [("a/", ""), ("a/b.txt", "one"), ("c.bin", bytes(3 * MIB))]
    archives.unzip(write_zip(tmp_path / "x.zip", entries), target)
    assert (target / "a" / "b.txt").read_text() == "one"
    assert (target / "c.bin").read_bytes() == bytes(3 * MIB)


def test_unpacks_what_is_wanted_without_litter(tmp_path, target):
    names = ["a/b.txt", "__MACOSX/a/b.txt", "a/._b.txt", "a/.DS_Store", "c/d.txt"]
    archive = write_zip(tmp_path / "x.zip", [(name, "x") for name in names])
    archives.unzip(archive, target, lambda name: not name.startswith("c/"))
    found = [p.relative_to(target).as_posix() for p in target.rglob("*.*")]
    assert found == ["a/b.txt"]


@pytest.mark.parametrize(
    "name", ["../x", "a/../../x", "/etc/x", "C:/x", "C:\\x", "..\\x", "a\\..\\x"]
)
def test_refuses_to_leave_the_folder(name, tmp_path, target):
    archive = write_zip(tmp_path / "x.zip", [("good.txt", "x"), (name, "x")])
    refuse(archive, target, "points out of the folder")
    # Not even what came before it.
    assert not any(target.iterdir())


def test_refuses_links(tmp_path, target):
    link = zipfile.ZipInfo("link")
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    refuse(write_zip(tmp_path / "x.zip", [(link, "/etc")]), target, "is a link")
    assert not any(target.iterdir())


def test_refuses_duplicates(tmp_path, target):
    with pytest.warns(UserWarning, match="Duplicate"):
        archive = write_zip(tmp_path / "x.zip", [("a", "x"), ("a", "y")])
    refuse(archive, target, "'a' is there twice")


def test_refuses_bombs(tmp_path, target):
    archive = write_zip(tmp_path / "x.zip", [("zeros", bytes(64 * MIB))])
    # Deflate reaches a ratio of 1029 at most.
    refuse(archive, target, "'zeros' unpacks [0-9]+ bytes to 67108864")


def test_refuses_more_than_the_disk_has(tmp_path, target, monkeypatch):
    archive = write_zip(tmp_path / "x.zip", [("a", bytes(1000)), ("b", bytes(1000))])
    usage = archives.shutil.disk_usage(target)._replace(free=1999)
    monkeypatch.setattr(archives.shutil, "disk_usage", lambda folder: usage)
    refuse(archive, target, "expected room for")
    assert not any(target.iterdir())


def edit_directory(archive, offset, value):
    """Changes bytes of the first entry of the central directory."""
    content = bytearray(archive.read_bytes())
    start = content.index(b"PK\x01\x02") + offset
    content[start : start + len(value)] = value
    archive.write_bytes(content)


def test_refuses_encrypted_entries(tmp_path, target):
    archive = write_zip(tmp_path / "x.zip", [("a", "x")])
    edit_directory(archive, 8, b"\x01\x00")
    refuse(archive, target, "is encrypted")


def test_refuses_a_size_that_is_a_lie(tmp_path, target):
    archive = write_zip(tmp_path / "x.zip", [("a", "x" * 1000)])
    edit_directory(archive, 24, (10).to_bytes(4, "little"))
    refuse(archive, target, "expected a whole zip archive")


@pytest.mark.parametrize("damage", ["truncate", "flip", "html", "empty"])
def test_refuses_damaged_archives(damage, tmp_path, target):
    archive = write_zip(tmp_path / "x.zip", [("a", bytes(range(256)) * 50)])
    content = bytearray(archive.read_bytes())
    if damage == "flip":
        content[len(content) // 4] ^= 255
    content = {
        "truncate": content[: len(content) // 2],
        "flip": content,
        "html": b"<html>404</html>",
        "empty": b"",
    }[damage]
    archive.write_bytes(content)
    refuse(archive, target, "expected a whole zip archive, found: .")


def test_overwrites_nothing(tmp_path, target):
    (target / "a").write_text("mine")
    archive = write_zip(tmp_path / "x.zip", [("a", "theirs")])
    refuse(archive, target, "File exists")
    assert (target / "a").read_text() == "mine"


def test_nested_archives_stay_packed(tmp_path, target):
    inner = io.BytesIO()
    with zipfile.ZipFile(inner, "w") as zipped:
        zipped.writestr("x", "y")
    archives.unzip(write_zip(tmp_path / "x.zip", [("i.zip", inner.getvalue())]), target)
    assert (target / "i.zip").read_bytes() == inner.getvalue()
