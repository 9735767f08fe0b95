"""A simulated data set is written: as a whole or not at all, or subjects are added."""

import csv
import dataclasses
import json
import os
import pathlib
from collections.abc import Sequence
from typing import Any, cast

import numpy as np
from PIL import Image

from img2eeg_jax.data import layout
from img2eeg_jax.data.sources.synthetic.drawing import (
    PROPERTY_NAMES,
    draw_images,
    image_properties,
)
from img2eeg_jax.data.sources.synthetic.responses import (
    AXES,
    simulate_noise,
    simulate_responses,
)
from img2eeg_jax.errors import expecting, naming, unexpected
from img2eeg_jax.files import scratch_dir, write_text
from img2eeg_jax.locks import only_writer

# Images that are drawn at a time, which bounds the memory that it takes.
_IMAGES_AT_A_TIME = 200


@dataclasses.dataclass(frozen=True)
class Parameters:
    """What determines a synthetic data set, byte for byte.

    Attributes:
      seed: seed of everything random.
      n_training_concepts: number of concepts in the training partition.
      images_per_concept: images of each training concept; test concepts have one.
      n_test_concepts: number of other concepts, in the test partition.
      image_size: height and width of the images in pixels.
      training_repetitions: EEG trials of each training image.
      test_repetitions: EEG trials of each test image.
      subjects: subject numbers, from 1.
    """

    seed: int = 0
    n_training_concepts: int = 240
    images_per_concept: int = 10
    n_test_concepts: int = 100
    image_size: int = 64
    training_repetitions: int = 4
    test_repetitions: int = 20
    subjects: tuple[int, ...] = (1,)

    @property
    def n_images(self) -> dict[str, int]:
        """Returns the number of images of each partition."""
        n_training = self.n_training_concepts * self.images_per_concept
        return {"training": n_training, "test": self.n_test_concepts}

    def __post_init__(self) -> None:
        object.__setattr__(self, "subjects", tuple(self.subjects))
        values = dataclasses.asdict(self)
        seed, subjects = values.pop("seed"), values.pop("subjects")
        numbers = [n for n in subjects if isinstance(n, int)]
        are_numbers = len(numbers) == len(subjects) > 0
        if seed < 0 or not are_numbers or min(*values.values(), *numbers) < 1:
            raise unexpected(
                "synthetic data",
                "a seed of at least 0 and all other numbers at least 1",
                self,
            )


def write_synthetic(data_dir: str | os.PathLike, **parameters: Any) -> bool:
    """Writes a synthetic data set, as a whole or not at all.

    To one that is there and differs in its subjects only, those missing are added, so
    that the files are the same as if all had been written at once.

    Besides the files of the layout it holds ``synthetic.json`` (the parameters),
    ``properties.csv`` (what each image was drawn from) and, for each subject, the
    responses without noise.

    Args:
      data_dir: folder to make. A data set already there is never overwritten.
      **parameters: those of `Parameters` that are not to be its defaults.

    Returns:
      True if something was written, False if all of it was there.

    Raises:
      InputError: a number is out of range, or the folder holds something else.
    """
    wanted = Parameters(**parameters)
    target = pathlib.Path(data_dir).absolute()
    present = _present_subjects(target, wanted)
    if set(wanted.subjects) <= set(present):
        return False
    if present:
        _add_subjects(target, wanted)
        return True
    with scratch_dir(target.parent, target.name) as scratch:
        new = scratch / "data"
        _write(new, wanted)
        try:
            os.replace(new, target)
        except OSError:
            if not _present_subjects(target, wanted):
                raise
            # The data set is there: another process has made it meanwhile.
            return write_synthetic(data_dir, **parameters)
    return True


def _add_subjects(target: pathlib.Path, parameters: Parameters) -> None:
    with (
        only_writer(target, "subjects", log=lambda _: None),
        scratch_dir(target, "subjects") as scratch,
    ):
        present = _present_subjects(target, parameters)
        new = tuple(sorted(set(parameters.subjects) - set(present)))
        if not new:
            return
        _write(scratch, dataclasses.replace(parameters, subjects=new), has_images=False)
        for subject in new:
            path = layout.record_path(target, subject).parent
            # A stopped run may have added it whole, though it is not listed yet.
            if not path.exists():
                os.replace(layout.record_path(scratch, subject).parent, path)
        together = tuple(sorted({*new, *present}))
        everything = dataclasses.replace(parameters, subjects=together)
        write_text(layout.synthetic_path(target), _as_json(everything))


def present_subjects(
    data_dir: str | os.PathLike, subjects: Sequence[layout.Label] = (1,)
) -> tuple[int, ...]:
    """Returns the subjects of a data set that `write_synthetic` wrote by its defaults.

    Args:
      data_dir: the folder; need not exist.
      subjects: those that are wanted, from 1.

    Raises:
      InputError: the folder holds something else.
    """
    # `Parameters` refuses labels that are no numbers.
    parameters = Parameters(subjects=cast(tuple[int, ...], tuple(subjects)))
    return _present_subjects(pathlib.Path(data_dir).absolute(), parameters)


