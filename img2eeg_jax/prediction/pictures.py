"""What a user may give as pictures, read by several threads and made one size."""

import collections
import glob
import numbers
import os
import pathlib
import threading
from collections.abc import Iterable, Iterator
from concurrent import futures
from typing import Any

import numpy as np
from PIL import Image

from img2eeg_jax.data.layout.images import fit_image, read_image
from img2eeg_jax.data.layout.listing import Listing, find_images
from img2eeg_jax.errors import InputError, expecting, naming, unexpected

# A file of such a name lists paths.
LIST_SUFFIX = ".txt"

# Pictures that are decoded before they are asked for: two batches of the larger size.
_AHEAD = 128

# One picture as it was given: a path, a Pillow image, or an array.
Source = pathlib.Path | Image.Image | np.ndarray

# Pillow reads an image's file when its pixels are first asked for, by one thread.
_PILLOW = threading.Lock()


class Pictures:
    """Pictures that a user gave: paths, Pillow images, arrays, or many of these.

    Attributes:
      names: one a picture: its path, or its number from 0; None where they come from
        an iterator and are not known before they are read.
    """

    def __init__(self, given: Any, names: Iterable[str] | None = None):
        """Lists pictures; reads none.

        Args:
          given: a picture (path, `PIL.Image.Image`, array [height, width, 3]); an array
            [image, height, width, 3]; a folder, which gives all the pictures in it and
            below, sorted; a pattern of paths with ``*``, ``?`` or ``[…]``; a ``.txt``
            file with such a path in each line; or an iterable of any of these. Arrays
            are uint8, or floats from 0 to 1, in RGB; of any height and width. An
            iterator is read as it goes, and may be endless.
          names: one a picture; by default as `names` says.

        Raises:
          InputError: there is no such file, no picture in a folder, no picture at all,
            an array of another type or shape, or not as many names as pictures.
        """
        self._others: collections.Counter[str] = collections.Counter()
        self._sources: Iterable[tuple[str, Source]] = self._named(given)
        self.names: tuple[str, ...] | None = None
        if isinstance(given, Iterator):
            if names is not None:
                self._sources = _renamed(self._sources, names)
            return
        sources = list(self._sources)
        if not sources:
            raise unexpected("pictures", "at least one", "none")
        if names is not None:
            sources = list(_renamed(sources, names))
        self._sources = sources
        self.names = tuple(name for name, _ in sources)

    @property
    def left_out(self) -> str:
        """How many files of folders are no pictures, in words; "" for none."""
        return Listing((), self._others).left_out()

    def read(
        self, size: int, bad: list[InputError] | None = None
    ) -> Iterator[tuple[str, np.ndarray]]:
        """Reads the pictures by several threads, in order, a bounded number ahead.

        Args:
          size: height and width of the result in pixels; see `layout.read_image`.
          bad: takes what is wrong with pictures that cannot be read, which are left
            out; None raises it.

        Yields:
          (name, u8[size, size, 3]).

        Raises:
          InputError: a picture cannot be read, or an array has values that are none
            of a picture; `bad` is None.
        """
        ahead: collections.deque[tuple[str, futures.Future]] = collections.deque()
        pool = futures.ThreadPoolExecutor(os.cpu_count(), "pictures")

        def next_one() -> Iterator[tuple[str, np.ndarray]]:
            name, future = ahead.popleft()
            try:
                yield name, future.result()
            except InputError as error:
                if bad is None:
                    raise
                bad.append(error)

        try:
            for name, source in self._sources:
                ahead.append((name, pool.submit(_pixels, name, source, size)))
                if len(ahead) > _AHEAD:
                    yield from next_one()
            while ahead:
                yield from next_one()
        finally:
            pool.shutdown(cancel_futures=True)

    def _named(self, given: Any) -> Iterator[tuple[str, Source]]:
        """Yields what was given, one by one, with names; numbers count all pictures."""
        for number, source in enumerate(self._flat(given)):
            is_file = isinstance(source, pathlib.Path)
            name = source if is_file else getattr(source, "filename", "") or number
            yield str(name), source

    def _flat(self, given: Any) -> Iterator[Source]:
        if isinstance(given, str | os.PathLike):
            yield from self._files(os.fspath(given))
        elif isinstance(given, Image.Image):
            yield given
        elif hasattr(given, "__array__") or isinstance(given, numbers.Number):
            array = np.asarray(given)
            if array.ndim and array.dtype.kind in "OTU":
                # Of paths, as a column of a table is.
                yield from self._flat(array.tolist())
            else:
                array = _checked(array)
                yield from array if array.ndim == 4 else [array]
        elif isinstance(given, Iterable) and not isinstance(given, bytes | dict):
            for one in given:
                yield from self._flat(one)
        else:
            raise unexpected(
                "pictures",
                "paths, Pillow images, or arrays [height, width, 3]",
                f"a {type(given).__name__}",
            )

    def _files(self, path: str) -> Iterator[pathlib.Path]:
        if not path:
            raise unexpected("pictures", "a path", "an empty one")
        exists = os.path.exists(path)
        if exists and path.lower().endswith(LIST_SUFFIX) and os.path.isfile(path):
            for line in _lines(path):
                yield from self._files(line)
            return
        # A path that exists is no pattern, whatever is in its name.
        paths = [path]
        if not exists and glob.has_magic(path):
            paths = sorted(glob.glob(path, recursive=True))
            if not paths:
                raise unexpected(path, "a pattern of pictures", "none")
        found = find_images(paths)
        self._others += found.others
        yield from found.images


