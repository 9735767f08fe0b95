"""Builds shards: a data set's images and EEG as TFRecords, written once by TFDS.

    tfds.load("things_eeg2/images-224", data_dir=SHARDS_DIR)    image, index
    tfds.load("things_eeg2/sub-01", data_dir=SHARDS_DIR)        eeg, index

read them, with or without this package; `shards` says where they lie. Each
configuration records what it was made from, and is made again when that changes.
Nothing is downloaded.
"""

import contextlib
import multiprocessing
import os
import pathlib
import shutil
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent import futures
from typing import Any

from tqdm import tqdm

from img2eeg_jax.axes import Axes
from img2eeg_jax.data import layout
from img2eeg_jax.data.shards import folders
from img2eeg_jax.data.shards.configs import Config, make_configs
from img2eeg_jax.data.shards.store import Shards, SubjectEEG
from img2eeg_jax.data.shards.tensorflow_setup import tf, tfds
from img2eeg_jax.data.shards.tfds_builder import ThingsEeg2, named_sources
from img2eeg_jax.errors import InputError, expecting, unexpected
from img2eeg_jax.files import cache_dir, check_room, scratch_dir
from img2eeg_jax.locks import only_writer
from img2eeg_jax.provenance import changed_file


def shards_folder(
    shards_dir: str, data_dir: str | os.PathLike, fallback: pathlib.Path
) -> str | pathlib.Path:
    """Returns where the shards are or go: with the data, where those can be written to.

    Args:
      shards_dir: what the user names, or "".
      data_dir: the data set, which need not be there.
      fallback: where they go if the data set cannot be written to.
    """
    if shards_dir:
        return shards_dir
    if not data_dir or not os.path.isdir(data_dir):
        return fallback
    data_dir = pathlib.Path(data_dir)
    # The mode, because root may write to a folder that is meant to stay as it is.
    is_writable = data_dir.stat().st_mode & 0o222 and os.access(data_dir, os.W_OK)
    with_data = layout.shards_path(data_dir)
    return with_data if is_writable or with_data.is_dir() else fallback


def open_or_build(
    data_dir: str | os.PathLike,
    shards_dir: str | os.PathLike,
    *,
    subjects: Sequence[layout.Label],
    image_size: int,
    is_eeg: bool = True,
    processes: int = 1,
    log: Callable[[str], None] = print,
) -> Shards:
    """Opens shards, after building those that are missing or stale.

    Args:
      data_dir: see `ensure_shards`; "" or a folder that is not there any more if the
        shards are complete, which are used as they are then.
      shards_dir: see `ensure_shards`.
      subjects: see `ensure_shards`.
      image_size: see `ensure_shards`.
      is_eeg: see `ensure_shards`.
      processes: see `ensure_shards`.
      log: see `ensure_shards`.

    Raises:
      InputError: see `ensure_shards` and `Shards.open`.
    """
    what: dict[str, Any] = {
        "subjects": subjects,
        "image_size": image_size,
        "is_eeg": is_eeg,
    }
    if needs_data(data_dir, shards_dir, **what):
        ensure_shards(data_dir, shards_dir, **what, processes=processes, log=log)
    return Shards.open(shards_dir, **what)


def needs_data(
    data_dir: str | os.PathLike,
    shards_dir: str | os.PathLike,
    *,
    subjects: Sequence[layout.Label],
    image_size: int,
    is_eeg: bool = True,
) -> bool:
    """Tells whether `open_or_build` compares shards with their data set.

    It does not where shards are complete and the data set has gone or is not named;
    the arguments are the same.
    """
    if not data_dir or layout.metadata_path(data_dir).parent.is_dir():
        return bool(data_dir)
    names = [folders.responses_name(one, is_eeg=is_eeg) for one in subjects]
    names.append(folders.images_name(image_size))
    return not all(folders.exists(shards_dir, name) for name in names)


