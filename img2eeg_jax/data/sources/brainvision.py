"""BrainVision recordings: a header, and beside it a file of samples and one of markers.

The header names the other two. Where a recording was renamed on disk, they are taken by
the header's own name.
"""

import contextlib
import dataclasses
import math
import pathlib
import re
import tempfile
import unicodedata
from collections.abc import Iterator, Sequence

import mne

from img2eeg_jax.data.sources import units
from img2eeg_jax.data.sources.markers import Marker, as_annotations
from img2eeg_jax.errors import expecting, unexpected

_DATA_SUFFIXES, _MARKER_SUFFIXES = (".eeg", ".dat"), (".vmrk",)
# Keys of a header without which MNE cannot read the recording.
_REQUIRED = (
    "DataFile",
    "DataFormat",
    "DataOrientation",
    "NumberOfChannels",
    "SamplingInterval",
)
# BrainVision writes commas in names so.
_COMMA = r"\1"


@dataclasses.dataclass(frozen=True)
class Header:
    """A header and the files beside it.

    Attributes:
      path: the header's file.
      text: what it says.
      named: "DataFile" and "MarkerFile" → the name that it has for them; "" if none.
      data: the file of samples that is there, if any.
      markers: the file of markers that is there, if any.
    """

    path: pathlib.Path
    text: str
    named: dict[str, str]
    data: pathlib.Path | None
    markers: pathlib.Path | None

    @classmethod
    def read(cls, path: pathlib.Path) -> "Header":
        """Reads a header.

        Raises:
          InputError: it is missing, is none, or lacks an entry that is needed.
        """
        expected = "a BrainVision recording"
        with expecting(path, expected, OSError):
            text = _decode(path.read_bytes())
        missing = [key for key in _REQUIRED if _entry(text, key) is None]
        if missing:
            found = f"a header without {', '.join(missing)}"
            raise unexpected(path, expected, found)
        _check_channels(text, path)
        named = {
            key: (_entry(text, key) or "").replace("$b", path.stem)
            for key in ("DataFile", "MarkerFile")
        }
        return cls(
            path,
            text,
            named,
            _find(path, named["DataFile"], _DATA_SUFFIXES),
            _find(path, named["MarkerFile"], _MARKER_SUFFIXES),
        )

    def missing(self, key: str, suffix: str) -> str:
        """Returns the names under which one of the files was looked for."""
        own = self.path.with_suffix(suffix).name
        return " or ".join(dict.fromkeys(filter(None, (self.named[key], own))))


def companions(path: pathlib.Path) -> tuple[pathlib.Path, ...]:
    """Returns the files of samples and markers that a header's recording is read from.

    Raises:
      InputError: see `Header.read`.
    """
    header = Header.read(path)
    return tuple(filter(None, (header.data, header.markers)))


def read_raw(path: pathlib.Path) -> mne.io.BaseRaw:
    """Returns the samples, not loaded, with the markers as annotations `TYPE/NAME`.

    It has none if there is no file of markers.

    Raises:
      InputError: a file is missing or damaged.
    """
    header = Header.read(path)
    expected = "a BrainVision recording"
    if header.data is None:
        where = header.missing("DataFile", ".eeg")
        raise unexpected(path, f"{expected} with samples in {where}", "no such file")
    with tempfile.TemporaryDirectory() as folder:
        copy = pathlib.Path(folder) / f"{path.stem}.vhdr"
        copy.write_text(_for_mne(header, header.data), encoding="utf-8")
        # MNE's readers raise nearly anything on damaged files.
        with expecting(path, expected, Exception):
            raw = mne.io.read_raw_brainvision(copy, verbose="ERROR")
    if header.markers is not None:
        annotations = as_annotations(read_markers(path), raw.info["sfreq"])
        raw.set_annotations(annotations, emit_warning=False)
    return raw


def read_markers(path: pathlib.Path) -> list[Marker]:
    """Returns all markers, those that segments begin with too.

    There are none if the header names no file of them.

    Raises:
      InputError: the header names a file that is missing, or it is damaged.
    """
    header = Header.read(path)
    if header.markers is None:
        if not header.named["MarkerFile"]:
            return []
        where = header.missing("MarkerFile", ".vmrk")
        raise unexpected(path, f"markers in {where}", "no such file")
    expected = "a file of BrainVision's markers"
    with expecting(header.markers, expected, OSError):
        text = _decode(header.markers.read_bytes())
    if "[Marker Infos]" not in text:
        raise unexpected(header.markers, expected, "no [Marker Infos] in it")
    return list(_parse_markers(text, header.markers))


