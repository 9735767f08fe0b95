"""A trained network at work: images in, predicted EEG out."""

import itertools
import os
import pathlib
from collections.abc import Iterable, Iterator, Sequence

import numpy as np

from img2eeg_jax.checkpoints.load import Checkpoint, load_checkpoint
from img2eeg_jax.data import layout
from img2eeg_jax.devices.parallel import DataParallel
from img2eeg_jax.errors import unexpected
from img2eeg_jax.files import replacing
from img2eeg_jax.training.step import make_predict_step

_BATCH_SIZE = 64


def predict(loaded: Checkpoint, images: Iterable[np.ndarray]) -> np.ndarray:
    """Predicts the flat signal of images on all local devices.

    Args:
      loaded: a ReAlNet; see `load_checkpoint`.
      images: each u8[height, width, 3] of the network's image size; an array, or an
        iterable that is read a batch at a time.

    Returns:
      f32[image, size of the signal]; `SignalLayout.to_eeg` gives it channels and times.

    Raises:
      InputError: the network is a CORnet-S, which predicts no signal.
    """
    _check_predicts(loaded)
    parallel = DataParallel()
    step = parallel.predict_step(make_predict_step(loaded.model))
    variables = parallel.replicate(loaded.variables)
    signals = [
        parallel.merge(step(variables, parallel.split(batch)), batch["mask"])
        for batch in _batches(images)
    ]
    size = loaded.description.signal.size
    return np.concatenate(signals) if signals else np.empty((0, size), np.float32)


def write_predictions(
    checkpoint_dir: str | os.PathLike,
    images: Sequence[str | os.PathLike],
    output: str | os.PathLike,
    *,
    which: str = "best",
    subject: int | None = None,
    overwrite: bool = False,
) -> str:
    """Predicts the signal of image files and writes it to an `.npz` file.

    It holds `images`, the paths; and `eeg` f32[image, channel, time], z-scored, with
    `ch_names`, `times_s` (seconds from image onset) and, where they are known,
    `zscore_mean` and `zscore_std` [channel, time]: eeg · std + mean is in the unit of
    the EEG that the network was trained on. A network that predicts something other
    than EEG gives `signal` f32[image, feature] instead.

    Args:
      checkpoint_dir: work directory, or a converter's output folder.
      images: image files, and folders to search for images.
      output: the file to write.
      which: "best" or "last" checkpoint.
      subject: whose EEG, where several subjects share a network.
      overwrite: whether to replace `output`.

    Returns:
      What was written, as a line of text.

    Raises:
      InputError: there is no such checkpoint or image, an image cannot be read, or
        `output` exists.
    """
    output = pathlib.Path(output)
    if output.exists() and not overwrite:
        raise unexpected(
            output, "nothing there yet", "something; --overwrite replaces it"
        )
    files = find_images(images)
    loaded = load_checkpoint(checkpoint_dir, which, subject)
    size = loaded.description.image_size
    signal = predict(loaded, (layout.read_image(path, size) for path in files))
    arrays = _name_signal(loaded, signal)
    output.parent.mkdir(parents=True, exist_ok=True)
    with replacing(output) as temporary, open(temporary, "wb") as file:
        np.savez(file, images=np.array([str(path) for path in files]), **arrays)
    shapes = ", ".join(f"{name} {array.shape}" for name, array in arrays.items())
    return f"{len(files)} images: {shapes}, in {output}"


def find_images(paths: Iterable[str | os.PathLike]) -> list[pathlib.Path]:
    """Lists image files.

    Args:
      paths: image files as they are, and folders, which give all the images in them
        and below, sorted.

    Raises:
      InputError: a path is missing, or there is no image in a folder.
    """
    files = []
    for path in map(pathlib.Path, paths):
        inside = [path]
        if path.is_dir():
            inside = sorted(p for p in path.rglob("*") if layout.is_image(p.name))
        if not inside or not path.exists():
            raise unexpected(path, "an image or a folder of images", "none")
        files += inside
    return files


def _check_predicts(loaded: Checkpoint) -> None:
    kind = loaded.description.kind
    if kind != "realnet":
        raise unexpected(loaded.path, "a network that predicts EEG", kind)


def _batches(images: Iterable[np.ndarray]) -> Iterator[dict[str, np.ndarray]]:
    """Yields batches of the size of the first, the last one padded."""
    images, size = iter(images), None
    while rows := list(itertools.islice(images, _BATCH_SIZE)):
        size = size or len(rows)
        mask = np.zeros(size, np.float32)
        mask[: len(rows)] = 1
        padding = itertools.repeat(rows[0], size - len(rows))
        yield {"image": np.stack([*rows, *padding]), "mask": mask}


def _name_signal(loaded: Checkpoint, signal: np.ndarray) -> dict[str, np.ndarray]:
    meaning = loaded.description.signal
    if not meaning.is_eeg:
        return {"signal": signal}
    arrays = {
        "eeg": meaning.to_eeg(signal),
        "ch_names": np.array(meaning.axes.ch_names),
        "times_s": np.array(meaning.axes.times_s),
    }
    zscore = loaded.description.zscore
    if zscore is not None and meaning.window is None:
        arrays |= {"zscore_mean": zscore.mean, "zscore_std": zscore.std}
    return arrays
