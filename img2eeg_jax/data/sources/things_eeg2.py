"""Downloads THINGS-EEG2 into its layout: images, preprocessed EEG, raw EEG.

Each file of the data set has several sources: mirrors that the user names, then OSF
(https://osf.io/3jk45) or, for raw EEG, Figshare+. They are tried in turn. An archive is
unpacked aside and moved into place, so that what is there under its name is whole.

    DATA_DIR/downloads/checksums.json    SHA-256 of each file since its first download
"""

import dataclasses
import json
import os
import pathlib
import shutil
from collections.abc import Callable, Sequence

import numpy as np
from huggingface_hub.utils import WeakFileLock

from img2eeg_jax.data import layout
from img2eeg_jax.data.sources import archives, http
from img2eeg_jax.data.sources.hosts import Hosts, Source, sources
from img2eeg_jax.errors import InputError, expecting, first_line, unexpected
from img2eeg_jax.files import check_room, scratch_dir, write_text
from img2eeg_jax.provenance import md5_of, sha256_of

SUBJECTS = tuple(range(1, 11))
N_IMAGES = {"training": 16540, "test": 200}

# The official preprocessing: posterior channels in recording order, the times of an
# epoch in seconds, and of these the window that the published networks predict.
# fmt: off
OFFICIAL_CH_NAMES = (
    "Pz", "P3", "P7", "O1", "Oz", "O2", "P4", "P8", "P1",
    "P5", "PO7", "PO3", "POz", "PO4", "PO8", "P6", "P2",
)
# fmt: on
OFFICIAL_TIMES_S = np.arange(-20, 80) / 100
PUBLISHED_WINDOW = slice(20, 40)

# Approximate sizes of archives; hosts tell the exact ones.
_SUBJECT_BYTES = {"preprocessed_data": 1.1e9, "raw_data": 10e9}
# The folder of the archive of all subjects, and the one to unpack in.
_ALL, _SCRATCH = "all", "unpacked"


@dataclasses.dataclass(frozen=True)
class RemoteFile:
    """A file of the data set that is to be downloaded.

    Attributes:
      name: where it lies at a mirror, such as preprocessed_data/sub-01.zip.
      size: about, in bytes; None if unknown.
    """

    name: str
    size: float | None


def plan(
    data_dir: str | os.PathLike, subjects: Sequence[layout.Label], eeg: str
) -> list[RemoteFile]:
    """Lists what is missing; asks no server.

    Args:
      data_dir: folder in the layout, or to become one.
      subjects: subject numbers, 1 to 10.
      eeg: ``"preprocessed"`` or ``"raw"``.

    Raises:
      InputError: there is no such subject.
    """
    data_dir = pathlib.Path(data_dir)
    unknown = [subject for subject in subjects if subject not in SUBJECTS]
    if unknown:
        raise unexpected(
            "THINGS-EEG2",
            f"subjects from 1 to {SUBJECTS[-1]}",
            ", ".join(map(str, unknown)),
        )
    names = [f"image_set/{partition}_images.zip" for partition in layout.PARTITIONS]
    names.append("image_set/image_metadata.npy")
    names += [f"{eeg}_data/{layout.subject_name(subject)}.zip" for subject in subjects]
    return [
        RemoteFile(name, _SUBJECT_BYTES.get(name.split("/")[0]))
        for name in names
        if not _is_there(data_dir, name)
    ]


def fetch(
    data_dir: str | os.PathLike,
    subjects: Sequence[layout.Label],
    eeg: str,
    mirrors: Sequence[str] = (),
    *,
    log: Callable[[str], None] = print,
    hosts: Hosts | None = None,
) -> None:
    """Downloads what is missing, and goes on where an earlier call stopped.

    Args:
      data_dir: folder in the layout, or to become one.
      subjects: subject numbers, 1 to 10.
      eeg: ``"preprocessed"`` or ``"raw"``.
      mirrors: addresses to try first, ``https://`` or ``file://``, which hold the files
        under the names that `plan` gives.
      log: called with one line for each file, and for each source that fails.
      hosts: where the data set lies otherwise.

    Raises:
      InputError: no source has a file, or the disk is full. What was fetched is kept.
    """
    data_dir = pathlib.Path(data_dir)
    files = plan(data_dir, subjects, eeg)
    downloads = data_dir / "downloads"
    is_done = False
    try:
        if files:
            downloads.mkdir(parents=True, exist_ok=True)
            check_room(downloads, int(max(file.size or 0 for file in files)))
        for file in files:
            _fetch_file(data_dir, file.name, mirrors, hosts or Hosts(), log)
        is_done = True
    finally:
        if downloads.exists():
            _remove_leftovers(data_dir, is_done)


def leftovers(data_dir: str | os.PathLike, is_done: bool) -> list[pathlib.Path]:
    """Lists what a killed call left, of files that are there, and what is empty.

    Args:
      data_dir: see `fetch`.
      is_done: whether nothing is to be fetched any more, so that an archive of all
        subjects has served.
    """
    found = []
    for folder in (pathlib.Path(data_dir) / "downloads").glob("*/"):
        is_there = is_done
        if folder.name != _ALL:
            is_there = _is_there(
                pathlib.Path(data_dir), folder.name.replace("-", "/", 1)
            )
        fetched = [path for path in folder.iterdir() if path.suffix != ".json"]
        if is_there or not any(path.stat().st_size for path in fetched):
            found.append(folder)
    return found


def _is_there(data_dir: pathlib.Path, name: str) -> bool:
    """Tells whether what a file holds is in the layout."""
    path = data_dir / name
    if path.suffix == ".npy":
        return path.exists()
    kind, folder = name.split("/")[0], path.with_suffix("")
    # Images have no fixed names; their folder is trusted, as it is moved there whole.
    return folder.is_dir() if kind == "image_set" else _holds(kind, folder)


