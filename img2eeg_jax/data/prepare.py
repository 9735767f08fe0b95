"""From nothing to shards in three stages, each of which does what is missing.

    download     images and EEG of THINGS-EEG2, or a synthetic data set
    preprocess   raw recordings to epochs in the layout
    shards       images and EEG, ready to train from

What a stage writes appears complete or not at all, so the same call goes on wherever
it was stopped.
"""

import dataclasses
import os
import pathlib
import shutil
from collections.abc import Callable, Sequence
from typing import Any

from img2eeg_jax.data import layout, preprocessing
from img2eeg_jax.data.sources import recordings, synthetic, things_eeg2
from img2eeg_jax.data.sources.recordings import Session
from img2eeg_jax.errors import InputError, unexpected

STAGES = ("download", "preprocess", "shards")
SOURCES = ("osf", "local", "synthetic")
# Channels of THINGS-EEG2's recordings, to guess sizes before they are there.
_N_CHANNELS = {"official": 17, "all": 63}
_N_SESSIONS = 4


@dataclasses.dataclass(frozen=True, kw_only=True)
class Request:
    """What to prepare.

    Attributes:
      data_dir: folder in the THINGS-EEG2 layout, or to become one.
      shards_dir: where shards go; may be an address such as ``gs://``.
      source: ``"osf"`` downloads THINGS-EEG2, ``"local"`` takes what lies in
        `data_dir`, ``"synthetic"`` simulates a data set there.
      subjects: subject numbers; empty for all that the source has.
      stages: out of `STAGES`; None for all.
      eeg: what ``"osf"`` downloads: ``"preprocessed"`` or ``"raw"``.
      mirrors: addresses to download from first, see `things_eeg2`.
      bids_root: BIDS data set to take the recordings from; None for the layout's own.
      image_column: the column of its events tables that names the image.
      choices: how to preprocess.
      overwrite: whether EEG is preprocessed again, also where it was made otherwise.
      image_size: height and width of the images in the shards, in pixels.
      processes: how many build shards.
      max_bytes: memory for the blocks of preprocessing.
    """

    data_dir: pathlib.Path
    shards_dir: str
    source: str = "local"
    subjects: tuple[int, ...] = ()
    stages: tuple[str, ...] | None = None
    eeg: str = "preprocessed"
    mirrors: tuple[str, ...] = ()
    bids_root: pathlib.Path | None = None
    image_column: str = "stim_file"
    choices: preprocessing.Choices = dataclasses.field(
        default_factory=preprocessing.Choices
    )
    overwrite: bool = False
    image_size: int = 224
    processes: int = 1
    max_bytes: float = 1e9


@dataclasses.dataclass(frozen=True)
class Task:
    """One thing that a stage will do.

    Attributes:
      what: in words.
      folder: where it writes.
      n_bytes: about how much; None if unknown.
    """

    what: str
    folder: str
    n_bytes: float | None


def prepare(request: Request, log: Callable[[str], None] = print) -> None:
    """Goes through the stages.

    Args:
      request: what to prepare.
      log: called with lines on what is done.

    Raises:
      InputError: something the user gave is wrong, or the disk is full.
    """
    for stage in _stages(request):
        _RUN[stage](request, log)


def plan(request: Request) -> dict[str, list[Task]]:
    """Returns what each stage would do; writes nothing and asks no server.

    Later stages are planned for what earlier ones will leave.

    Raises:
      InputError: as far as it can be told beforehand, what `prepare` would raise.
    """
    planned: dict[str, list[Task]] = {}
    for stage in _stages(request):
        earlier = [task for tasks in planned.values() for task in tasks]
        planned[stage] = _PLAN[stage](request, earlier)
    return planned


def describe_plan(planned: dict[str, list[Task]], folder: pathlib.Path) -> str:
    """Returns a plan as a table, with the room that it needs and the disks have.

    Args:
      planned: from `plan`.
      folder: the data set's, named for all that goes to its disk; need not exist.
    """
    lines = []
    for stage, tasks in planned.items():
        lines.append(f"{stage}: {'nothing to do' if not tasks else ''}".rstrip())
        lines += [
            f"  {_gigabytes(task.n_bytes):>10}  {task.what} -> {task.folder}"
            for task in tasks
        ]
    by_disk: dict[Any, tuple[Any, list[Task]]] = {_disk(folder): (folder, [])}
    for task in (task for tasks in planned.values() for task in tasks):
        by_disk.setdefault(_disk(task.folder), (task.folder, []))[1].append(task)
    lines += [_describe_room(*place) for place in by_disk.values()]
    return "\n".join(lines)