def look(
    data_dir: str | os.PathLike,
    shards_dir: str | os.PathLike,
    *,
    subjects: Sequence[layout.Label],
    image_size: int,
    is_eeg: bool = True,
) -> tuple[Axes, Sequence[str]]:
    """Returns what `open_or_build` will give; the arguments are the same.

    Nothing is written.

    Returns:
      All the axes of the first subject's responses, and the training images' concepts.

    Raises:
      InputError: there are neither shards nor a data set, or they are damaged.
    """
    what: dict[str, Any] = {
        "subjects": subjects,
        "image_size": image_size,
        "is_eeg": is_eeg,
    }
    if not needs_data(data_dir, shards_dir, **what):
        shards = Shards.open(shards_dir, **what)
        return shards.eeg(subjects[0]).axes, shards.concepts["training"]
    image_set = layout.read_image_set(data_dir)
    first: dict[str, Any] = {
        "subjects": subjects[:1],
        "image_size": None,
        "is_eeg": is_eeg,
    }
    if reasons_to_build(image_set, shards_dir, **first):
        read = layout.read_eeg if is_eeg else layout.read_responses
        axes = read(data_dir, subjects[0], "test").axes
    else:
        axes = SubjectEEG.open(shards_dir, subjects[0], is_eeg=is_eeg).axes
    return axes, image_set.concepts("training")


def ensure_shards(
    data_dir: str | os.PathLike,
    shards_dir: str | os.PathLike,
    *,
    subjects: Sequence[layout.Label],
    image_size: int,
    is_eeg: bool = True,
    processes: int = 1,
    log: Callable[[str], None] = print,
) -> None:
    """Builds the shards that are missing or do not fit the files they come from.

    All EEG that is to be built is checked before anything is written; what another
    process builds there is waited for. What is there must be of the same list of
    images, with a row for each. A configuration appears complete or not at all: if its
    build is stopped, the next call starts it again.

    Args:
      data_dir: folder in the THINGS-EEG2 layout.
      shards_dir: folder or address where the shards lie or shall lie; made if missing.
      subjects: subject numbers, from 1.
      image_size: height and width of the images in pixels.
      is_eeg: whether the subjects' responses are EEG, or those of other files.
      processes: how many build at a time: one the images, others a subject each.
      log: called with one line for each configuration that is built.

    Raises:
      InputError: the data set is not as it should be (see `layout`), or shards cannot
        be written.
    """
    image_set = layout.read_image_set(data_dir)
    for subject in subjects if is_eeg else ():
        layout.check_image_list(image_set, subject)
    what: dict[str, Any] = {
        "subjects": subjects,
        "image_size": image_size,
        "is_eeg": is_eeg,
    }
    if not reasons_to_build(image_set, shards_dir, **what):
        # Nothing is written, and the folder may be one that cannot be written to.
        return
    with _only_builder(shards_dir, log):
        # While this process waited for the lock, another may have built the shards.
        reasons = reasons_to_build(image_set, shards_dir, **what)
        configs = [
            config
            for config in make_configs(image_set, **what)
            if config.name in reasons
        ]
        for config in configs:
            config.check()
        for config in configs:
            reason = reasons[config.name]
            log(f"building shards of {config.name} in {shards_dir}: {reason}")
        _build_all(shards_dir, configs, min(processes, len(configs)))


def _only_builder(
    shards_dir: str | os.PathLike, log: Callable[[str], None]
) -> contextlib.AbstractContextManager:
    """Keeps other processes from building in a folder; at an address, nobody."""
    if folders.is_remote(shards_dir):
        return contextlib.nullcontext()
    return only_writer(shards_dir, log=log)


def _build_all(
    shards_dir: str | os.PathLike, configs: Sequence[Config], processes: int
) -> None:
    if processes > 1:
        _build_in_processes(shards_dir, configs, processes)
        return
    for config in configs:
        with _scratch_dir(shards_dir, config) as scratch:
            _build(scratch, config)
            _publish(scratch, shards_dir, config)


def reasons_to_build(
    image_set: layout.ImageSet,
    shards_dir: str | os.PathLike,
    *,
    subjects: Sequence[layout.Label],
    image_size: int | None,
    is_eeg: bool = True,
) -> dict[str, str]:
    """Returns which configurations must be built, such as images-224, and why.

    Args:
      image_set: the images.
      shards_dir: folder or address where the shards lie or shall lie.
      subjects: numbers of subjects whose preprocessed EEG is there.
      image_size: height and width of the images in pixels; None leaves them out.
      is_eeg: see `ensure_shards`.

    Raises:
      InputError: there is no access to the address, or a source file is missing.
    """
    reasons = {
        config.name: _why_build(shards_dir, config)
        for config in make_configs(image_set, subjects, image_size, is_eeg=is_eeg)
    }
    return {name: reason for name, reason in reasons.items() if reason}


