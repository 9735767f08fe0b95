"""The end of a run: how far its networks can be trusted, written beside them."""

import functools
from collections.abc import Callable, Iterator, Sequence

import numpy as np

from img2eeg_jax.checkpoints.description import Description
from img2eeg_jax.checkpoints.load import Checkpoint, load_checkpoint
from img2eeg_jax.data.examples import EncodingData, Split
from img2eeg_jax.data.layout import Label
from img2eeg_jax.data.shards.store import Shards
from img2eeg_jax.devices.parallel import DataParallel
from img2eeg_jax.errors import StoppedBySignal, unexpected
from img2eeg_jax.prediction import familiarity
from img2eeg_jax.prediction.trust import Trust, digest, file_of
from img2eeg_jax.prediction.trust_fit import fit_trust, read_trials
from img2eeg_jax.timing import timed
from img2eeg_jax.training.progress import print_line
from img2eeg_jax.training.workdir import Workdir

# Validation images that are needed to say anything.
_LEAST_IMAGES = 3
# Images that are in memory at a time.
_BLOCK = 64


def write_trust(
    workdirs: Sequence[Workdir],
    shards: Shards,
    data: EncodingData,
    parallel: DataParallel,
    seed: int,
    stop_requested: Callable[[], bool],
) -> None:
    """Writes `trust.npz` beside the best checkpoint of each network.

    One that is there and of this checkpoint stays. Without validation images, or with
    fewer than three, there is nothing to write; nor of responses that are no EEG.

    Args:
      workdirs: the networks' folders, at the end of their runs.
      shards: the data that they were trained on.
      data: the same, selected.
      parallel: the devices; of several processes the first writes.
      seed: of the choice of training images.
      stop_requested: asked between images.

    Raises:
      StoppedBySignal: a stop was asked for; the same command goes on from here.
    """
    split = data.validation
    is_measured = split is not None and len(split.index) >= _LEAST_IMAGES
    is_writer = is_measured and data.axes.has_times and parallel.process_index == 0
    measure = functools.partial(
        _fit, shards, data, DataParallel(parallel.devices), seed, stop_requested
    )
    for workdir in workdirs if is_writer else ():
        for subject in _subjects(workdir.description):
            _write(workdir, subject, measure)
    parallel.wait_for_all("trust")


def _subjects(description: Description) -> tuple[Label, ...]:
    own = () if description.subject is None else (description.subject,)
    return description.subjects or own


def _write(
    workdir: Workdir, subject: Label, measure: Callable[[Label, Checkpoint], Trust]
) -> None:
    """Writes what `measure` tells of a subject's network, unless it is there."""
    is_shared = workdir.description.subjects is not None
    checkpoint = load_checkpoint(workdir.folder, subject=subject)
    owner = subject if is_shared else None
    there = Trust.load(workdir.folder, owner)
    if there is not None and there.network == digest(checkpoint.variables):
        return
    what = f"{workdir.label} measuring how far to trust predictions".strip()
    with timed(what, print_line):
        measure(subject, checkpoint).save(file_of(workdir.folder, owner))


def _fit(
    shards: Shards,
    data: EncodingData,
    parallel: DataParallel,
    seed: int,
    stop_requested: Callable[[], bool],
    subject: Label,
    checkpoint: Checkpoint,
) -> Trust:
    """Measures how far to trust a network; see `write_trust`."""
    if data.validation is None or data.validation_eeg_rows is None:
        raise unexpected("trust", "images for validation", "none")

    def images(split: Split, rows: np.ndarray) -> Iterator[np.ndarray]:
        for start in range(0, len(rows), _BLOCK):
            if stop_requested():
                raise StoppedBySignal("stopped before `trust.npz` was written")
            yield from split.images[rows[start : start + _BLOCK]]

    everything = np.arange(len(data.train.index))
    rng = np.random.default_rng(seed)
    n_chosen = min(len(everything), familiarity.N_IMAGES)
    chosen = np.sort(rng.choice(everything, n_chosen, replace=False))
    return fit_trust(
        checkpoint,
        images(data.validation, np.arange(len(data.validation.index))),
        read_trials(checkpoint.description, shards, subject, data.validation_eeg_rows),
        images(data.train, chosen),
        parallel,
    )
