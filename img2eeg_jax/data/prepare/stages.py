"""What each stage has to do."""

import functools
import os
import pathlib
from collections.abc import Callable, Sequence

from img2eeg_jax.data import duplicates, layout, preprocessing
from img2eeg_jax.data.prepare.request import Request
from img2eeg_jax.data.prepare.rows import left_out_lines
from img2eeg_jax.data.prepare.tasks import Log, Task
from img2eeg_jax.data.sources import markers, recordings, synthetic, things_eeg2
from img2eeg_jax.data.sources.recordings import Session
from img2eeg_jax.errors import InputError, unexpected
from img2eeg_jax.locks import only_writer

# Channels of THINGS-EEG2's recordings, to guess sizes before they are there.
_N_CHANNELS = {"official": 17, "all": 63}
_N_SESSIONS = 4


def _download_tasks(request: Request, to_come: Sequence[Task], log: Log) -> list[Task]:
    del to_come, log  # It is the first stage, and has no more to say than its tasks.
    folder = str(request.data_dir)
    subjects = request.all_subjects()
    if request.source == "osf":
        files = things_eeg2.plan(request.data_dir, subjects, request.eeg)
        download = functools.partial(_download, request, subjects)
        if not files and things_eeg2.leftovers(request.data_dir, is_done=True):
            folder = os.path.join(request.data_dir, "downloads")
            return [Task("remove what is left of a download", folder, 0.0, download)]
        return [
            Task(f"download {file.name}", folder, file.size, download) for file in files
        ]
    if request.source == "synthetic":
        present = synthetic.present_subjects(request.data_dir, subjects)
        missing = [subject for subject in subjects if subject not in present]
        names = map(layout.subject_name, missing) if present else ["a data set"]
        simulate = functools.partial(_simulate, request, subjects)
        if missing:
            return [Task(f"simulate {name}", folder, None, simulate) for name in names]
    return []


def _download(request: Request, subjects: Sequence[layout.Label], log: Log) -> None:
    things_eeg2.fetch(request.data_dir, subjects, request.eeg, request.mirror, log=log)


def _simulate(request: Request, subjects: Sequence[layout.Label], log: Log) -> None:
    if synthetic.write_synthetic(request.data_dir, subjects=subjects):
        log(f"wrote a synthetic data set to {request.data_dir}")


def _preprocess_tasks(
    request: Request, to_come: Sequence[Task], log: Log
) -> list[Task]:
    image_set = _find_images(request, to_come)
    tasks = []
    for subject in request.all_subjects():
        sessions = _find_sessions(request, subject)
        reason = _why_preprocess(request, subject, sessions, image_set, to_come, log)
        if reason:
            n_sessions = len(sessions) or _N_SESSIONS
            tasks.append(
                Task(
                    f"preprocess {layout.subject_name(subject)} ({reason})",
                    str(request.eeg_folder(subject)),
                    _preprocessed_bytes(request, image_set, n_sessions),
                    functools.partial(_preprocess, request, subject, sessions, reason),
                )
            )
    metadata = layout.metadata_path(request.data_dir)
    if tasks and request.has("shards"):
        # Shards would refuse a damaged image only after the long work.
        check = functools.partial(_check_images, request)
        where = str(metadata.parent)
        tasks.insert(0, Task("check that images are readable", where, 0.0, check))
    if image_set is not None and not request.has_image_list():
        list_images = functools.partial(_list_images, request)
        tasks.append(
            Task("list the images in the folders", str(metadata), 0.0, list_images)
        )
    return tasks


def _check_images(request: Request, log: Log) -> None:
    del log
    layout.check_images(layout.find_image_set(request.data_dir))


def _preprocess(
    request: Request,
    subject: layout.Label,
    sessions: list[Session],
    reason: str,
    log: Log,
) -> None:
    folder = request.eeg_folder(subject)
    with only_writer(folder.parent, folder.name, log=log) as has_waited:
        if has_waited:
            # The process that was waited for may have preprocessed this subject.
            image_set = layout.find_image_set(request.data_dir)
            still = _why_preprocess(request, subject, sessions, image_set, (), log)
            if still is None:
                return
            reason = still
        log(f"preprocessing {folder.name} in {request.data_dir}: {reason}")
        preprocessing.preprocess(
            request.data_dir,
            subject,
            request.choices,
            sessions,
            max_bytes=request.memory_mb * 1e6,
            log=log,
        )


