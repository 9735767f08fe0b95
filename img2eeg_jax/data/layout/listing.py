"""Which files are pictures, and which pictures folders hold: the one lister."""

import collections
import dataclasses
import functools
import os
import pathlib
import unicodedata
from collections.abc import Iterable, Iterator

from PIL import Image

from img2eeg_jax.errors import expecting, unexpected

# Formats that Pillow knows but does not decode, or by another program only.
_UNREADABLE = frozenset({"BUFR", "EPS", "GRIB", "HDF5", "MPEG", "WMF"})
# Names, in lower case, of folders and files that operating systems and storage leave
# beside a user's own; hidden ones are left out by their dot.
_CLUTTER = frozenset(
    {
        "#recycle",
        "#snapshot",
        "$recycle.bin",
        "@eadir",
        "@recycle",
        "__macosx",
        "__pycache__",
        "desktop.ini",
        "lost+found",
        "system volume information",
        "thumbs.db",
    }
)


@dataclasses.dataclass(frozen=True)
class Listing:
    """The pictures in folders, and how many files there are no pictures.

    Attributes:
      images: their paths.
      others: suffix in lower case, "" for none → number of such files.
    """

    images: tuple[pathlib.Path, ...]
    others: collections.Counter[str]

    def left_out(self) -> str:
        """Returns how many files are no pictures, and their suffixes; "" for none."""
        if not self.others:
            return ""
        counts = sorted(self.others.items())
        kinds = ", ".join(f"{n} {suffix or 'without suffix'}" for suffix, n in counts)
        n = self.others.total()
        return f"{n} other {'file' if n == 1 else 'files'} left out ({kinds})"


def is_image(name: str) -> bool:
    """Tells by a file's name whether it is an image that Pillow reads."""
    return _suffix(name) in _image_suffixes() and not is_clutter(name)


def is_clutter(name: str) -> bool:
    """Tells by its name a hidden file or folder, or what a system leaves in folders.

    Such are ``._NAME.jpg``, ``.thumbnails``, ``@eaDir`` and ``__MACOSX``.
    """
    return name.startswith(".") or name.lower() in _CLUTTER


def one_form(name: str) -> str:
    """Returns a name in the one Unicode form by which names are compared.

    Systems differ in whether they write é as one character or as two.
    """
    return unicodedata.normalize("NFC", name)


def files_by_concept(folder: str | os.PathLike) -> set[tuple[str, str]]:
    """Lists the files CONCEPT/FILE of a folder, images or not.

    Raises:
      InputError: a folder cannot be read, or there is none.
    """
    with expecting(folder, "a folder of images", OSError):
        return {
            (concept.name, file.name)
            for concept in os.scandir(os.fspath(folder))
            if concept.is_dir()
            for file in os.scandir(concept.path)
            if not file.is_dir()
        }


def is_concept_image(pair: tuple[str, str]) -> bool:
    """Tells whether a file (concept, name) is an image of a data set."""
    concept, name = pair
    return is_image(name) and not is_clutter(concept)


def find_images(paths: Iterable[str | os.PathLike]) -> Listing:
    """Lists image files.

    Args:
      paths: image files as they are, and folders, which give all the images in them
        and below, sorted.

    Raises:
      InputError: a path is missing, or there is no image in a folder.
    """
    images: list[pathlib.Path] = []
    others: collections.Counter[str] = collections.Counter()
    for path in map(pathlib.Path, paths):
        inside = Listing((path,), collections.Counter())
        if path.is_dir():
            inside = list_folder(path)
        if not inside.images or not path.exists():
            found = "none" + (inside.left_out() and f", {inside.left_out()}")
            raise unexpected(path, "an image or a folder of images", found)
        images += inside.images
        others += inside.others
    return Listing(tuple(images), others)


def list_folder(folder: pathlib.Path) -> Listing:
    """Lists the pictures in a folder and below, sorted.

    Raises:
      InputError: a folder cannot be read, or there is none.
    """
    with expecting(folder, "a folder that can be read", OSError):
        files = sorted(_files_below(folder))
    images = tuple(path for path in files if is_image(path.name))
    others = collections.Counter(
        _suffix(path.name) for path in files if not is_image(path.name)
    )
    return Listing(images, others)


def _files_below(
    folder: pathlib.Path, above: frozenset[tuple[int, int]] = frozenset()
) -> Iterator[pathlib.Path]:
    """Yields the files in a folder and below, without hidden ones and clutter."""
    status = folder.stat()
    identity = (status.st_dev, status.st_ino)
    # A link may lead back to a folder that it lies in.
    if identity in above:
        return
    for entry in os.scandir(folder):
        if is_clutter(entry.name):
            continue
        path = folder / entry.name
        if entry.is_dir():
            yield from _files_below(path, above | {identity})
        else:
            yield path


def _suffix(name: str) -> str:
    return os.path.splitext(name)[1].lower()


@functools.cache
def _image_suffixes() -> frozenset[str]:
    suffixes = Image.registered_extensions().items()
    # Pillow opens MPO, of cameras with two lenses, as JPEG.
    readable = {*Image.OPEN, "MPO"} - _UNREADABLE
    return frozenset(suffix for suffix, kind in suffixes if kind in readable)
