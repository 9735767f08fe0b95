"""What a file is, whatever its name says: for messages, and to choose a reader."""

import os
import zipfile

NPZ = "an .npz archive of NumPy arrays"
NUMPY = "a .npy file"
PICKLE = "a pickle"
TORCH = "a file of torch.save"

_STARTS = {
    b"\x93NUMPY": NUMPY,
    b"\x89HDF\r\n\x1a\n": "an HDF5 file",
    b"MATLAB 5.0 MAT-file": "a MATLAB file",
    b"MATLAB 7.3 MAT-file": "a MATLAB file (HDF5)",
    b"version https://git-lfs": "a Git LFS pointer in place of the file itself "
    "(git lfs pull fetches it)",
    b"/annex/objects/": "a git-annex pointer in place of the file itself",
    b"\x1f\x8b": "a gzip archive",
    b"BZh": "a bzip2 archive",
    b"\xfd7zXZ\x00": "an xz archive",
    b"7z\xbc\xaf\x27\x1c": "a 7z archive",
    b"\x28\xb5\x2f\xfd": "a Zstandard archive",
    b"<": "a web page or XML",
    b"{": "JSON or other text",
    # The number that old versions of PyTorch begin with, pickled.
    b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19.": TORCH,
    b"\x80": PICKLE,
}


def kind_of(path: str | os.PathLike) -> str:
    """Tells by its first bytes what a file is.

    Args:
      path: the file.

    Returns:
      The kind in words; "" for one that is not known, such as a damaged file.

    Raises:
      OSError: it cannot be read.
    """
    with open(path, "rb") as file:
        start = file.read(64)
    if not start:
        return "an empty file"
    if start.startswith(b"PK"):
        return _kind_of_zip(path)
    for known, kind in _STARTS.items():
        if start.lstrip(b"\xef\xbb\xbf \t\r\n").startswith(known):
            return kind
    return "a tar archive" if _is_tar(path) else ""


def _kind_of_zip(path: str | os.PathLike) -> str:
    try:
        with zipfile.ZipFile(path) as archive:
            members = archive.namelist()
    except (zipfile.BadZipFile, OSError):
        # The list of members is at the end, which a truncated archive lacks.
        return ""
    if members and all(name.endswith(".npy") for name in members):
        return NPZ
    names = {name.rpartition("/")[2] for name in members}
    if "constants.pkl" in names:
        return "a TorchScript program"
    return TORCH if "data.pkl" in names else "a zip archive"


def _is_tar(path: str | os.PathLike) -> bool:
    with open(path, "rb") as file:
        return file.read(262)[257:] == b"ustar"