def _list_images(request: Request, log: Log) -> None:
    listed = layout.list_images(request.data_dir)
    layout.write_image_metadata(request.data_dir, **listed)
    log(f"wrote {layout.metadata_path(request.data_dir)} from the folders")
    for line in left_out_lines(request.data_dir):
        log(line)


def _shards_tasks(request: Request, to_come: Sequence[Task], log: Log) -> list[Task]:
    del log
    # TensorFlow takes seconds to import.
    from img2eeg_jax.data.shards import folders

    image_set = _find_images(request, to_come)
    n_images = sum(_n_images(request, image_set).values())
    sizes: dict[str, float | None] = {
        folders.images_name(request.image_size): n_images * request.image_size**2 * 3.0
    }
    for subject in request.all_subjects():
        # In float32 instead of float64.
        n_bytes = _eeg_bytes(request, subject, image_set)
        sizes[layout.subject_name(subject)] = n_bytes and n_bytes / 2
    kept = set() if image_set is None else _kept_shards(request, image_set, to_come)
    build = functools.partial(_build_shards, request)
    return [
        Task(f"shards of {name}", request.shards_dir, n_bytes, build)
        for name, n_bytes in sizes.items()
        if name not in kept
    ]


def _kept_shards(
    request: Request, image_set: layout.ImageSet, to_come: Sequence[Task]
) -> set[str]:
    """Returns the names of shards that fit the files they come from.

    Raises:
      InputError: EEG that will not come is missing, or is of other images.
    """
    from img2eeg_jax.data.shards import builder, folders

    changed = {task.folder for task in to_come}
    present = []
    for subject in request.all_subjects():
        if str(request.eeg_folder(subject)) in changed:
            continue
        layout.check_image_list(image_set, subject)
        missing = [
            partition
            for partition, path in request.eeg_paths(subject).items()
            if not path.exists()
        ]
        if not missing:
            present.append(subject)
        elif not _is_coming(request, to_come):
            # Says what is missing.
            layout.read_eeg(request.data_dir, subject, missing[0])
    # A list of images that is still to be written outdates their shards.
    is_listed = request.has_image_list()
    outdated = builder.reasons_to_build(
        image_set,
        request.shards_dir,
        subjects=present,
        image_size=request.image_size if is_listed else None,
    )
    names = {layout.subject_name(subject) for subject in present}
    if is_listed:
        names.add(folders.images_name(request.image_size))
    return names - outdated.keys()


def _build_shards(request: Request, log: Log) -> None:
    from img2eeg_jax.data.shards import builder
    from img2eeg_jax.data.shards.store import Shards

    builder.ensure_shards(
        request.data_dir,
        request.shards_dir,
        subjects=request.all_subjects(),
        image_size=request.image_size,
        processes=request.processes,
        log=log,
    )
    shards = Shards.open(request.shards_dir, image_size=request.image_size, subjects=())
    if repeated := duplicates.warning(shards):
        log(repeated)


def _is_coming(request: Request, to_come: Sequence[Task]) -> bool:
    """Tells whether what the data set lacks may be among what is to be downloaded."""
    return str(request.data_dir) in {task.folder for task in to_come}


def _find_images(request: Request, to_come: Sequence[Task]) -> layout.ImageSet | None:
    """Returns the images, None if they are still to come."""
    is_coming = _is_coming(request, to_come)
    if is_coming and not request.has_image_list():
        return None
    # Shards are made of listed images only, which preprocessing sees to.
    find = layout.find_image_set if request.has("preprocess") else layout.read_image_set
    try:
        return find(request.data_dir)
    except InputError:
        if is_coming:
            return None
        raise


def _find_sessions(request: Request, subject: layout.Label) -> list[Session]:
    if request.bids_root is None:
        rule = markers.MarkerRule(request.marker_type, request.ignore_markers)
        return recordings.find_sessions(request.data_dir, subject, rule)
    from img2eeg_jax.data.sources import bids

    return bids.find_sessions(
        request.bids_root,
        subject,
        request.data_dir,
        image_column=request.image_column,
        ignore_images=request.ignore_images,
        selection=bids.Selection(
            task=request.task,
            acquisition=request.acquisition,
            processing=request.processing,
            extension=request.extension,
        ),
    )