def _disk(folder: str | os.PathLike) -> int | str:
    """Returns what tells one disk, or remote address, from another."""
    if "://" in os.fspath(folder):
        return os.fspath(folder)
    return _existing_parent(folder).stat().st_dev


def _describe_room(folder: str | os.PathLike, tasks: Sequence[Task]) -> str:
    known = [task.n_bytes for task in tasks if task.n_bytes is not None]
    unknown = len(tasks) - len(known)
    more = f" and {unknown} of unknown size" if unknown else ""
    room = f"free in {folder}: unknown"
    if "://" not in os.fspath(folder):
        free = shutil.disk_usage(_existing_parent(folder)).free
        fits = "enough" if free > sum(known) else "NOT ENOUGH"
        room = f"free in {folder}: {_gigabytes(free)}, {fits}"
    return f"together about {_gigabytes(sum(known))}{more}; {room}"


def _stages(request: Request) -> Sequence[str]:
    chosen = STAGES if request.stages is None else request.stages
    return [stage for stage in STAGES if stage in chosen]


def _subjects(request: Request) -> tuple[int, ...]:
    """Returns the subjects asked for, or all that the source has."""
    if request.subjects:
        return request.subjects
    if request.source == "osf":
        return things_eeg2.SUBJECTS
    if request.source == "synthetic":
        present = layout.subjects_in(request.data_dir)
        return present or synthetic.Parameters().subjects
    if request.bids_root is not None:
        from img2eeg_jax.data.sources import bids

        found = bids.find_subjects(request.bids_root)
    else:
        folders = ("preprocessed_data", "raw_data", "source_data")
        found = [
            subject
            for folder in folders
            for subject in layout.subjects_in(request.data_dir, folder)
        ]
    if not found:
        where = request.bids_root or request.data_dir
        raise unexpected(
            where,
            "EEG of at least one subject",
            "none; --source=osf downloads THINGS-EEG2",
        )
    return tuple(sorted(set(found)))


def _download(request: Request, log: Callable[[str], None]) -> None:
    subjects = _subjects(request)
    if request.source == "osf":
        things_eeg2.fetch(
            request.data_dir, subjects, request.eeg, request.mirrors, log=log
        )
    elif request.source == "synthetic" and synthetic.write_synthetic(
        request.data_dir, subjects=subjects
    ):
        log(f"wrote a synthetic data set to {request.data_dir}")


def _plan_download(request: Request, earlier: Sequence[Task]) -> list[Task]:
    del earlier  # It is the first stage.
    subjects = _subjects(request)
    if request.source == "osf":
        return [
            Task(f"download {file.name}", str(request.data_dir), file.size)
            for file in things_eeg2.plan(request.data_dir, subjects, request.eeg)
        ]
    if request.source == "synthetic":
        if not _has_images(request):
            return [Task("simulate a data set", str(request.data_dir), None)]
        return [
            Task(
                f"simulate {layout.subject_name(subject)}", str(request.data_dir), None
            )
            for subject in subjects
            if not _has_eeg(request, subject)
        ]
    return []


def _preprocess(request: Request, log: Callable[[str], None]) -> None:
    # All is found and compared before anything is written.
    image_set = layout.find_image_set(request.data_dir)
    found = {}
    for subject in _subjects(request):
        sessions = _find_sessions(request, subject)
        reason = _why_preprocess(request, subject, sessions, image_set, log)
        if reason:
            found[subject] = sessions, reason
    if found and "shards" in _stages(request):
        # Shards would refuse a damaged image only after the long work.
        layout.check_images(image_set)
    for subject, (sessions, reason) in found.items():
        name = layout.subject_name(subject)
        log(f"preprocessing {name} in {request.data_dir}: {reason}")
        preprocessing.preprocess(
            request.data_dir,
            subject,
            request.choices,
            sessions,
            max_bytes=request.max_bytes,
            log=log,
        )
    if not _has_images(request):
        layout.write_image_metadata(
            request.data_dir, **layout.list_images(request.data_dir)
        )
        log(f"wrote {layout.metadata_path(request.data_dir)} from the folders")


