"""Where the files of a data set lie, and how subjects are called."""

import os
import pathlib
import re

from img2eeg_jax.errors import unexpected

PARTITIONS = ("training", "test")


# Subjects and sessions are called by numbers from 1, or by other labels as in BIDS. A
# number may be written with zeros before it: sub-1, sub-01 and sub-001 are one.
Label = int | str
# More than this in one range is a slip.
_LONGEST_RANGE = 10_000


def as_label(text: str) -> Label | None:
    """Returns the label that a text is: 3 for ``"03"``, ``"AB12"`` for itself.

    Zero is no number of a subject, and is the label ``"0"``; None is returned for what
    is no label.
    """
    if not re.fullmatch(r"[0-9A-Za-z]{1,100}", text):
        return None
    if not re.fullmatch(r"[0-9]+", text):
        return text
    return int(text) or "0"


def label_order(label: Label) -> tuple[bool, Label]:
    """Returns a key to sort by: numbers come first, then other labels."""
    return isinstance(label, str), label


def parse_subjects(text: str, name: str = "subjects") -> tuple[Label, ...]:
    """Reads a list of subjects, or of other things that have labels.

    Args:
      text: ``"3"``, ``"1,3"``, ``"1-10"`` or ``"AB12"``; the forms may be combined,
        and folders' names, such as ``"sub-03"``, may stand for labels.
      name: what is named, for the message.

    Returns:
      The labels, each once: numbers ascending, then others.

    Raises:
      InputError: the text has another form, or a range that runs backwards.
    """
    subjects: set[Label] = set()
    for part in text.split(","):
        part = re.sub(r"^(sub|ses)-", "", part.strip())
        match = re.fullmatch(r"([0-9]{1,9})\s*-\s*([0-9]{1,9})", part)
        first, last = map(int, match.groups()) if match else (0, 0)
        label = as_label(part)
        if label is not None:
            subjects.add(label)
        elif 1 <= first <= last < first + _LONGEST_RANGE:
            subjects.update(range(first, last + 1))
        else:
            raise unexpected(name, "the form 3, 1,3, 1-10 or labels", f"{text!r}")
    return tuple(sorted(subjects, key=label_order))


def subject_name(subject: Label) -> str:
    """Returns the folder name of a subject: ``sub-03`` for 3, ``sub-AB12`` for AB12."""
    return f"sub-{subject}" if isinstance(subject, str) else f"sub-{subject:02d}"


def labelled_folders(
    parent: str | os.PathLike, prefix: str = "sub"
) -> dict[Label, pathlib.Path]:
    """Finds folders such as ``ses-1``, ``ses-01`` or ``ses-pre``.

    Args:
      parent: where to look.
      prefix: ``"sub"`` or ``"ses"``.

    Returns:
      Label → folder, in the order of `label_order`; other folders are left out.

    Raises:
      InputError: two folders have one number.
    """
    found: dict[Label, pathlib.Path] = {}
    for path in sorted(pathlib.Path(parent).glob(f"{prefix}-*")):
        label = as_label(path.name.removeprefix(f"{prefix}-"))
        if label is None or not path.is_dir():
            continue
        other = found.setdefault(label, path)
        if other != path:
            raise unexpected(
                parent,
                f"one folder of {prefix}-{label}",
                f"{other.name} and {path.name}",
            )
    return {label: found[label] for label in sorted(found, key=label_order)}


def subject_folder(parent: str | os.PathLike, subject: Label) -> pathlib.Path:
    """Returns a subject's folder, however its number is written; it need not exist."""
    folder = pathlib.Path(parent) / subject_name(subject)
    return labelled_folders(parent).get(subject, folder)


def subjects_in(
    data_dir: str | os.PathLike, name: str = "preprocessed_data"
) -> tuple[Label, ...]:
    """Returns the subjects whose folders a data set holds in one of its folders."""
    return tuple(labelled_folders(pathlib.Path(data_dir) / name))


def folders_in(parent: str | os.PathLike) -> str:
    """Returns the names of the folders that there are, for messages."""
    folder = pathlib.Path(parent)
    present = folder.is_dir() and sorted(
        path.name
        for path in folder.iterdir()
        if path.is_dir() and not path.name.startswith(".")
    )
    return ", ".join(present or ()) or "none"


def metadata_path(data_dir: str | os.PathLike) -> pathlib.Path:
    """Returns the path of a data set's ``image_metadata.npy``."""
    return pathlib.Path(data_dir) / "image_set" / "image_metadata.npy"


def eeg_path(
    data_dir: str | os.PathLike, subject: Label, partition: str
) -> pathlib.Path:
    """Returns the path of a subject's preprocessed EEG.

    Raises:
      InputError: the partition is neither ``"training"`` nor ``"test"``.
    """
    check_partition(partition)
    folder = subject_folder(pathlib.Path(data_dir) / "preprocessed_data", subject)
    return folder / f"preprocessed_eeg_{partition}.npy"


def record_path(data_dir: str | os.PathLike, subject: Label) -> pathlib.Path:
    """Returns the path of the record of a subject's preprocessing."""
    return eeg_path(data_dir, subject, "test").with_name("preprocessing.json")


def check_partition(partition: str) -> None:
    """Refuses what is neither ``"training"`` nor ``"test"``, by an InputError."""
    if partition not in PARTITIONS:
        raise unexpected(
            "partition", f"one of {', '.join(PARTITIONS)}", f"{partition!r}"
        )


def noise_free_path(
    data_dir: str | os.PathLike, subject: Label, partition: str
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
