"""Zip archives of strangers, unpacked without harm."""

import collections
import errno
import lzma
import pathlib
import re
import shutil
import stat
import zipfile
import zlib
from collections.abc import Callable, Sequence

from tqdm import tqdm

from img2eeg_jax.errors import InputError, expecting, first_line, unexpected

# Entries that compress better than this are bombs; small ones may be that good.
_MAX_RATIO = 1000
_SMALL_BYTES = 10 * 2**20
_CHUNK_BYTES = 2**20
_DISK_ERRORS = (
    errno.ENOSPC,
    errno.EDQUOT,
    errno.EIO,
    errno.EROFS,
    errno.EACCES,
    errno.EPERM,
)
# Damaged archives make zipfile raise all of these.
_DAMAGE = (
    zipfile.BadZipFile,
    zlib.error,
    lzma.LZMAError,
    EOFError,
    NotImplementedError,
    RuntimeError,
    ValueError,
)
# Files that macOS adds to archives.
_LITTER = re.compile(r"(^|/)(__MACOSX/|\.DS_Store$|\._[^/]*$)")


class WriteError(InputError):
    """The disk has no room or cannot be written to: no fault of the archive."""


def unzip(
    archive: pathlib.Path,
    folder: pathlib.Path,
    is_wanted: Callable[[str], bool] = lambda name: True,
) -> None:
    """Unpacks an archive. All entries are checked before anything is written.

    Args:
      archive: zip file.
      folder: where to; must exist. Files in it are not overwritten.
      is_wanted: tells by an entry's name whether to unpack it.

    Raises:
      InputError: the archive is damaged, or an entry points out of the folder, is no
        plain file, is encrypted, is there twice, or is larger than it can honestly be.
      WriteError: the disk has no room or cannot be written to.
    """
    try:
        with (
            expecting(archive, "a whole zip archive", *_DAMAGE),
            zipfile.ZipFile(archive) as zipped,
        ):
            entries = [
                entry
                for entry in zipped.infolist()
                if is_wanted(entry.filename) and not _LITTER.search(entry.filename)
            ]
            _check_entries(archive, folder, entries)
            _write_entries(zipped, folder, [e for e in entries if not e.is_dir()])
    except OSError as error:
        kind = WriteError if error.errno in _DISK_ERRORS else InputError
        raise kind(
            f"{archive}: expected to unpack it to {folder}, found: {first_line(error)}"
        ) from error


def _check_entries(
    archive: pathlib.Path, folder: pathlib.Path, entries: Sequence[zipfile.ZipInfo]
) -> None:
    # By paths, not names: a//b is a/b, and a file a leaves no room for a folder a.
    files = [pathlib.PurePosixPath(e.filename) for e in entries if not e.is_dir()]
    taken = collections.Counter(files)
    taken.update({folder for file in files for folder in file.parents})
    for entry in entries:
        problem = _problem(entry)
        if not entry.is_dir() and taken[pathlib.PurePosixPath(entry.filename)] > 1:
            problem = "is there twice"
        if problem:
            raise unexpected(
                archive,
                "entries that stay in their folder and are what they say",
                f"that {entry.orig_filename!r} {problem}",
            )
    n_bytes = sum(entry.file_size for entry in entries)
    free = shutil.disk_usage(folder).free
    if n_bytes > free:
        raise WriteError(
            f"{archive}: expected room for {n_bytes / 1e9:.2f} GB in {folder}, found "
            f"{free / 1e9:.2f} GB"
        )


def _problem(entry: zipfile.ZipInfo) -> str | None:
    """Returns what is wrong with an entry, or None."""
    # zipfile mends some names, and we want none that needs it.
    name = entry.orig_filename
    is_relative = not re.match(r"/|[A-Za-z]:", name)
    if "\\" in name or "\0" in name or ".." in name.split("/") or not is_relative:
        return "points out of the folder"
    kind = stat.S_IFMT(entry.external_attr >> 16)
    if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
        return "is a link or a device"
    if entry.flag_bits & 1:
        return "is encrypted"
    largest = max(_SMALL_BYTES, _MAX_RATIO * entry.compress_size)
    if entry.file_size > largest:
        return f"unpacks {entry.compress_size} bytes to {entry.file_size}"
    return None


def _write_entries(
    zipped: zipfile.ZipFile, folder: pathlib.Path, entries: Sequence[zipfile.ZipInfo]
) -> None:
    bar = tqdm(
        desc=pathlib.Path(zipped.filename or "").name,
        total=sum(entry.file_size for entry in entries),
        unit="B",
        unit_scale=True,
        disable=None,
    )
    with bar:
        for entry in entries:
            path = folder / entry.filename
            path.parent.mkdir(parents=True, exist_ok=True)
            # Reading ends with an error where size or checksum are not as declared.
            with zipped.open(entry) as source, open(path, "xb") as target:
                while chunk := source.read(_CHUNK_BYTES):
                    target.write(chunk)
                    bar.update(len(chunk))