def _plan_preprocess(request: Request, earlier: Sequence[Task]) -> list[Task]:
    image_set = _planned_images(request, earlier)
    tasks = []
    for subject in _subjects(request):
        sessions = _find_sessions(request, subject)
        is_kept = _has_eeg(request, subject) and not request.overwrite
        if sessions or is_kept or not _may_come(request, earlier):
            reason = _why_preprocess(request, subject, sessions, image_set, _ignore)
        elif request.source == "osf" and request.eeg == "raw":
            reason = "once its recordings are there"
        else:
            reason = None
        if reason:
            tasks.append(
                Task(
                    f"preprocess {layout.subject_name(subject)} ({reason})",
                    _eeg_folder(request, subject),
                    _preprocessed_bytes(
                        request, image_set, len(sessions) or _N_SESSIONS
                    ),
                )
            )
    if image_set is not None and not _has_images(request):
        path = layout.metadata_path(request.data_dir)
        tasks.append(Task("list the images in the folders", str(path), 0.0))
    return tasks


def _may_come(request: Request, earlier: Sequence[Task]) -> bool:
    """Tells whether what is missing is among what is planned to be downloaded."""
    return str(request.data_dir) in {task.folder for task in earlier}


def _planned_images(
    request: Request, earlier: Sequence[Task]
) -> layout.ImageSet | None:
    """Returns the images, None if they are still to come."""
    if _may_come(request, earlier) and not _has_images(request):
        return None
    try:
        if "preprocess" in _stages(request):
            return layout.find_image_set(request.data_dir)
        return layout.read_image_set(request.data_dir)
    except InputError:
        if _may_come(request, earlier):
            return None
        raise


def _find_sessions(request: Request, subject: int) -> list[Session]:
    if request.bids_root is None:
        return recordings.find_sessions(request.data_dir, subject)
    from img2eeg_jax.data.sources import bids

    return bids.find_sessions(
        request.bids_root, subject, request.data_dir, image_column=request.image_column
    )


def _why_preprocess(request, subject, sessions, image_set, log) -> str | None:
    """Returns why a subject must be preprocessed, or None if it need not be.

    `image_set` is None if the images are still to come.

    Raises:
      InputError: there is nothing to start from, or preprocessed EEG of another kind
        is in the way.
    """
    paths = _eeg_paths(request, subject)
    folder = paths[0].parent
    present = [path.name for path in paths if path.exists()]
    is_complete = len(present) == len(paths)
    record = layout.read_record(request.data_dir, subject)
    other = f"{' and '.join(present)} made elsewhere" if present else None
    may_be_made_again = bool(request.overwrite and sessions)
    if record is not None:
        if image_set is not None and not may_be_made_again:
            layout.check_image_list(image_set, subject)
        other = preprocessing.difference(record, request.choices, sessions)
    if record is None and is_complete and not _is_asked_for(request):
        if sessions:
            log(f"{folder}: kept, made elsewhere; --overwrite makes it again")
        return None
    if other is None and is_complete:
        return "--overwrite asks for it" if may_be_made_again else None
    if not sessions:
        raw = request.data_dir / "raw_data" / folder.name
        raise unexpected(
            folder,
            (
                f"EEG preprocessed with these choices, or recordings in {raw} to make "
                "it "
                "from"
            ),
            other or "neither",
        )
    if other and not request.overwrite:
        raise unexpected(
            folder,
            "EEG preprocessed with these choices",
            f"{other}; --overwrite makes it again, --stages=shards keeps it",
        )
    return f"found {other}" if other else "there is none yet"


def _is_asked_for(request: Request) -> bool:
    """Tells whether the user wants EEG that was preprocessed here."""
    return (
        request.overwrite
        or request.stages is not None
        or request.choices != preprocessing.Choices()
    )


def _build_shards(request: Request, log: Callable[[str], None]) -> None:
    # TensorFlow takes seconds to import.
    from img2eeg_jax.data.shards import builder

    builder.ensure_shards(
        request.data_dir,
        request.shards_dir,
        subjects=_subjects(request),
        image_size=request.image_size,
        processes=request.processes,
        log=log,
    )


