"""Pictures as a browser sends them: counted while they arrive, decoded with limits."""

import asyncio
import dataclasses
import io
import pathlib
from collections.abc import AsyncGenerator, Sequence

import numpy as np
from PIL import Image
from starlette.datastructures import UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import Request

from img2eeg_jax.app.limits import Limits, Refused
from img2eeg_jax.data.layout.images import fit_image
from img2eeg_jax.errors import expecting, unexpected

# Formats that browsers show and Pillow decodes by itself.
_FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP")
_LONGEST_NAME = 60
_MOST_FIELDS = 8


@dataclasses.dataclass(frozen=True)
class Upload:
    """A file that was sent.

    Attributes:
      name: its last part, without what a terminal or a page would take for more.
      content: its bytes.
    """

    name: str
    content: bytes


@dataclasses.dataclass(frozen=True)
class Form:
    """What one request sent.

    Attributes:
      fields: name → text.
      pictures: files, each of another name.
    """

    fields: dict[str, str]
    pictures: Sequence[Upload]


async def read_form(request: Request, limits: Limits) -> Form:
    """Reads a request, of which no more than the limits is ever in memory.

    Raises:
      Refused: it is larger than the limits, slower, or no form.
    """
    try:
        n_bytes = int(request.headers.get("content-length", "0"))
    except ValueError:
        raise unexpected("request", "a number as its length", "another") from None
    if n_bytes > limits.n_bytes:
        raise limits.refuse_bytes()
    try:
        async with asyncio.timeout(limits.read_s):
            return await _read(request, limits)
    except TimeoutError:
        raise limits.refuse_slow() from None


async def _read(request: Request, limits: Limits) -> Form:
    # One more than the limit is let in, so that the message can tell it from a mistake.
    parser = MultiPartParser(
        request.headers,
        _counted(request, limits),
        max_files=limits.n_pictures + 1,
        max_fields=_MOST_FIELDS,
    )
    # In memory, never on the disk.
    parser.spool_max_size = limits.n_bytes
    try:
        form = await parser.parse()
    except MultiPartException as error:
        if "Too many files" in error.message:
            raise limits.refuse_count() from None
        raise Refused(str(unexpected("request", "a form", error))) from None
    except KeyError as error:
        raise Refused(str(unexpected("request", "a form", error))) from None
    try:
        items = form.multi_items()
        files = [file for _, file in items if isinstance(file, UploadFile)]
        fields = {name: text for name, text in items if isinstance(text, str)}
        contents = [(file.filename or "", await file.read()) for file in files]
    finally:
        await form.close()
    if len(contents) > limits.n_pictures:
        raise limits.refuse_count()
    return Form(fields, _named_apart(contents))


async def _counted(request: Request, limits: Limits) -> AsyncGenerator[bytes, None]:
    n_bytes = 0
    async for chunk in request.stream():
        n_bytes += len(chunk)
        if n_bytes > limits.n_bytes:
            raise limits.refuse_bytes()
        yield chunk


def _named_apart(contents: Sequence[tuple[str, bytes]]) -> list[Upload]:
    uploads: dict[str, Upload] = {}
    for given, content in contents:
        name = last_part(given)
        path, number = pathlib.PurePosixPath(name), 2
        while name in uploads:
            name = f"{path.stem}_{number}{path.suffix}"
            number += 1
        uploads[name] = Upload(name, content)
    return list(uploads.values())


def last_part(given: str) -> str:
    """Returns a file's name without folders and what cannot be printed.

    It is shown and written into tables, but nothing is ever stored under it.
    """
    last = given.replace("\\", "/").rsplit("/", 1)[-1]
    name = "".join(c for c in last if c.isprintable() and c not in "<>\"'`|;")
    name = name.strip(" .=+-@")
    if len(name) > _LONGEST_NAME:
        path = pathlib.PurePosixPath(name)
        suffix = path.suffix[:8]
        name = path.stem[: _LONGEST_NAME - len(suffix)] + suffix
    return name or "picture"


def decode(upload: Upload, size: int, limits: Limits) -> np.ndarray:
    """Decodes a picture as `Encoder` would decode the file.

    Returns:
      u8[size, size, 3].

    Raises:
      InputError: it is no picture of a known format, is damaged, or has more pixels
        than the limits: that is read from its first bytes, before it is decoded.
    """
    what = f"a picture ({', '.join(_FORMATS)})"
    with expecting(upload.name, what, Exception):
        image = Image.open(io.BytesIO(upload.content), formats=_FORMATS)
    with image:
        width, height = image.size
        if width * height > limits.n_pixels:
            most = f"at most {limits.n_pixels // 1_000_000} megapixels"
            raise unexpected(upload.name, most, f"{width} × {height} pixels")
        return fit_image(image, size, upload.name)