def _remove_leftovers(data_dir: pathlib.Path, is_done: bool) -> None:
    downloads = data_dir / "downloads"
    for folder in leftovers(data_dir, is_done):
        shutil.rmtree(folder)
    if any(data_dir.glob(f".{_SCRATCH}.incomplete-*")):
        with scratch_dir(data_dir, _SCRATCH):
            pass
    if not any(downloads.iterdir()):
        downloads.rmdir()


def _fetch_file(
    data_dir: pathlib.Path,
    name: str,
    mirrors: Sequence[str],
    hosts: Hosts,
    log: Callable[[str], None],
) -> None:
    """Gets one file from the first source that has it."""
    folder = data_dir / "downloads" / name.replace("/", "-")
    folder.mkdir(exist_ok=True)
    failures: list[str] = []
    # Two processes must not unpack the same file.
    with WeakFileLock(folder / "lock"):
        for source in sources(name, mirrors, hosts, failures, log):
            log(f"downloading {name} from {source.url}")
            try:
                _fetch_from(data_dir, name, source, folder)
            except archives.WriteError:
                raise
            except InputError as error:
                failures.append(first_line(error))
                log(f"{name}: {failures[-1]}")
                continue
            break
        else:
            raise InputError(
                f"{name}: expected one of {len(failures)} sources to have it, found: "
                f"{'; '.join(failures)}"
            )
    shutil.rmtree(folder)


def _fetch_from(
    data_dir: pathlib.Path, name: str, source: Source, folder: pathlib.Path
) -> None:
    """Downloads a file, checks it and puts what it holds into place."""
    checksums = _read_checksums(data_dir)
    if source.size:
        check_room(folder, source.size)
    # The archive of all subjects is kept for the other subjects.
    where = folder.parent / _ALL if source.member else folder
    known = "" if source.member else checksums.get(name, source.sha256)
    fetched = path = pathlib.Path(http.fetch(source.url, known, where))
    try:
        with scratch_dir(data_dir, _SCRATCH) as scratch:
            if source.member:
                archives.unzip(path, scratch, lambda entry: entry == source.member)
                path = scratch / source.member
                if not path.is_file():
                    raise InputError(
                        f"{source.url}: expected an archive that holds {source.member}"
                    )
                http.check_sha256(path, checksums.get(name, ""), source.url)
            _check_md5(path, source)
            sha256 = sha256_of(path)
            _put_into_place(data_dir, name, path, scratch)
    except archives.WriteError:
        raise
    except InputError:
        # A download that failed a check would fail it again, so it is discarded; what a
        # file:// mirror has stays.
        if where in fetched.parents:
            http.discard(fetched)
        raise
    write_text(
        _checksums_path(data_dir),
        json.dumps(checksums | {name: sha256}, indent=2, sort_keys=True) + "\n",
    )


def _put_into_place(
    data_dir: pathlib.Path, name: str, path: pathlib.Path, scratch: pathlib.Path
) -> None:
    """Unpacks a file if it is an archive, and moves what it holds into the layout."""
    target = data_dir / name
    if target.suffix == ".npy":
        layout.read_npy_dict(path)
        new = scratch / target.name
        shutil.copyfile(path, new)
    else:
        target = target.with_suffix("")
        unpacked = scratch / "content"
        unpacked.mkdir()
        archives.unzip(path, unpacked)
        found = _find_content(name, unpacked)
        if found is None:
            raise unexpected(path, f"the content of {name}", "other files")
        new = found
    target.parent.mkdir(parents=True, exist_ok=True)
    _move_missing(new, target)


def _find_content(name: str, folder: pathlib.Path) -> pathlib.Path | None:
    """Returns the folder of an archive that holds what it should, at any depth."""
    kind = "image_set" if name.startswith("image_set") else name.split("/")[0]
    folders = [folder, *sorted(path for path in folder.rglob("*") if path.is_dir())]
    return next((path for path in folders if _holds(kind, path)), None)


def _holds(kind: str, folder: pathlib.Path) -> bool:
    """Tells whether a folder holds images, a subject's epochs or recordings."""
    if kind == "image_set":
        return any(map(layout.is_concept_image, layout.files_by_concept(folder)))
    prefix = {"preprocessed_data": "preprocessed_eeg", "raw_data": "raw_eeg"}[kind]
    parts = [folder] if kind == "preprocessed_data" else [*folder.glob("ses-*")]
    return bool(parts) and all(
        (part / f"{prefix}_{partition}.npy").is_file()
        for part in parts
        for partition in layout.PARTITIONS
    )


def _move_missing(source: pathlib.Path, target: pathlib.Path) -> None:
    """Moves a file or folder; what is there already stays."""
    if not target.exists():
        os.replace(source, target)
    elif source.is_dir():
        for path in source.iterdir():
            _move_missing(path, target / path.name)


def _check_md5(path: pathlib.Path, source: Source) -> None:
    if source.md5 and (found := md5_of(path)) != source.md5:
        raise unexpected(source.url, f"MD5 {source.md5}", found)


def _checksums_path(data_dir: pathlib.Path) -> pathlib.Path:
    return data_dir / "downloads" / "checksums.json"


def _read_checksums(data_dir: pathlib.Path) -> dict[str, str]:
    path = _checksums_path(data_dir)
    if not path.exists():
        return {}
    with expecting(path, "the checksums of earlier downloads", ValueError):
        return json.loads(path.read_text(encoding="utf-8"))