def _present_subjects(target: pathlib.Path, parameters: Parameters) -> tuple[int, ...]:
    """Returns the subjects that are there; refuses a folder that holds other data."""
    path = layout.synthetic_path(target)
    if path.exists():
        return _read_parameters(path, parameters).subjects
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise unexpected(
            target, "a new or empty folder for the synthetic data set", "other files"
        )
    return ()


def _read_parameters(path: pathlib.Path, expected: Parameters) -> Parameters:
    """Reads synthetic.json, which may differ from what is expected in subjects only."""
    kinds = (OSError, TypeError, ValueError)
    what = "the parameters of a synthetic data set"
    with naming(path), expecting("", what, *kinds):
        found = Parameters(**json.loads(path.read_text(encoding="utf-8")))
    values = dataclasses.asdict(expected)
    different = [
        name
        for name, value in dataclasses.asdict(found).items()
        if name != "subjects" and value != values[name]
    ]
    if different:
        wanted = ", ".join(f"{name} {values[name]}" for name in different)
        there = ", ".join(f"{getattr(found, name)}" for name in different)
        raise unexpected(path, wanted, f"{there}; choose another folder")
    return found


def _as_json(parameters: Parameters) -> str:
    return json.dumps(dataclasses.asdict(parameters), indent=2) + "\n"


def _write(root: pathlib.Path, parameters: Parameters, has_images: bool = True) -> None:
    """Writes a data set, or only the EEG of its subjects."""
    sizes = {
        "training": (
            parameters.n_training_concepts,
            parameters.images_per_concept,
            parameters.training_repetitions,
        ),
        "test": (parameters.n_test_concepts, 1, parameters.test_repetitions),
    }
    seed = parameters.seed
    names, properties = {}, {}
    for code, (partition, (n_concepts, n_each, n_repetitions)) in enumerate(
        sizes.items()
    ):
        first = 1 if partition == "training" else parameters.n_training_concepts + 1
        names[partition] = _image_names(n_concepts, n_each, first)
        properties[partition] = image_properties(
            n_concepts, n_each, _child_seed(seed, 3, code)
        )
        folder = root / "image_set" / f"{partition}_images"
        n_images = len(properties[partition]) if has_images else 0
        for start in range(0, n_images, _IMAGES_AT_A_TIME):
            rows = slice(start, start + _IMAGES_AT_A_TIME)
            images = draw_images(
                properties[partition][rows],
                parameters.image_size,
                _child_seed(seed, 4, code, start),
            )
            _write_images(folder, names[partition][rows], images)
        for subject in parameters.subjects:
            noise_free = simulate_responses(properties[partition], subject, seed)
            rng = np.random.default_rng([seed, 5, code, subject])
            trials = simulate_noise(len(noise_free), n_repetitions, rng)
            trials += noise_free[:, None]
            _write_eeg(root, subject, partition, trials, noise_free)
    if not has_images:
        return
    layout.write_image_metadata(root, **names)
    _write_properties(root / "properties.csv", names, properties)
    write_text(layout.synthetic_path(root), _as_json(parameters))


def _child_seed(*path: int) -> int:
    return int(np.random.SeedSequence(path).generate_state(1)[0])


def _image_names(
    n_concepts: int, images_per_concept: int, first: int
) -> list[tuple[str, str]]:
    """Returns (concept, file name) of each image, in sorted order."""
    digits = len(str(images_per_concept))
    return [
        (f"{k - first + 1:05d}_shape{k:04d}", f"shape{k:04d}_{i + 1:0{digits}d}s.jpg")
        for k in range(first, first + n_concepts)
        for i in range(images_per_concept)
    ]


def _write_images(
    folder: pathlib.Path, names: Sequence[tuple[str, str]], images: np.ndarray
) -> None:
    for (concept, name), image in zip(names, images, strict=True):
        path = folder / concept / name
        path.parent.mkdir(parents=True, exist_ok=True)
        # Without chroma subsampling, which would blur the colours of small images.
        Image.fromarray(image).save(path, quality=95, subsampling=0)


def _write_eeg(
    root: pathlib.Path,
    subject: int,
    partition: str,
    trials: np.ndarray,
    noise_free: np.ndarray,
) -> None:
    eeg = layout.PreprocessedEEG(trials, AXES)
    layout.write_eeg(root, subject, partition, eeg)
    layout.write_noise_free(root, subject, partition, noise_free, AXES)


def _write_properties(
    path: pathlib.Path,
    names: dict[str, list[tuple[str, str]]],
    properties: dict[str, np.ndarray],
) -> None:
    with open(path, "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(("partition", "concept", "file", *PROPERTY_NAMES))
        for partition, images in names.items():
            for name, values in zip(images, properties[partition], strict=True):
                writer.writerow((partition, *name, *values.tolist()))