def _lines(path: str) -> list[str]:
    """Returns the paths in a file of paths.

    Relative paths start at the current folder, or else at the file's.
    """
    with (
        expecting(path, "a text file with a path in each line", OSError, ValueError),
        # Names of files may be no text.
        open(path, encoding="utf-8-sig", errors="surrogateescape") as file,
    ):
        lines = [line for line in file.read().split("\n") if line.strip()]
    if any("\0" in line for line in lines):
        raise unexpected(path, "a text file with a path in each line", "NUL in it")
    folder = os.path.dirname(path)
    beside = [os.path.join(folder, line) for line in lines]
    return [
        there if not os.path.exists(here) and os.path.exists(there) else here
        for here, there in zip(lines, beside, strict=True)
    ]


def _renamed(
    sources: Iterable[tuple[str, Source]], names: Iterable[str]
) -> Iterator[tuple[str, Source]]:
    names = iter(map(str, names))
    n_named = 0
    for _, source in sources:
        name = next(names, None)
        if name is None:
            raise unexpected("names", "one for each picture", f"only {n_named}")
        n_named += 1
        yield name, source
    if next(names, None) is not None:
        raise unexpected("names", f"one for each of {n_named} pictures", "more")


def _checked(array: np.ndarray) -> np.ndarray:
    """Refuses an array that is no picture, and none of several, by type and shape."""
    is_picture = array.ndim in (3, 4) and array.shape[-1] == 3 and min(array.shape) > 0
    is_type = array.dtype == np.uint8 or array.dtype.kind == "f"
    if not (is_picture or (array.ndim == 4 and array.shape[0] == 0)) or not is_type:
        raise unexpected(
            "pictures",
            "uint8, or floats from 0 to 1, [height, width, 3] or [image, height, "
            "width, 3]",
            f"{array.dtype} {list(array.shape)}",
        )
    return array


def _pixels(name: str, source: Source, size: int) -> np.ndarray:
    if isinstance(source, pathlib.Path):
        return read_image(source, size)
    where = f"picture {name}"
    if isinstance(source, Image.Image):
        with _PILLOW:
            return fit_image(source, size, where)
    with naming(where):
        image = Image.fromarray(_bytes(source))
    return fit_image(image, size, where)


def _bytes(array: np.ndarray) -> np.ndarray:
    """Brings floats from 0 to 1 to 0 to 255."""
    if array.dtype == np.uint8:
        return np.ascontiguousarray(array)
    low, high = array.min(), array.max()
    # NaN compares as False.
    if not (low >= 0 and high <= 1):
        found = "NaN" if np.isnan(low) else f"{low:g} to {high:g}"
        raise unexpected("", "floats from 0 to 1 (or uint8 from 0 to 255)", found)
    return np.rint(array * 255).astype(np.uint8)
