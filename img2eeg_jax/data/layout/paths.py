"""Where the files of a data set lie, and how subjects are called."""

import os
import pathlib
import re

from img2eeg_jax.errors import unexpected

PARTITIONS = ("training", "test")


def parse_subjects(text: str, name: str = "subjects") -> tuple[int, ...]:
    """Reads a list of subjects, or of other things that are numbered from 1.

    Args:
      text: ``"3"``, ``"1,3"`` or ``"1-10"``; the forms may be combined.
      name: what is numbered, for the message.

    Returns:
      The numbers, ascending, each once.

    Raises:
      InputError: the text has another form, or a range that runs backwards.
    """
    subjects: set[int] = set()
    for part in text.split(","):
        match = re.fullmatch(r"\s*(\d+)\s*(?:-\s*(\d+)\s*)?", part)
        first, last = (int(n or match[1]) for n in match.groups()) if match else (0, 0)
        if not 1 <= first <= last:
            raise unexpected(name, "the form 3, 1,3 or 1-10", f"{text!r}")
        subjects.update(range(first, last + 1))
    return tuple(sorted(subjects))


def subject_name(subject: int) -> str:
    """Returns the folder name of a subject: ``sub-03`` for 3."""
    return f"sub-{subject:02d}"


def subjects_in(
    data_dir: str | os.PathLike, name: str = "preprocessed_data"
) -> tuple[int, ...]:
    """Returns the subjects whose folders a data set holds in one of its folders."""
    folders = (pathlib.Path(data_dir) / name).glob("sub-*")
    numbers = (folder.name.removeprefix("sub-") for folder in folders)
    return tuple(sorted(int(number) for number in numbers if number.isdecimal()))


def metadata_path(data_dir: str | os.PathLike) -> pathlib.Path:
    """Returns the path of a data set's ``image_metadata.npy``."""
    return pathlib.Path(data_dir) / "image_set" / "image_metadata.npy"


def eeg_path(data_dir: str | os.PathLike, subject: int, partition: str) -> pathlib.Path:
    """Returns the path of a subject's preprocessed EEG.

    Raises:
      InputError: the partition is neither ``"training"`` nor ``"test"``.
    """
    check_partition(partition)
    folder = pathlib.Path(data_dir) / "preprocessed_data" / subject_name(subject)
    return folder / f"preprocessed_eeg_{partition}.npy"


def record_path(data_dir: str | os.PathLike, subject: int) -> pathlib.Path:
    """Returns the path of the record of a subject's preprocessing."""
    return eeg_path(data_dir, subject, "test").with_name("preprocessing.json")


def check_partition(partition: str) -> None:
    """Refuses what is neither ``"training"`` nor ``"test"``, by an InputError."""
    if partition not in PARTITIONS:
        raise unexpected(
            "partition", f"one of {', '.join(PARTITIONS)}", f"{partition!r}"
        )


def noise_free_path(
    data_dir: str | os.PathLike, subject: int, partition: str
) -> pathlib.Path:
    """Returns the path of a simulated subject's responses without noise."""
    folder = eeg_path(data_dir, subject, partition).parent
    return folder / f"noise_free_{partition}.npy"


def shards_path(data_dir: str | os.PathLike) -> pathlib.Path:
    """Returns where a data set's shards lie unless the user says otherwise."""
    return pathlib.Path(data_dir) / "shards"


def synthetic_path(data_dir: str | os.PathLike) -> pathlib.Path:
    """Returns the path of the parameters of a simulated data set."""
    return pathlib.Path(data_dir) / "synthetic.json"