def _why_build(shards_dir: str | os.PathLike, config: Config) -> str | None:
    """Returns why a configuration must be built, or None if it need not be."""
    if not folders.exists(shards_dir, config.name):
        return "there are none yet"
    try:
        found = folders.read_metadata(shards_dir, config.name)
        counts = folders.count_examples(shards_dir, config.name)
    except InputError:
        return f"those in {folders.config_dir(shards_dir, config.name)} are damaged"
    if found.get("image_list_sha256") != layout.image_list_digest(config.image_set):
        return "the list of images has changed since they were built"
    for partition, n_found in counts.items():
        n_images = len(config.image_set.files(partition))
        if n_found != n_images:
            return f"they hold {n_found} of {n_images} {partition} images"
    sources = named_sources(config)
    try:
        changed = changed_file(found.get("sources", []), sources)
    except OSError as error:
        raise unexpected(error.filename, "a readable file", error) from error
    if changed is None:
        return None
    what = changed if changed in sources else "the list of files"
    return f"{what} has changed since they were built"


def _build_in_processes(
    shards_dir: str | os.PathLike, configs: Sequence[Config], processes: int
) -> None:
    context = multiprocessing.get_context("spawn")
    with contextlib.ExitStack() as stack:
        # Removed last, when nobody writes to them any more.
        scratch_dirs = {
            config.name: stack.enter_context(_scratch_dir(shards_dir, config))
            for config in configs
        }
        pool = futures.ProcessPoolExecutor(processes, context, _follow_parent)
        stack.enter_context(pool)
        stack.enter_context(_ending_workers())
        running = {
            pool.submit(_build, scratch_dirs[config.name], config): config
            for config in configs
        }
        done = futures.as_completed(running)
        for future in tqdm(done, "shards", len(running), disable=None):
            config = running[future]
            with expecting(
                f"shards of {config.name}",
                "a process that builds them and is not killed (where memory is short, "
                "one process needs less)",
                futures.BrokenExecutor,
            ):
                future.result()
            _publish(scratch_dirs[config.name], shards_dir, config)


def _follow_parent() -> None:
    """Ends a worker with its parent, which all of Ctrl-C is left to."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    if (parent := multiprocessing.parent_process()) is not None:
        parent.join()
    os._exit(1)


@contextlib.contextmanager
def _ending_workers() -> Iterator[None]:
    """Ends the processes that were started meanwhile if something goes wrong."""
    others = set(multiprocessing.active_children())
    try:
        yield
    except BaseException:
        for process in set(multiprocessing.active_children()) - others:
            process.terminate()
        raise


def _scratch_dir(
    shards_dir: str | os.PathLike, config: Config
) -> contextlib.AbstractContextManager[pathlib.Path]:
    parent = cache_dir() if folders.is_remote(shards_dir) else shards_dir
    return scratch_dir(parent, config.name)


def _build(scratch: pathlib.Path, config: Config) -> None:
    check_room(scratch, sum(map(config.n_bytes, layout.PARTITIONS)))
    expected = f"a folder that shards of {config.name} can be written to"
    with (
        expecting(scratch.parent, expected, OSError, tf.errors.OpError),
        folders.quiet_tfds(),
    ):
        builder = ThingsEeg2(data_dir=scratch, config=config)
        builder.download_and_prepare(
            download_dir=scratch / "downloads",
            download_config=tfds.download.DownloadConfig(try_download_gcs=False),
        )


def _publish(
    scratch: pathlib.Path, shards_dir: str | os.PathLike, config: Config
) -> None:
    """Puts what was built where it is read, in the place of any older version."""
    built = pathlib.Path(folders.config_dir(scratch, config.name))
    if folders.is_remote(shards_dir):
        folders.upload(built, os.fspath(shards_dir), config.name)
        return
    target = pathlib.Path(folders.config_dir(shards_dir, config.name)).parent
    target.parent.mkdir(exist_ok=True)
    if target.exists():
        shutil.rmtree(target)
    os.replace(built.parent, target)