def _check_channels(text: str, path: pathlib.Path) -> None:
    """Checks what MNE would refuse with words on its arguments."""
    section = re.search(r"(?s)\[Channel Infos\](.*?)(?:\n\[|$)", text)
    lines = re.findall(r"(?mi)^Ch\d+[ \t]*=(.*)$", section[1] if section else "")
    channels = [line.split(",") for line in lines]
    n_channels, _ = (
        _above_0(_entry(text, key) or "none", key, path)
        for key in ("NumberOfChannels", "SamplingInterval")
    )
    if len(channels) != n_channels:
        expected = f"{n_channels:g} channels in [Channel Infos]"
        raise unexpected(path, expected, len(channels))
    names = [name for name, *_ in channels]
    for row, (name, *parts) in enumerate(channels):
        if name in names[:row]:
            raise unexpected(path, "channels of different names", f"{name} twice")
        if len(parts) > 1 and parts[1].strip():
            _above_0(parts[1].strip().lstrip("-"), f"resolution of {name}", path)


def _above_0(text: str, what: str, path: pathlib.Path) -> float:
    with contextlib.suppress(ValueError):
        if 0 < float(text) < math.inf:
            return float(text)
    raise unexpected(path, f"{what} above 0", text)


def _parse_markers(text: str, path: pathlib.Path) -> Iterator[Marker]:
    for name, value in re.findall(r"(?mi)^(Mk\d+)\s*=(.*)$", text):
        kind, description, *place = (part.strip() for part in value.split(","))
        with expecting(path, f"a sample's number in {name}", ValueError, IndexError):
            # BrainVision counts samples from 1.
            sample, n_samples = int(place[0]) - 1, int(place[1] or 0)
        yield Marker(kind, description.replace(_COMMA, ","), sample, n_samples)


def _decode(content: bytes) -> str:
    """Decodes UTF-8 or, as the makers of older recorders had it, Windows' Latin-1."""
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError:
        return content.decode("cp1252", errors="replace")


def _entry(text: str, key: str) -> str | None:
    found = re.search(rf"(?mi)^{key}[ \t]*=[ \t]*(.*?)[ \t\r]*$", text)
    return found[1] if found else None


def _find(
    header: pathlib.Path, name: str, suffixes: Sequence[str]
) -> pathlib.Path | None:
    """Returns the file of a name, or else of the header's own name."""
    # A header may have been written on Windows, with a path.
    name = name.replace("\\", "/").split("/")[-1]
    own = [header.stem + suffix for suffix in (pathlib.Path(name).suffix, *suffixes)]
    there = {
        _form(path.name): path for path in header.parent.iterdir() if path.is_file()
    }
    for candidate in filter(None, (name, *own)):
        if (path := header.with_name(candidate)).is_file():
            return path
        alike = there.get(_form(candidate))
        if alike is not None and alike != header:
            return alike
    return None


def _form(name: str) -> str:
    return unicodedata.normalize("NFC", name).casefold()


def _for_mne(header: Header, samples: pathlib.Path) -> str:
    """Returns a header that names the file of samples, and units, as MNE knows them."""
    text = re.sub(
        r"(?mi)^DataFile[ \t]*=.*$",
        lambda _: f"DataFile={samples.absolute()}",
        header.text.replace("\r\n", "\n"),
    )
    # Markers are read by `read_markers`.
    text = re.sub(r"(?mi)^MarkerFile[ \t]*=.*\n?", "", text)
    text = re.sub(r"(?mi)^Codepage[ \t]*=.*$", "Codepage=UTF-8", text)
    # Channels have four parts before others; coordinates have three.
    return re.sub(
        r"(?m)^(Ch\d+=[^,\n]*,[^,\n]*,[^,\n]*,)([^,\n]+)",
        lambda row: row[1] + (units.named(row[2]) or row[2]),
        text,
    )