def _why_preprocess(
    request: Request,
    subject: layout.Label,
    sessions: Sequence[Session],
    image_set: layout.ImageSet | None,
    to_come: Sequence[Task],
    log: Log,
) -> str | None:
    """Returns why a subject must be preprocessed, or None if it need not be.

    `image_set` is None if the images are still to come.

    Raises:
      InputError: there is nothing to start from, or preprocessed EEG of another kind
        is in the way.
    """
    folder = request.eeg_folder(subject)
    paths = request.eeg_paths(subject).values()
    present = [path.name for path in paths if path.exists()]
    is_complete = len(present) == len(paths)
    is_missing = not sessions and (request.overwrite or not is_complete)
    if is_missing and _is_coming(request, to_come):
        is_raw = request.source == "osf" and request.eeg == "raw"
        return "once its recordings are there" if is_raw else None
    record = layout.read_record(request.data_dir, subject)
    other = f"{' and '.join(present)} made elsewhere" if present else None
    may_be_made_again = bool(request.overwrite and sessions)
    if record is not None:
        if image_set is not None and not may_be_made_again:
            layout.check_image_list(image_set, subject)
        other = preprocessing.difference(record, request.choices, sessions)
    if record is None and is_complete and not _is_asked_for(request):
        if sessions:
            log(f"{folder}: kept, made elsewhere; `overwrite` makes it again")
        return None
    if other is None and is_complete:
        return "`overwrite` asks for it" if may_be_made_again else None
    expected = "EEG preprocessed with these choices"
    if not sessions:
        raw = pathlib.Path(request.data_dir, "raw_data")
        expected += f", or recordings in {raw / folder.name} to make it from"
        neither = f"neither ({raw} holds {layout.folders_in(raw)})"
        raise unexpected(folder, expected, other or neither)
    if other and not request.overwrite:
        advice = "`overwrite` makes it again, `stages=shards` keeps it"
        raise unexpected(folder, expected, f"{other}; {advice}")
    return f"found {other}" if other else "there is none yet"


def _is_asked_for(request: Request) -> bool:
    """Tells whether the user wants EEG that was preprocessed here."""
    return (
        request.overwrite
        or request.stages is not None
        or request.choices != preprocessing.Choices()
    )


def _n_images(request: Request, image_set: layout.ImageSet | None) -> dict[str, int]:
    """Returns the number of images of each partition, there or to be downloaded."""
    if image_set is not None:
        return {name: len(image_set.files(name)) for name in layout.PARTITIONS}
    if request.source == "synthetic":
        return synthetic.Parameters().n_images
    return things_eeg2.N_IMAGES


def _eeg_bytes(
    request: Request, subject: layout.Label, image_set: layout.ImageSet | None
) -> float | None:
    """Returns the size of a subject's preprocessed EEG, there or to come."""
    paths = request.eeg_paths(subject).values()
    if all(path.exists() for path in paths):
        return float(sum(path.stat().st_size for path in paths))
    return _preprocessed_bytes(request, image_set, _N_SESSIONS)


def _preprocessed_bytes(
    request: Request, image_set: layout.ImageSet | None, n_sessions: int
) -> float | None:
    """Returns the size of preprocessed EEG in float64, None if it cannot be guessed."""
    choices = request.choices
    if isinstance(choices.channels, str):
        n_channels = _N_CHANNELS.get(choices.channels, 1)
    else:
        n_channels = len(choices.channels)
    n_times = (choices.epoch_s[1] - choices.epoch_s[0]) * choices.sfreq_hz
    n_trials = 0.0
    for partition, n_images in _n_images(request, image_set).items():
        n_each = choices.repetitions(partition)
        if n_each is None:
            return None
        # Each training image of THINGS-EEG2 is shown in half of the sessions.
        share = 0.5 if partition == "training" and n_sessions > 1 else 1.0
        n_trials += n_images * n_each * max(1.0, n_sessions * share)
    return n_trials * n_channels * n_times * 8


# Stage → its tasks, of (request, tasks of earlier stages that are still to be done,
# log). Where none are to come, what is missing is refused.
TASKS: dict[str, Callable[[Request, Sequence[Task], Log], list[Task]]] = {
    "download": _download_tasks,
    "preprocess": _preprocess_tasks,
    "shards": _shards_tasks,
}