def _plan_shards(request: Request, earlier: Sequence[Task]) -> list[Task]:
    from img2eeg_jax.data.shards import builder, folders

    subjects = _subjects(request)
    image_set = _planned_images(request, earlier)
    changed = {task.folder for task in earlier}
    present = []
    for subject in subjects:
        if _eeg_folder(request, subject) in changed or image_set is None:
            continue
        layout.check_image_list(image_set, subject)
        for partition, path in zip(
            layout.PARTITIONS, _eeg_paths(request, subject), strict=True
        ):
            if not path.exists() and not _may_come(request, earlier):
                # Says what is missing.
                layout.read_eeg(request.data_dir, subject, partition)
        if _has_eeg(request, subject):
            present.append(subject)
    images = folders.images_name(request.image_size)
    n_images = sum(_n_images(request, image_set).values())
    sizes = {images: n_images * request.image_size**2 * 3.0}
    for subject in subjects:
        # In float32 instead of float64.
        n_bytes = _eeg_bytes(request, subject, image_set)
        sizes[layout.subject_name(subject)] = n_bytes and n_bytes / 2
    kept: set[str] = set()
    if image_set is not None:
        # A list of images that is still to be written outdates their shards.
        image_size = request.image_size if _has_images(request) else None
        outdated = builder.reasons_to_build(
            image_set, request.shards_dir, subjects=present, image_size=image_size
        )
        kept = {layout.subject_name(subject) for subject in present}
        kept |= {images} if _has_images(request) else set()
        kept -= outdated.keys()
    return [
        Task(f"shards of {name}", str(request.shards_dir), n_bytes)
        for name, n_bytes in sizes.items()
        if name not in kept
    ]


def _eeg_folder(request: Request, subject: int) -> str:
    return str(layout.record_path(request.data_dir, subject).parent)


def _has_eeg(request: Request, subject: int) -> bool:
    return all(path.exists() for path in _eeg_paths(request, subject))


def _eeg_paths(request: Request, subject: int) -> list[pathlib.Path]:
    return [
        layout.eeg_path(request.data_dir, subject, name) for name in layout.PARTITIONS
    ]


def _has_images(request: Request) -> bool:
    return layout.metadata_path(request.data_dir).exists()


def _n_images(request: Request, image_set: layout.ImageSet | None) -> dict[str, int]:
    """Returns the number of images of each partition, there or to be downloaded."""
    if image_set is not None:
        return {name: len(image_set.files(name)) for name in layout.PARTITIONS}
    if request.source == "synthetic":
        return synthetic.Parameters().n_images
    return things_eeg2.N_IMAGES


def _eeg_bytes(
    request: Request, subject: int, image_set: layout.ImageSet | None
) -> float | None:
    """Returns the size of a subject's preprocessed EEG, there or to come."""
    paths = _eeg_paths(request, subject)
    if all(path.exists() for path in paths):
        return float(sum(path.stat().st_size for path in paths))
    return _preprocessed_bytes(request, image_set, _N_SESSIONS)


def _preprocessed_bytes(
    request: Request, image_set: layout.ImageSet | None, n_sessions: int
) -> float | None:
    """Returns the size of preprocessed EEG in float64, None if it cannot be guessed."""
    choices = request.choices
    n_channels = _N_CHANNELS.get(choices.channels, len(choices.channels))
    n_times = (choices.epoch_s[1] - choices.epoch_s[0]) * choices.sfreq_hz
    n_trials = 0
    for partition, n_images in _n_images(request, image_set).items():
        n_each = choices.repetitions(partition)
        if n_each is None:
            return None
        # Each training image of THINGS-EEG2 is shown in half of the sessions.
        share = 0.5 if partition == "training" and n_sessions > 1 else 1.0
        n_trials += n_images * n_each * max(1.0, n_sessions * share)
    return n_trials * n_channels * n_times * 8


def _gigabytes(n_bytes: float | None) -> str:
    return "unknown" if n_bytes is None else f"{n_bytes / 1e9:.2f} GB"


def _existing_parent(folder: pathlib.Path) -> pathlib.Path:
    folder = pathlib.Path(folder).absolute()
    return next(path for path in (folder, *folder.parents) if path.exists())


def _ignore(line: str) -> None:
    pass


_RUN = {"download": _download, "preprocess": _preprocess, "shards": _build_shards}
_PLAN = {
    "download": _plan_download,
    "preprocess": _plan_preprocess,
    "shards": _plan_shards,
}
